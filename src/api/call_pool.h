// Threads for calls that would block an event loop: reads, and bodies that take long to parse.
#pragma once

#include <deque>
#include <thread>
#include <vector>

#include "api/call.h"
#include "base/mutex.h"

namespace holdfast::api {

/// Runs the handler. What it throws is logged, and the client gets a 500.
void RunHandler(Handler handler, Call call);

/// A fixed number of threads and a bounded queue, first in, first out. Threads: any.
class CallPool {
 public:
  CallPool(int threads, std::size_t max_waiting);
  /// Runs what waits, then ends the threads.
  ~CallPool();
  CallPool(const CallPool&) = delete;
  CallPool& operator=(const CallPool&) = delete;

  /// Runs the handler on a thread of the pool. If the queue is full, the call is refused at once
  /// with unavailable. A call whose client is gone before its turn is not run.
  void Run(Handler handler, Call call);

 private:
  struct Waiting {
    Handler handler;
    Call call;
  };
  void Work();

  const std::size_t max_waiting_;
  base::Mutex mutex_{base::LockRank::kWait};
  base::CondVar changed_;
  std::deque<Waiting> waiting_ HF_GUARDED_BY(mutex_);
  bool ending_ HF_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

/// The pools of a server. They are separate, so that slow reads hold back neither large writes nor
/// the answer to "is this server ready?".
struct CallPools {
  CallPool reads{4, 1024};
  CallPool health{1, 64};   ///< /readyz
  CallPool writes{2, 256};  ///< that block, or whose bodies take long to parse
};

}  // namespace holdfast::api
