// holdfast commit: guards and operations from a file, as POST /v1/commit takes them.
#include "cli/commit.h"

#include <fmt/format.h>

#include <memory>

#include "api/problem.h"
#include "base/result.h"
#include "cli/input.h"
#include "wire/decode.h"
#include "wire/encode.h"

namespace holdfast::cli {
namespace {

constexpr std::size_t kMostBatches = 1000;

struct CommitOptions {
  std::string file;
  WriteOptions write;
};

/// The names of a batch's operations: what is left of it once it is committed.
using Names = std::vector<std::string>;

std::vector<Names> NamesOfOperations(const std::vector<Batch>& batches) {
  std::vector<Names> names;
  for (const Batch& batch : batches) {
    names.emplace_back();
    for (const Operation& operation : batch.operations) {
      names.back().emplace_back(NameOf(operation));
    }
  }
  return names;
}

/// "lock a, token 17".
std::string DescribeGrants(const std::vector<LockGrant>& grants) {
  std::vector<std::string> texts;
  for (const LockGrant& grant : grants) {
    texts.push_back(fmt::format("lock {}, token {}", grant.name, grant.token));
  }
  return fmt::format("{}", fmt::join(texts, "; "));
}

/// What became of an operation, in a few words.
std::string OutcomeOf(const std::string& name, const OperationResult& result) {
  if (result.record) {
    return fmt::format("{}, version {}{}", ToString(result.record->key()), result.record->version,
                       result.record->status.empty() ? "" : ", " + result.record->status);
  }
  if (result.kind) {
    return fmt::format("kind {}, version {}", result.kind->name, result.kind->version);
  }
  if (result.transfer) {
    return fmt::format("transfer {}, {}", result.transfer->id, NameOf(result.transfer->state));
  }
  if (result.job) {
    return fmt::format("job {}, {}{}", result.job->id, NameOf(result.job->state),
                       result.existing ? ", which was there already" : "");
  }
  if (result.queue) return "queue " + result.queue->name;
  if (result.lock) return DescribeGrants(result.lock->grants);
  if (name == "job.claim") return "not claimed";
  return name.ends_with(".delete") ? "deleted" : "done";
}

/// "operation 1 (record.increment)", "guard 0", or nothing.
std::string PlaceOf(const Error& error, const Names& names) {
  if (error.detail.guard) return fmt::format("guard {}", *error.detail.guard);
  if (!error.detail.operation) return {};
  auto index = static_cast<std::size_t>(*error.detail.operation);
  return fmt::format("operation {} ({})", index, index < names.size() ? names[index] : "?");
}

void PrintOutcomes(const std::vector<Result<Receipt>>& answers, const std::vector<Names>& names) {
  bool many = answers.size() > 1;
  std::vector<Column> columns = {{"OPERATION", true}, {"DO"}, {"OUTCOME"}};
  if (many) columns.insert(columns.begin(), {"BATCH", true});
  Table table(std::move(columns));
  auto add = [&](std::size_t batch, std::vector<std::string> row) {
    if (many) row.insert(row.begin(), std::to_string(batch));
    table.AddRow(std::move(row));
  };
  for (std::size_t batch = 0; batch < answers.size(); ++batch) {
    if (!answers[batch]) {
      const Error& error = answers[batch].error();
      std::string place = PlaceOf(error, names[batch]);
      add(batch, {"-", "-", (place.empty() ? "" : place + ": ") + Describe(error)});
      continue;
    }
    const std::vector<OperationResult>& results = answers[batch]->results;
    for (std::size_t i = 0; i < results.size() && i < names[batch].size(); ++i) {
      const std::string& name = names[batch][i];
      add(batch, {std::to_string(i), name, Printable(OutcomeOf(name, results[i]))});
    }
  }
  table.Print();
}

/// The answer of POST /v1/commit.
void PrintAnswers(const std::vector<Result<Receipt>>& answers, bool is_many) {
  base::JsonWriter json;
  if (!is_many) {
    wire::WriteReceipt(json, *answers.front());
    return PrintJson(json);
  }
  json.BeginObject();
  json.Key("items");
  json.BeginArray();
  for (const Result<Receipt>& answer : answers) {
    if (answer) {
      wire::WriteReceipt(json, *answer);
      continue;
    }
    json.BeginObject();
    json.Key("error");
    api::WriteProblem(json, answer.error(), InfoOf(answer.error().code).http_status);
    json.EndObject();
  }
  json.EndArray();
  json.EndObject();
  PrintJson(json);
}

/// As the header Idempotency-Key does: the key itself, or one for each of several batches.
Result<void> SetKeys(wire::Commit& commit, const std::string& key) {
  for (std::size_t i = 0; i < commit.batches.size() && !key.empty(); ++i) {
    std::string& own = commit.batches[i].idempotency_key;
    if (!own.empty()) {
      return Fail(ErrorCode::kInvalidArgument,
                  "idempotency_key is in the file: --idempotency-key cannot be given, too");
    }
    own = commit.is_many ? fmt::format("{}/{}", key, i) : key;
  }
  return {};
}

Result<wire::Commit> ReadCommit(const CommitOptions& options) {
  HF_ASSIGN_OR_RETURN(std::string text, ReadWhole(options.file));
  auto commit = wire::DecodeCommit(text);
  if (!commit) {
    Error error = commit.error();
    error.message = (options.file == "-" ? "stdin" : options.file) + ": " + error.message;
    return std::unexpected(std::move(error));
  }
  if (commit->batches.empty() || commit->batches.size() > kMostBatches) {
    return Fail(ErrorCode::kInvalidArgument, fmt::format("batches has {} entries (1 to {})",
                                                         commit->batches.size(), kMostBatches));
  }
  HF_RETURN_IF_ERROR(SetKeys(*commit, options.write.idempotency_key));
  return commit;
}

/// "invoices/7=17". Errors: invalid_argument.
Result<LockGuard> ParseLockGuard(std::string_view text) {
  const std::size_t equals = text.rfind('=');
  if (equals != std::string_view::npos) {
    auto token = base::ParseInteger(text.substr(equals + 1));
    if (token && *token > 0) return LockGuard{std::string(text.substr(0, equals)), *token};
  }
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("--lock: '{}' is not NAME=TOKEN", Printable(text, 100)));
}

Result<int> Commit(Cli& cli, const CommitOptions& options) {
  HF_ASSIGN_OR_RETURN(wire::Commit commit, ReadCommit(options));
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  std::vector<Names> names = NamesOfOperations(commit.batches);
  auto answers = store->CommitMany(cli.MakeContext(), std::move(commit.batches));
  if (commit.is_many || answers.front()) {
    if (cli.globals().output == OutputFormat::kTable) {
      PrintOutcomes(answers, names);
    } else {
      PrintAnswers(answers, commit.is_many);
    }
  }
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (answers[i]) continue;
    Error error = answers[i].error();
    std::string place = PlaceOf(error, names[i]);
    if (!place.empty()) error.message = place + ": " + error.message;
    if (commit.is_many) error.message = fmt::format("batch {}: {}", i, error.message);
    return std::unexpected(std::move(error));
  }
  return 0;
}

}  // namespace

void AddWriteOptions(Cli& cli, CLI::App& command, WriteOptions& options) {
  cli.AddText(command, "--idempotency-key", options.idempotency_key, "KEY",
              "repeating the command with the same key changes nothing twice")
      ->check(&RefuseEmpty);
}

void AddLockGuards(Cli& cli, CLI::App& command, WriteOptions& options) {
  cli.AddRepeated(command, "--lock", options.locks, "NAME=TOKEN",
                  "only while this lock is held under this token; as often as wanted");
  cli.AddDuration(command, "--wait", options.wait,
                  "wait so long for a record that somebody else has locked (0s)");
}

Result<OperationResult> CommitOne(Cli& cli, Operation operation, const WriteOptions& options) {
  Batch batch;
  batch.operations.push_back(std::move(operation));
  batch.idempotency_key = options.idempotency_key;
  batch.wait = options.wait;
  for (const std::string& lock : options.locks) {
    HF_ASSIGN_OR_RETURN(LockGuard guard, ParseLockGuard(lock));
    batch.guards.emplace_back(std::move(guard));
  }
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  auto receipt = store->Commit(cli.MakeContext(), std::move(batch));
  if (!receipt) {
    receipt.error().detail.operation.reset();  // there is only one
    return std::unexpected(std::move(receipt).error());
  }
  return std::move(receipt->results.front());
}

void AddCommitCommand(Cli& cli) {
  auto options = std::make_shared<CommitOptions>();
  CLI::App& commit = cli.AddCommand(
      cli.root(), "commit",
      "Commits the guards and operations of a file: all of them, or nothing.\n"
      "The file is what POST /v1/commit takes; with {\"batches\":[...]} each stands alone.",
      "holdfast commit order.json\n"
      "echo '{\"operations\":[{\"do\":\"record.increment\",\"kind\":\"counter\",\"id\":\"hits\","
      "\"path\":\"/n\"}]}' | holdfast commit -\n"
      "holdfast commit order.json --idempotency-key order-17\n"
      "holdfast lock run order-17 -- sh -c 'echo \"{\\\"guards\\\":$HOLDFAST_GUARDS,"
      "\\\"operations\\\":[...]}\" | holdfast commit -'",
      [&cli, options] { return Commit(cli, *options); });
  cli.AddText(commit, "FILE", options->file, "", "JSON; - for stdin")->required();
  AddWriteOptions(cli, commit, options->write);
}

}  // namespace holdfast::cli
