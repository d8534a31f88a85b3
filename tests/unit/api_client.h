// The API over a store in memory, called without sockets.
#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>

#include "api/api.h"
#include "base/answer.h"
#include "engine/memory/memory_engine.h"
#include "testing/fake_clock.h"
#include "wire/decode.h"

namespace holdfast::testing {

/// An answer that will come.
class Pending {
 public:
  net::Responder Responder() {
    return [answer = answer_](net::HttpResponse response) { answer->Set(std::move(response)); };
  }
  net::HttpResponse Take() { return answer_->Take(); }

 private:
  std::shared_ptr<base::Answer<net::HttpResponse>> answer_ =
      std::make_shared<base::Answer<net::HttpResponse>>();
};

class ApiTest : public ::testing::Test {
 protected:
  ApiTest() {
    StoreOptions options{.clock = &clock_, .metrics = &metrics_, .maintain = false};
    store_ = std::make_unique<Store>(*engine::OpenMemory(options), options);
    api_ = std::make_unique<api::Api>(*store_, metrics_);
  }

  Pending Start(std::string method, std::string target, std::string body = "",
                net::Headers headers = {}, std::stop_token gone = {}) {
    Pending pending;
    net::HttpRequest request{std::move(method), std::move(target), std::move(headers),
                             std::move(body)};
    request.body.reserve(request.body.size() + 64);
    api_->Handle(std::move(request), std::move(gone), pending.Responder());
    return pending;
  }

  net::HttpResponse Call(std::string method, std::string target, std::string body = "",
                         net::Headers headers = {}) {
    return Start(std::move(method), std::move(target), std::move(body), std::move(headers)).Take();
  }
  net::HttpResponse Get(std::string target) { return Call("GET", std::move(target)); }
  net::HttpResponse Post(std::string target, std::string body = "", net::Headers headers = {}) {
    return Call("POST", std::move(target), std::move(body), std::move(headers));
  }

  /// The job that an answer holds.
  static Job JobOf(const net::HttpResponse& response) {
    auto job = wire::DecodeJob(response.body);
    EXPECT_TRUE(job) << response.status << " " << response.body;
    return job ? *job : Job{};
  }
  static std::vector<Job> ClaimedOf(const net::HttpResponse& response) {
    auto jobs = wire::DecodeClaimedJobs(response.body);
    EXPECT_TRUE(jobs) << response.status << " " << response.body;
    return jobs ? *jobs : std::vector<Job>{};
  }
  /// The error that an answer holds; checks that status, body and headers agree.
  static Error ProblemOf(const net::HttpResponse& response, int status = 0) {
    Error error = wire::DecodeProblem(response.body, 0);
    if (status == 0) status = InfoOf(error.code).http_status;
    EXPECT_EQ(response.status, status) << response.body;
    EXPECT_EQ(response.content_type, "application/problem+json");
    std::string_view request_id = net::FindHeader(response.headers, "X-Request-Id");
    EXPECT_FALSE(request_id.empty());
    EXPECT_THAT(response.body, ::testing::HasSubstr("\"request_id\":\"" + std::string(request_id)));
    return error;
  }

  /// A job of kind "k" in queue "q", claimed by "w".
  Job Claimed() {
    Post("/v1/jobs", R"({"kind":"k","queue":"q"})");
    return ClaimedOf(Post("/v1/jobs/claim", R"({"worker":"w","queues":["q"]})")).at(0);
  }
  static std::string PathOf(const Job& job, std::string_view verb) {
    return fmt::format("/v1/jobs/{}/{}", job.id, verb);
  }
  /// {"token":"…", MORE}
  static std::string WithToken(const Job& job, std::string_view more = "") {
    return fmt::format(R"({{"token":"{}"{}{}}})", job.token, more.empty() ? "" : ",", more);
  }

  FakeClock clock_;
  api::Metrics metrics_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<api::Api> api_;
};

}  // namespace holdfast::testing
