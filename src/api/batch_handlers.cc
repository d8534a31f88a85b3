// Calls about many things at once: independent of one another, or all or nothing.
#include <fmt/format.h>

#include <algorithm>

#include "api/handlers.h"
#include "api/problem.h"
#include "rules/limits.h"
#include "wire/decode.h"
#include "wire/encode.h"

namespace holdfast::api {
namespace {

Result<void> CheckCount(std::string_view name, std::size_t count) {
  if (count >= 1 && count <= rules::kOperations) return {};
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("{} has {} entries (1 to {})", name, count, rules::kOperations));
}

void WriteErrorItem(base::JsonWriter& json, const Error& error) {
  json.BeginObject();
  json.Key("error");
  WriteProblem(json, error, InfoOf(error.code).http_status);
  json.EndObject();
}

/// One item for each answer: its job, or its error.
std::string JobItems(std::vector<Result<Receipt>>& answers) {
  base::JsonWriter json(1024 * (answers.size() + 1));
  json.BeginObject();
  json.Key("items");
  json.BeginArray();
  for (Result<Receipt>& answer : answers) {
    if (answer) {
      for (const OperationResult& result : answer->results) wire::WriteJob(json, *result.job);
    } else {
      answer.error().detail.operation.reset();  // an item has one operation: nothing to point at
      WriteErrorItem(json, answer.error());
    }
  }
  json.EndArray();
  json.EndObject();
  return std::move(json).Take();
}

/// Whether everything that was answered had been answered before.
bool IsReplay(const std::vector<Result<Receipt>>& answers) {
  return std::ranges::all_of(answers,
                             [](const auto& answer) { return answer && answer->replayed; });
}

/// A client that hangs up does not wait in line for locks any longer. What does not wait is done
/// all the same.
Context ContextFor(const Call& call, const std::vector<Batch>& batches) {
  Context context = call.context();
  const bool waits = std::ranges::any_of(
      batches, [](const Batch& batch) { return batch.wait > Duration::zero(); });
  if (waits) context.stop = call.gone();
  return context;
}

void CommitAll(Call call, std::vector<Batch> batches,
               std::string (*write)(std::vector<Result<Receipt>>& answers)) {
  Store& store = call.store();
  Context context = ContextFor(call, batches);
  store.CommitAsync(context, std::move(batches),
                    [call = std::move(call), write](std::vector<Result<Receipt>> answers) mutable {
                      if (IsReplay(answers)) call.MarkReplayed();
                      call.Reply(200, write(answers));
                    });
}

/// Each operation by itself. A repeated request finds the key of each item again.
std::vector<Batch> Independent(std::vector<Operation> operations, const std::string& key) {
  std::vector<Batch> batches(operations.size());
  for (std::size_t i = 0; i < operations.size(); ++i) {
    batches[i].operations.push_back(std::move(operations[i]));
    if (!key.empty()) batches[i].idempotency_key = fmt::format("{}/{}", key, i);
  }
  return batches;
}

/// One batch, whose error is the whole answer.
void CommitTogether(Call call, Batch batch, int status, std::string (*write)(Receipt& receipt)) {
  Store& store = call.store();
  std::vector<Batch> batches;
  batches.push_back(std::move(batch));
  Context context = ContextFor(call, batches);
  store.CommitAsync(
      context, std::move(batches),
      [call = std::move(call), status, write](std::vector<Result<Receipt>> answers) mutable {
        Result<Receipt>& receipt = answers.front();
        if (!receipt) return call.Refuse(receipt.error());
        if (receipt->replayed) call.MarkReplayed();
        call.Reply(status, write(*receipt));
      });
}

std::string ReceiptText(Receipt& receipt) {
  receipt.replayed = false;  // the header says so
  return wire::ToText(wire::WriteReceipt, static_cast<const Receipt&>(receipt));
}

std::string JobsOf(Receipt& receipt) {
  std::vector<Result<Receipt>> answers;
  answers.emplace_back(std::move(receipt));
  return JobItems(answers);
}

std::string ReceiptItems(std::vector<Result<Receipt>>& answers) {
  base::JsonWriter json(1024 * (answers.size() + 1));
  json.BeginObject();
  json.Key("items");
  json.BeginArray();
  for (const Result<Receipt>& answer : answers) {
    if (answer) {
      wire::WriteReceipt(json, *answer);
    } else {
      WriteErrorItem(json, answer.error());
    }
  }
  json.EndArray();
  json.EndObject();
  return std::move(json).Take();
}

void CommitItems(Call call, Result<std::vector<Operation>> operations) {
  if (!operations) return call.Refuse(operations.error());
  if (auto valid = CheckCount("items", operations->size()); !valid) {
    return call.Refuse(valid.error());
  }
  std::string key = call.IdempotencyKey();
  CommitAll(std::move(call), Independent(*std::move(operations), key), JobItems);
}

}  // namespace

void EnqueueMany(Call call) {
  auto specs = wire::DecodeJobSpecs(call.body());
  if (!specs) return call.Refuse(specs.error());
  if (auto valid = CheckCount("jobs", specs->jobs.size()); !valid) {
    return call.Refuse(valid.error());
  }
  std::vector<Operation> operations;
  operations.reserve(specs->jobs.size());
  for (JobSpec& spec : specs->jobs) operations.emplace_back(EnqueueJob{std::move(spec)});
  std::string key = call.IdempotencyKey();
  if (specs->atomic) {
    Batch batch{.operations = std::move(operations), .idempotency_key = std::move(key)};
    return CommitTogether(std::move(call), std::move(batch), 201, JobsOf);
  }
  CommitAll(std::move(call), Independent(std::move(operations), key), JobItems);
}

void FinishMany(Call call) {
  auto operations = wire::DecodeFinish(call.body());
  CommitItems(std::move(call), std::move(operations));
}

void RenewMany(Call call) {
  auto operations = wire::DecodeRenew(call.body());
  CommitItems(std::move(call), std::move(operations));
}

void CommitBatches(Call call) {
  auto commit = wire::DecodeCommit(call.body());
  if (!commit) return call.Refuse(commit.error());
  if (auto valid = CheckCount("batches", commit->batches.size()); !valid) {
    return call.Refuse(valid.error());
  }
  std::string key = call.IdempotencyKey();
  for (std::size_t i = 0; i < commit->batches.size() && !key.empty(); ++i) {
    std::string& own = commit->batches[i].idempotency_key;
    if (!own.empty()) {
      return call.Refuse({ErrorCode::kInvalidArgument,
                          "idempotency_key is given by the header Idempotency-Key, too",
                          {}});
    }
    own = commit->is_many ? fmt::format("{}/{}", key, i) : key;
  }
  if (commit->is_many) {
    return CommitAll(std::move(call), std::move(commit->batches), ReceiptItems);
  }
  CommitTogether(std::move(call), std::move(commit->batches.front()), 200, ReceiptText);
}

}  // namespace holdfast::api
