// What a call of a history is about.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "history/history.h"

namespace holdfast::history {

/// "job 7", "lock nightly".
std::string NameOfJob(JobId id);
std::string NameOfLock(std::string_view name);

/// The names of the records, jobs, locks, transfers and keys that the call touches, as far as it
/// and its answer tell: "record ticket/T-1", "job 7", "lock nightly". Sorted, without repetitions.
/// A claim touches the jobs that it got.
std::vector<std::string> ObjectsOf(const Observed& call);

}  // namespace holdfast::history
