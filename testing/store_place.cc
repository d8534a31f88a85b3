#include "testing/store_place.h"

#include "testing/private_postgres.h"

namespace holdfast::testing {
namespace {

class InMemory final : public StorePlace {
 public:
  InMemory() : StorePlace("memory:") {}
};

/// A base of the place, so that it is there when the URL is made.
struct Folder {
  TempDir dir;
};

class InFile final : private Folder, public StorePlace {
 public:
  explicit InFile(TempDir::Where where)
      : Folder{TempDir(where)}, StorePlace("sqlite:" + dir.File("store.db")) {}
};

struct Schema {
  ReusedPostgresSchema schema;
};

class InPostgres final : private Schema, public StorePlace {
 public:
  InPostgres() : StorePlace(schema.url()) {}
};

}  // namespace

std::unique_ptr<StorePlace> PlaceInMemory() {
  return std::make_unique<InMemory>();
}

std::unique_ptr<StorePlace> PlaceInFile() {
  return std::make_unique<InFile>(TempDir::Where::kMemory);
}

std::unique_ptr<StorePlace> PlaceInFileOnDisk() {
  return std::make_unique<InFile>(TempDir::Where::kDisk);
}

std::unique_ptr<StorePlace> PlaceInPostgres() {
  return std::make_unique<InPostgres>();
}

}  // namespace holdfast::testing
