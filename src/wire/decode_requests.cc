// Bodies of requests: jobs to be, operations, batches, claims.
#include <fmt/format.h>

#include <array>
#include <utility>

#include "wire/decode.h"
#include "wire/reader.h"

namespace holdfast::wire {
namespace {

/// The members of T as JSON: one table for each struct.
template <typename T>
constexpr auto kFieldsOf = nullptr;

template <>
constexpr auto kFieldsOf<RetryDelay> = std::to_array<Field<RetryDelay>>({
    {"initial", As<ReadDuration, &RetryDelay::initial>},
    {"factor", As<ReadDouble, &RetryDelay::factor>},
    {"max", As<ReadDuration, &RetryDelay::max>},
    {"jitter", As<ReadDouble, &RetryDelay::jitter>},
});

bool ReadOnConflict(Value& value, OnConflict& out, Trouble& trouble) {
  std::string text;
  if (!ReadText(value, text, trouble)) return false;
  if (text == "reject") {
    out = OnConflict::kReject;
  } else if (text == "return") {
    out = OnConflict::kReturn;
  } else if (text == "replace") {
    out = OnConflict::kReplace;
  } else {
    return trouble.Say(R"( must be "reject", "return" or "replace")");
  }
  return true;
}

template <>
constexpr auto kFieldsOf<UniqueKey> = std::to_array<Field<UniqueKey>>({
    {"key", As<ReadText, &UniqueKey::key>, kRequired},
    {"states", As<ReadStates, &UniqueKey::states>},
    {"on_conflict", As<ReadOnConflict, &UniqueKey::on_conflict>},
});

bool ReadUnique(Value& value, UniqueKey& out, Trouble& trouble) {
  return ReadFields<UniqueKey>(value, kFieldsOf<UniqueKey>, out, trouble);
}

template <>
constexpr auto kFieldsOf<JobSpec> = std::to_array<Field<JobSpec>>({
    {"kind", As<ReadText, &JobSpec::kind>, kRequired},
    {"queue", As<ReadText, &JobSpec::queue>},
    {"payload", As<ReadRaw, &JobSpec::payload>},
    {"priority", As<ReadInt, &JobSpec::priority>},
    {"run_at", As<ReadTime, &JobSpec::run_at>},
    {"delay", As<ReadDuration, &JobSpec::delay>},
    {"max_attempts", As<ReadInt, &JobSpec::max_attempts>},
    {"retry", As<ReadRetry, &JobSpec::retry>},
    {"unique", As<ReadUnique, &JobSpec::unique>},
    {"parent", As<ReadId, &JobSpec::parent>},
    {"tags", As<ReadTextList, &JobSpec::tags>},
    {"metadata", As<ReadRaw, &JobSpec::metadata>},
});

template <>
constexpr auto kFieldsOf<ClaimJob> = std::to_array<Field<ClaimJob>>({
    {"id", As<ReadId, &ClaimJob::id>, kRequired},
    {"worker", As<ReadText, &ClaimJob::worker>, kRequired},
    {"lease", As<ReadDuration, &ClaimJob::lease>},
});
template <>
constexpr auto kFieldsOf<CompleteJob> = std::to_array<Field<CompleteJob>>({
    {"id", As<ReadId, &CompleteJob::id>, kRequired},
    {"token", As<ReadId, &CompleteJob::token>, kRequired},
    {"result", As<ReadRaw, &CompleteJob::result>},
});
template <>
constexpr auto kFieldsOf<FailJob> = std::to_array<Field<FailJob>>({
    {"id", As<ReadId, &FailJob::id>, kRequired},
    {"token", As<ReadId, &FailJob::token>, kRequired},
    {"error", As<ReadText, &FailJob::error>, kRequired},
    {"permanent", As<ReadBool, &FailJob::permanent>},
    {"retry_in", As<ReadDuration, &FailJob::retry_in>},
});
template <>
constexpr auto kFieldsOf<ReleaseJob> = std::to_array<Field<ReleaseJob>>({
    {"id", As<ReadId, &ReleaseJob::id>, kRequired},
    {"token", As<ReadId, &ReleaseJob::token>, kRequired},
});
template <>
constexpr auto kFieldsOf<SnoozeJob> = std::to_array<Field<SnoozeJob>>({
    {"id", As<ReadId, &SnoozeJob::id>, kRequired},
    {"token", As<ReadId, &SnoozeJob::token>, kRequired},
    {"delay", As<ReadDuration, &SnoozeJob::delay>, kRequired},
});
template <>
constexpr auto kFieldsOf<RenewJob> = std::to_array<Field<RenewJob>>({
    {"id", As<ReadId, &RenewJob::id>, kRequired},
    {"token", As<ReadId, &RenewJob::token>, kRequired},
    {"lease", As<ReadDuration, &RenewJob::lease>},
});
template <>
constexpr auto kFieldsOf<ProgressJob> = std::to_array<Field<ProgressJob>>({
    {"id", As<ReadId, &ProgressJob::id>, kRequired},
    {"token", As<ReadId, &ProgressJob::token>, kRequired},
    {"progress", As<ReadDouble, &ProgressJob::progress>, kRequired},
    {"message", As<ReadText, &ProgressJob::message>},
});
template <>
constexpr auto kFieldsOf<CancelJob> = std::to_array<Field<CancelJob>>({
    {"id", As<ReadId, &CancelJob::id>, kRequired},
});
template <>
constexpr auto kFieldsOf<RetryJob> = std::to_array<Field<RetryJob>>({
    {"id", As<ReadId, &RetryJob::id>, kRequired},
});
template <>
constexpr auto kFieldsOf<DeleteJob> = std::to_array<Field<DeleteJob>>({
    {"id", As<ReadId, &DeleteJob::id>, kRequired},
});
template <>
constexpr auto kFieldsOf<SetQueue> = std::to_array<Field<SetQueue>>({
    {"name", As<ReadText, &SetQueue::name>, kRequired},
    {"paused", As<ReadBool, &SetQueue::paused>},
    {"max_pending", As<ReadBound, &SetQueue::max_pending>},
    {"max_running", As<ReadBound, &SetQueue::max_running>},
    {"audit", As<ReadBool, &SetQueue::audit>},
    {"retain_completed", As<ReadDuration, &SetQueue::retain_completed>},
    {"retain_failed", As<ReadDuration, &SetQueue::retain_failed>},
});

template <>
constexpr auto kFieldsOf<JobGuard> = std::to_array<Field<JobGuard>>({
    {"job", As<ReadId, &JobGuard::id>, kRequired},
    {"token", As<ReadId, &JobGuard::token>, kRequired},
});
template <>
constexpr auto kFieldsOf<ClaimRequest> = std::to_array<Field<ClaimRequest>>({
    {"worker", As<ReadText, &ClaimRequest::worker>, kRequired},
    {"queues", As<ReadTextList, &ClaimRequest::queues>},
    {"max", As<ReadInt, &ClaimRequest::max>},
    {"lease", As<ReadDuration, &ClaimRequest::lease>},
    {"wait", As<ReadDuration, &ClaimRequest::wait>},
});

/// Reads the members of the operation that `out` already holds.
bool ReadMembers(Object& object, Operation& out, Trouble& trouble, const Extra& extra) {
  auto read = [&]<typename T>(T& operation) {
    if constexpr (std::same_as<T, EnqueueJob>) {
      return ReadFields<JobSpec>(object, kFieldsOf<JobSpec>, operation.spec, trouble, extra);
    } else {
      return ReadFields<T>(object, kFieldsOf<T>, operation, trouble, extra);
    }
  };
  return std::visit(read, out);
}

/// Makes `out` an operation of that name. False if there is none such.
template <std::size_t... I>
bool MakeOperation(std::string_view name, Operation& out, std::index_sequence<I...>) {
  static const std::string_view names[] = {NameOf(Operation(std::in_place_index<I>))...};
  return ((names[I] == name && (out.emplace<I>(), true)) || ...);
}

bool MakeOperation(std::string_view name, Operation& out) {
  return MakeOperation(name, out, std::make_index_sequence<std::variant_size_v<Operation>>());
}

bool ReadOperation(Value& value, Operation& out, Trouble& trouble) {
  Object object;
  if (!ReadObject(value, object, trouble)) return false;
  Value what;
  auto error = object.find_field_unordered("do").get(what);
  if (error == simdjson::NO_SUCH_FIELD) return trouble.Say(" is missing") || trouble.At("do");
  if (error) return trouble.SayMalformed(error);
  std::string name;
  if (!ReadText(what, name, trouble)) return trouble.At("do");
  if (!MakeOperation(name, out)) {
    return trouble.Say(fmt::format(": '{}' is not an operation", Clip(name, 64))) ||
           trouble.At("do");
  }
  if (auto bad = object.reset().error()) return trouble.SayMalformed(bad);
  return ReadMembers(object, out, trouble, {.skip = "do"});
}

bool ReadGuard(Value& value, Guard& out, Trouble& trouble) {
  return ReadFields<JobGuard>(value, kFieldsOf<JobGuard>, out.emplace<JobGuard>(), trouble);
}

bool ReadOperations(Value& value, std::vector<Operation>& out, Trouble& trouble) {
  return ReadElements(value, trouble, [&](Value& element, std::size_t index) {
    if (ReadOperation(element, out.emplace_back(), trouble)) return true;
    trouble.detail().operation = static_cast<std::int64_t>(index);
    return false;
  });
}

bool ReadGuards(Value& value, std::vector<Guard>& out, Trouble& trouble) {
  return ReadElements(value, trouble, [&](Value& element, std::size_t index) {
    if (ReadGuard(element, out.emplace_back(), trouble)) return true;
    trouble.detail().guard = static_cast<std::int64_t>(index);
    return false;
  });
}

bool ReadSpec(Value& value, JobSpec& out, Trouble& trouble) {
  return ReadFields<JobSpec>(value, kFieldsOf<JobSpec>, out, trouble);
}

template <>
constexpr auto kFieldsOf<JobSpecs> = std::to_array<Field<JobSpecs>>({
    {"jobs", As<ReadList<ReadSpec, JobSpec>, &JobSpecs::jobs>, kRequired},
    {"atomic", As<ReadBool, &JobSpecs::atomic>},
});

template <>
constexpr auto kFieldsOf<Batch> = std::to_array<Field<Batch>>({
    {"guards", As<ReadGuards, &Batch::guards>},
    {"operations", As<ReadOperations, &Batch::operations>, kRequired},
    {"idempotency_key", As<ReadText, &Batch::idempotency_key>},
});

bool ReadBatch(Value& value, Batch& out, Trouble& trouble) {
  return ReadFields<Batch>(value, kFieldsOf<Batch>, out, trouble);
}

struct BatchList {
  std::vector<Batch> batches;
};
template <>
constexpr auto kFieldsOf<BatchList> = std::to_array<Field<BatchList>>({
    {"batches", As<ReadList<ReadBatch, Batch>, &BatchList::batches>, kRequired},
});

/// One item of a finish: an operation told by its outcome.
struct Finish {
  JobId id = 0;
  Token token = 0;
  std::string outcome;
  std::optional<std::string> result;
  std::optional<std::string> error;
  std::optional<bool> permanent;
};
template <>
constexpr auto kFieldsOf<Finish> = std::to_array<Field<Finish>>({
    {"id", As<ReadId, &Finish::id>, kRequired},
    {"token", As<ReadId, &Finish::token>, kRequired},
    {"outcome", As<ReadText, &Finish::outcome>, kRequired},
    {"result", As<ReadRaw, &Finish::result>},
    {"error", As<ReadText, &Finish::error>},
    {"permanent", As<ReadBool, &Finish::permanent>},
});

/// Refuses a field that does not go with the outcome: dropping it would lose what was said.
bool ReadFinish(Value& value, Operation& out, Trouble& trouble) {
  Finish item;
  if (!ReadFields<Finish>(value, kFieldsOf<Finish>, item, trouble)) return false;
  bool is_completed = item.outcome == "completed";
  bool is_failed = item.outcome == "failed";
  if (!is_completed && !is_failed && item.outcome != "released") {
    return trouble.Say(R"( must be "completed", "failed" or "released")") || trouble.At("outcome");
  }
  auto misplaced = [&](std::string_view name) {
    return trouble.Say(fmt::format(" does not go with the outcome {}", item.outcome)) ||
           trouble.At(name);
  };
  if (item.result && !is_completed) return misplaced("result");
  if (item.error && !is_failed) return misplaced("error");
  if (item.permanent && !is_failed) return misplaced("permanent");
  if (is_failed && !item.error) return trouble.Say(" is missing") || trouble.At("error");
  if (is_completed) {
    out = CompleteJob{item.id, item.token, std::move(item.result)};
  } else if (is_failed) {
    out = FailJob{item.id, item.token, std::move(*item.error), item.permanent.value_or(false), {}};
  } else {
    out = ReleaseJob{item.id, item.token};
  }
  return true;
}

struct Operations {
  std::vector<Operation> items;
};
template <>
constexpr auto kFieldsOf<Operations> = std::to_array<Field<Operations>>({
    {"items", As<ReadList<ReadFinish, Operation>, &Operations::items>, kRequired},
});

bool ReadHeld(Value& value, JobGuard& out, Trouble& trouble) {
  static constexpr Field<JobGuard> kFields[] = {
      {"id", As<ReadId, &JobGuard::id>, kRequired},
      {"token", As<ReadId, &JobGuard::token>, kRequired},
  };
  return ReadFields<JobGuard>(value, kFields, out, trouble);
}

struct Renewal {
  std::vector<JobGuard> items;
  Duration lease = RenewJob{}.lease;
};
template <>
constexpr auto kFieldsOf<Renewal> = std::to_array<Field<Renewal>>({
    {"items", As<ReadList<ReadHeld, JobGuard>, &Renewal::items>, kRequired},
    {"lease", As<ReadDuration, &Renewal::lease>},
});

/// A whole document that is one T.
template <typename T>
Result<T> Decode(std::string_view text) {
  return ReadDocument<T>(text, [](Value& value, T& out, Trouble& trouble) {
    return ReadFields<T>(value, kFieldsOf<T>, out, trouble);
  });
}

/// Reads the members of `out`, of which `given` is known from elsewhere.
template <typename T>
Result<T> DecodeRest(std::string_view text, T start, std::string_view given) {
  if (text.empty()) text = "{}";  // an operation that needs nothing more may come without a body
  return ReadDocument<T>(text, [&](Value& value, T& out, Trouble& trouble) {
    out = std::move(start);
    Object object;
    if (!ReadObject(value, object, trouble)) return false;
    if constexpr (std::same_as<T, Operation>) {
      return ReadMembers(object, out, trouble, {.given = given});
    } else {
      return ReadFields<T>(object, kFieldsOf<T>, out, trouble, {.given = given});
    }
  });
}

}  // namespace

bool ReadRetry(Value& value, RetryDelay& out, Trouble& trouble) {
  return ReadFields<RetryDelay>(value, kFieldsOf<RetryDelay>, out, trouble);
}

Result<Batch> DecodeBatch(std::string_view text) {
  return Decode<Batch>(text);
}
Result<JobSpec> DecodeJobSpec(std::string_view text) {
  return Decode<JobSpec>(text);
}
Result<JobSpecs> DecodeJobSpecs(std::string_view text) {
  return Decode<JobSpecs>(text);
}
Result<ClaimRequest> DecodeClaimRequest(std::string_view text) {
  return Decode<ClaimRequest>(text);
}

Result<Commit> DecodeCommit(std::string_view text) {
  return ReadDocument<Commit>(text, [](Value& value, Commit& out, Trouble& trouble) {
    Object object;
    if (!ReadObject(value, object, trouble)) return false;
    bool is_many = !object.find_field_unordered("batches").error();
    if (auto bad = object.reset().error()) return trouble.SayMalformed(bad);
    if (is_many) {
      BatchList list;
      if (!ReadFields<BatchList>(object, kFieldsOf<BatchList>, list, trouble)) return false;
      out.batches = std::move(list.batches);
      out.is_many = true;
      return true;
    }
    return ReadFields<Batch>(object, kFieldsOf<Batch>, out.batches.emplace_back(), trouble);
  });
}

Result<Operation> DecodeJobOperation(Operation start, std::string_view text) {
  return DecodeRest(text, std::move(start), "id");
}

Result<SetQueue> DecodeQueueChange(std::string name, std::string_view text) {
  return DecodeRest(text, SetQueue{.name = std::move(name)}, "name");
}

Result<std::vector<Operation>> DecodeFinish(std::string_view text) {
  auto operations = Decode<Operations>(text);
  if (!operations) return std::unexpected(std::move(operations).error());
  return std::move(operations->items);
}

Result<std::vector<Operation>> DecodeRenew(std::string_view text) {
  auto renewal = Decode<Renewal>(text);
  if (!renewal) return std::unexpected(std::move(renewal).error());
  std::vector<Operation> operations;
  operations.reserve(renewal->items.size());
  for (const JobGuard& held : renewal->items) {
    operations.emplace_back(RenewJob{held.id, held.token, renewal->lease});
  }
  return operations;
}

}  // namespace holdfast::wire
