// Tells the other nodes that something has changed, and hears it from them: so that who waits there
// need not wait for the next poll. A courtesy: what is not heard is found by polling.
#pragma once

#include <memory>
#include <thread>

#include "base/mutex.h"
#include "engine/engine.h"
#include "engine/postgres/node.h"

namespace holdfast::engine::postgres {

/// NOTIFY inside a transaction that does work would make the commits of all nodes wait for one
/// another. So it has a connection of its own, and speaks once for all that happened within a few
/// milliseconds. Threads: any, but for the constructor and destructor.
class WakeUps {
 public:
  explicit WakeUps(Node& node) : node_(node) {}
  ~WakeUps();

  /// Starts the thread. `listener` must outlive this object.
  void Start(ChangeListener* listener);
  /// This node has committed something for which others may wait.
  void Tell();

 private:
  void Run();
  bool Connect();
  /// Waits until there is something to tell or to hear. False: the end.
  bool Await();
  void Hear();
  bool Gather();

  Node& node_;
  ChangeListener* listener_ = nullptr;
  std::unique_ptr<Connection> connection_;  // of the thread alone
  int wake_ = -1;                           // an eventfd: something to tell, or the end
  std::thread thread_;

  base::Mutex mutex_{base::LockRank::kEngineLeaf};
  base::CondVar stopping_;
  bool has_news_ HF_GUARDED_BY(mutex_) = false;
  bool is_stopping_ HF_GUARDED_BY(mutex_) = false;
};

}  // namespace holdfast::engine::postgres
