#include "store/running_attempt.h"

namespace holdfast::store {

Result<void> RunningAttempt::ReportProgress(double progress, std::string message) {
  if (IsLost()) {
    return Fail(ErrorCode::kFenced,
                "the lease of job " + std::to_string(job_.id) + " was lost; stop the work");
  }
  Context context = Context::WithTimeout(pool_.lease);
  context.actor = pool_.actor;
  Result<Job> answer = pool_.store.ReportProgress(
      context, ProgressJob{job_.id, job_.token, progress, std::move(message)});
  if (answer) {
    if (answer->cancel_requested) End(StopReason::kCancelled);
    return {};
  }
  if (MeansLeaseLost(answer.error())) pool_.keeper.Lose(*this, answer.error().message);
  return std::unexpected(std::move(answer).error());
}

void RunningAttempt::OnRenewed(const Receipt& receipt, SteadyTime) {
  const auto& results = receipt.results;
  if (!results.empty() && results.front().job && results.front().job->cancel_requested) {
    End(StopReason::kCancelled);
  }
}

void RunningAttempt::OnLost(std::string_view why) {
  End(StopReason::kLeaseLost);
  pool_.on_lost(*this, why);
}

}  // namespace holdfast::store
