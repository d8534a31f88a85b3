// The names of states and operations, the same in C++, SQL, JSON and on the command line.
#include <array>
#include <type_traits>

#include "holdfast/batch.h"

namespace holdfast {
namespace {

constexpr std::array<std::string_view, kJobStateCount> kStateNames = {
    "scheduled", "pending", "processing", "completed", "failed", "cancelled"};

// In the order of the variant Operation.
constexpr std::string_view kOperationNames[] = {
    "job.enqueue", "job.claim",    "job.complete", "job.fail",  "job.release", "job.snooze",
    "job.renew",   "job.progress", "job.cancel",   "job.retry", "job.delete",  "queue.set"};
static_assert(std::size(kOperationNames) == std::variant_size_v<Operation>);
static_assert(std::is_same_v<std::variant_alternative_t<7, Operation>, ProgressJob>);

}  // namespace

std::string_view NameOf(JobState state) {
  return kStateNames[static_cast<std::size_t>(state)];
}

std::optional<JobState> ParseJobState(std::string_view name) {
  for (std::size_t i = 0; i < kStateNames.size(); ++i) {
    if (kStateNames[i] == name) return static_cast<JobState>(i);
  }
  return std::nullopt;
}

std::string_view NameOf(const Operation& operation) {
  return kOperationNames[operation.index()];
}

}  // namespace holdfast
