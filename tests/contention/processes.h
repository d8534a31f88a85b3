// The roles that other processes play in these tests. See main.cc.
#pragma once

#include <string>
#include <vector>

namespace holdfast::testing {

/// URL WORKER: claims and completes until nothing is left; prints "ID TOKEN" for each job.
int RunDrainer(const std::vector<std::string>& arguments);

/// URL LEASE_MS: claims a job, prints "ID TOKEN", waits for a line, completes it, prints the error
/// code or "ok".
int RunHolder(const std::vector<std::string>& arguments);

/// URL: prints "waiting", waits for a job up to a minute, prints its id or "none".
int RunWaiter(const std::vector<std::string>& arguments);

/// URL NAME TTL_MS: takes the lock, prints its token, waits for a line; then adds 100 to /n of the
/// record account/a, under the lock's guard if the line is "guarded", and prints the error code or
/// "ok".
int RunLocker(const std::vector<std::string>& arguments);

/// URL NAME OWNER [COUNT]: waits in line for the lock, so many times; prints the token of one, and
/// keeps it until it is killed.
int RunLockWaiter(const std::vector<std::string>& arguments);

/// URL NAME COUNT TALLY: takes the lock and adds 1 to the number in the file TALLY, so many times.
int RunLockCounter(const std::vector<std::string>& arguments);

/// URL KEYS: commits the same idempotent requests as everybody else, prints the ids.
int RunDuplicator(const std::vector<std::string>& arguments);

}  // namespace holdfast::testing
