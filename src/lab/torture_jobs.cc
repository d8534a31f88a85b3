// Claims under attack (S1, S2).
#include <fmt/format.h>

#include <set>

#include "lab/mix.h"
#include "lab/scenarios.h"

namespace holdfast::lab {
namespace {

/// Every job of the queue: how many there are in this state.
Result<std::int64_t> CountJobs(Arena& arena, std::string_view queue, JobState state) {
  JobFilter filter{.state = state, .queue = arena.Own(queue), .limit = 1'000};
  std::int64_t count = 0;
  do {
    HF_ASSIGN_OR_RETURN(JobPage page, arena.store().ListJobs({}, filter));
    count += static_cast<std::int64_t>(page.items.size());
    filter.cursor = page.next_cursor;
  } while (!filter.cursor.empty());
  return count;
}

}  // namespace

Result<void> AttackOneJob(Arena& arena) {
  HF_ASSIGN_OR_RETURN(std::vector<JobId> ids, arena.Push("queue", 1));
  std::atomic<std::int64_t> winners = 0;
  std::atomic<Token> token = 0;
  Tally tally = arena.Attack(arena.threads(), [&](Attacker& attacker) {
    Result<OperationResult> claimed =
        attacker.client.Do(ClaimJob{.id = ids.front(),
                                    .worker = fmt::format("worker-{}", attacker.number),
                                    .lease = kLongLease});
    if (!claimed || !claimed->job) return;
    ++winners;
    token = claimed->job->token;
  });
  arena.ExpectAnswers(tally, arena.threads(), ErrorCode::kFenced, 0);
  arena.Expect("claims that got the job", 1, winners);
  // All of them report it done, under the one token: once.
  Tally reports = arena.Attack(arena.threads(), [&](Attacker& attacker) {
    (void)attacker.client.Do(CompleteJob{ids.front(), token});
  });
  arena.ExpectAnswers(reports, 1, ErrorCode::kInvalidTransition, arena.threads() - 1);
  return {};
}

Result<void> AttackManyJobs(Arena& arena) {
  constexpr int kClaimers = 16;
  constexpr int kJobsAtOnce = 10;
  const int count = arena.Size(10'000);
  HF_ASSIGN_OR_RETURN(std::vector<JobId> ids, arena.Push("queue", count));
  std::vector<std::vector<JobId>> got(kClaimers);
  arena.Attack(kClaimers, [&](Attacker& attacker) {
    std::vector<JobId>& mine = got[static_cast<std::size_t>(attacker.number)];
    while (!arena.Over()) {
      Result<std::vector<Job>> jobs =
          attacker.client.Claim({.worker = fmt::format("worker-{}", attacker.number),
                                 .queues = {arena.Own("queue")},
                                 .max = kJobsAtOnce,
                                 .lease = kLongLease});
      if (!jobs || jobs->empty()) return;
      Batch done;
      for (const Job& job : *jobs) {
        mine.push_back(job.id);
        done.operations.emplace_back(CompleteJob{job.id, job.token});
      }
      (void)attacker.client.Commit(std::move(done));
    }
  });
  std::multiset<JobId> claimed;
  for (const std::vector<JobId>& some : got) claimed.insert(some.begin(), some.end());
  const std::set<JobId> distinct(claimed.begin(), claimed.end());
  arena.Expect("claims that got a job", count, static_cast<std::int64_t>(claimed.size()));
  arena.Expect("jobs that were claimed", count, static_cast<std::int64_t>(distinct.size()));
  HF_ASSIGN_OR_RETURN(std::int64_t completed, CountJobs(arena, "queue", JobState::kCompleted));
  arena.Expect("jobs that are completed", count, completed);
  return {};
}

}  // namespace holdfast::lab
