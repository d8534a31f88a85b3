// PgBouncer in transaction mode, in front of a server of the tests' own: every transaction may be
// on another of few connections, so that nothing may be left on one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "testing/environment.h"
#include "testing/guard.h"
#include "testing/private_postgres.h"

namespace holdfast::testing {

/// Accepts connections when it has been made; gone with the object, and with the process.
class Pooler {
 public:
  /// `connections`: that it has to the server, for all clients. `port`: of a gate in front of the
  /// server.
  Pooler(const PrivatePostgres& server, int connections, std::optional<std::uint16_t> port = {});
  Pooler(const Pooler&) = delete;
  Pooler& operator=(const Pooler&) = delete;

  /// In front of PrivatePostgres::Shared(), for as long as the process.
  static const Pooler& Shared();

  /// As PrivatePostgres::Url, with what a store needs behind a pooler.
  std::string Url(const std::string& schema) const;

 private:
  TempDir dir_{TempDir::Where::kMemory};
  std::optional<GuardScript> guard_;
};

/// Whether HOLDFAST_POSTGRES_POOLER is 1: stores that only need a database reach it through one.
bool IsThroughPooler();

}  // namespace holdfast::testing
