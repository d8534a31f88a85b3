#include "history/client.h"

namespace holdfast::history {
namespace {

/// Whether the call may go on behind its back: whoever made it is then another one.
bool MayGoOn(const Observed& call) {
  if (EndOf(call) == CallEnd::kUnknown) return true;
  return call.error && (call.error->code == ErrorCode::kUnavailable ||
                        call.error->code == ErrorCode::kDeadlineExceeded);
}

}  // namespace

template <typename Make>
auto Client::Note(Request request, Make make) {
  Observed call{.process = process_, .actor = context_.actor, .request = std::move(request)};
  call.invoked_ns = recording_.Nanoseconds();
  call.invoked = recording_.NextEvent();
  auto answer = make();
  call.returned = recording_.NextEvent();
  call.returned_ns = recording_.Nanoseconds();
  if (answer) {
    call.answer.emplace(*answer);
  } else {
    call.error = answer.error();
  }
  if (MayGoOn(call)) process_ = recording_.NextProcess();
  calls_.push_back(std::move(call));
  if (on_call_) on_call_();
  return answer;
}

Result<Receipt> Client::Commit(Batch batch) {
  return Note(batch, [&] { return store_.Commit(context_, batch); });
}

Result<OperationResult> Client::Do(Operation operation, std::vector<Guard> guards) {
  Batch batch{.guards = std::move(guards), .operations = {}};
  batch.operations.push_back(std::move(operation));
  Result<Receipt> receipt = Commit(std::move(batch));
  if (!receipt) return std::unexpected(std::move(receipt).error());
  return std::move(receipt->results.front());
}

Result<std::vector<Job>> Client::Claim(ClaimRequest request) {
  return Note(request, [&] { return store_.Claim(context_, request); });
}

Result<std::vector<LockGrant>> Client::Acquire(AcquireLock request) {
  return Note(request, [&] { return store_.Acquire(context_, request); });
}

Result<std::optional<Record>> Client::GetRecord(const RecordKey& key) {
  return Note(ReadRecord{key}, [&] { return store_.GetRecord(context_, key); });
}

Result<std::optional<Job>> Client::GetJob(JobId id) {
  return Note(ReadJob{id}, [&] { return store_.GetJob(context_, id); });
}

Result<Lock> Client::GetLock(const std::string& name) {
  return Note(ReadLock{name}, [&] { return store_.GetLock(context_, name); });
}

}  // namespace holdfast::history
