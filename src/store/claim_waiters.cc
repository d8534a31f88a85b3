#include "store/claim_waiters.h"

#include <algorithm>

#include "base/mutant.h"

namespace holdfast::store {

using base::MutexLock;

namespace {

constexpr std::size_t kQueuesPerLook = 1000;

}  // namespace

void ClaimWaiters::Wait(const Context& context, ClaimRequest request, ClaimDone done) {
  auto waiter = std::make_shared<Waiter>();
  waiter->context = context;
  waiter->deadline = clock_.Steady() + request.wait;
  if (context.deadline) waiter->deadline = std::min(waiter->deadline, *context.deadline);
  waiter->request = std::move(request);
  waiter->done = std::move(done);
  Ticket ticket = 0;
  bool is_closed = false;
  {
    MutexLock lock(mutex_);
    is_closed = is_closed_;
    if (!is_closed) {
      ticket = ++last_ticket_;
      waiters_.emplace(ticket, waiter);
      trying_.insert(ticket);
      deadlines_.emplace(waiter->deadline, ticket);
      ++size_;
    }
  }
  if (is_closed) return Answer(waiter, std::vector<Job>());
  // May run at once, if the context is already stopped: then the try below is the last.
  waiter->on_stop.emplace(context.stop, [this, ticket] {
    End(ticket, Fail(ErrorCode::kCancelled, "the context was cancelled while waiting for a job"));
  });
  on_deadline_(waiter->deadline);
  Try(ticket, waiter);
}

void ClaimWaiters::Try(Ticket ticket, const WaiterPtr& waiter) {
  engine_.Claim(waiter->context, waiter->request,
                [this, ticket, waiter](Result<std::vector<Job>> result) {
                  OnTried(ticket, waiter, std::move(result));
                });
}

void ClaimWaiters::OnTried(Ticket ticket, const WaiterPtr& waiter,
                           Result<std::vector<Job>> result) {
  bool is_over = true;
  {
    MutexLock lock(mutex_);
    if (result && result->empty()) {
      if (waiter->ending) {
        if (!*waiter->ending) result = std::unexpected(waiter->ending->error());
      } else if (waiter->was_signalled && !HF_MUTANT(claim_not_woken)) {
        waiter->was_signalled = false;  // a job came between the look and here: look again
        is_over = false;
      } else {
        waiter->woken_for.clear();  // another claim has taken these jobs
        waiter->looks_for.clear();
        Park(ticket, *waiter);
        return;
      }
    }
    if (is_over) Remove(ticket, *waiter);
  }
  if (!is_over) return Try(ticket, waiter);
  if (waiter->was_woken && !HF_MUTANT(wake_up_not_passed_on)) PassOn(*waiter, result);
  // Jobs that were claimed are handed out even if the caller has given up meanwhile: it must not
  // lose them unseen.
  Answer(waiter, std::move(result));
}

/// A job that woke this waiter, and that it did not take, is there for the next one: it gave up, or
/// it took a job of another queue.
void ClaimWaiters::PassOn(const Waiter& waiter, const Result<std::vector<Job>>& result) {
  for (const std::string& queue : waiter.woken_for) {
    const bool has_taken =
        result && (HF_MUTANT(other_queue_not_passed_on) ||
                   std::ranges::find(*result, queue, &Job::queue) != result->end());
    if (!has_taken) OnReady(queue, "", 1);
  }
  for (const std::string& queue : waiter.looks_for) WakeFirst(queue, &waiter.request.kinds);
}

void ClaimWaiters::OnReady(const std::string& queue, const std::string& kind, std::int64_t count) {
  if (size_.load() == 0) return;
  std::vector<std::pair<Ticket, WaiterPtr>> woken;
  {
    MutexLock lock(mutex_);
    for (Ticket ticket : trying_) waiters_.at(ticket)->was_signalled = true;
    for (Ticket ticket : ChooseParked(queue, kind, count)) {
      const WaiterPtr& waiter = waiters_.at(ticket);
      Unpark(ticket, *waiter);
      waiter->woken_for.push_back(queue);
      woken.emplace_back(ticket, waiter);
    }
  }
  for (auto& [ticket, waiter] : woken) Try(ticket, waiter);
}

/// The first that take jobs of this kind, one for each job. While the kind is not known, a waiter
/// for certain kinds may find nothing: it is woken, too, but takes no place of another. Of each
/// list of kinds no more are woken than there are jobs.
std::vector<ClaimWaiters::Ticket> ClaimWaiters::ChooseParked(std::string_view queue,
                                                             std::string_view kind,
                                                             std::int64_t count) const {
  static const std::set<Ticket> kNone;
  auto parked_for = [&](std::string_view name) HF_REQUIRES(mutex_) -> const std::set<Ticket>& {
    auto parked = parked_.find(name);
    return parked == parked_.end() ? kNone : parked->second;
  };
  const std::set<Ticket>& here = parked_for(queue);
  const std::set<Ticket>& anywhere = parked_for("");
  auto next_here = here.begin();
  auto next_anywhere = anywhere.begin();
  std::vector<Ticket> chosen;
  const std::int64_t jobs = count;
  std::map<std::vector<std::string>, std::int64_t> chosen_of;  // by list of kinds
  while (count > 0 && (next_here != here.end() || next_anywhere != anywhere.end())) {
    const bool is_here =
        next_anywhere == anywhere.end() || (next_here != here.end() && *next_here < *next_anywhere);
    const Ticket ticket = is_here ? *next_here++ : *next_anywhere++;
    const std::vector<std::string>& kinds = waiters_.at(ticket)->request.kinds;
    if (kinds.empty() || std::ranges::find(kinds, kind) != kinds.end()) {
      --count;
    } else if (!kind.empty() || chosen_of[kinds]++ >= jobs) {
      continue;
    }
    chosen.push_back(ticket);
  }
  return chosen;
}

bool ClaimWaiters::Look(bool is_news) {
  if (size_.load() == 0) return false;
  std::vector<std::string> queues;
  bool has_more = false;
  {
    MutexLock lock(mutex_);
    if (is_news) {
      for (Ticket ticket : trying_) waiters_.at(ticket)->was_signalled = true;
      begins_anew_ = is_looking_;
      is_looking_ = true;
    }
    queues = NextQueues();
    has_more = is_looking_;
  }
  // What is parked from now on looks first. A look that begins anew has its queues next time.
  if (queues.empty()) return has_more;
  Result<std::vector<std::string>> ready = engine_.FindReady(Context(), queues);
  if (ready && !HF_MUTANT(news_wakes_all_queues)) queues = *std::move(ready);
  for (const std::string& queue : queues) WakeFirst(queue, nullptr);
  return has_more;
}

/// In the order of their names, from where the last look ended.
std::vector<std::string> ClaimWaiters::NextQueues() {
  std::vector<std::string> queues;
  if (!is_looking_) return queues;
  auto next = looked_at_ ? parked_.upper_bound(*looked_at_) : parked_.begin();
  while (next != parked_.end() && queues.size() < kQueuesPerLook) queues.push_back(next++->first);
  if (next != parked_.end()) {
    looked_at_ = queues.back();
  } else {
    looked_at_.reset();
    is_looking_ = std::exchange(begins_anew_, false);
  }
  return queues;
}

/// The first claim that waits for this queue ("": for any) with these kinds; without them, the
/// first for each list of kinds, because a look of one says nothing about another.
void ClaimWaiters::WakeFirst(const std::string& queue, const std::vector<std::string>* kinds) {
  std::vector<std::pair<Ticket, WaiterPtr>> woken;
  {
    MutexLock lock(mutex_);
    auto parked = parked_.find(queue);
    if (parked == parked_.end()) return;
    std::set<std::vector<std::string>> seen;
    for (Ticket ticket : parked->second) {
      const WaiterPtr& waiter = waiters_.at(ticket);
      if (kinds != nullptr && waiter->request.kinds != *kinds) continue;
      if (!seen.insert(waiter->request.kinds).second) continue;
      woken.emplace_back(ticket, waiter);
      if (kinds != nullptr) break;
    }
    for (auto& [ticket, waiter] : woken) {
      Unpark(ticket, *waiter);
      waiter->looks_for.push_back(queue);
    }
  }
  for (auto& [ticket, waiter] : woken) Try(ticket, waiter);
}

void ClaimWaiters::End(Ticket ticket, Result<void> why) {
  WaiterPtr waiter;
  {
    MutexLock lock(mutex_);
    auto found = waiters_.find(ticket);
    if (found == waiters_.end()) return;
    waiter = found->second;
    if (waiter->state == State::kTrying) {
      waiter->ending = std::move(why);
      return;
    }
    Unpark(ticket, *waiter);
    Remove(ticket, *waiter);
  }
  if (why) {
    Answer(waiter, std::vector<Job>());
  } else {
    Answer(waiter, std::unexpected(std::move(why).error()));
  }
}

std::optional<SteadyTime> ClaimWaiters::Expire(SteadyTime now) {
  if (size_.load() == 0) return std::nullopt;
  std::vector<std::pair<Ticket, Result<void>>> expired;
  std::optional<SteadyTime> next;
  {
    MutexLock lock(mutex_);
    for (const auto& [deadline, ticket] : deadlines_) {
      if (deadline > now) {
        next = deadline;
        break;
      }
      const Waiter& waiter = *waiters_.at(ticket);
      // The wait being over is an answer; the context being over is an error (CTX-1).
      expired.emplace_back(ticket, waiter.context.deadline && *waiter.context.deadline <= now
                                       ? Result<void>(Fail(ErrorCode::kDeadlineExceeded,
                                                           "the context's deadline passed while "
                                                           "waiting for a job"))
                                       : Result<void>());
    }
  }
  for (auto& [ticket, why] : expired) End(ticket, std::move(why));
  return next;
}

void ClaimWaiters::Close() {
  std::vector<Ticket> tickets;
  {
    MutexLock lock(mutex_);
    is_closed_ = true;
    for (const auto& [ticket, waiter] : waiters_) tickets.push_back(ticket);
  }
  for (Ticket ticket : tickets) End(ticket, {});
}

void ClaimWaiters::Park(Ticket ticket, Waiter& waiter) {
  waiter.state = State::kParked;
  trying_.erase(ticket);
  if (waiter.request.queues.empty()) parked_[""].insert(ticket);
  for (const std::string& queue : waiter.request.queues) parked_[queue].insert(ticket);
}

void ClaimWaiters::Unpark(Ticket ticket, Waiter& waiter) {
  waiter.state = State::kTrying;
  waiter.was_woken = true;
  trying_.insert(ticket);
  auto leave = [&](std::string_view queue) HF_REQUIRES(mutex_) {
    auto parked = parked_.find(queue);
    if (parked == parked_.end()) return;
    parked->second.erase(ticket);
    if (parked->second.empty()) parked_.erase(parked);
  };
  if (waiter.request.queues.empty()) leave("");
  for (const std::string& queue : waiter.request.queues) leave(queue);
}

void ClaimWaiters::Remove(Ticket ticket, Waiter& waiter) {
  trying_.erase(ticket);
  deadlines_.erase({waiter.deadline, ticket});
  waiters_.erase(ticket);
  --size_;
}

void ClaimWaiters::Answer(const WaiterPtr& waiter, Result<std::vector<Job>> result) {
  // The completion is called once and may hold much: let it go as soon as it has run. The stop
  // callback goes with the waiter, under no lock, because its end waits for a call under way.
  ClaimDone done = std::move(waiter->done);
  done(std::move(result));
}

}  // namespace holdfast::store
