// The checker of histories is checked: it accepts what is right, finds every sort of wrong that is
// put into it, and agrees with trying every order and with a model that knows nothing of the rules.
#include <fstream>
#include <random>
#include <set>

#include "engine/memory/memory_engine.h"
#include "history/history_file.h"
#include "history/lock_model.h"
#include "history/mix_suite.h"
#include "history/parts.h"
#include "testing/environment.h"
#include "testing/every_order.h"

namespace holdfast::testing {
namespace {

using history::Answer;
using history::CallEnd;
using history::Checked;
using history::CheckHistory;
using history::History;
using history::Linearizable;
using history::Observed;

class CheckerTest : public ::testing::Test {
 protected:
  History Recorded(int number, int calls = 240) {
    return RecordMix(*store_, seed_ + static_cast<std::uint64_t>(number), number, calls);
  }

  const std::uint64_t seed_ = PrintedSeed();
  std::unique_ptr<Store> store_ = Must(OpenStore("memory:"));
};

/// The record an operation of one changed, with the version it got.
const Record* WrittenBy(const Observed& call) {
  const auto* batch = std::get_if<Batch>(&call.request);
  if (batch == nullptr || !call.answer || batch->operations.size() != 1) return nullptr;
  if (std::holds_alternative<TransitionRecord>(batch->operations[0])) return nullptr;
  const Receipt& receipt = std::get<Receipt>(*call.answer);
  if (receipt.replayed || !receipt.results[0].record) return nullptr;
  const Record& record = *receipt.results[0].record;
  // Applications come and go: the next of that name has the same versions, and may look the same.
  return record.kind == "torture-application" ? nullptr : &record;
}

const Record* ReadBy(const Observed& call) {
  if (!std::holds_alternative<history::ReadRecord>(call.request) || !call.answer) return nullptr;
  const auto& record = std::get<std::optional<Record>>(*call.answer);
  return record ? &*record : nullptr;
}

/// Tries `mutate(history, i)` at every call; it answers whether it changed anything. Each change
/// has to be found. How many there were.
template <typename Mutate>
int TryMutations(const History& history, Mutate mutate) {
  constexpr int kMost = 6;  // of one history
  int made = 0;
  History changed = history;
  for (std::size_t i = 0; i < history.calls.size() && made < kMost; ++i) {
    if (!mutate(changed, i)) continue;
    ++made;
    EXPECT_FALSE(Must(CheckHistory(changed)).Held())
        << "not found: " << Describe(history.calls[i]) << "\nnow " << Describe(changed.calls[i]);
    changed = history;
  }
  return made;
}

/// Two changes of one record, one after the other, swap their answers.
bool SwapAnswers(History& h, std::size_t i) {
  const Record* first = WrittenBy(h.calls[i]);
  if (first == nullptr) return false;
  for (std::size_t k = i + 1; k < h.calls.size(); ++k) {
    const Record* second = WrittenBy(h.calls[k]);
    if (second == nullptr || second->key() != first->key()) continue;
    if (h.calls[k].invoked < h.calls[i].returned) continue;
    if (second->version == first->version) continue;  // one of them was idle
    std::swap(h.calls[i].answer, h.calls[k].answer);
    return true;
  }
  return false;
}

/// An acknowledged change is undone: it tells of an effect that others do not see.
bool LoseEffect(History& h, std::size_t i) {
  const Record* written = WrittenBy(h.calls[i]);
  if (written == nullptr || written->version == 1) return false;
  const auto is_same = [&](const Observed& call) {
    const Record* other = &call == &h.calls[i] ? nullptr : WrittenBy(call);
    return other != nullptr && other->key() == written->key() && other->version == written->version;
  };
  if (std::ranges::any_of(h.calls, is_same)) return false;  // it may have been idle
  const auto is_later = [&](const Observed& call) {
    const Record* seen = WrittenBy(call) != nullptr ? WrittenBy(call) : ReadBy(call);
    return seen != nullptr && seen->key() == written->key() && seen->version > written->version;
  };
  if (std::ranges::none_of(h.calls, is_later)) return false;
  h.calls[i].answer.reset();
  h.calls[i].error = Error{ErrorCode::kUnavailable, "as if it had not been done", {}};
  return true;
}

/// What is read is what was there before a change that was acknowledged.
bool ReadStale(History& h, std::size_t i) {
  const Record* late = ReadBy(h.calls[i]);
  if (late == nullptr) return false;
  for (const Observed& call : h.calls) {
    const Record* early = ReadBy(call) != nullptr ? ReadBy(call) : WrittenBy(call);
    if (early == nullptr || early->key() != late->key()) continue;
    if (early->version >= late->version) continue;
    const auto is_between = [&](const Observed& other) {
      const Record* seen = WrittenBy(other);
      return seen != nullptr && seen->key() == late->key() && seen->version > early->version &&
             other.returned < h.calls[i].invoked;
    };
    if (std::ranges::none_of(h.calls, is_between)) continue;
    h.calls[i].answer = Answer(std::optional<Record>(*early));
    return true;
  }
  return false;
}

LockGrant* GrantOf(Observed& call) {
  auto* grants = call.answer ? std::get_if<std::vector<LockGrant>>(&*call.answer) : nullptr;
  return grants == nullptr ? nullptr : grants->data();
}

bool GiveTokenAgain(History& h, std::size_t i) {
  LockGrant* later = GrantOf(h.calls[i]);
  if (later == nullptr) return false;
  for (std::size_t k = 0; k < i; ++k) {
    const LockGrant* earlier = GrantOf(h.calls[k]);
    if (earlier == nullptr) continue;
    later->token = earlier->token;
    return true;
  }
  return false;
}

TEST_F(CheckerTest, AcceptsWhatWasRecordedAndFindsWhatIsPutIn) {
  constexpr bool (*kMutations[])(History&, std::size_t) = {SwapAnswers, LoseEffect, ReadStale,
                                                           GiveTokenAgain};
  std::array<int, std::size(kMutations)> made{};
  for (int round = 0; round < Scaled(4, 2); ++round) {
    const History history = Recorded(round);
    const Checked checked = Must(CheckHistory(history));
    ASSERT_TRUE(checked.Held()) << TextOf(checked);
    for (std::size_t i = 0; i < made.size(); ++i) made[i] += TryMutations(history, kMutations[i]);
  }
  EXPECT_THAT(made, ::testing::Each(::testing::Gt(0)));
}

/// Builds a history call by call.
class Told : public ::testing::Test {
 protected:
  Observed& Add(history::Request request, std::int64_t invoked, std::int64_t returned) {
    history_.calls.push_back({.process = static_cast<int>(history_.calls.size()),
                              .actor = "a",
                              .request = std::move(request),
                              .invoked = invoked,
                              .returned = returned});
    return history_.calls.back();
  }
  Observed& Do(Operation operation, std::int64_t invoked, std::int64_t returned) {
    Batch batch;
    batch.operations.push_back(std::move(operation));
    return Add(std::move(batch), invoked, returned);
  }
  static void Answer(Observed& call, OperationResult result) {
    Receipt receipt;
    receipt.results.push_back(std::move(result));
    call.answer = std::move(receipt);
  }
  static holdfast::Record MakeRecord(std::int64_t version, std::int64_t n) {
    return {.kind = "k",
            .id = "1",
            .version = version,
            .data = "{\"n\":" + std::to_string(n) + "}",
            .updated_by = "a"};
  }
  void Begin() {
    Answer(Do(ApplyKind{.name = "k", .rules = "{}"}, -9, -8),
           {.kind = Kind{.name = "k", .version = 1, .rules = "{}"}});
    Answer(Do(CreateRecord{.kind = "k", .id = "1", .data = R"({"n":0})"}, -7, -6),
           {.record = MakeRecord(1, 0)});
  }
  void Increment(std::int64_t invoked, std::int64_t returned, std::int64_t version,
                 std::int64_t n) {
    Answer(Do(IncrementRecord{{"k", "1"}, "/n"}, invoked, returned),
           {.record = MakeRecord(version, n)});
  }
  void Read(std::int64_t invoked, std::int64_t returned, std::int64_t version, std::int64_t n) {
    Add(history::ReadRecord{{"k", "1"}}, invoked, returned).answer =
        std::optional(MakeRecord(version, n));
  }
  void Claimed(JobId id, Token token, std::int64_t invoked, std::int64_t returned) {
    Job job{.id = id,
            .queue = "q",
            .kind = "j",
            .state = JobState::kProcessing,
            .attempt = 1,
            .payload = "null",
            .worker = "w",
            .token = token,
            .metadata = "{}"};
    job.started_at = Time();
    job.lease_expires_at = Time(std::chrono::hours(1));
    Answer(Do(ClaimJob{.id = id, .worker = "w"}, invoked, returned), {.job = job});
  }

  Checked Check() { return Must(CheckHistory(history_)); }
  /// The invariants that do not hold.
  std::set<std::string> Broken() {
    std::set<std::string> broken;
    for (const history::Violation& v : Check().violations) broken.insert(v.invariant);
    return broken;
  }

  History history_;
};

using Names = std::set<std::string>;

// A store whose commits overlap draws the token of each when it holds what that commit changes.
TEST_F(Told, OfOverlappingGrantsOfTwoLocksTheLowerTokenMayBeSeenLast) {
  auto grant = [](const std::string& name, Token token) {
    return OperationResult{
        .lock = LockOutcome{.grants = {{.name = name, .owner = "o", .token = token}}}};
  };
  auto acquire = [&](const std::string& name, Token token, std::int64_t from, std::int64_t to) {
    Answer(Do(AcquireLock{.name = name, .owner = "o"}, from, to), grant(name, token));
  };
  auto release = [&](const std::string& name, Token token, std::int64_t from, std::int64_t to) {
    Answer(Do(ReleaseLock{.name = name, .token = token}, from, to), grant(name, token));
  };
  Batch both;  // one call about both, so that they are checked together
  for (const char* name : {"a", "b"})
    both.operations.push_back(AcquireLock{.name = name, .owner = "o"});
  Add(std::move(both), 1, 2).answer = Receipt{.results = {grant("a", 1), grant("b", 2)}};
  release("a", 1, 3, 4);
  release("b", 2, 5, 6);
  acquire("a", 10, 11, 20);
  acquire("b", 11, 12, 14);
  Add(history::ReadLock{"a"}, 15, 16).answer = Lock{.name = "a"};
  EXPECT_TRUE(Check().Held());
  release("b", 11, 21, 30);
  acquire("b", 9, 22, 31);  // of one lock they rise
  EXPECT_THAT(Broken(), ::testing::Contains("linearizable"));
}

TEST_F(Told, ConcurrentChangesFitInEitherOrder) {
  Begin();
  Increment(1, 6, 3, 2);
  Increment(2, 5, 2, 1);
  Read(3, 4, 2, 1);
  EXPECT_EQ(Broken(), Names());
}

TEST_F(Told, ALostUpdateIsFound) {
  Begin();
  Increment(1, 4, 2, 1);
  Increment(2, 5, 2, 1);
  EXPECT_EQ(Broken(), (Names{"a version is given once", "linearizable"}));
}

TEST_F(Told, AStaleReadIsFound) {
  Begin();
  Increment(1, 2, 2, 1);
  Read(3, 4, 1, 0);
  EXPECT_EQ(Broken(), (Names{"versions rise", "linearizable"}));
}

TEST_F(Told, AnEffectThatIsWrongIsFound) {
  Begin();
  Increment(1, 2, 2, 2);
  EXPECT_EQ(Broken(), Names{"linearizable"});
}

TEST_F(Told, ARefusalMustHaveAReason) {
  Begin();
  Observed& refused = Do(IncrementRecord{{"k", "1", 2}, "/n"}, 1, 2);
  refused.error = Error{ErrorCode::kVersionMismatch, "", {.expected = 2, .current = 1}};
  EXPECT_EQ(Broken(), Names());
  refused.error->detail.current = 3;
  EXPECT_EQ(Broken(), Names{"linearizable"});
  refused.error = Error{ErrorCode::kNotFound, "", {}};
  EXPECT_EQ(Broken(), Names{"linearizable"});
}

TEST_F(Told, WhatNobodyHeardOfMayHaveHappenedOrNot) {
  Begin();
  Do(IncrementRecord{{"k", "1"}, "/n"}, 1, 2).error = Error{ErrorCode::kOutcomeUnknown, "", {}};
  EXPECT_EQ(Broken(), Names());
  Read(3, 4, 1, 0);  // not yet
  EXPECT_EQ(Broken(), Names());
  Read(5, 6, 2, 1);  // now it has
  EXPECT_EQ(Broken(), Names());
  Read(7, 8, 3, 2);  // not twice
  EXPECT_EQ(Broken(), Names{"linearizable"});
}

TEST_F(Told, WhatWasNotDoneHasNoEffect) {
  Begin();
  Do(IncrementRecord{{"k", "1"}, "/n"}, 1, 2).error = Error{ErrorCode::kUnavailable, "", {}};
  Read(3, 4, 2, 1);
  EXPECT_EQ(Broken(), Names{"linearizable"});
}

TEST_F(Told, AnAnswerThatWasLostIsKnownFromItsKey) {
  Begin();
  Batch batch{.operations = {IncrementRecord{{"k", "1"}, "/n"}}, .idempotency_key = "once"};
  Add(batch, 1, 2).error = Error{ErrorCode::kOutcomeUnknown, "", {}};
  Observed& again = Add(batch, 3, 4);
  Answer(again, {.record = MakeRecord(2, 1)});
  std::get<Receipt>(*again.answer).replayed = true;
  Read(5, 6, 2, 1);
  EXPECT_EQ(Broken(), Names());
  Read(7, 8, 3, 2);  // it would have been done twice
  EXPECT_EQ(Broken(), Names{"linearizable"});
}

TEST_F(Told, ATokenThatDoesNotRiseIsFound) {
  Claimed(1, 5, 1, 2);
  Claimed(2, 4, 3, 4);
  EXPECT_TRUE(Broken().contains("tokens rise"));
}

TEST_F(Told, AJobThatIsOutTwiceIsFound) {
  Claimed(1, 5, 1, 2);
  Claimed(1, 6, 3, 4);
  EXPECT_TRUE(Broken().contains("leases exclude each other"));
  EXPECT_TRUE(Broken().contains("linearizable"));
}

TEST_F(Told, AJobThatIsDoneTwiceIsFound) {
  for (int i = 0; i < 2; ++i) {
    Answer(Do(CompleteJob{1, 5}, 10 + 2 * i, 11 + 2 * i),
           {.job = Job{.id = 1, .state = JobState::kCompleted}});
  }
  EXPECT_TRUE(Broken().contains("a job is completed once"));
}

TEST_F(Told, ALeaseMayFollowOneThatEnded) {
  AcquireLock request{.name = "l", .owner = "a"};
  auto grant = [&](Token token, std::int64_t at, std::int64_t begins, std::int64_t ends) {
    Add(request, at, at + 1).answer = std::vector<LockGrant>{{.name = "l",
                                                              .owner = "a",
                                                              .token = token,
                                                              .acquired_at = Time(Duration(begins)),
                                                              .expires_at = Time(Duration(ends))}};
  };
  grant(1, 1, 0, 100);
  grant(2, 3, 100, 200);  // it ran out
  EXPECT_FALSE(Broken().contains("leases exclude each other"));
  grant(3, 5, 150, 250);  // this one did not
  EXPECT_TRUE(Broken().contains("leases exclude each other"));
}

TEST_F(Told, PartsThatAreTooLargeAreNotSearched) {
  Begin();
  for (int i = 0; i < 1'000; ++i) Increment(2 * i, 2 * i + 1, i + 2, i + 1);
  const Checked checked = Check();
  EXPECT_TRUE(checked.Held()) << TextOf(checked);
  EXPECT_EQ(checked.too_large, 1);
  Increment(3'000, 3'001, 5, 4);  // but what is seen of them is
  EXPECT_EQ(Broken(), (Names{"a version is given once", "versions rise"}));
}

TEST_F(Told, ASearchThatIsTooLongIsAFailure) {
  Begin();
  for (int i = 0; i < 8; ++i) Increment(i, 100 + i, 2 + (i * 3) % 8, 1 + (i * 3) % 8);
  EXPECT_EQ(Broken(), Names());
  const Checked checked = Must(CheckHistory(history_, 3));
  EXPECT_EQ(checked.undecided, 1);
  EXPECT_FALSE(checked.Held());
}

/// Random calls on one counter, with answers that are sometimes right.
class RandomTold : public Told {
 protected:
  std::int64_t Below(std::int64_t n) {
    return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(n));
  }
  /// Beginnings and ends of `count` calls that overlap at random.
  std::vector<std::pair<std::int64_t, std::int64_t>> MakeTimes(int count) {
    std::vector<std::int64_t> instants(static_cast<std::size_t>(2 * count));
    std::iota(instants.begin(), instants.end(), 1);
    std::ranges::shuffle(instants, random_);
    std::vector<std::pair<std::int64_t, std::int64_t>> times;
    for (std::size_t i = 0; i < instants.size(); i += 2) {
      times.push_back(std::minmax({instants[i], instants[i + 1]}));
    }
    return times;
  }

  std::mt19937_64 random_{PrintedSeed()};
};

TEST_F(RandomTold, AgreesWithTryingEveryOrder) {
  const int rounds = Scaled(400, 60);
  int yes = 0, no = 0;
  // One in twelve is right: until some of both were asked for.
  for (int round = 0; round < rounds || yes < 5 || no < 5; ++round) {
    ASSERT_LT(round, 20 * rounds) << yes << " yes, " << no << " no";
    history_.calls.clear();
    Begin();
    for (const auto& [begin, end] : MakeTimes(4)) {
      const std::int64_t version = 1 + Below(4);
      switch (Below(4)) {
        case 0:
          Read(begin, end, version, version - 1);
          break;
        case 1: {
          Observed& call = Do(IncrementRecord{{"k", "1", version}, "/n"}, begin, end);
          call.error = Error{
              ErrorCode::kVersionMismatch, "", {.expected = version, .current = 1 + Below(4)}};
          break;
        }
        default:
          Increment(begin, end, version + 1, version);
          if (Below(4) == 0) {
            history_.calls.back().answer.reset();
            history_.calls.back().error = Error{ErrorCode::kOutcomeUnknown, "", {}};
          }
      }
    }
    const history::StoredKinds kinds = Must(history::KindsOf(history_));
    const std::vector<history::Part> parts = history::PartsOf(history_, kinds);
    ASSERT_EQ(parts.size(), 1U);
    const history::RulesModel model(kinds);
    const history::Verdict verdict = CheckLinearizable(model, parts[0].calls);
    ASSERT_NE(verdict.is, Linearizable::kGaveUp);
    const bool expected = IsLinearizableByTrying(model, parts[0].calls);
    ASSERT_EQ(verdict.is == Linearizable::kYes, expected) << TextOf(Check());
    ++(expected ? yes : no);
  }
}

/// The same calls of one lock for the model that was written by hand.
class TwoModels : public RandomTold {
 protected:
  void AddRandomCall(std::int64_t begin, std::int64_t end) {
    const std::string owner = "owner-" + std::to_string(history_.calls.size());
    history::LockCall call{
        .client = static_cast<int>(history_.calls.size()), .invoked = begin, .returned = end};
    const Token token = 1 + Below(4);
    call.answer.ok = Below(3) != 0;
    if (Below(2) == 0) {
      call.input.mode = Below(2) == 0 ? LockMode::kShared : LockMode::kExclusive;
      if (call.input.mode == LockMode::kShared) call.input.limit = 2;
      AcquireLock request{.name = "l", .owner = owner, .mode = call.input.mode};
      if (call.input.limit != 0) request.limit = call.input.limit;
      if (call.answer.ok) call.answer.tokens = {token};
      if (call.answer.ok) leases_[token] = {"l", owner, call.input.mode, token};
      Finish(Do(request, begin, end), call.answer.ok, ErrorCode::kBusy, token);
    } else {
      call.input.operation = history::LockModel::Operation::kRelease;
      call.input.token = token;
      Finish(Do(ReleaseLock{"l", token}, begin, end), call.answer.ok, ErrorCode::kFenced, token);
    }
    locks_.push_back(std::move(call));
  }
  void Finish(Observed& call, bool ok, ErrorCode refusal, Token token) {
    call.answer.reset();
    if (!ok) {
      call.error = Error{refusal, "", {}};
      return;
    }
    Answer(call, {.lock = LockOutcome{.grants = {leases_[token]}}});
  }

  history::LockHistory locks_;
  std::map<Token, LockGrant> leases_;
};

TEST_F(TwoModels, LOCK_1_TheRulesAgreeWithAModelWrittenByHand) {
  const history::StoredKinds no_kinds;
  const int rounds = Scaled(3'000, 300);
  int yes = 0, no = 0;
  // Three in a hundred are right: until some of both were asked for.
  for (int round = 0; round < rounds || yes < 10 || no < 10; ++round) {
    ASSERT_LT(round, 20 * rounds) << yes << " yes, " << no << " no";
    history_.calls.clear();
    locks_.clear();
    leases_.clear();
    for (const auto& [begin, end] : MakeTimes(5)) AddRandomCall(begin, end);
    // The same token twice is the same lease for the one, and another for the other.
    std::set<Token> tokens;
    const bool is_clear = std::ranges::all_of(locks_, [&](const history::LockCall& call) {
      return call.answer.tokens.empty() || tokens.insert(call.answer.tokens[0]).second;
    });
    // A release that is told of before its lease was made up has no answer yet.
    if (!is_clear) continue;
    for (std::size_t i = 0; i < locks_.size(); ++i) {
      if (locks_[i].input.token != 0) {
        Finish(history_.calls[i], locks_[i].answer.ok, ErrorCode::kFenced, locks_[i].input.token);
      }
    }
    const std::vector<history::Part> parts = history::PartsOf(history_, no_kinds);
    ASSERT_EQ(parts.size(), 1U);
    const auto by_rules = CheckLinearizable(history::RulesModel(no_kinds), parts[0].calls);
    const auto by_hand = CheckLinearizable(history::LockModel(), locks_);
    ASSERT_EQ(by_rules.is, by_hand.is) << Describe(by_hand, locks_) << TextOf(Check());
    ++(by_hand.is == Linearizable::kYes ? yes : no);
  }
}

class HistoryFiles : public CheckerTest {
 protected:
  static std::string ReadText(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void ExpectRefused(const std::string& text, const std::string& complaint) {
    const std::string path = folder_.File("bad.jsonl");
    std::ofstream(path) << text;
    const Result<History> read = history::ReadHistory(path);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(read.error().message, ::testing::HasSubstr(complaint));
  }

  TempDir folder_;
};

TEST_F(HistoryFiles, AreReadAsTheyWereWritten) {
  History history = Recorded(0);
  history.calls.back().answer.reset();  // never heard of again
  history.calls.back().error.reset();
  const std::string first = folder_.File("first.jsonl");
  const std::string second = folder_.File("second.jsonl");
  Must(history::WriteHistory(history, first));
  const History read = Must(history::ReadHistory(first));
  EXPECT_EQ(read.calls.size(), history.calls.size());
  EXPECT_EQ(read.source.seed, history.source.seed);
  Must(history::WriteHistory(read, second));
  EXPECT_EQ(ReadText(first), ReadText(second));
  const Checked checked = Must(CheckHistory(read));
  EXPECT_TRUE(checked.Held()) << TextOf(checked);
  EXPECT_EQ(checked.parts, Must(CheckHistory(history)).parts);
}

TEST_F(HistoryFiles, ThatAreNoneAreRefused) {
  const std::string header =
      R"({"holdfast_history":1,"engine":"memory","version":"1","seed":"7","scenario":"s"})"
      "\n";
  const std::string invoke =
      R"({"index":1,"t_ns":1,"process":0,"type":"invoke","call":"get_lock","request":{"name":"l"}})"
      "\n";
  ExpectRefused("", "is not a history");
  ExpectRefused("nonsense\n", "line 1");
  ExpectRefused(R"({"holdfast_history":2,"engine":"m","version":"1","seed":"7","scenario":"s"})",
                "format 2 is not known");
  ExpectRefused(header + invoke + invoke, "line 3: index does not rise");
  ExpectRefused(header + R"({"index":1,"t_ns":1,"process":0,"type":"ok","call":"claim"})",
                "is in no call");
  ExpectRefused(header + invoke + R"({"index":2,"t_ns":1,"process":0,"type":"ok","call":"claim"})",
                "in another call");
  ExpectRefused(
      header + invoke + R"({"index":2,"t_ns":1,"process":0,"type":"ok","call":"get_lock"})",
      "an answer or an error");
  ExpectRefused(header + R"({"index":1,"t_ns":1,"process":0,"type":"invoke","call":"steal",)"
                         R"("request":{}})",
                "none that is known");
  EXPECT_EQ(history::ReadHistory(folder_.File("none")).error().code, ErrorCode::kNotFound);
}

TEST_F(HistoryFiles, AreExportedForOtherCheckers) {
  const History history = Recorded(0);
  const std::string path = folder_.File("jepsen.json");
  Must(history::ExportJepsen(history, path));
  const nlohmann::json events = nlohmann::json::parse(ReadText(path));
  std::map<std::string, std::map<int, std::string>> open;  // by key and process
  std::size_t ends = 0;
  for (const auto& event : events) {
    std::string& last = open[event.at("key")][event.at("process")];
    EXPECT_TRUE(event.contains("time") && event.contains("f") && event.contains("value"));
    if (event.at("type") == "invoke") {
      EXPECT_NE(last, "invoke");
    } else {
      EXPECT_EQ(last, "invoke");
      ++ends;
    }
    last = event.at("type");
  }
  EXPECT_GT(open.size(), 5U);
  EXPECT_EQ(events.size(), 2 * ends);
}

}  // namespace
}  // namespace holdfast::testing
