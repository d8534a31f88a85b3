#include "testing/twin_engine.h"

#include <algorithm>
#include <ranges>
#include <utility>

#include "engine/memory/memory_engine.h"
#include "testing/matchers.h"
#include "testing/text_of.h"

namespace holdfast::testing {
namespace {

constexpr std::size_t kRemembered = 40;

/// Who waits is not told where waiters have died and nobody has written since.
enum class Waiters : std::uint8_t { kShown, kHidden };

std::string LocksOf(engine::Engine& engine, Waiters waiters) {
  std::vector<Lock> locks = Must(engine.ListLocks({}, {.limit = 1'000})).items;
  if (waiters == Waiters::kHidden) {
    for (Lock& lock : locks) {
      lock.waiters.clear();
      lock.limit.reset();  // of those, too
    }
    std::erase_if(locks, [](const Lock& lock) { return lock.holders.empty(); });
  }
  return TextOf(locks);
}

std::string TrailOf(engine::Engine& engine, Time since) {
  std::string text;
  AuditFilter filter{.since = since, .limit = 1'000};
  do {
    AuditPage page = Must(engine.ListAudit({}, filter));
    text += TextOf(page.items);
    filter.cursor = page.next_cursor;
  } while (!filter.cursor.empty());
  return text;
}

std::string TextOfAll(engine::Engine& engine, Waiters waiters, Time since) {
  std::string text = LocksOf(engine, waiters);
  JobFilter jobs{.limit = 1'000};
  do {
    JobPage page = Must(engine.ListJobs({}, jobs));
    text += TextOf(page.items);
    jobs.cursor = page.next_cursor;
  } while (!jobs.cursor.empty());
  text += TextOf(Must(engine.ListQueues({}, {})).items);
  const std::vector<Kind> kinds = Must(engine.ListKinds({}));
  text += TextOf(kinds);
  for (const Kind& kind : kinds) {
    text += TextOf(Must(engine.ListRecords({}, {.kind = kind.name, .limit = 1'000})).items);
  }
  text += TextOf(Must(engine.ListTransfers({}, {.limit = 1'000})).items);
  return text + TrailOf(engine, since);
}

std::string TextOf(const engine::MaintainResult& result) {
  const MaintainReport& report = result.report;
  std::string text;
  for (std::int64_t count :
       {report.promoted, report.expired, report.pruned, report.lapsed, report.unlocked}) {
    text += std::to_string(count) + " ";
  }
  return text + (report.more ? "more " : "") + testing::TextOf(result.expired);
}

/// Where they part, with what is around it.
std::string Difference(std::string_view expected, std::string_view actual) {
  auto [one, other] = std::ranges::mismatch(expected, actual);
  const auto at = static_cast<std::size_t>(one - expected.begin());
  const std::size_t from = at > 200 ? at - 200 : 0;
  return "\nexpected ..." + std::string(expected.substr(from, 500)) + "\ngot      ..." +
         std::string(actual.substr(from, 500));
}

}  // namespace

Twin::Twin() : engine_(Must(engine::OpenMemory({.clock = &clock_, .maintain = false}))) {}

void Twin::Trace(std::string_view text) {
  for (char c : text) {
    trace_ = (trace_ ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  if (last_.size() == kRemembered) last_.pop_front();
  last_.emplace_back(text.substr(0, 200));
}

void Twin::Violate(std::string what) {
  if (!violation_.empty()) return;
  violation_ = std::move(what) + "\nwhat led to it:";
  for (const std::string& text : last_) violation_ += "\n  " + text;
}

void Twin::Expect(std::string_view what, const std::string& expected, const std::string& actual) {
  Trace(actual);
  if (expected != actual) Violate(std::string(what) + Difference(expected, actual));
}

template <typename T>
Twin::Fate Twin::FateOf(const Result<T>& answer) {
  if (answer) return Fate::kDone;
  switch (answer.error().code) {
    case ErrorCode::kOutcomeUnknown:
      return Fate::kUnknown;
    case ErrorCode::kUnavailable:
    case ErrorCode::kShuttingDown:
    case ErrorCode::kCancelled:
      return Fate::kNotDone;
    default:
      return Fate::kRefused;
  }
}

Result<Receipt> Twin::Commit(const Context& context, const Batch& batch) {
  Result<Receipt> answer = engine_->CommitAndWait(context.ForCleanUp(), batch);
  if (const auto* wait = std::get_if<AwaitLock>(&batch.operations.front())) {
    const AcquireLock& request = wait->request;
    const std::int64_t ticket = answer ? answer->results.front().lock->ticket : 0;
    if (ticket != 0) {
      places_[ticket] = request.names.empty() ? std::vector{request.name} : request.names;
    }
  }
  return answer;
}

Result<std::vector<Job>> Twin::Claim(const Context& context, const ClaimRequest& request) {
  Result<std::vector<Job>> jobs;
  engine_->Claim(context.ForCleanUp(), request,
                 [&](Result<std::vector<Job>> answer) { jobs = std::move(answer); });
  return jobs;
}

void Twin::Mirror(const Context& context, const std::vector<Batch>& batches,
                  const std::vector<Result<Receipt>>& answers) {
  if (is_probing_) return;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    const Result<Receipt>& answer = answers[i];
    operations_ += batches[i].operations.size();
    switch (FateOf(answer)) {
      case Fate::kDone:
      case Fate::kRefused:
        Trace(wire::ToText(wire::WriteBatch, batches[i]));
        Expect("a batch was answered wrongly: ", testing::TextOf(Commit(context, batches[i])),
               testing::TextOf(answer));
        if (answer) NoteTokens(*answer, batches[i]);
        break;
      case Fate::kUnknown:
        Postpone([this, context, batch = batches[i]] { (void)Commit(context, batch); },
                 batches[i].idempotency_key);
        [[fallthrough]];
      case Fate::kNotDone:
        Trace(answer.error().message);
    }
  }
}

void Twin::Mirror(const Context& context, const ClaimRequest& request,
                  const Result<std::vector<Job>>& answer) {
  ++operations_;
  switch (FateOf(answer)) {
    case Fate::kDone:
    case Fate::kRefused:
      Expect("a claim was answered wrongly: ", testing::TextOf(Claim(context, request)),
             testing::TextOf(answer));
      if (!answer) break;
      for (const Job& job : *answer) NoteToken(job.token);
      break;
    case Fate::kUnknown:
      Postpone([this, context, request] { (void)Claim(context, request); });
      [[fallthrough]];
    case Fate::kNotDone:
      Trace(answer.error().message);
  }
}

void Twin::Mirror(const Context& context, const engine::MaintainRequest& request,
                  const Result<engine::MaintainResult>& answer) {
  ++operations_;
  switch (FateOf(answer)) {
    case Fate::kDone:
      Expect("maintenance was not the same: ",
             TextOf(Must(engine_->Maintain(context.ForCleanUp(), request))), TextOf(*answer));
      break;
    case Fate::kUnknown:
      Postpone(
          [this, context, request] { (void)engine_->Maintain(context.ForCleanUp(), request); });
      [[fallthrough]];
    case Fate::kNotDone:
      Trace(answer.error().message);
      break;
    case Fate::kRefused:
      Violate("maintenance failed: " + answer.error().message);
  }
}

void Twin::Postpone(std::function<void()> work, std::string idempotency_key) {
  ++unknown_count_;
  unknown_.push_back({Must(engine_->Now()), std::move(work), std::move(idempotency_key)});
}

/// An idle edit leaves nothing else. A batch that changes nothing, because its guard fails, is
/// refused for its key where the key is known.
bool Twin::HasLeftKey(engine::Engine& subject) {
  auto knows = [](engine::Engine& engine, const std::string& key) {
    Result<Receipt> probed =
        engine.CommitAndWait({}, {.guards = {VersionGuard{{"nothing", "nothing"}, 1}},
                                  .operations = {EnqueueJob{{.kind = "nothing"}}},
                                  .idempotency_key = key});
    return !probed && probed.error().code == ErrorCode::kIdempotencyMismatch;
  };
  is_probing_ = true;
  const bool has_left_key = std::ranges::any_of(unknown_, [&](const Unknown& one) {
    const std::string& key = one.idempotency_key;
    return !key.empty() && knows(subject, key) && !knows(*engine_, key);
  });
  is_probing_ = false;
  return has_left_key;
}

/// Tokens rise from grant to grant, whatever came between (LOCK-3, JOB-4).
void Twin::NoteToken(Token token) {
  if (token <= last_token_) {
    Violate("token " + std::to_string(token) + " was given out after " +
            std::to_string(last_token_));
  }
  last_token_ = std::max(last_token_, token);
}

void Twin::NoteTokens(const Receipt& receipt, const Batch& batch) {
  if (receipt.replayed) return;
  for (std::size_t i = 0; i < batch.operations.size() && i < receipt.results.size(); ++i) {
    const OperationResult& result = receipt.results[i];
    if (std::holds_alternative<ClaimJob>(batch.operations[i]) && result.job) {
      NoteToken(result.job->token);
    }
    if (!std::holds_alternative<AcquireLock>(batch.operations[i]) || !result.lock) continue;
    for (const LockGrant& grant : result.lock->grants) NoteToken(grant.token);
  }
}

void Twin::SetTo(Time time) {
  clock_.Advance(time - Must(engine_->Now()));
}

void Twin::Reconcile(engine::Engine& subject) {
  SetTo(Must(subject.Now()));
  const std::string actual = TextOfAll(subject, Waiters::kHidden, compared_);
  if (TextOfAll(*engine_, Waiters::kHidden, compared_) != actual || HasLeftKey(subject)) {
    for (const Unknown& one : unknown_) {
      SetTo(one.at);
      one.work();
    }
    SetTo(Must(subject.Now()));
    Expect("after a crash, with " + std::to_string(unknown_.size()) + " calls unknown: ",
           TextOfAll(*engine_, Waiters::kHidden, compared_), actual);
  }
  unknown_.clear();
  RemoveWaiters();
}

/// From the end of the line to its head, and at a time at which no lease has run out: so nobody is
/// given anything.
void Twin::RemoveWaiters() {
  const Time now = Must(engine_->Now());
  SetTo(Time());
  for (const auto& [ticket, names] : std::views::reverse(places_)) {
    (void)Commit({}, {.operations = {LeaveLock{names, ticket}}});
  }
  places_.clear();
  SetTo(now);
}

void Twin::Compare(engine::Engine& subject) {
  Expect("the stores differ: ", TextOfAll(*engine_, Waiters::kShown, compared_),
         TextOfAll(subject, Waiters::kShown, compared_));
  compared_ = Must(engine_->Now());
}

TwinEngine::TwinEngine(std::unique_ptr<engine::Engine> subject, Twin& twin)
    : FaultyEngine(std::move(subject)), traits_(FaultyEngine::traits()), twin_(twin) {
  traits_.has_threads = false;
}

/// In the order in which the calls were made, which is that in which they were done: an engine that
/// commits on the caller's thread answers one only after those that its news has led to.
Twin::Call Twin::Begin() {
  return calls_.emplace_back(std::make_shared<std::function<void()>>());
}

void Twin::Done(const Call& call, std::function<void()> mirror) {
  *call = std::move(mirror);
  while (!calls_.empty() && *calls_.front()) {
    const Call next = std::move(calls_.front());
    calls_.pop_front();
    (*next)();
  }
}

void TwinEngine::Commit(const Context& context, std::vector<Batch> batches, CommitDone done) {
  FaultyEngine::Commit(context, batches,
                       [&twin = twin_, call = twin_.Begin(), context, batches,
                        done = std::move(done)](std::vector<Result<Receipt>> answers) mutable {
                         twin.Done(call, [&twin, context, batches = std::move(batches), answers] {
                           twin.Mirror(context, batches, answers);
                         });
                         done(std::move(answers));
                       });
}

void TwinEngine::Claim(const Context& context, ClaimRequest request, ClaimDone done) {
  FaultyEngine::Claim(context, request,
                      [&twin = twin_, call = twin_.Begin(), context, request,
                       done = std::move(done)](Result<std::vector<Job>> answer) mutable {
                        twin.Done(call, [&twin, context, request = std::move(request), answer] {
                          twin.Mirror(context, request, answer);
                        });
                        done(std::move(answer));
                      });
}

Result<engine::MaintainResult> TwinEngine::Maintain(const Context& context,
                                                    engine::MaintainRequest request) {
  const Twin::Call call = twin_.Begin();
  Result<engine::MaintainResult> answer = FaultyEngine::Maintain(context, request);
  twin_.Done(call, [this, &context, &request, &answer] { twin_.Mirror(context, request, answer); });
  return answer;
}

}  // namespace holdfast::testing
