// Where psql, pgbench and their like connect to, without a password that everybody could read.
#pragma once

#include <string>
#include <vector>

#include "holdfast/error.h"

namespace holdfast::engine::postgres {

struct ToolTarget {
  /// An argument: the name of a database, or "host='…' port='…' …". Whoever is on the machine may
  /// read the arguments of a process, so nothing secret is in it.
  std::string database;
  /// "PGPASSWORD=…", if there is a password; only the user may read that of a process.
  std::vector<std::string> environment;
};

/// Of what a tool could be given as it is: a URL, "host=… dbname=…", or the name of a database.
/// Errors: invalid_argument (libpq does not understand it, or it has a secret that only an argument
/// could carry).
Result<ToolTarget> TargetOfTools(const std::string& connection);

}  // namespace holdfast::engine::postgres
