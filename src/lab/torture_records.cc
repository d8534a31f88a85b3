// JSON fields, counters, versions and idempotency under attack (S3, S6, S10, S18).
#include <fmt/format.h>

#include <set>

#include "lab/scenarios.h"

namespace holdfast::lab {
namespace {

constexpr const char* kCounterKind = "torture-counter-unbounded";

Result<RecordKey> MakeDocument(Arena& arena, const Json& data) {
  HF_ASSIGN_OR_RETURN(std::string kind, arena.Declare(kCounterKind, "{}"));
  return arena.Make(kind, "1", data);
}

/// `body(attacker, i)` for every i below `count`, shared out among the threads.
template <typename Body>
Tally Share(Arena& arena, int count, Body body) {
  const int threads = std::min(arena.threads(), count);
  return arena.Attack(threads, [&](Attacker& attacker) {
    for (int i = attacker.number; i < count && !arena.Over(); i += threads) body(attacker, i);
  });
}

/// Every value of the array, which must be numbers.
std::vector<int> NumbersIn(const Json& array) {
  std::vector<int> numbers;
  for (const Json& value : array) {
    if (value.is_number_integer()) numbers.push_back(value.get<int>());
  }
  return numbers;
}

}  // namespace

Result<void> AttackIncrements(Arena& arena) {
  const int count = arena.Size(100);
  HF_ASSIGN_OR_RETURN(RecordKey key, MakeDocument(arena, {{"n", 0}}));
  Tally tally = Share(arena, count, [&](Attacker& attacker, int) {
    (void)attacker.client.Do(IncrementRecord{On(key), "/n"});
  });
  arena.ExpectAnswers(tally, count, ErrorCode::kVersionMismatch, 0);
  HF_ASSIGN_OR_RETURN(std::int64_t sum, arena.NumberOf(key, "n"));
  arena.Expect("the counter", count, sum);
  return arena.ExpectVersion(key, 1 + count);
}

Result<void> AttackAppends(Arena& arena) {
  const int count = arena.Size(200);
  HF_ASSIGN_OR_RETURN(RecordKey key, MakeDocument(arena, {{"list", Json::array()}}));
  Tally tally = Share(arena, count, [&](Attacker& attacker, int i) {
    (void)attacker.client.Do(AppendRecord{On(key), "/list", fmt::to_string(i)});
  });
  arena.ExpectAnswers(tally, count, ErrorCode::kVersionMismatch, 0);
  HF_ASSIGN_OR_RETURN(Record record, arena.Load(key));
  const std::vector<int> there = NumbersIn(DataOf(record)["list"]);
  arena.Expect("values in the array", count, static_cast<std::int64_t>(there.size()));
  const std::set<int> distinct(there.begin(), there.end());
  arena.Expect("different values", count, static_cast<std::int64_t>(distinct.size()));
  return arena.ExpectVersion(key, 1 + count);
}

Result<void> AttackCappedAppends(Arena& arena) {
  const int count = arena.Size(150);
  const int cap = count * 2 / 3;
  HF_ASSIGN_OR_RETURN(RecordKey key, MakeDocument(arena, {{"list", Json::array()}}));
  std::vector<int> version_of(static_cast<std::size_t>(count));  // in which it was appended
  Tally tally = Share(arena, count, [&](Attacker& attacker, int i) {
    Result<OperationResult> done =
        attacker.client.Do(AppendRecord{On(key), "/list", fmt::to_string(i), cap});
    if (done) version_of[static_cast<std::size_t>(i)] = static_cast<int>(done->record->version);
  });
  arena.ExpectAnswers(tally, count, ErrorCode::kVersionMismatch, 0);
  HF_ASSIGN_OR_RETURN(Record record, arena.Load(key));
  const std::vector<int> there = NumbersIn(DataOf(record)["list"]);
  arena.Expect("values in the array", cap, static_cast<std::int64_t>(there.size()));
  int wrong = 0;
  for (std::size_t i = 0; i < there.size(); ++i) {
    const int expected = 2 + count - cap + static_cast<int>(i);  // version 1 had none
    if (version_of[static_cast<std::size_t>(there[i])] != expected) ++wrong;
  }
  arena.Expect("values that are not the newest, in their order", 0, wrong);
  return arena.ExpectVersion(key, 1 + count);
}

Result<void> AttackMerges(Arena& arena) {
  const int count = arena.Size(arena.threads());
  HF_ASSIGN_OR_RETURN(RecordKey key, MakeDocument(arena, Json::object()));
  Tally tally = Share(arena, count, [&](Attacker& attacker, int i) {
    (void)attacker.client.Do(MergeRecord{On(key), fmt::format(R"({{"k{}":{}}})", i, i)});
  });
  arena.ExpectAnswers(tally, count, ErrorCode::kVersionMismatch, 0);
  HF_ASSIGN_OR_RETURN(Record record, arena.Load(key));
  const Json data = DataOf(record);
  std::int64_t there = 0;
  for (int i = 0; i < count; ++i) there += data.value(fmt::format("k{}", i), -1) == i ? 1 : 0;
  arena.Expect("keys that were merged", count, there);
  return arena.ExpectVersion(key, 1 + count);
}

Result<void> AttackCounters(Arena& arena) {
  constexpr int kThreads = 10;
  const int each = arena.Size(1'000);
  HF_ASSIGN_OR_RETURN(RecordKey key, MakeDocument(arena, {{"n", 0}}));
  Tally tally = arena.Attack(kThreads, [&](Attacker& attacker) {
    for (int i = 0; i < each && !arena.Over(); ++i) {
      (void)attacker.client.Do(IncrementRecord{On(key), "/n"});
    }
  });
  arena.ExpectAnswers(tally, kThreads * each, ErrorCode::kVersionMismatch, 0);
  HF_ASSIGN_OR_RETURN(std::int64_t sum, arena.NumberOf(key, "n"));
  arena.Expect("the counter", kThreads * each, sum);
  return arena.ExpectVersion(key, 1 + kThreads * each);
}

Result<void> AttackVersions(Arena& arena) {
  HF_ASSIGN_OR_RETURN(RecordKey key, MakeDocument(arena, {{"n", 0}}));
  const int threads = arena.threads();
  // All of them believe in version 1: one is right.
  Tally first = arena.Attack(threads, [&](Attacker& attacker) {
    (void)attacker.client.Do(ReplaceRecord{On(key, 1), R"({"n":0,"first":true})"});
  });
  arena.ExpectAnswers(first, 1, ErrorCode::kVersionMismatch, threads - 1);
  // Read, change, write if nobody else was faster; and again.
  constexpr int kUpdaters = 5;
  std::atomic<std::int64_t> updates = 0;
  const int each = arena.Size(10);
  arena.Attack(kUpdaters, [&](Attacker& attacker) {
    for (int done = 0; done < each && !arena.Over();) {
      Result<std::optional<Record>> read = attacker.client.GetRecord(key);
      if (!read || !*read) return;
      const Json data = {{"n", DataOf(**read)["n"].get<int>() + 1}};
      Result<OperationResult> written =
          attacker.client.Do(ReplaceRecord{On(key, (*read)->version), base::ToText(data)});
      if (!written && written.error().code != ErrorCode::kVersionMismatch) return;
      if (!written) continue;
      ++done;
      ++updates;
    }
  });
  arena.Expect("updates", kUpdaters * each, updates);
  HF_ASSIGN_OR_RETURN(std::int64_t sum, arena.NumberOf(key, "n"));
  arena.Expect("the number that all of them count up", updates, sum);
  return arena.ExpectVersion(key, 2 + updates);
}

Result<void> AttackIdempotency(Arena& arena) {
  HF_ASSIGN_OR_RETURN(RecordKey key, MakeDocument(arena, {{"n", 0}}));
  const int keys = arena.Size(20);
  const int threads = arena.threads();
  std::atomic<std::int64_t> executed = 0;
  Tally tally = arena.Attack(threads, [&](Attacker& attacker) {
    for (int i = 0; i < keys && !arena.Over(); ++i) {
      Batch batch{.operations = {}, .idempotency_key = arena.Own(fmt::format("key-{}", i))};
      batch.operations.emplace_back(IncrementRecord{On(key), "/n"});
      Result<Receipt> receipt = attacker.client.Commit(std::move(batch));
      if (receipt && !receipt->replayed) ++executed;
    }
  });
  arena.ExpectAnswers(tally, std::int64_t{keys} * threads, ErrorCode::kIdempotencyMismatch, 0);
  arena.Expect("requests that were done", keys, executed);
  HF_ASSIGN_OR_RETURN(std::int64_t sum, arena.NumberOf(key, "n"));
  arena.Expect("effects", keys, sum);
  Tally other = arena.Attack(threads, [&](Attacker& attacker) {
    Batch batch{.operations = {}, .idempotency_key = arena.Own("key-0")};
    batch.operations.emplace_back(IncrementRecord{On(key), "/n", std::int64_t{2}});
    (void)attacker.client.Commit(std::move(batch));
  });
  arena.ExpectAnswers(other, 0, ErrorCode::kIdempotencyMismatch, threads);
  return arena.ExpectVersion(key, 1 + keys);
}

}  // namespace holdfast::lab
