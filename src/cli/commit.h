// Commits of the command line: one operation, or the batches of a file.
#pragma once

#include "cli/cli.h"

namespace holdfast::cli {

/// The options of every command that writes.
struct WriteOptions {
  std::string idempotency_key;
  std::vector<std::string> locks;  ///< NAME=TOKEN
  Duration wait{};                 ///< for the locks on records
};

/// --idempotency-key.
void AddWriteOptions(Cli& cli, CLI::App& command, WriteOptions& options);

/// --lock and --wait, for commands that change records.
void AddLockGuards(Cli& cli, CLI::App& command, WriteOptions& options);

/// Commits this one operation to the store of --store.
Result<OperationResult> CommitOne(Cli& cli, Operation operation, const WriteOptions& options);

}  // namespace holdfast::cli
