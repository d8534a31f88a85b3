// What the URL of a PostgreSQL store says.
#pragma once

#include <string>
#include <string_view>

#include "holdfast/error.h"
#include "holdfast/time.h"

namespace holdfast::engine::postgres {

struct Settings {
  std::string connection;  ///< for libpq, a password perhaps with it: never to be shown
  std::string shown;       ///< what messages may say of it
  std::string schema = "holdfast";
  /// Whether statements are prepared: once for each connection, instead of parsed with each use.
  /// Off behind a pooler that gives every transaction another server connection.
  bool prepares = true;
  /// Whether a server that may lose acknowledged commits is taken all the same.
  bool allows_lossy = false;
  /// Whether nodes tell one another of changes, or find out by polling alone.
  bool notifies = true;
  /// Connections for commits. Of 64 threads with one job a call, two did 7,700 life cycles/s on two
  /// cores, four did 4,600.
  int lanes = 2;
  int hosts = 1;  ///< of which one is the primary

  /// Whether the URL itself says which of several servers will do.
  bool NamesSessionAttributes() const {
    return connection.find("target_session_attrs=") != std::string::npos;
  }
};

/// Whether a store's URL is one of these: postgres://… or postgresql://….
bool IsPostgresUrl(std::string_view url);

/// Reads postgres://USER@HOST:PORT/DATABASE?schema=NAME&prepare=off&notify=off&lossy=allow&lanes=N,
/// with HOST:PORT,HOST:PORT for several; whatever else is in the URL is for libpq. Errors:
/// invalid_argument.
Result<Settings> ParsePostgresUrl(std::string_view url);

}  // namespace holdfast::engine::postgres
