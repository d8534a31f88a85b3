// What the commands of `holdfast lock` share.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/cli.h"
#include "cli/signals.h"

namespace holdfast::cli {

/// The options of the commands that take locks.
struct AcquireOptions {
  AcquireLock request;
  std::vector<std::string> names;
  std::vector<std::string> records;  ///< KIND/ID: their locks are taken, too
  bool shared = false;
};

/// --owner, --ttl, --lock-delay, --preset, --shared and --limit.
void AddLeaseOptions(Cli& cli, CLI::App& command, AcquireOptions& options);
/// NAME..., --record and --wait.
void AddNames(Cli& cli, CLI::App& command, AcquireOptions& options);

/// Errors: invalid_argument (no lock is named at all).
Result<void> CheckNamed(const AcquireOptions& options);

/// "ada@db1/4711-3f2a": who asks, from where, as an owner that nobody else is (LOCK-7).
std::string MakeOwner(const Cli& cli);

/// What the options ask for. Errors: invalid_argument.
Result<AcquireLock> RequestOf(const Cli& cli, const AcquireOptions& options);

/// Runs `acquire`, which may wait for the locks of `request`, and says so on a terminal. A signal
/// ends the wait. The answer: that signal, if there was one; `acquire` may have succeeded all the
/// same.
std::optional<int> AcquireUnlessStopped(Cli& cli, Store& store, StopSignals& signals,
                                        const AcquireLock& request,
                                        const std::function<void(const Context&)>& acquire);

/// A busy error, and in its message who holds the lock now.
Error WithHolder(Store& store, Error error);

/// The locks of `request`, as a message names them: "lock a", "lock a and 2 others".
std::string DescribeNames(const AcquireLock& request);

// The commands in files of their own.
void AddLockRunCommand(Cli& cli, CLI::App& lock);
void AddLockViewCommands(Cli& cli, CLI::App& lock);

}  // namespace holdfast::cli
