#include "history/objects.h"

#include <fmt/format.h>

#include <algorithm>

#include "rules/lock_rows.h"
#include "rules/rows.h"

namespace holdfast::history {
namespace {

/// What a request, a guard, an operation or a result is about.
struct ObjectCollector {
  std::vector<std::string>& names;

  void Of(const RecordKey& key) { names.push_back("record " + ToString(key)); }
  void OfJob(JobId id) { names.push_back(NameOfJob(id)); }
  void OfTransfer(TransferId id) { names.push_back(fmt::format("transfer {}", id)); }
  void OfLock(const std::string& name) {
    names.push_back(NameOfLock(name));
    // Who holds the lock of a record says what becomes of changes of the record.
    if (auto record = rules::RecordOfLock(name)) Of(*record);
  }

  // Guards.
  void operator()(const JobGuard& guard) { OfJob(guard.id); }
  void operator()(const VersionGuard& guard) { Of(guard.record); }
  void operator()(const AbsentGuard& guard) { Of(guard.record); }
  void operator()(const LockGuard& guard) { OfLock(guard.name); }
  void operator()(const FenceGuard& guard) { Of(guard.record); }

  // Operations.
  void operator()(const EnqueueJob& op) {
    if (op.spec.parent) OfJob(*op.spec.parent);
    if (op.spec.unique) {
      names.push_back(fmt::format("unique {} {}", op.spec.kind, op.spec.unique->key));
    }
  }
  void operator()(const SetQueue&) {}  // what a queue lets through is not looked at
  void operator()(const CreateRecord& op) {
    if (!op.id.empty()) Of({op.kind, op.id});
    if (op.parent) Of(*op.parent);
  }
  void operator()(const RecordTarget& op) { Of({op.kind, op.id}); }
  void operator()(const ApplyKind&) {}  // the rules are the same for all
  void operator()(const MakeTransfer& op) {
    Of(op.from);
    Of(op.to);
  }
  void operator()(const PostTransfer& op) { OfTransfer(op.id); }
  void operator()(const VoidTransfer& op) { OfTransfer(op.id); }
  void operator()(const AcquireLock& op) {
    if (op.names.empty()) return OfLock(op.name);
    for (const std::string& name : op.names) OfLock(name);
  }
  void operator()(const RenewLock& op) { OfLock(op.name); }
  void operator()(const ReleaseLock& op) { OfLock(op.name); }
  void operator()(const BreakLock& op) { OfLock(op.name); }
  // Between the store and its engine: no client says so.
  void operator()(const AwaitLock&) {}
  void operator()(const LeaveLock&) {}
  void operator()(const KeepWaiting&) {}
  template <rules::OnJob T>
  void operator()(const T& op) {
    OfJob(op.id);
  }

  // Requests.
  void operator()(const Batch& batch) {
    for (const Guard& guard : batch.guards) std::visit(*this, guard);
    for (const Operation& operation : batch.operations) std::visit(*this, operation);
    if (!batch.idempotency_key.empty()) names.push_back("key " + batch.idempotency_key);
  }
  void operator()(const ClaimRequest&) {}
  void operator()(const ReadRecord& read) { Of(read.key); }
  void operator()(const ReadJob& read) { OfJob(read.id); }
  void operator()(const ReadLock& read) { OfLock(read.name); }

  // Answers: what got its name there.
  void operator()(const Receipt& receipt) {
    for (const OperationResult& result : receipt.results) {
      if (result.job) OfJob(result.job->id);
      if (result.record) Of(result.record->key());
      if (result.transfer) {
        OfTransfer(result.transfer->id);
        Of(result.transfer->from);
        Of(result.transfer->to);
      }
    }
  }
  void operator()(const std::vector<Job>& jobs) {
    for (const Job& job : jobs) OfJob(job.id);
  }
  void operator()(const std::vector<LockGrant>&) {}
  void operator()(const std::optional<Record>&) {}
  void operator()(const std::optional<Job>&) {}
  void operator()(const Lock&) {}
};

}  // namespace

std::string NameOfJob(JobId id) {
  return fmt::format("job {}", id);
}

std::string NameOfLock(std::string_view name) {
  return fmt::format("lock {}", name);
}

std::vector<std::string> ObjectsOf(const Observed& call) {
  std::vector<std::string> names;
  ObjectCollector collect{names};
  std::visit(collect, call.request);
  if (call.answer) std::visit(collect, *call.answer);
  std::ranges::sort(names);
  auto repeated = std::ranges::unique(names);
  names.erase(repeated.begin(), repeated.end());
  return names;
}

}  // namespace holdfast::history
