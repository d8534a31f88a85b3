#include "store/next_acquirer.h"

#include <algorithm>
#include <utility>

#include "base/result.h"
#include "store/commit_one.h"

namespace holdfast::store {
namespace {

bool LetsThrough(const RecordFilter& filter, const Record& record) {
  return (filter.status.empty() || record.status == filter.status) &&
         (!filter.parent || record.parent == filter.parent);
}

}  // namespace

NextAcquirer::NextAcquirer(Store& store, const Context& context, RecordFilter filter,
                           AcquireLock request, AcquireNextDone done)
    : store_(store),
      context_(context),
      filter_(std::move(filter)),
      request_(std::move(request)),
      done_(std::move(done)) {
  request_.policy = LockPolicy::kAny;
  filter_.limit = 100;
  filter_.cursor.clear();
}

void NextAcquirer::Start() {
  TakePage();
}

void NextAcquirer::TakePage() {
  Result<RecordPage> page = store_.ListRecords(context_, filter_);
  if (!page) return done_(std::unexpected(std::move(page).error()));
  page_ = *std::move(page);
  request_.names.clear();
  for (const Record& record : page_.items) request_.names.push_back(LockNameOf(record.key()));
  TryPage();
}

void NextAcquirer::TryPage() {
  if (!request_.names.empty()) {
    return store_.AcquireAsync(context_, request_,
                               [self = shared_from_this()](Result<std::vector<LockGrant>> answer) {
                                 self->OnAnswer(std::move(answer));
                               });
  }
  filter_.cursor = page_.next_cursor;
  if (filter_.cursor.empty()) return done_(std::nullopt);
  TakePage();
}

void NextAcquirer::OnAnswer(Result<std::vector<LockGrant>> answer) {
  if (answer) return OnGrant(std::move(answer->front()));
  if (answer.error().code != ErrorCode::kBusy) {
    return done_(std::unexpected(std::move(answer).error()));
  }
  request_.names.clear();  // all of this page are taken
  TryPage();
}

void NextAcquirer::OnGrant(LockGrant grant) {
  auto of_grant = [&](const Record& record) { return LockNameOf(record.key()) == grant.name; };
  const RecordKey key = std::ranges::find_if(page_.items, of_grant)->key();
  // It may have changed between the list and the lock: what is read now stays.
  Result<std::optional<Record>> now = store_.GetRecord(context_, key);
  if (now && *now && LetsThrough(filter_, **now)) {
    return done_(LockedRecord{std::move(grant), **std::move(now)});
  }
  std::erase(request_.names, grant.name);
  auto next = [self = shared_from_this(), now = std::move(now)] {
    if (!now) return self->done_(std::unexpected(now.error()));
    self->TryPage();
  };
  GiveBack(grant, std::move(next));
}

void NextAcquirer::GiveBack(const LockGrant& grant, std::function<void()> next) {
  store_.CommitAsync(context_.ForCleanUp(), ReleaseEach(std::vector{grant}),
                     [next = std::move(next)](const std::vector<Result<Receipt>>&) { next(); });
}

}  // namespace holdfast::store
