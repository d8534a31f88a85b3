// The library's composition root: from a URL to a store. The only place below the command line that
// knows every engine.
#include <fmt/format.h>

#include "api/http_engine.h"
#include "base/result.h"
#include "base/store_url.h"
#include "engine/memory/memory_engine.h"
#include "engine/postgres/postgres_engine.h"
#include "engine/postgres/settings.h"
#include "engine/sqlite/sqlite_engine.h"
#include "holdfast/store.h"

namespace holdfast {
namespace {

constexpr std::string_view kForms =
    "memory:, sqlite:FILE, postgres://HOST/DATABASE or http://HOST:PORT";

Result<std::unique_ptr<engine::Engine>> OpenEngine(std::string_view url,
                                                   const StoreOptions& options) {
  if (url == "memory:") return engine::OpenMemory(options);
  if (url.starts_with("sqlite:")) {
    std::string path(url.substr(7));
    if (path.empty()) {
      return Fail(ErrorCode::kInvalidArgument,
                  "the store URL 'sqlite:' names no file (sqlite:FILE, for instance "
                  "sqlite:./holdfast.db)");
    }
    return engine::OpenSqlite(path, options);
  }
  if (url.starts_with("http://")) return api::OpenHttp(url, options);
  if (engine::postgres::IsPostgresUrl(url)) {
    return engine::OpenPostgres(url, options);
  }
  if (url.starts_with("https:")) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("TLS is not part of this version; a store is {}", kForms));
  }
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("'{}' is not a store URL; a store is {}", base::ShownUrl(url), kForms));
}

}  // namespace

Result<std::unique_ptr<Store>> OpenStore(std::string_view url, const StoreOptions& options) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<engine::Engine> engine, OpenEngine(url, options));
  return std::make_unique<Store>(std::move(engine), options);
}

}  // namespace holdfast
