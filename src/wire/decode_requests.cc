// Bodies of requests: jobs to be, operations, batches, claims.
#include <fmt/format.h>

#include <utility>

#include "wire/decode.h"
#include "wire/operation_fields.h"

namespace holdfast::wire {
namespace {

/// An empty choice would stand for everything in the request, and for nothing in the caller's mind.
bool ReadChoice(Value& value, std::vector<std::string>& out, Trouble& trouble) {
  if (!ReadTextList(value, out, trouble)) return false;
  return !out.empty() || trouble.Say(" is empty: leave it out to claim from all");
}

constexpr Field<ClaimRequest> kClaimRequestFields[] = {
    {"worker", As<ReadText, &ClaimRequest::worker>, kRequired},
    {"queues", As<ReadChoice, &ClaimRequest::queues>},
    {"kinds", As<ReadChoice, &ClaimRequest::kinds>},
    {"max", As<ReadInt, &ClaimRequest::max>},
    {"lease", As<ReadDuration, &ClaimRequest::lease>},
    {"wait", As<ReadDuration, &ClaimRequest::wait>},
};

// The last ones are between the store and its engine, and have no JSON.
constexpr std::size_t kSpokenOperations = std::variant_size_v<Operation> - 3;
static_assert(std::same_as<std::variant_alternative_t<kSpokenOperations, Operation>, AwaitLock>);

/// Reads the members of the operation that `out` already holds.
bool ReadMembers(Object& object, Operation& out, Trouble& trouble, const Extra& extra) {
  auto read = [&]<typename T>(T& operation) {
    if constexpr (std::same_as<T, EnqueueJob>) {
      return ReadFields<JobSpec>(object, kFieldsOf<JobSpec>, operation.spec, trouble, extra);
    } else if constexpr (std::is_null_pointer_v<std::remove_cv_t<decltype(kFieldsOf<T>)>>) {
      return false;  // never made by MakeOperation
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
  return MakeOperation(name, out, std::make_index_sequence<kSpokenOperations>());
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

bool ReadRecordGuard(Object& object, Guard& out, Trouble& trouble) {
  RecordGuard guard;
  if (!ReadFields<RecordGuard>(object, kFieldsOf<RecordGuard>, guard, trouble)) return false;
  if (guard.fence) {
    if (guard.version || guard.absent) {
      return trouble.Say(" does not go with version or absent") || trouble.At("fence");
    }
    out = FenceGuard{std::move(guard.record), *guard.fence};
    return true;
  }
  if (guard.absent) {
    if (!*guard.absent) return trouble.Say(" can only be true") || trouble.At("absent");
    if (guard.version) {
      return trouble.Say(" does not go with absent") || trouble.At("version");
    }
    out = AbsentGuard{std::move(guard.record)};
    return true;
  }
  if (!guard.version)
    return trouble.Say(" is missing (or absent, or fence)") || trouble.At("version");
  out = VersionGuard{std::move(guard.record), *guard.version};
  return true;
}

/// A guard is told by what it is about: a "record", a "lock", else a "job".
bool ReadGuard(Value& value, Guard& out, Trouble& trouble) {
  Object object;
  if (!ReadObject(value, object, trouble)) return false;
  bool found = false;
  if (!FindField(object, "record", found, trouble)) return false;
  if (found) return ReadRecordGuard(object, out, trouble);
  if (!FindField(object, "lock", found, trouble)) return false;
  if (found) {
    return ReadFields<LockGuard>(object, kFieldsOf<LockGuard>, out.emplace<LockGuard>(), trouble);
  }
  return ReadFields<JobGuard>(object, kFieldsOf<JobGuard>, out.emplace<JobGuard>(), trouble);
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

constexpr Field<JobSpecs> kJobSpecsFields[] = {
    {"jobs", As<ReadList<ReadSpec, JobSpec>, &JobSpecs::jobs>, kRequired},
    {"atomic", As<ReadBool, &JobSpecs::atomic>},
};

constexpr Field<Batch> kBatchFields[] = {
    {"guards", As<ReadGuards, &Batch::guards>},
    {"operations", As<ReadOperations, &Batch::operations>, kRequired},
    {"idempotency_key", As<ReadText, &Batch::idempotency_key>},
    {"wait", As<ReadDuration, &Batch::wait>},
};

bool ReadBatch(Value& value, Batch& out, Trouble& trouble) {
  return ReadFields<Batch>(value, kBatchFields, out, trouble);
}

struct BatchList {
  std::vector<Batch> batches;
};
constexpr Field<BatchList> kBatchListFields[] = {
    {"batches", As<ReadList<ReadBatch, Batch>, &BatchList::batches>, kRequired},
};

/// One item of a finish: an operation told by its outcome.
struct Finish {
  JobId id = 0;
  Token token = 0;
  std::string outcome;
  std::optional<std::string> result;
  std::optional<std::string> error;
  std::optional<bool> permanent;
};
constexpr Field<Finish> kFinishFields[] = {
    {"id", As<ReadId, &Finish::id>, kRequired},
    {"token", As<ReadId, &Finish::token>, kRequired},
    {"outcome", As<ReadText, &Finish::outcome>, kRequired},
    {"result", As<ReadRaw, &Finish::result>},
    {"error", As<ReadText, &Finish::error>},
    {"permanent", As<ReadBool, &Finish::permanent>},
};

/// Refuses a field that does not go with the outcome: dropping it would lose what was said.
bool ReadFinish(Value& value, Operation& out, Trouble& trouble) {
  Finish item;
  if (!ReadFields<Finish>(value, kFinishFields, item, trouble)) return false;
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
constexpr Field<Operations> kOperationsFields[] = {
    {"items", As<ReadList<ReadFinish, Operation>, &Operations::items>, kRequired},
};

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
constexpr Field<Renewal> kRenewalFields[] = {
    {"items", As<ReadList<ReadHeld, JobGuard>, &Renewal::items>, kRequired},
    {"lease", As<ReadDuration, &Renewal::lease>},
};

template <auto Read, auto Member>
bool Wanted(Value& value, AcquireNextRequest& request, Trouble& trouble) {
  return As<Read, Member>(value, request.lock, trouble);
}
template <auto Read, auto Member>
bool Filtered(Value& value, AcquireNextRequest& request, Trouble& trouble) {
  return As<Read, Member>(value, request.filter, trouble);
}
constexpr Field<AcquireNextRequest> kAcquireNextFields[] = {
    {"status", Filtered<ReadGivenText, &RecordFilter::status>},
    {"parent", Filtered<ReadRecordKey, &RecordFilter::parent>},
    {"owner", Wanted<ReadText, &AcquireLock::owner>, kRequired},
    {"mode", Wanted<ReadLockMode, &AcquireLock::mode>},
    {"limit", Wanted<ReadInteger, &AcquireLock::limit>},
    {"ttl", Wanted<ReadDuration, &AcquireLock::ttl>},
    {"lock_delay", Wanted<ReadDuration, &AcquireLock::lock_delay>},
    {"preset", Wanted<ReadGivenText, &AcquireLock::preset>},
};

/// A whole document that is one T.
template <typename T>
Result<T> Decode(std::string_view text, std::span<const Field<T>> fields) {
  return ReadDocument<T>(text, [&](Value& value, T& out, Trouble& trouble) {
    return ReadFields<T>(value, fields, out, trouble);
  });
}

/// Reads the members of `out`, of which those `given` are known from elsewhere.
template <typename T>
Result<T> DecodeRest(std::string_view text, T start, Names given) {
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

bool ReadRecordKey(Value& value, RecordKey& out, Trouble& trouble) {
  return ReadFields<RecordKey>(value, kFieldsOf<RecordKey>, out, trouble);
}

bool ReadRetry(Value& value, RetryDelay& out, Trouble& trouble) {
  return ReadFields<RetryDelay>(value, kFieldsOf<RetryDelay>, out, trouble);
}

Result<Batch> DecodeBatch(std::string_view text) {
  return Decode<Batch>(text, kBatchFields);
}
Result<JobSpec> DecodeJobSpec(std::string_view text) {
  return Decode<JobSpec>(text, kFieldsOf<JobSpec>);
}
Result<JobSpecs> DecodeJobSpecs(std::string_view text) {
  return Decode<JobSpecs>(text, kJobSpecsFields);
}
Result<ClaimRequest> DecodeClaimRequest(std::string_view text) {
  return Decode<ClaimRequest>(text, kClaimRequestFields);
}

Result<Commit> DecodeCommit(std::string_view text) {
  return ReadDocument<Commit>(text, [](Value& value, Commit& out, Trouble& trouble) {
    Object object;
    if (!ReadObject(value, object, trouble)) return false;
    bool is_many = false;
    if (!FindField(object, "batches", is_many, trouble)) return false;
    if (is_many) {
      BatchList list;
      if (!ReadFields<BatchList>(object, kBatchListFields, list, trouble)) return false;
      out.batches = std::move(list.batches);
      out.is_many = true;
      return true;
    }
    return ReadFields<Batch>(object, kBatchFields, out.batches.emplace_back(), trouble);
  });
}

Result<Operation> DecodeOperation(Operation start, std::string_view text,
                                  std::initializer_list<std::string_view> given) {
  return DecodeRest(text, std::move(start), Names(given.begin(), given.size()));
}

Result<AcquireLock> DecodeAcquire(AcquireLock start, std::string_view text,
                                  std::initializer_list<std::string_view> given) {
  return DecodeRest(text, std::move(start), Names(given.begin(), given.size()));
}

Result<AcquireNextRequest> DecodeAcquireNext(std::string_view text) {
  return ReadDocument<AcquireNextRequest>(
      text, [](Value& value, AcquireNextRequest& out, Trouble& trouble) {
        return ReadFields<AcquireNextRequest>(value, kAcquireNextFields, out, trouble);
      });
}

Result<Operation> DecodeJobOperation(Operation start, std::string_view text) {
  return DecodeOperation(std::move(start), text, {"id"});
}

Result<SetQueue> DecodeQueueChange(std::string name, std::string_view text) {
  static constexpr std::string_view kGiven[] = {"name"};
  return DecodeRest(text, SetQueue{.name = std::move(name)}, kGiven);
}

Result<std::vector<Operation>> DecodeFinish(std::string_view text) {
  auto operations = Decode<Operations>(text, kOperationsFields);
  if (!operations) return std::unexpected(std::move(operations).error());
  return std::move(operations->items);
}

Result<std::vector<Operation>> DecodeRenew(std::string_view text) {
  auto renewal = Decode<Renewal>(text, kRenewalFields);
  if (!renewal) return std::unexpected(std::move(renewal).error());
  std::vector<Operation> operations;
  operations.reserve(renewal->items.size());
  for (const JobGuard& held : renewal->items) {
    operations.emplace_back(RenewJob{held.id, held.token, renewal->lease});
  }
  return operations;
}

}  // namespace holdfast::wire
