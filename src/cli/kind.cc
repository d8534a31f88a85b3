// holdfast kind: the rules that records of a kind obey.
#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "base/result.h"
#include "cli/cli.h"
#include "cli/commit.h"
#include "cli/input.h"
#include "wire/encode.h"

namespace holdfast::cli {
namespace {

struct KindOptions {
  std::vector<std::string> files;
  std::string name;
  std::optional<std::int64_t> version;
  bool force = false;
  WriteOptions write;
};
using KindOptionsPtr = std::shared_ptr<KindOptions>;

Result<Batch> ReadBatch(const KindOptions& options) {
  Batch batch;
  batch.idempotency_key = options.write.idempotency_key;
  if (options.files.size() > 1 && (!options.name.empty() || options.version)) {
    return Fail(ErrorCode::kInvalidArgument, "--name and --version are for a single file");
  }
  for (const std::string& file : options.files) {
    if (file == "-" && options.name.empty()) {
      return Fail(ErrorCode::kInvalidArgument, "rules from stdin need --name");
    }
    ApplyKind apply{
        .name = options.name.empty() ? std::filesystem::path(file).stem().string() : options.name,
        .version = options.version,
        .force = options.force};
    HF_ASSIGN_OR_RETURN(std::string text, ReadWhole(file));
    apply.rules = TrimBlanks(text);
    batch.operations.emplace_back(std::move(apply));
  }
  return batch;
}

void PrintKindJson(const Kind& kind) {
  base::JsonWriter json;
  wire::WriteKind(json, kind);
  PrintJson(json);
}

void PrintKindsJson(const std::vector<Kind>& kinds) {
  base::JsonWriter json;
  json.BeginObject();
  json.Key("items");
  json.BeginArray();
  for (const Kind& kind : kinds) wire::WriteKind(json, kind);
  json.EndArray();
  json.EndObject();
  PrintJson(json);
}

/// All files in one commit, so that kinds that name one another never apply by half.
Result<int> Apply(Cli& cli, const KindOptions& options) {
  HF_ASSIGN_OR_RETURN(Batch batch, ReadBatch(options));
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  auto receipt = store->Commit(cli.MakeContext(), std::move(batch));
  if (!receipt) {
    Error error = receipt.error();
    auto index = static_cast<std::size_t>(error.detail.operation.value_or(0));
    if (error.detail.operation && index < options.files.size()) {
      error.message = Printable(options.files[index]) + ": " + error.message;
    }
    if (options.files.size() == 1) error.detail.operation.reset();  // there is only one
    return std::unexpected(std::move(error));
  }
  std::vector<Kind> kinds;
  for (OperationResult& result : receipt->results) kinds.push_back(*std::move(result.kind));
  if (cli.globals().output == OutputFormat::kTable) {
    PrintKinds(kinds);
  } else if (kinds.size() == 1) {
    PrintKindJson(kinds.front());
  } else {
    PrintKindsJson(kinds);
  }
  return 0;
}

Result<int> Get(Cli& cli, const KindOptions& options) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  HF_ASSIGN_OR_RETURN(std::optional<Kind> kind, store->GetKind(cli.MakeContext(), options.name));
  if (!kind) {
    return Fail(ErrorCode::kNotFound,
                fmt::format("kind {} is not declared", Printable(options.name, 128)));
  }
  if (cli.globals().output == OutputFormat::kTable) {
    fmt::print("{}\n", PrintableJson(kind->rules));
    return 0;
  }
  PrintKindJson(*kind);
  return 0;
}

Result<int> ListKinds(Cli& cli) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  HF_ASSIGN_OR_RETURN(std::vector<Kind> kinds, store->ListKinds(cli.MakeContext()));
  if (cli.globals().output == OutputFormat::kTable) {
    PrintKinds(kinds);
  } else {
    PrintKindsJson(kinds);
  }
  return 0;
}

}  // namespace

void AddKindCommands(Cli& cli) {
  CLI::App& group = cli.AddGroup(cli.root(), "kind", "Declares kinds of records and their rules.");
  auto options = std::make_shared<KindOptions>();
  CLI::App& apply = cli.AddCommand(
      group, "apply",
      "Declares kinds, or changes their rules: all files in one commit, or nothing.\n"
      "A kind is named like its file, without the extension.",
      "holdfast kind apply kinds/ticket.json\n"
      "holdfast kind apply kinds/*.json\n"
      "holdfast kind apply - --name ticket --version 3 < rules.json",
      [&cli, options] { return Apply(cli, *options); });
  cli.AddWords(apply, "FILE", options->files, "rules: JSON, see docs/rules.md; - for stdin")
      ->required();
  cli.AddText(apply, "--name", options->name, "NAME", "the kind, if it is not the file's name");
  cli.AddNumber(apply, "--version", options->version, 0,
                "the version its rules must have now; 0: it is not declared yet");
  apply.add_flag("--force", options->force, "even if records break the new rules");
  AddWriteOptions(cli, apply, options->write);

  CLI::App& get = cli.AddCommand(
      group, "get", "Prints the rules of a kind; with -o json, the whole kind.",
      "holdfast kind get ticket > ticket.json", [&cli, options] { return Get(cli, *options); });
  cli.AddText(get, "NAME", options->name, "", "the kind")->required();
  cli.AddCommand(group, "list", "Lists the kinds.", "holdfast kind list",
                 [&cli] { return ListKinds(cli); });
}

}  // namespace holdfast::cli
