// A real engine that does not do what it was told: what it commits is twisted before, or what it
// answers afterwards. For proving that a checker of stores finds a store that is wrong.
#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "testing/faulty_engine.h"

namespace holdfast::testing {

/// Threads: any; so must `before` and `after` be.
class TwistedEngine final : public FaultyEngine {
 public:
  using Before = std::function<void(Batch&)>;
  using After = std::function<void(const Batch& asked, Result<Receipt>&)>;

  TwistedEngine(std::unique_ptr<engine::Engine> engine, Before before, After after = {})
      : FaultyEngine(std::move(engine)), before_(std::move(before)), after_(std::move(after)) {}

  void Commit(const Context& context, std::vector<Batch> batches, CommitDone done) override {
    std::vector<Batch> asked = batches;
    if (before_) {
      for (Batch& batch : batches) before_(batch);
    }
    FaultyEngine::Commit(context, std::move(batches),
                         [this, asked = std::move(asked),
                          done = std::move(done)](std::vector<Result<Receipt>> answers) mutable {
                           for (std::size_t i = 0; after_ && i < answers.size(); ++i) {
                             after_(asked[i], answers[i]);
                           }
                           done(std::move(answers));
                         });
  }

 private:
  const Before before_;
  const After after_;
};

}  // namespace holdfast::testing
