// Random scripts of operations: everything a store can be asked, with ids, tokens and keys that are
// mostly right and sometimes wrong.
#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "holdfast/holdfast.h"

namespace holdfast::testing {

/// Makes up the next request from what the answers so far have told. Equal seeds and equal answers
/// make equal scripts.
class ScriptWriter {
 public:
  /// Without jitter the time of a retry does not depend on the token of the attempt that failed.
  explicit ScriptWriter(std::uint64_t seed, bool has_jitter = true)
      : random_(seed), has_jitter_(has_jitter) {}

  /// 0 to `bound` - 1.
  int Below(int bound) { return static_cast<int>(random_() % static_cast<std::uint64_t>(bound)); }
  bool OneIn(int chances) { return Below(chances) == 0; }
  template <typename T>
  const T& Pick(const std::vector<T>& values) {
    return values[static_cast<std::size_t>(Below(static_cast<int>(values.size())))];
  }

  /// Accounts, with 100 on each, that MakeDeclarations opens.
  static constexpr int kAccounts = 5;

  /// Declares the kinds that the script changes records of: to be committed first.
  Batch MakeDeclarations();
  Batch MakeBatch();
  ClaimRequest MakeClaim();
  JobFilter MakeJobFilter();
  AuditFilter MakeAuditFilter();
  RecordFilter MakeRecordFilter();
  JobId MakeId();
  Context MakeContext();
  /// A request that may have to wait for its lock.
  AcquireLock MakeWait();
  Duration MakePause();

  /// What an answer tells: new ids, new tokens.
  void Learn(const Job& job);
  void Learn(const Receipt& receipt);
  void Learn(const LockGrant& grant);

 private:
  Operation MakeOperation();
  Operation MakeReport(JobId id, Token token);
  JobSpec MakeSpec();
  SetQueue MakeSetQueue();
  Token MakeToken(JobId id);
  std::string MakeText();
  Operation MakeRecordOperation();
  Operation MakeTransfer();
  Operation MakeLockOperation();
  std::string MakeLockName();
  Token MakeLockToken(const std::string& name);
  std::string MakeRecordKind();
  RecordTarget MakeTarget();
  std::string MakeData();
  Guard MakeRecordGuard();

  std::mt19937_64 random_;
  const bool has_jitter_;
  JobId last_id_ = 0;
  std::map<JobId, std::vector<Token>> tokens_;
  std::map<std::string, std::vector<Token>> lock_tokens_;
  std::vector<Batch> keyed_;  // batches with a key, to be sent again
};

}  // namespace holdfast::testing
