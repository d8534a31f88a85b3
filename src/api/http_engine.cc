#include "api/http_engine.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/url.h"
#include "base/json.h"
#include "base/mutant.h"
#include "base/result.h"
#include "base/store_url.h"
#include "base/text.h"
#include "net/http_client.h"
#include "rules/limits.h"
#include "wire/decode.h"
#include "wire/encode.h"

namespace holdfast::api {
namespace {

constexpr engine::Traits kTraits{.name = "http",
                                 .survives_process_kill = true,
                                 .shared_between_processes = true,
                                 .is_remote = true};

// The server's limits for a body and for the batches in it, with room for the brackets.
constexpr std::size_t kBodyBytes = 8 * 1024 * 1024 - 1024;
constexpr std::size_t kBatchesPerRequest = 1000;

/// What a failed call means for a caller that only wanted to know something.
Error AsRead(Error error) {
  // A read has no outcome that could be unknown: it had no effect.
  if (error.code == ErrorCode::kOutcomeUnknown) error.code = ErrorCode::kUnavailable;
  return error;
}

Error NotUnderstood(ErrorCode code, const Error& why) {
  return {code, fmt::format("the server's answer is not understood: {}", why.message), {}};
}

/// A wait begins on the server, after the call's own deadline has been taken into account.
Result<void> CheckWaiting(const Context& context, std::string_view for_what) {
  if (context.stop.stop_requested()) {
    return Fail(ErrorCode::kCancelled,
                fmt::format("the context was cancelled while waiting for {}", for_what));
  }
  if (context.deadline && std::chrono::steady_clock::now() >= *context.deadline) {
    return Fail(ErrorCode::kDeadlineExceeded,
                fmt::format("the context's deadline passed while waiting for {}", for_what));
  }
  return {};
}

/// The server ends the wait in time to say so: hanging up could lose what is on its way.
Duration WaitWithin(const Context& context, Duration wait, SteadyTime now) {
  if (!context.deadline) return wait;
  return std::clamp(std::chrono::ceil<Duration>(*context.deadline - now), Duration::zero(), wait);
}

Result<void> CheckText(std::string_view name, std::string_view text) {
  if (auto parsed = base::ParseJson(name, text); !parsed) return std::unexpected(parsed.error());
  return {};
}

/// The JSON of operations on records is parsed where it is applied: on the server. It travels as a
/// part of the request, so what is not one JSON value must not leave: `{},"force":true` would be
/// read as the next member.
Result<void> CheckTexts(const Batch& batch) {
  auto check = [](const auto& operation) -> Result<void> {
    if constexpr (requires { operation.data; }) return CheckText("data", operation.data);
    if constexpr (requires { operation.patch; }) return CheckText("patch", operation.patch);
    if constexpr (requires { operation.value; }) return CheckText("value", operation.value);
    if constexpr (requires { operation.params; }) return CheckText("params", operation.params);
    if constexpr (requires { operation.rules; }) return CheckText("rules", operation.rules);
    return {};
  };
  for (std::size_t i = 0; i < batch.operations.size(); ++i) {
    auto valid = std::visit(check, batch.operations[i]);
    if (valid) continue;
    valid.error().detail.operation = static_cast<std::int64_t>(i);
    return valid;
  }
  return {};
}

class HttpEngine final : public engine::Engine {
 public:
  HttpEngine(net::ClientOptions client, const StoreOptions& options)
      : timeout_(options.http_timeout), client_(std::move(client)) {}

  const engine::Traits& traits() const override { return kTraits; }

  void Commit(const Context& context, std::vector<Batch> batches, CommitDone done) override;
  void Claim(const Context& context, ClaimRequest request, ClaimDone done) override;
  void Acquire(const Context& context, AcquireLock request, AcquireDone done) override;
  Result<std::optional<Job>> GetJob(const Context& context, JobId id) override;
  Result<JobPage> ListJobs(const Context& context, const JobFilter& filter) override;
  Result<QueuePage> ListQueues(const Context& context, const QueueFilter& filter) override;
  Result<std::optional<Queue>> GetQueue(const Context& context, std::string_view name) override;
  Result<QueueTotals> GetTotals(const Context& context) override;
  Result<std::optional<Record>> GetRecord(const Context& context, const RecordKey& key) override;
  Result<RecordPage> ListRecords(const Context& context, const RecordFilter& filter) override;
  Result<std::optional<Kind>> GetKind(const Context& context, std::string_view name) override;
  Result<std::vector<Kind>> ListKinds(const Context& context) override;
  Result<std::optional<Transfer>> GetTransfer(const Context& context, TransferId id) override;
  Result<TransferPage> ListTransfers(const Context& context, const TransferFilter& filter) override;
  Result<Lock> GetLock(const Context& context, std::string_view name) override;
  Result<LockPage> ListLocks(const Context& context, const LockFilter& filter) override;
  Result<AuditPage> ListAudit(const Context& context, const AuditFilter& filter) override;
  Result<Time> Now() override;
  Result<void> CheckHealth() override;

  // The server maintains its store and wakes the claims that wait there.
  Result<engine::MaintainResult> Maintain(const Context&, engine::MaintainRequest) override {
    return engine::MaintainResult{};
  }
  void Listen(engine::ChangeListener*) override {}
  bool ChangedElsewhere() override { return false; }

 private:
  /// Batches that travel together, by their places in the answer.
  struct Group {
    std::vector<std::size_t> places;
    std::string body;
  };
  using Answers = std::vector<Result<Receipt>>;

  Result<net::HttpResponse> Send(const Context& context, std::string method, std::string target,
                                 std::string body, std::optional<SteadyTime> deadline = {});
  Result<std::string> Get(const Context& context, std::string target);
  /// One thing, or nothing if the server says that there is no such thing.
  template <typename T>
  Result<std::optional<T>> Find(const Context& context, std::string target,
                                Result<T> (*decode)(std::string_view));
  Answers SendGroup(const Context& context, std::string body, std::size_t count,
                    Duration longest_wait);
  Result<std::vector<Job>> ClaimNow(const Context& context, ClaimRequest request);
  Result<std::vector<LockGrant>> AcquireNow(const Context& context, AcquireLock request);

  const Duration timeout_;
  net::HttpClient client_;
};

Result<net::HttpResponse> HttpEngine::Send(const Context& context, std::string method,
                                           std::string target, std::string body,
                                           std::optional<SteadyTime> deadline) {
  HF_RETURN_IF_ERROR(context.Check());
  net::HttpRequest request{
      .method = std::move(method), .target = std::move(target), .body = std::move(body)};
  if (!request.body.empty()) request.headers.emplace_back("Content-Type", "application/json");
  if (!context.actor.empty()) request.headers.emplace_back("X-Holdfast-Actor", context.actor);
  if (!context.correlation_id.empty()) {
    request.headers.emplace_back("X-Correlation-Id", context.correlation_id);
  }
  if (!deadline) deadline = context.deadline;
  if (!deadline) deadline = std::chrono::steady_clock::now() + timeout_;
  return client_.Send(std::move(request), *deadline, context.stop);
}

Result<std::string> HttpEngine::Get(const Context& context, std::string target) {
  auto response = Send(context, "GET", std::move(target), {});
  if (!response) return std::unexpected(AsRead(std::move(response).error()));
  if (response->status == 200) return std::move(response->body);
  return std::unexpected(AsRead(wire::DecodeProblem(response->body, response->status)));
}

HttpEngine::Answers HttpEngine::SendGroup(const Context& context, std::string body,
                                          std::size_t count, Duration longest_wait) {
  // A batch may wait for a record's lock, beyond what a call may take otherwise.
  std::optional<SteadyTime> deadline;
  if (longest_wait > Duration::zero()) {
    deadline = std::chrono::steady_clock::now() + longest_wait + timeout_;
    if (context.deadline) deadline = std::min(*deadline, *context.deadline);
  }
  auto response = Send(context, "POST", "/v1/commit", std::move(body), deadline);
  Error error;
  if (!response) {
    error = std::move(response).error();
  } else if (response->status != 200) {
    error = wire::DecodeProblem(response->body, response->status);
  } else {
    auto receipts = wire::DecodeReceipts(response->body);
    if (receipts && receipts->size() == count) return *std::move(receipts);
    error =
        receipts
            ? Error{ErrorCode::kOutcomeUnknown,
                    fmt::format("the server answered {} of {} batches", receipts->size(), count),
                    {}}
            : NotUnderstood(ErrorCode::kOutcomeUnknown, receipts.error());
  }
  return Answers(count, std::unexpected(error));
}

void HttpEngine::Commit(const Context& context, std::vector<Batch> batches, CommitDone done) {
  Answers answers(batches.size());
  std::vector<std::string> texts;
  texts.reserve(batches.size());
  for (const Batch& batch : batches) texts.push_back(wire::ToText(wire::WriteBatch, batch));

  auto send = [&](const std::vector<std::size_t>& places) {
    std::string body = R"({"batches":[)";
    Duration longest_wait{};
    for (std::size_t place : places) {
      longest_wait = std::max(longest_wait, batches[place].wait);
      if (body.back() != '[') body += ',';
      body += texts[place];
    }
    body += "]}";
    Answers some = SendGroup(context, std::move(body), places.size(), longest_wait);
    for (std::size_t i = 0; i < places.size(); ++i) answers[places[i]] = std::move(some[i]);
  };

  // What was lost on its way back is asked for again, once, where a key makes that safe.
  auto send_surely = [&](const std::vector<std::size_t>& places) {
    send(places);
    std::vector<std::size_t> again;
    for (std::size_t place : places) {
      bool is_lost = !answers[place] && answers[place].error().code == ErrorCode::kOutcomeUnknown;
      const bool is_safe =
          !batches[place].idempotency_key.empty() || HF_MUTANT(asked_again_without_key);
      if (is_lost && is_safe) again.push_back(place);
    }
    if (!again.empty()) send(again);
  };

  std::vector<std::size_t> places;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    if (auto valid = CheckTexts(batches[i]); !valid && !HF_MUTANT(text_travels_unchecked)) {
      answers[i] = std::unexpected(std::move(valid).error());
      continue;
    }
    if (texts[i].size() > kBodyBytes) {
      answers[i] = Fail(ErrorCode::kPayloadTooLarge,
                        fmt::format("the batch has {} bytes as JSON (at most {} over HTTP)",
                                    texts[i].size(), kBodyBytes));
      continue;
    }
    bool is_full = places.size() == kBatchesPerRequest || bytes + texts[i].size() > kBodyBytes;
    if (is_full && !places.empty()) {
      send_surely(places);
      places.clear();
      bytes = 0;
    }
    places.push_back(i);
    bytes += texts[i].size() + 1;
  }
  if (!places.empty()) send_surely(places);
  done(std::move(answers));
}

Result<std::vector<Job>> HttpEngine::ClaimNow(const Context& context, ClaimRequest request) {
  HF_RETURN_IF_ERROR(context.Check());
  auto now = std::chrono::steady_clock::now();
  bool waits = request.wait > Duration::zero();
  request.wait = WaitWithin(context, request.wait, now);
  auto response =
      Send(context, "POST", "/v1/jobs/claim", wire::ToText(wire::WriteClaimRequest, request),
           now + request.wait + timeout_);
  if (!response) {
    // Having hung up is no failure of the call: the server gives back what it claimed for it.
    if (waits) HF_RETURN_IF_ERROR(CheckWaiting(context, "a job"));
    return std::unexpected(std::move(response).error());
  }
  if (response->status != 200) {
    return std::unexpected(wire::DecodeProblem(response->body, response->status));
  }
  auto jobs = wire::DecodeClaimedJobs(response->body);
  if (!jobs) return std::unexpected(NotUnderstood(ErrorCode::kOutcomeUnknown, jobs.error()));
  if (jobs->empty() && waits) HF_RETURN_IF_ERROR(CheckWaiting(context, "a job"));
  return jobs;
}

void HttpEngine::Claim(const Context& context, ClaimRequest request, ClaimDone done) {
  done(ClaimNow(context, std::move(request)));
}

Result<std::vector<LockGrant>> HttpEngine::AcquireNow(const Context& context, AcquireLock request) {
  HF_RETURN_IF_ERROR(context.Check());
  auto now = std::chrono::steady_clock::now();
  // What the preset says of the wait only the server knows: the longest there is.
  const Duration longest =
      request.wait.value_or(request.preset.empty() ? Duration::zero() : rules::kLockWaitMax);
  const bool waits = longest > Duration::zero();
  if (waits && (request.wait || context.deadline)) {
    request.wait = WaitWithin(context, longest, now);
  }
  auto response = Send(context, "POST", "/v1/locks/acquire",
                       wire::ToText(wire::WriteAcquire, request), now + longest + timeout_);
  if (!response) {
    // Having hung up is no failure of the call: the server gives back what it granted to it.
    if (waits) HF_RETURN_IF_ERROR(CheckWaiting(context, "a lock"));
    return std::unexpected(std::move(response).error());
  }
  if (response->status != 200) {
    Error error = wire::DecodeProblem(response->body, response->status);
    if (waits && error.code == ErrorCode::kBusy) {
      HF_RETURN_IF_ERROR(CheckWaiting(context, "a lock"));
    }
    return std::unexpected(std::move(error));
  }
  auto grants = wire::DecodeGrants(response->body);
  if (!grants) return std::unexpected(NotUnderstood(ErrorCode::kOutcomeUnknown, grants.error()));
  return grants;
}

void HttpEngine::Acquire(const Context& context, AcquireLock request, AcquireDone done) {
  done(AcquireNow(context, std::move(request)));
}

/// Decodes the answer to a read.
template <typename T>
Result<T> Understood(Result<T> decoded) {
  if (decoded) return decoded;
  return std::unexpected(NotUnderstood(ErrorCode::kInternal, decoded.error()));
}

template <typename T>
Result<std::optional<T>> HttpEngine::Find(const Context& context, std::string target,
                                          Result<T> (*decode)(std::string_view)) {
  auto text = Get(context, std::move(target));
  if (!text && text.error().code == ErrorCode::kNotFound) return std::nullopt;
  if (!text) return std::unexpected(std::move(text).error());
  HF_ASSIGN_OR_RETURN(T found, Understood(decode(*text)));
  return found;
}

Result<std::optional<Job>> HttpEngine::GetJob(const Context& context, JobId id) {
  if (id <= 0) return std::nullopt;  // no such path: no job ever has this id
  return Find(context, fmt::format("/v1/jobs/{}", id), wire::DecodeJob);
}

Result<JobPage> HttpEngine::ListJobs(const Context& context, const JobFilter& filter) {
  TargetBuilder target("/v1/jobs");
  target.Add("state", filter.state ? NameOf(*filter.state) : std::string_view())
      .Add("queue", filter.queue)
      .Add("kind", filter.kind)
      .Add("parent", filter.parent ? fmt::to_string(*filter.parent) : std::string())
      .Add("retrying", filter.retrying ? "true" : "")
      .Add("limit", fmt::to_string(filter.limit))
      .Add("cursor", filter.cursor);
  HF_ASSIGN_OR_RETURN(std::string text, Get(context, std::move(target).Take()));
  return Understood(wire::DecodeJobPage(text));
}

Result<QueuePage> HttpEngine::ListQueues(const Context& context, const QueueFilter& filter) {
  TargetBuilder target("/v1/queues");
  target.Add("limit", fmt::to_string(filter.limit)).Add("cursor", filter.cursor);
  HF_ASSIGN_OR_RETURN(std::string text, Get(context, std::move(target).Take()));
  return Understood(wire::DecodeQueuePage(text));
}

Result<std::optional<Queue>> HttpEngine::GetQueue(const Context& context, std::string_view name) {
  return Find(context, "/v1/queues/" + PercentEncode(name), wire::DecodeQueue);
}

Result<QueueTotals> HttpEngine::GetTotals(const Context& context) {
  HF_ASSIGN_OR_RETURN(std::string text, Get(context, "/v1/stats"));
  HF_ASSIGN_OR_RETURN(StoreStats stats, Understood(wire::DecodeStats(text)));
  return QueueTotals{stats.counts, stats.queues};
}

Result<std::optional<Record>> HttpEngine::GetRecord(const Context& context, const RecordKey& key) {
  return Find(context,
              fmt::format("/v1/records/{}/{}", PercentEncode(key.kind), PercentEncode(key.id)),
              wire::DecodeRecord);
}

Result<RecordPage> HttpEngine::ListRecords(const Context& context, const RecordFilter& filter) {
  TargetBuilder target("/v1/records/" + PercentEncode(filter.kind));
  target.Add("status", filter.status)
      .Add("parent", filter.parent ? ToString(*filter.parent) : std::string())
      .Add("limit", fmt::to_string(filter.limit))
      .Add("cursor", filter.cursor);
  // A kind that nobody has declared has no records: that is what every engine answers.
  HF_ASSIGN_OR_RETURN(std::optional<RecordPage> page,
                      Find(context, std::move(target).Take(), wire::DecodeRecordPage));
  return page ? *std::move(page) : RecordPage();
}

Result<std::optional<Kind>> HttpEngine::GetKind(const Context& context, std::string_view name) {
  return Find(context, "/v1/kinds/" + PercentEncode(name), wire::DecodeKind);
}

Result<std::vector<Kind>> HttpEngine::ListKinds(const Context& context) {
  HF_ASSIGN_OR_RETURN(std::string text, Get(context, "/v1/kinds"));
  return Understood(wire::DecodeKinds(text));
}

Result<std::optional<Transfer>> HttpEngine::GetTransfer(const Context& context, TransferId id) {
  if (id <= 0) return std::nullopt;  // no such path: no transfer ever has this id
  return Find(context, fmt::format("/v1/transfers/{}", id), wire::DecodeTransfer);
}

Result<TransferPage> HttpEngine::ListTransfers(const Context& context,
                                               const TransferFilter& filter) {
  TargetBuilder target("/v1/transfers");
  target.Add("state", filter.state ? NameOf(*filter.state) : std::string_view())
      .Add("from", filter.from ? ToString(*filter.from) : std::string())
      .Add("limit", fmt::to_string(filter.limit))
      .Add("cursor", filter.cursor);
  HF_ASSIGN_OR_RETURN(std::string text, Get(context, std::move(target).Take()));
  return Understood(wire::DecodeTransferPage(text));
}

Result<Lock> HttpEngine::GetLock(const Context& context, std::string_view name) {
  HF_ASSIGN_OR_RETURN(std::string text, Get(context, "/v1/locks/" + PercentEncode(name)));
  return Understood(wire::DecodeLock(text));
}

Result<LockPage> HttpEngine::ListLocks(const Context& context, const LockFilter& filter) {
  TargetBuilder target("/v1/locks");
  target.Add("prefix", filter.prefix)
      .Add("owner", filter.owner)
      .Add("limit", fmt::to_string(filter.limit))
      .Add("cursor", filter.cursor);
  HF_ASSIGN_OR_RETURN(std::string text, Get(context, std::move(target).Take()));
  return Understood(wire::DecodeLockPage(text));
}

Result<AuditPage> HttpEngine::ListAudit(const Context& context, const AuditFilter& filter) {
  TargetBuilder target("/v1/audit");
  target.Add("target", filter.target)
      .Add("actor", filter.actor)
      .Add("operation", filter.operation)
      .Add("since", filter.since ? base::FormatTime(*filter.since) : std::string())
      .Add("until", filter.until ? base::FormatTime(*filter.until) : std::string())
      .Add("min_lock_wait",
           filter.min_lock_wait ? base::FormatDuration(*filter.min_lock_wait) : std::string())
      .Add("refused", !filter.refused   ? ""
                      : *filter.refused ? "true"
                                        : "false")
      .Add("limit", fmt::to_string(filter.limit))
      .Add("cursor", filter.cursor);
  HF_ASSIGN_OR_RETURN(std::string text, Get(context, std::move(target).Take()));
  return Understood(wire::DecodeAuditPage(text));
}

Result<Time> HttpEngine::Now() {
  HF_ASSIGN_OR_RETURN(std::string text, Get(Context(), "/v1/stats"));
  HF_ASSIGN_OR_RETURN(StoreStats stats, Understood(wire::DecodeStats(text)));
  return stats.now;
}

Result<void> HttpEngine::CheckHealth() {
  auto text = Get(Context(), "/readyz");
  if (!text) return std::unexpected(std::move(text).error());
  return {};
}

std::unexpected<Error> NotSuchAUrl(std::string_view url, std::string_view why) {
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("'{}' is not a store: {} (a server is http://HOST:PORT)",
                          base::ShownUrl(url), why));
}

/// http://HOST, http://HOST:PORT, http://[ADDRESS]:PORT, with or without a slash at the end.
Result<net::ClientOptions> ParseUrl(std::string_view url) {
  std::string_view rest = url;
  if (!rest.starts_with("http://")) return NotSuchAUrl(url, "it does not begin with http://");
  rest.remove_prefix(7);
  if (rest.ends_with('/')) rest.remove_suffix(1);
  if (rest.find_first_of("/?#@ ") != std::string_view::npos) {
    return NotSuchAUrl(url, "there is more than a host and a port");
  }
  net::ClientOptions options;
  std::size_t colon = rest.rfind(':');
  if (rest.starts_with('[')) {
    std::size_t close = rest.find(']');
    if (close == std::string_view::npos) return NotSuchAUrl(url, "a ] is missing");
    options.host = rest.substr(1, close - 1);
    colon = close + 1 < rest.size() ? close + 1 : std::string_view::npos;
    if (colon != std::string_view::npos && rest[colon] != ':') {
      return NotSuchAUrl(url, "there is text after the ]");
    }
  } else {
    options.host = rest.substr(0, colon);
  }
  if (options.host.empty()) return NotSuchAUrl(url, "the host is missing");
  if (colon != std::string_view::npos) {
    options.port = rest.substr(colon + 1);
    auto port = base::ParseInteger(options.port);
    if (!port || *port < 1 || *port > 65535) {
      return NotSuchAUrl(url, "the port is not a number from 1 to 65535");
    }
  }
  return options;
}

}  // namespace

Result<std::unique_ptr<engine::Engine>> OpenHttp(std::string_view url,
                                                 const StoreOptions& options) {
  HF_ASSIGN_OR_RETURN(net::ClientOptions client, ParseUrl(url));
  client.max_answer_bytes = rules::kAnswerBytesRead;
  auto engine = std::make_unique<HttpEngine>(std::move(client), options);
  if (auto now = engine->Now(); !now) {
    return Fail(ErrorCode::kUnavailable,
                fmt::format("{} cannot be reached, or is not a Holdfast server: {}", url,
                            now.error().message));
  }
  return engine;
}

}  // namespace holdfast::api
