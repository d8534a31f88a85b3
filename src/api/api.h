// The HTTP API over a store: the door of programs that do not link the library.
#pragma once

#include <cstdint>
#include <memory>

#include "api/metrics.h"
#include "holdfast/log.h"
#include "holdfast/store.h"
#include "net/http_server.h"

namespace holdfast::api {

class Call;
class CallPool;
struct CallPools;
struct Route;
struct Service;

/// Every write is a batch given to the store. No call blocks the thread it came on: reads of the
/// store and large bodies go to threads of the API's own, and /healthz asks nothing of the store.
/// Threads: any.
class Api final : public net::HttpHandler {
 public:
  /// Where the store does the work of a write: on threads of its own, or, as in memory, on that of
  /// the caller. The API then has threads for writes, too.
  enum class Writes : std::uint8_t { kDoNotBlock, kBlock };

  /// All three must outlive it (`log` may be nothing). The metrics are shown, and counted into;
  /// the store should count into them, too.
  Api(Store& store, Metrics& metrics, LogSink* log = nullptr, Writes writes = Writes::kDoNotBlock);
  /// As Drain; then waits until what is under way has been answered.
  ~Api() override;

  /// From now on writes are refused with shutting_down, /readyz says so, and claims that wait are
  /// answered. What is under way goes on. Idempotent.
  void Drain();

  /// Calls that were not answered yet.
  std::int64_t in_flight() const;
  /// Waits until there are none, or until then. Whether there are none.
  bool AwaitIdle(SteadyTime until);

  void Handle(net::HttpRequest request, std::stop_token gone, net::Responder respond) override;
  std::size_t BodyLimit(std::string_view method, std::string_view target) override;
  net::HttpResponse Refuse(int status, std::string_view reason) override;

 private:
  void Dispatch(Call call);
  CallPool* PoolFor(const Call& call, const Route& route) const;

  const Writes writes_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<CallPools> pools_;  // ends before what its calls use
};

}  // namespace holdfast::api
