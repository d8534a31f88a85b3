// A log that tests can wait for and look into.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "holdfast/log.h"

namespace holdfast::testing {

/// Keeps every event. Threads: any.
class RecordingLog final : public LogSink {
 public:
  struct Event {
    std::string name;
    std::map<std::string, std::string> fields;
  };

  bool IsEnabled(LogLevel) const override { return true; }

  void Write(const LogEvent& event) override {
    Event copy{std::string(event.name), {}};
    for (const auto& [name, value] : event.fields) copy.fields.emplace(name, value);
    base::MutexLock lock(mutex_);
    events_.push_back(std::move(copy));
    changed_.NotifyAll();
  }

  std::vector<Event> All(const std::string& name) const {
    base::MutexLock lock(mutex_);
    std::vector<Event> found;
    for (const Event& event : events_) {
      if (event.name == name) found.push_back(event);
    }
    return found;
  }

  /// Waits until there are that many events of this name. False: they did not come in time.
  bool WaitFor(const std::string& name, std::size_t count,
               Duration timeout = std::chrono::seconds(60)) {
    const SteadyTime deadline = std::chrono::steady_clock::now() + timeout;
    base::MutexLock lock(mutex_);
    while (Count(name) < count) {
      if (!changed_.WaitUntil(mutex_, deadline)) return Count(name) >= count;
    }
    return true;
  }

 private:
  std::size_t Count(const std::string& name) const HF_REQUIRES(mutex_) {
    std::size_t count = 0;
    for (const Event& event : events_) count += event.name == name ? 1 : 0;
    return count;
  }

  mutable base::Mutex mutex_{base::LockRank::kLog};
  base::CondVar changed_;
  std::vector<Event> events_ HF_GUARDED_BY(mutex_);
};

}  // namespace holdfast::testing
