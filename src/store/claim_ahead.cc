#include "store/claim_ahead.h"

#include <algorithm>

#include "base/mutant.h"

namespace holdfast::store {
namespace {

constexpr double kSeconds = 0.02;  // some round trips of a claim
constexpr double kBytes = 8 * 1024 * 1024;
/// Of the latest in a mean: one odd job among dozens changes little, a hundred change all.
constexpr double kWeight = 1.0 / 16;

double Mean(double mean, double latest, double weight) {
  return mean + (latest - mean) * weight;
}

bool HasExpired(const Job& job) {
  return job.lease_expiries > 0 && !HF_MUTANT(expired_jobs_claimed_ahead);
}

}  // namespace

ClaimAhead::ClaimAhead(std::size_t concurrency, std::size_t most)
    : concurrency_(concurrency), most_(static_cast<double>(most)), run_seconds_(kSeconds) {}

void ClaimAhead::OnRun(Duration took) {
  run_seconds_ = Mean(run_seconds_, std::chrono::duration<double>(took).count(), kWeight);
}

std::size_t ClaimAhead::OnClaimed(std::span<const Job> jobs) {
  double bytes = 0;
  std::size_t expired = 0;
  std::size_t kept = jobs.size();
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    bytes += static_cast<double>(jobs[i].payload.size());
    if (HasExpired(jobs[i]) && ++expired <= concurrency_) kept = i + 1;
  }
  payload_bytes_ = Mean(payload_bytes_, bytes / static_cast<double>(jobs.size()), 0.5);
  expired_ += expired;
  return kept;
}

void ClaimAhead::OnEnded(const Job& job) {
  if (HasExpired(job)) --expired_;
}

void ClaimAhead::OnOverdue() {
  run_seconds_ = std::max(run_seconds_, 10 * kSeconds);
}

std::size_t ClaimAhead::jobs() const {
  if (run_seconds_ >= kSeconds || expired_ > 0) return 0;
  double begun = static_cast<double>(concurrency_) * kSeconds / std::max(run_seconds_, 1e-6);
  double fit = kBytes / std::max(payload_bytes_, 1.0);
  return static_cast<std::size_t>(std::min({begun, fit, most_}));
}

}  // namespace holdfast::store
