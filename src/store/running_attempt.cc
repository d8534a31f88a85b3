#include "store/running_attempt.h"

namespace holdfast::store {
namespace {

/// What the operation reports of the attempt, if it does.
std::optional<Outcome> ReportIn(const Operation& operation, const Job& job) {
  auto is_own = [&job](const auto& report) {
    return report.id == job.id && report.token == job.token;
  };
  if (const auto* done = std::get_if<CompleteJob>(&operation); done && is_own(*done)) {
    return Completed{done->result};
  }
  if (const auto* failed = std::get_if<FailJob>(&operation); failed && is_own(*failed)) {
    return Failed{failed->error, failed->permanent, failed->retry_in};
  }
  if (const auto* given = std::get_if<ReleaseJob>(&operation); given && is_own(*given)) {
    return Released{};
  }
  if (const auto* put_off = std::get_if<SnoozeJob>(&operation); put_off && is_own(*put_off)) {
    return Snoozed{put_off->delay};
  }
  return std::nullopt;
}

}  // namespace

std::unexpected<Error> RunningAttempt::Fenced() const {
  return Fail(ErrorCode::kFenced,
              "the lease of job " + std::to_string(job_.id) + " was lost; stop the work");
}

Result<Receipt> RunningAttempt::Commit(const Context& context, Batch batch) {
  if (IsLost()) return Fenced();
  std::optional<std::size_t> index;
  std::optional<Outcome> outcome;
  for (std::size_t i = 0; i < batch.operations.size() && !outcome; ++i) {
    outcome = ReportIn(batch.operations[i], job_);
    index = i;
  }
  batch.guards.insert(batch.guards.begin(), Guard());
  Context call = context;
  if (call.actor.empty()) call.actor = pool_.actor;
  Result<Receipt> receipt = pool_.store.Commit(call, std::move(batch));
  if (receipt && outcome) {
    const std::optional<Job>& job = receipt->results.at(*index).job;
    reported_ = Reported{*std::move(outcome), job ? job->state : job_.state};
    pool_.keeper.LetGo(*this);
  }
  if (!receipt && receipt.error().detail.guard == 0) {
    pool_.keeper.EndIfRefused(*this, receipt.error());
  }
  return receipt;
}

Result<void> RunningAttempt::ReportProgress(double progress, std::string message) {
  if (IsLost()) return Fenced();
  Context context = Context::WithTimeout(pool_.lease);
  context.actor = pool_.actor;
  Result<Job> answer = pool_.store.ReportProgress(
      context, ProgressJob{job_.id, job_.token, progress, std::move(message)});
  if (answer) {
    if (answer->cancel_requested) End(StopReason::kCancelled);
    return {};
  }
  pool_.keeper.EndIfRefused(*this, answer.error());
  return std::unexpected(std::move(answer).error());
}

void RunningAttempt::OnRenewed(const Receipt& receipt, LeaseTime) {
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
