#include "history/history.h"

#include <fmt/format.h>

#include <algorithm>

#include "history/objects.h"
#include "wire/encode.h"

namespace holdfast::history {
namespace {

constexpr std::size_t kShownBytes = 400;  // of a request or an answer

std::string Shortened(std::string text) {
  if (text.size() > kShownBytes) text = text.substr(0, kShownBytes) + "...";
  return text;
}

struct RequestText {
  std::string operator()(const Batch& batch) const { return wire::ToText(wire::WriteBatch, batch); }
  std::string operator()(const ClaimRequest& claim) const {
    return wire::ToText(wire::WriteClaimRequest, claim);
  }
  std::string operator()(const AcquireLock& acquire) const {
    return wire::ToText(wire::WriteAcquire, acquire);
  }
  std::string operator()(const ReadRecord& read) const { return ToString(read.key); }
  std::string operator()(const ReadJob& read) const { return NameOfJob(read.id); }
  std::string operator()(const ReadLock& read) const { return NameOfLock(read.name); }
};

struct AnswerText {
  std::string operator()(const Receipt& receipt) const {
    return wire::ToText(wire::WriteReceipt, receipt);
  }
  std::string operator()(const std::vector<Job>& jobs) const {
    std::string text = fmt::format("{} jobs", jobs.size());
    for (const Job& job : jobs) text += fmt::format(", {} under {}", job.id, job.token);
    return text;
  }
  std::string operator()(const std::vector<LockGrant>& grants) const {
    return wire::ToText(wire::WriteGrants, grants);
  }
  std::string operator()(const std::optional<Record>& record) const {
    return record ? wire::ToText(wire::WriteRecord, *record) : "nothing";
  }
  std::string operator()(const std::optional<Job>& job) const {
    return job ? wire::ToText(wire::WriteJob, *job) : "nothing";
  }
  std::string operator()(const Lock& lock) const { return wire::ToText(wire::WriteLock, lock); }
};

}  // namespace

std::string_view NameOf(const Request& request) {
  static constexpr std::string_view kNames[] = {"commit",     "claim",   "acquire",
                                                "get_record", "get_job", "get_lock"};
  return kNames[request.index()];
}

CallEnd EndOf(const Observed& call) {
  if (call.answer) return CallEnd::kAnswered;
  if (!call.error) return CallEnd::kUnknown;
  switch (call.error->code) {
    case ErrorCode::kNotFound:
    case ErrorCode::kAlreadyExists:
    case ErrorCode::kVersionMismatch:
    case ErrorCode::kInvalidTransition:
    case ErrorCode::kRuleViolation:
    case ErrorCode::kCapacityFull:
    case ErrorCode::kFenced:
    case ErrorCode::kBusy:
    case ErrorCode::kIdempotencyMismatch:
      return CallEnd::kAnswered;
    case ErrorCode::kOutcomeUnknown:
    case ErrorCode::kCorrupt:
    case ErrorCode::kInternal:
      return CallEnd::kUnknown;
    default:  // the table of errors says that there was no effect
      return CallEnd::kFailed;
  }
}

void SortByBeginning(History& history) {
  std::ranges::sort(history.calls, {}, &Observed::invoked);
}

std::string Describe(const Observed& call) {
  std::string text =
      fmt::format("process {}, {} to {}: {} {}: ", call.process, call.invoked, call.returned,
                  NameOf(call.request), Shortened(std::visit(RequestText(), call.request)));
  if (call.answer) return text + Shortened(std::visit(AnswerText(), *call.answer));
  if (!call.error) return text + "never answered";
  return text +
         fmt::format("{}: {}", InfoOf(call.error->code).name, Shortened(call.error->message));
}

}  // namespace holdfast::history
