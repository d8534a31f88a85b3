// The stores that the suites run against: the memory, sqlite and postgres engines, each embedded
// and behind a real HTTP server in this process. Suites branch on traits, never on a name.
#pragma once

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "holdfast/holdfast.h"
#include "testing/fake_clock.h"
#include "testing/store_place.h"

namespace holdfast::testing {

/// One way to have a store. `traits` are those of the store that the test calls.
struct Variant {
  std::string name;  ///< for the names of tests only
  engine::Traits traits;
  std::unique_ptr<StorePlace> (*make_place)() = nullptr;  ///< where the engine keeps it
};
inline void PrintTo(const Variant& variant, std::ostream* out) {
  *out << variant.name;
}

const std::vector<Variant>& AllVariants();
/// Those without a server between.
const std::vector<Variant>& EmbeddedVariants();
/// Those of the embedded ones that several processes may open at once.
const std::vector<Variant>& SharedVariants();

/// A fresh store of a variant, under a clock that only the test moves, without maintenance of its
/// own.
class EngineFixture {
 public:
  /// `poll_interval`: how often whoever waits looks whether other processes have changed anything.
  explicit EngineFixture(const Variant& variant,
                         Duration poll_interval = StoreOptions().poll_interval);
  ~EngineFixture();

  /// The store under test.
  Store& store() { return *store_; }
  /// The store that owns the engine: the same one, unless a server is in between.
  Store& backing() { return *backing_; }
  FakeClock& clock() { return clock_; }
  const engine::Traits& traits() const { return variant_.traits; }
  /// Of the store that owns the engine. What survives its process can be opened with it, too.
  const std::string& url() const { return place_->url(); }

  /// Closes and opens again what survives it (traits().survives_process_kill).
  void Reopen();

  /// Time passes, then maintenance runs until it has nothing left to do.
  MaintainReport Pass(Duration time);

 private:
  struct Server;

  void Open();

  const Variant variant_;
  const Duration poll_interval_;
  const std::unique_ptr<StorePlace> place_;
  FakeClock clock_;
  std::unique_ptr<Store> owned_;    // of the engine
  std::unique_ptr<Server> server_;  // over owned_
  std::unique_ptr<Store> client_;   // of server_
  Store* backing_ = nullptr;
  Store* store_ = nullptr;
};

}  // namespace holdfast::testing
