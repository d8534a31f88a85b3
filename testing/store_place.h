// Where the stores of tests are: a place of its own for each, which is gone with the object.
#pragma once

#include <memory>
#include <string>

#include "testing/environment.h"

namespace holdfast::testing {

class StorePlace {
 public:
  virtual ~StorePlace() = default;
  StorePlace(const StorePlace&) = delete;
  StorePlace& operator=(const StorePlace&) = delete;

  /// Opens the store that is there; the first time, an empty one. Other processes may use it where
  /// the engine is shared between them.
  const std::string& url() const { return url_; }

 protected:
  explicit StorePlace(std::string url) : url_(std::move(url)) {}

 private:
  const std::string url_;
};

/// Stores there have nothing in common: each is empty.
std::unique_ptr<StorePlace> PlaceInMemory();
/// A file, which does not wait for a disk.
std::unique_ptr<StorePlace> PlaceInFile();
std::unique_ptr<StorePlace> PlaceInFileOnDisk();
/// A schema of the shared server.
std::unique_ptr<StorePlace> PlaceInPostgres();

}  // namespace holdfast::testing
