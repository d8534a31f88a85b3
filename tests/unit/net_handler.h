// The program behind the HTTP server in its tests: echoes, parks requests, drops them.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "net/http_server.h"

namespace holdfast::testing {

/// A request that waits for its answer.
struct Parked {
  net::HttpRequest request;
  net::Responder respond;
  std::stop_token gone;
};

/// /echo answers with method, target and body; /wait parks; /drop drops; /size/N answers N bytes;
/// /empty answers 204. Bodies up to 1 MiB, below /small up to 16 bytes.
class TestHandler final : public net::HttpHandler {
 public:
  void Handle(net::HttpRequest request, std::stop_token gone, net::Responder respond) override {
    if (request.target == "/wait") return Park(std::move(request), gone, std::move(respond));
    if (request.target == "/drop") return;
    if (request.target == "/empty") return respond({.status = 204, .body = "never sent"});
    if (request.target.starts_with("/size/")) {
      return respond({.body = std::string(std::stoul(request.target.substr(6)), 'x')});
    }
    if (!request.body.empty() && request.body.capacity() < request.body.size() + 64) {
      has_slack = false;
    }
    std::string body = request.method + " " + request.target + " " + request.body;
    respond({.content_type = "text/plain",
             .headers = {{"X-Echo", std::string(net::FindHeader(request.headers, "x-echo"))}},
             .body = std::move(body)});
  }
  std::size_t BodyLimit(std::string_view, std::string_view target) override {
    return target == "/small" ? 16 : 1024 * 1024;
  }
  net::HttpResponse Refuse(int status, std::string_view reason) override {
    return {.status = status, .content_type = "text/plain", .body = std::string(reason)};
  }

  /// Waits until that many requests are parked, and takes them.
  std::vector<Parked> TakeParked(std::size_t count) {
    base::MutexLock lock(mutex_);
    const SteadyTime until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (parked_.size() < count && std::chrono::steady_clock::now() < until) {
      changed_.WaitUntil(mutex_, until);
    }
    EXPECT_GE(parked_.size(), count);
    return std::exchange(parked_, {});
  }

  std::atomic<bool> has_slack = true;

 private:
  void Park(net::HttpRequest request, std::stop_token gone, net::Responder respond) {
    base::MutexLock lock(mutex_);
    parked_.push_back({std::move(request), std::move(respond), std::move(gone)});
    changed_.NotifyAll();
  }

  base::Mutex mutex_{base::LockRank::kStore};
  base::CondVar changed_;
  std::vector<Parked> parked_ HF_GUARDED_BY(mutex_);
};

/// Waits until a stop token fires. False: it did not in time.
inline bool AwaitStop(const std::stop_token& token) {
  struct Shared {
    base::Mutex mutex{base::LockRank::kWait};
    base::CondVar changed;
    bool fired HF_GUARDED_BY(mutex) = false;
  } shared;
  std::stop_callback on_stop(token, [&shared] {
    base::MutexLock lock(shared.mutex);
    shared.fired = true;
    shared.changed.NotifyAll();
  });
  base::MutexLock lock(shared.mutex);
  const SteadyTime until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!shared.fired && std::chrono::steady_clock::now() < until) {
    shared.changed.WaitUntil(shared.mutex, until);
  }
  return shared.fired;
}

/// A started server on a free port.
class TestServer {
 public:
  explicit TestServer(net::ServerOptions options = {}) {
    options.port = 0;
    server_ = std::make_unique<net::HttpServer>(std::move(options), handler);
    auto started = server_->Start();
    EXPECT_TRUE(started) << started.error().message;
  }
  net::HttpServer* operator->() { return server_.get(); }
  std::uint16_t port() const { return server_->port(); }
  void Destroy() { server_.reset(); }

  TestHandler handler;

 private:
  std::unique_ptr<net::HttpServer> server_;
};

}  // namespace holdfast::testing
