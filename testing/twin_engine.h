// An engine, and beside it the memory engine, which never fails and does all that the other has
// acknowledged: what the one says, the other must say too.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "testing/fake_clock.h"
#include "testing/faulty_engine.h"

namespace holdfast::testing {

/// Outlives the crashes of the engine that it is compared with. One thread.
class Twin {
 public:
  Twin();

  engine::Engine& engine() { return *engine_; }

  /// What it was told and has done so far, in one number.
  std::uint64_t trace() const { return trace_; }
  void Trace(std::string_view text);
  /// The first thing that was not as it must be, if anything was not.
  const std::string& violation() const { return violation_; }
  void Violate(std::string what);
  std::uint64_t operations() const { return operations_; }
  std::uint64_t unknown() const { return unknown_count_; }

  void Advance(Duration by) { clock_.Advance(by); }

  /// The subject was opened again and nobody has written yet: it holds what the twin holds, or that
  /// and the group whose outcome was unknown, whole. Its waiters died with the process.
  void Reconcile(engine::Engine& subject);
  /// Everything is the same.
  void Compare(engine::Engine& subject);

 private:
  friend class TwinEngine;

  enum class Fate : std::uint8_t { kDone, kRefused, kNotDone, kUnknown };
  /// What may have been done.
  struct Unknown {
    Time at;
    std::function<void()> work;
    std::string idempotency_key;  // of a batch
  };
  template <typename T>
  static Fate FateOf(const Result<T>& answer);

  /// A call on its way: once it is answered, how to do the same.
  using Call = std::shared_ptr<std::function<void()>>;
  Call Begin();
  void Done(const Call& call, std::function<void()> mirror);
  void Mirror(const Context& context, const std::vector<Batch>& batches,
              const std::vector<Result<Receipt>>& answers);
  void Mirror(const Context& context, const ClaimRequest& request,
              const Result<std::vector<Job>>& answer);
  void Mirror(const Context& context, const engine::MaintainRequest& request,
              const Result<engine::MaintainResult>& answer);

  Result<Receipt> Commit(const Context& context, const Batch& batch);
  Result<std::vector<Job>> Claim(const Context& context, const ClaimRequest& request);
  void Expect(std::string_view what, const std::string& expected, const std::string& actual);
  void NoteTokens(const Receipt& receipt, const Batch& batch);
  void NoteToken(Token token);
  void SetTo(Time time);
  void Postpone(std::function<void()> work, std::string idempotency_key = {});
  /// Whether the group that is unknown has left the key of one of its batches in the subject.
  bool HasLeftKey(engine::Engine& subject);
  void RemoveWaiters();

  FakeClock clock_;
  std::unique_ptr<engine::Engine> engine_;
  std::deque<Call> calls_;        // not yet mirrored, in the order in which they were made
  std::vector<Unknown> unknown_;  // the group whose outcome is
  std::map<std::int64_t, std::vector<std::string>> places_;  // in lines for locks, by ticket
  Time compared_;                                            // the trail was, until then
  Token last_token_ = 0;
  std::deque<std::string> last_;  // of what was traced
  std::uint64_t trace_ = 0xcbf29ce484222325;
  std::uint64_t operations_ = 0;
  std::uint64_t unknown_count_ = 0;
  std::string violation_;
  bool is_probing_ = false;  // what the subject is asked now is not mirrored
};

/// The subject, with every call that writes told to the twin once it is answered. Without threads.
class TwinEngine final : public FaultyEngine {
 public:
  TwinEngine(std::unique_ptr<engine::Engine> subject, Twin& twin);

  const engine::Traits& traits() const override { return traits_; }
  void Commit(const Context& context, std::vector<Batch> batches, CommitDone done) override;
  void Claim(const Context& context, ClaimRequest request, ClaimDone done) override;
  Result<engine::MaintainResult> Maintain(const Context& context,
                                          engine::MaintainRequest request) override;

 private:
  engine::Traits traits_;
  Twin& twin_;
};

}  // namespace holdfast::testing
