// The audit trail as it is printed, for every command that shows a part of it.
#pragma once

#include "cli/cli.h"

namespace holdfast::cli {

struct AuditListing {
  AuditFilter filter;
  int limit = 100;
  bool all = false;
};

/// Lists the entries, newest first.
Result<int> PrintAudit(Cli& cli, const AuditListing& listing);

/// -n,--limit and -a,--all.
void AddAuditBounds(Cli& cli, CLI::App& command, AuditListing& listing);

}  // namespace holdfast::cli
