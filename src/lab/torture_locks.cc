// Locks under attack (S7, S8, S11): nobody beside the holder, nobody stuck, and a holder whose time
// is over harms nothing.
#include <fmt/format.h>

#include "lab/mix.h"
#include "lab/scenarios.h"

namespace holdfast::lab {
namespace {

constexpr Duration kLineWait = std::chrono::seconds(50);

AcquireLock Request(Arena& arena, const Attacker& attacker, std::string_view name) {
  return {.name = arena.Own(name),
          .owner = fmt::format("owner-{}", attacker.number),
          .ttl = kLongLease,
          .wait = kLineWait};
}

Result<RecordKey> MakeGuarded(Arena& arena) {
  HF_ASSIGN_OR_RETURN(std::string kind, arena.Declare("torture-counter-unbounded", "{}"));
  return arena.Make(kind, "guarded", {{"n", 0}});
}

}  // namespace

Result<void> AttackLock(Arena& arena) {
  const int threads = arena.threads();
  const int each = arena.Size(4);
  // What nothing else protects: read, think, write.
  std::atomic<std::int64_t> plain = 0;
  std::atomic<int> inside = 0;
  std::atomic<std::int64_t> met = 0;
  Tally tally = arena.Attack(threads, [&](Attacker& attacker) {
    for (int i = 0; i < each && !arena.Over(); ++i) {
      auto grants = attacker.client.Acquire(Request(arena, attacker, "lock"));
      if (!grants) continue;
      if (inside.fetch_add(1) != 0) ++met;
      const std::int64_t seen = plain.load();
      std::this_thread::yield();
      plain.store(seen + 1);
      inside.fetch_sub(1);
      (void)attacker.client.Do(ReleaseLock{grants->front().name, grants->front().token});
    }
  });
  arena.ExpectAnswers(tally, std::int64_t{2} * threads * each, ErrorCode::kBusy, 0);
  arena.Expect("holders that met another one", 0, met);
  arena.Expect("the unprotected number", std::int64_t{threads} * each, plain);
  return {};
}

Result<void> AttackSemaphore(Arena& arena) {
  constexpr int kPlaces = 3;
  const int threads = arena.threads();
  const int each = arena.Size(3);
  std::atomic<int> inside = 0;
  std::atomic<std::int64_t> too_many = 0;
  Tally tally = arena.Attack(threads, [&](Attacker& attacker) {
    for (int i = 0; i < each && !arena.Over(); ++i) {
      AcquireLock request = Request(arena, attacker, "semaphore");
      request.mode = LockMode::kShared;
      request.limit = kPlaces;
      auto grants = attacker.client.Acquire(request);
      if (!grants) continue;
      if (inside.fetch_add(1) >= kPlaces) ++too_many;
      std::this_thread::yield();
      inside.fetch_sub(1);
      (void)attacker.client.Do(ReleaseLock{grants->front().name, grants->front().token});
    }
  });
  arena.ExpectAnswers(tally, std::int64_t{2} * threads * each, ErrorCode::kBusy, 0);
  arena.Expect("holders beyond the limit", 0, too_many);
  return {};
}

Result<void> AttackLockPairs(Arena& arena) {
  const int threads = arena.threads();
  const int each = arena.Size(3);
  // Half of them name the two locks the other way round.
  Tally tally = arena.Attack(threads, [&](Attacker& attacker) {
    for (int i = 0; i < each && !arena.Over(); ++i) {
      AcquireLock request = Request(arena, attacker, "");
      request.name.clear();
      request.names = {arena.Own("left"), arena.Own("right")};
      if (attacker.number % 2 != 0) std::swap(request.names[0], request.names[1]);
      auto grants = attacker.client.Acquire(request);
      if (!grants) continue;
      Batch release;
      for (const LockGrant& grant : *grants) {
        release.operations.emplace_back(ReleaseLock{grant.name, grant.token});
      }
      (void)attacker.client.Commit(std::move(release));
    }
  });
  arena.ExpectAnswers(tally, std::int64_t{2} * threads * each, ErrorCode::kDeadlock, 0);
  return {};
}

Result<void> AttackStaleHolder(Arena& arena) {
  HF_ASSIGN_OR_RETURN(RecordKey key, MakeGuarded(arena));
  const int threads = arena.threads();
  const std::string name = arena.Own("lock");
  AcquireLock request{.name = name, .owner = "paused", .ttl = kLongLease};
  HF_ASSIGN_OR_RETURN(std::vector<LockGrant> stale, arena.client().Acquire(request));
  HF_RETURN_IF_ERROR(arena.client().Do(BreakLock{name, "it was paused for too long"}));
  request.owner = "successor";
  HF_ASSIGN_OR_RETURN(std::vector<LockGrant> good, arena.client().Acquire(request));
  Tally tally = arena.Attack(threads, [&](Attacker& attacker) {
    const bool is_stale = attacker.number % 2 != 0;
    const Token token = is_stale ? stale.front().token : good.front().token;
    (void)attacker.client.Do(IncrementRecord{On(key), "/n"}, {LockGuard{name, token}});
    // The one whose time is over can neither give back nor prolong what is another's now.
    if (!is_stale) return;
    (void)attacker.client.Do(ReleaseLock{name, token});
    (void)attacker.client.Do(RenewLock{name, token, kLongLease});
  });
  const int successors = (threads + 1) / 2;
  arena.ExpectAnswers(tally, successors, ErrorCode::kFenced, std::int64_t{3} * (threads / 2));
  HF_ASSIGN_OR_RETURN(std::int64_t sum, arena.NumberOf(key, "n"));
  arena.Expect("changes under the good token", successors, sum);
  HF_ASSIGN_OR_RETURN(Lock lock, arena.client().GetLock(name));
  arena.Expect("holders", 1, static_cast<std::int64_t>(lock.holders.size()));
  HF_RETURN_IF_ERROR(arena.client().Do(ReleaseLock{name, good.front().token}));
  return {};
}

Result<void> AttackNextFree(Arena& arena) {
  const int threads = arena.threads();
  std::vector<std::string> names;
  for (int i = 0; i < threads; ++i) names.push_back(arena.Own(fmt::format("lock-{:03}", i)));
  // As many locks as threads, each of which takes the first that is free: everybody gets one.
  std::vector<LockGrant> got(static_cast<std::size_t>(threads));
  Tally tally = arena.Attack(threads, [&](Attacker& attacker) {
    AcquireLock request = Request(arena, attacker, "");
    request.name.clear();
    request.names = names;
    request.policy = LockPolicy::kAny;
    request.wait.reset();
    auto grants = attacker.client.Acquire(request);
    if (grants) got[static_cast<std::size_t>(attacker.number)] = grants->front();
  });
  arena.ExpectAnswers(tally, threads, ErrorCode::kBusy, 0);
  HF_ASSIGN_OR_RETURN(LockPage page,
                      arena.store().ListLocks({}, {.prefix = arena.Own("lock-"), .limit = 1'000}));
  arena.Expect("locks that are held", std::min(threads, 1'000),
               static_cast<std::int64_t>(page.items.size()));
  for (const LockGrant& grant : got) {
    if (grant.token == 0) continue;
    HF_RETURN_IF_ERROR(arena.client().Do(ReleaseLock{grant.name, grant.token}));
  }
  return {};
}

}  // namespace holdfast::lab
