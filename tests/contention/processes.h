// The roles that other processes play in these tests. See main.cc.
#pragma once

#include <string>
#include <vector>

namespace holdfast::testing {

/// FILE WORKER: claims and completes until nothing is left; prints "ID TOKEN" for each job.
int RunDrainer(const std::vector<std::string>& arguments);

/// FILE LEASE_MS: claims a job, prints "ID TOKEN", waits for a line, completes it, prints the error
/// code or "ok".
int RunHolder(const std::vector<std::string>& arguments);

/// FILE: prints "waiting", waits for a job up to a minute, prints its id or "none".
int RunWaiter(const std::vector<std::string>& arguments);

/// FILE KEYS: commits the same idempotent requests as everybody else, prints the ids.
int RunDuplicator(const std::vector<std::string>& arguments);

}  // namespace holdfast::testing
