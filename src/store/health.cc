#include "store/health.h"

#include <fmt/format.h>

#include <utility>

#include "base/log.h"

namespace holdfast::store {
namespace {

constexpr Duration kLogPeriod = std::chrono::minutes(1);

bool IsOfStore(ErrorCode code) {
  return code == ErrorCode::kUnavailable || code == ErrorCode::kCorrupt ||
         code == ErrorCode::kOutcomeUnknown || code == ErrorCode::kInternal;
}

}  // namespace

void Health::ReadFailed(const Error& error) {
  if (!IsOfStore(error.code)) return;
  {
    base::MutexLock lock(mutex_);
    if (error.code == ErrorCode::kCorrupt && !corrupt_) corrupt_ = error;
  }
  Report(&Health::reads_, error);
}

void Health::WriteFailed(const Error& error) {
  if (!IsOfStore(error.code)) return;
  // An internal error is that of one batch.
  if (error.code != ErrorCode::kInternal) {
    base::MutexLock lock(mutex_);
    failed_write_ = error;
    is_failing_ = true;
  }
  Report(&Health::writes_, error);
}

void Health::WriteSucceeded() {
  if (!IsFailing()) return;
  {
    base::MutexLock lock(mutex_);
    if (!std::exchange(failed_write_, std::nullopt)) return;
    is_failing_ = false;
    writes_.logged.reset();
  }
  base::Log(log_, LogLevel::kInfo, "store_recovered", [] {
    return base::Fields{{"call", "write"}};
  });
}

Result<void> Health::Check() const {
  base::MutexLock lock(mutex_);
  if (corrupt_) return std::unexpected(*corrupt_);
  if (failed_write_) return std::unexpected(*failed_write_);
  return {};
}

void Health::Report(Failures Health::*of, const Error& error) {
  std::string_view call;
  std::int64_t number = 0;
  {
    base::MutexLock lock(mutex_);
    Failures& failures = this->*of;
    ++failures.number;
    const SteadyTime now = clock_.Steady();
    if (failures.logged && now - *failures.logged < kLogPeriod) return;
    failures.logged = now;
    number = std::exchange(failures.number, 0);
    call = failures.call;
  }
  base::Log(log_, LogLevel::kError, "store_failing", [&] {
    return base::Fields{{"call", std::string(call)},
                        {"code", std::string(InfoOf(error.code).name)},
                        {"error", error.message},
                        {"failures", fmt::to_string(number)}};
  });
}

}  // namespace holdfast::store
