// A store without threads on a simulated disk, under a clock that moves only when a test says so:
// equal calls make equal runs.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine/driver.h"
#include "engine/engine.h"
#include "holdfast/holdfast.h"
#include "testing/fake_clock.h"

namespace holdfast::testing {

/// The deadlines of waits move with it, too.
class SimClock final : public FakeClock {
 public:
  SteadyTime Steady() const override { return SteadyTime(SinceBoot()); }
};

/// Lets the writer run as soon as it has work, or lets work gather into one group.
class SimDriver final : public engine::Driver {
 public:
  void OnSubmit(const std::function<void()>& run) override {
    if (!is_held_) return run();
    run_ = run;
  }
  /// Until LetGo, what is submitted waits. No blocking call meanwhile: it would wait for ever.
  void Hold() { is_held_ = true; }
  void LetGo() {
    is_held_ = false;
    if (run_) std::exchange(run_, nullptr)();
  }

 private:
  bool is_held_ = false;
  std::function<void()> run_;
};

/// The SQLite engine over `file`, in whatever file system is SQLite's default.
Result<std::unique_ptr<engine::Engine>> OpenSimEngine(const std::string& file,
                                                      const SimClock& clock, SimDriver& driver);
Result<std::unique_ptr<Store>> OpenSimStore(const std::string& file, const SimClock& clock,
                                            SimDriver& driver);

/// The first column of the first row, asked by somebody else who has opened the file.
std::string AskSqlite(const std::string& file, const std::string& sql);

}  // namespace holdfast::testing
