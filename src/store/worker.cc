// The public face of the worker pool.
#include "holdfast/worker.h"

#include <utility>

#include "store/worker_pool.h"

namespace holdfast {

WorkerPool::WorkerPool(Store& store, WorkerOptions options)
    : impl_(std::make_unique<Impl>(store, std::move(options))) {}

WorkerPool::~WorkerPool() = default;

void WorkerPool::Handle(std::string kind, Handler handler) {
  impl_->Handle(std::move(kind), std::move(handler));
}

Result<void> WorkerPool::Start() {
  return impl_->Start();
}

void WorkerPool::Stop() {
  impl_->Stop();
}

WorkerStats WorkerPool::stats() const {
  return impl_->stats();
}

const std::string& WorkerPool::name() const {
  return impl_->name();
}

}  // namespace holdfast
