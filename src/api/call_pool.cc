#include "api/call_pool.h"

#include <fmt/format.h>

#include <optional>

#include "base/log.h"

namespace holdfast::api {
void RunHandler(Handler handler, Call call) {
  LogSink* log = call.service().log;
  try {
    handler(std::move(call));
  } catch (const std::exception& error) {
    // The call is gone with the exception, so that the client gets a 500.
    base::Log(log, LogLevel::kError, "http_handler_failed", [&] {
      return base::Fields{{"what", error.what()}};
    });
  }
}

CallPool::CallPool(int threads, std::size_t max_waiting) : max_waiting_(max_waiting) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

CallPool::~CallPool() {
  {
    base::MutexLock lock(mutex_);
    ending_ = true;
    changed_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

void CallPool::Run(Handler handler, Call call) {
  {
    base::MutexLock lock(mutex_);
    if (waiting_.size() < max_waiting_) {
      waiting_.push_back({handler, std::move(call)});
      changed_.NotifyOne();
      return;
    }
  }
  call.Refuse({ErrorCode::kUnavailable,
               fmt::format("the server is busy: {} calls of this kind wait already", max_waiting_),
               {.retry_after = std::chrono::seconds(1)}});
}

void CallPool::Work() {
  for (;;) {
    std::optional<Waiting> next;
    {
      base::MutexLock lock(mutex_);
      while (waiting_.empty() && !ending_) changed_.Wait(mutex_);
      if (waiting_.empty()) return;
      next.emplace(std::move(waiting_.front()));
      waiting_.pop_front();
    }
    if (next->call.gone().stop_requested()) {
      next->call.Refuse({ErrorCode::kCancelled, "the client hung up before its turn", {}});
    } else {
      RunHandler(next->handler, std::move(next->call));
    }
  }
}

}  // namespace holdfast::api
