// What a few rows of a store answer to one client at a time: the rules of the store themselves,
// applied to these rows and nothing else.
//
// Tokens, ids and the time are the answer's own, as far as the rules allow them: a token is larger
// than every one before of the same lock or job. (Of grants that overlap, of different ones, the
// one with the higher token may be seen first: see docs/decisions/0011-postgres.md. That those
// which do not overlap rise in the whole store is looked at in violations.cc.) Times are not
// compared, and leases do not run out: a history that is to be checked is recorded with leases that
// outlast it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "history/history.h"
#include "rules/apply.h"
#include "rules/load.h"
#include "rules/lock_rows.h"
#include "rules/record_rows.h"

namespace holdfast::history {

using StoredKinds = std::map<std::string, rules::RecordLoader::StoredKind>;

/// A call as the model gets it: what does not matter here is taken out.
struct Posed {
  const Observed* call = nullptr;
  std::variant<Batch, ReadRecord, ReadJob, ReadLock> request;
  std::string fingerprint{};  ///< of the batch as it was sent, if it has a key
  /// Of a batch: what was answered, or what is known from elsewhere of an unknown end.
  std::optional<Receipt> receipt{};
  /// Busy, although no holder is in the way, tells that somebody in line was.
  bool may_be_kept_back = false;
};

/// Makes a call ready for the model. A claim is posed for one of the jobs it got.
Posed Pose(const Observed& call, JobId claimed = 0);

struct RulesModel {
  /// Rows are shared between states, and never changed.
  struct State {
    template <typename Key, typename Row>
    using Table = std::map<Key, std::shared_ptr<const Row>>;
    struct Kept {
      std::string fingerprint;
      Receipt receipt;
    };

    Table<RecordKey, rules::StoredRecord> records;
    Table<JobId, Job> jobs;
    Table<std::string, rules::StoredLock> locks;
    Table<TransferId, Transfer> transfers;
    Table<std::string, Kept> answers;                     // by idempotency key
    Token issued = 0;                                     // the highest token that was seen
    std::map<std::string, Token, std::less<>> issued_of;  // likewise by lock, and by job
    std::set<Token> guessed;  // tokens of grants whose answers were lost
    std::string canonical;    // all of it that makes a difference, as text

    bool operator<(const State& other) const { return canonical < other.canonical; }
  };
  using Input = const Posed*;
  using Output = const Posed*;

  explicit RulesModel(const StoredKinds& kinds) : kinds_(&kinds) {}

  State Initial() const { return {}; }
  /// Threads: one.
  std::optional<State> Step(const State& state, const Posed* input,
                            const Posed* const* answer) const;
  static bool ChangesNothing(const Posed* input, const Posed* answer) {
    return !std::holds_alternative<Batch>(input->request) || answer->call->error ||
           (answer->receipt && answer->receipt->replayed);
  }
  static std::optional<std::int64_t> WhenDone(const Posed*, const Posed* answer);

 private:
  Result<Receipt> Apply(const State& state, const Posed& posed, State& after) const;
  std::optional<State> StepBatch(const State& state, const Posed& posed, bool is_answered) const;

  const StoredKinds* kinds_;
  mutable rules::Rows rows_;  // of the step at hand
  mutable rules::TouchedKeys keys_;
};

}  // namespace holdfast::history
