// holdfast record: JSON documents that obey the rules of their kind.
#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <memory>
#include <set>

#include "base/result.h"
#include "cli/audit.h"
#include "cli/cli.h"
#include "cli/commit.h"
#include "cli/input.h"
#include "cli/paging.h"
#include "cli/record_key.h"
#include "wire/decode.h"
#include "wire/encode.h"

namespace holdfast::cli {
namespace {

using Number = std::variant<std::int64_t, double>;

struct RecordOptions {
  RecordTarget target;
  bool force = false;
  WriteOptions write;
  std::string document;  // data, a patch or a value, as it was typed
  std::string status;
  std::string path;
  Number by = std::int64_t{1};
  std::optional<std::int64_t> max_length;
  std::string action;
  std::optional<std::string> params;
  std::vector<std::string> pairs;  // name=value
  RecordFilter filter;
  std::optional<std::int64_t> limit;
  bool all = false;
  AuditListing history;
};
using RecordOptionsPtr = std::shared_ptr<RecordOptions>;

/// A JSON number, an integer if it is written as one: then it stays exact.
Result<Number> ParseAmount(const std::string& text) {
  const char* end = text.data() + text.size();
  if (text.find_first_of(".eE") == std::string::npos) {
    std::int64_t integer = 0;
    auto [rest, error] = std::from_chars(text.data(), end, integer);
    if (error == std::errc() && rest == end) return integer;
  } else {
    double number = 0;
    auto [rest, error] = std::from_chars(text.data(), end, number);
    if (error == std::errc() && rest == end && std::isfinite(number)) return number;
  }
  return Fail(
      ErrorCode::kInvalidArgument,
      fmt::format("'{}' is not a number, or not one of 64 bits", Printable(text.substr(0, 64))));
}

/// {"name":value,...}: a value that is JSON is taken as it is, any other as a string.
Result<std::string> ObjectOf(const std::vector<std::string>& pairs) {
  base::JsonWriter json;
  std::set<std::string> names;
  json.BeginObject();
  for (const std::string& pair : pairs) {
    std::size_t equals = pair.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return Fail(ErrorCode::kInvalidArgument,
                  fmt::format("-p: '{}' is not NAME=VALUE", Printable(pair, 64)));
    }
    std::string name = pair.substr(0, equals);
    std::string value = pair.substr(equals + 1);
    if (!names.insert(name).second) {
      return Fail(ErrorCode::kInvalidArgument,
                  fmt::format("-p: {} is given twice", Printable(name, 64)));
    }
    std::string key;
    base::AppendJsonString(key, name);
    json.Key(std::string_view(key).substr(1, key.size() - 2));
    if (wire::ValidateJson("value", value, wire::JsonShape::kAny)) {
      json.Raw(value);
    } else {
      json.String(value);
    }
  }
  json.EndObject();
  return std::move(json).Take();
}

/// An operation on the record that was named.
template <typename T>
T OnTarget(const RecordOptions& options) {
  T operation;
  static_cast<RecordTarget&>(operation) = options.target;
  return operation;
}

Result<Operation> MakeCreate(const RecordOptions& options) {
  CreateRecord create{.kind = options.target.kind,
                      .id = options.target.id,
                      .status = options.status,
                      .parent = options.target.parent,
                      .force = options.force};
  HF_ASSIGN_OR_RETURN(create.data, ReadJsonWord(options.document));
  return create;
}

/// An operation whose `Member` is the document.
template <typename T, std::string T::*Member>
Result<Operation> MakeWithDocument(const RecordOptions& options) {
  T operation = OnTarget<T>(options);
  HF_ASSIGN_OR_RETURN(operation.*Member, ReadJsonWord(options.document));
  return operation;
}

Result<Operation> MakeIncrement(const RecordOptions& options) {
  auto increment = OnTarget<IncrementRecord>(options);
  increment.path = options.path;
  increment.by = options.by;
  return increment;
}

Result<Operation> MakeAppend(const RecordOptions& options) {
  auto append = OnTarget<AppendRecord>(options);
  append.path = options.path;
  append.max_length = options.max_length;
  HF_ASSIGN_OR_RETURN(append.value, ReadJsonWord(options.document));
  return append;
}

Result<Operation> MakeTransition(const RecordOptions& options) {
  auto transition = OnTarget<TransitionRecord>(options);
  transition.to = options.status;
  transition.force = options.force;
  HF_ASSIGN_OR_RETURN(transition.data, ReadJsonWord(options.document));
  return transition;
}

Result<Operation> MakeAction(const RecordOptions& options) {
  auto run = OnTarget<RunAction>(options);
  run.action = options.action;
  if (options.params) {
    HF_ASSIGN_OR_RETURN(run.params, ReadJsonWord(*options.params));
  } else {
    HF_ASSIGN_OR_RETURN(run.params, ObjectOf(options.pairs));
  }
  return run;
}

/// A command that changes one record and prints it.
Action Changing(Cli& cli, const RecordOptionsPtr& options,
                Result<Operation> (*make)(const RecordOptions& options)) {
  return [&cli, options, make]() -> Result<int> {
    HF_ASSIGN_OR_RETURN(Operation operation, make(*options));
    HF_ASSIGN_OR_RETURN(OperationResult result,
                        CommitOne(cli, std::move(operation), options->write));
    PrintRecord(*result.record, cli.globals().output);
    return 0;
  };
}

Result<int> Delete(Cli& cli, const RecordOptionsPtr& options) {
  HF_RETURN_IF_ERROR(CommitOne(cli, OnTarget<DeleteRecord>(*options), options->write));
  RecordKey key{options->target.kind, options->target.id};
  if (cli.globals().output == OutputFormat::kTable) {
    fmt::print("{} deleted\n", ToString(key));
    return 0;
  }
  base::JsonWriter json;
  json.BeginObject();
  json.Key("deleted");
  json.BeginObject();
  json.Field("kind", key.kind);
  json.Field("id", key.id);
  json.EndObject();
  json.EndObject();
  PrintJson(json);
  return 0;
}

Result<int> Get(Cli& cli, const RecordOptionsPtr& options) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  RecordKey key{options->target.kind, options->target.id};
  HF_ASSIGN_OR_RETURN(std::optional<Record> record, store->GetRecord(cli.MakeContext(), key));
  if (!record) {
    return Fail(ErrorCode::kNotFound,
                fmt::format("record {} does not exist", Printable(ToString(key), 300)));
  }
  PrintRecord(*record, cli.globals().output);
  return 0;
}

Result<int> List(Cli& cli, const RecordOptionsPtr& options) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  std::optional<std::int64_t> limit;
  if (!options->all) limit = options->limit.value_or(100);
  std::vector<Record> records;
  auto list = [&](const RecordFilter& filter) {
    return store->ListRecords(cli.MakeContext(), filter);
  };
  HF_ASSIGN_OR_RETURN(std::string cursor, Collect(options->filter, limit, records, list));
  if (cli.globals().output == OutputFormat::kTable) {
    PrintRecords(records);
    if (!cursor.empty()) fmt::print(stderr, "there are more: --limit N or --all\n");
    return 0;
  }
  PrintList("items", records, cursor, wire::WriteRecord);
  return 0;
}

Result<int> History(Cli& cli, const RecordOptionsPtr& options) {
  options->history.filter.target = ToString(RecordKey{options->target.kind, options->target.id});
  return PrintAudit(cli, options->history);
}

void AddKey(Cli& cli, CLI::App& command, const RecordOptionsPtr& options) {
  cli.AddText(command, "KIND", options->target.kind, "", "the kind of the record")->required();
  cli.AddText(command, "ID", options->target.id, "", "the record")->required();
}

/// What every write to a record that is there may say.
void AddConditions(Cli& cli, CLI::App& command, const RecordOptionsPtr& options) {
  cli.AddNumber(command, "--version", options->target.version, 1,
                "the version it must have; else version_mismatch");
  cli.AddParsed(command, "--parent", options->target.parent, &ParseRecordKey, "KIND/ID",
                "the parent it must have; else rule_violation");
  AddLockGuards(cli, command, options->write);
  AddWriteOptions(cli, command, options->write);
}

void AddForce(CLI::App& command, const RecordOptionsPtr& options) {
  command.add_flag("--force", options->force, "for migrations: conditions are not checked");
}

/// `record NAME KIND ID DOCUMENT`.
void AddEdit(Cli& cli, CLI::App& group, const RecordOptionsPtr& options, const std::string& name,
             const std::string& description, const std::string& examples,
             const std::string& document, const std::string& about,
             Result<Operation> (*make)(const RecordOptions& options)) {
  CLI::App& command =
      cli.AddCommand(group, name, description, examples, Changing(cli, options, make));
  AddKey(cli, command, options);
  cli.AddText(command, document, options->document, "", about + ": JSON, @FILE, or - for stdin")
      ->required();
  AddConditions(cli, command, options);
}

void AddReadCommands(Cli& cli, CLI::App& group, const RecordOptionsPtr& options) {
  CLI::App& get =
      cli.AddCommand(group, "get", "Shows one record.", "holdfast record get ticket T-1 -o json",
                     [&cli, options] { return Get(cli, options); });
  AddKey(cli, get, options);

  CLI::App& list = cli.AddCommand(group, "list", "Lists the records of a kind, by id.",
                                  "holdfast record list ticket --status OPEN\n"
                                  "holdfast record list ticket --parent project/P-1 --all -o json",
                                  [&cli, options] { return List(cli, options); });
  cli.AddText(list, "KIND", options->filter.kind, "", "the kind of the records")->required();
  cli.AddText(list, "-s,--status", options->filter.status, "STATUS", "only those in this status");
  cli.AddParsed(list, "--parent", options->filter.parent, &ParseRecordKey, "KIND/ID",
                "only the children of this record");
  auto* limit = cli.AddNumber(list, "-n,--limit", options->limit, 1, "at most so many (100)");
  list.add_flag("-a,--all", options->all, "every one")->excludes(limit);

  CLI::App& history = cli.AddCommand(
      group, "history", "Lists what was done to a record, and what was refused, newest first.",
      "holdfast record history ticket T-1", [&cli, options] { return History(cli, options); });
  AddKey(cli, history, options);
  AddAuditBounds(cli, history, options->history);
}

void AddCreateCommand(Cli& cli, CLI::App& group, const RecordOptionsPtr& options) {
  CLI::App& create =
      cli.AddCommand(group, "create", "Adds a record.",
                     "holdfast record create ticket T-1 --data "
                     "'{\"title\":\"Printer on fire\",\"level\":0}'\n"
                     "holdfast record create ticket --data @ticket.json --parent project/P-1\n"
                     "jq .ticket mail.json | holdfast record create ticket --data -",
                     Changing(cli, options, &MakeCreate));
  cli.AddText(create, "KIND", options->target.kind, "", "the kind of the record")->required();
  cli.AddText(create, "ID", options->target.id, "", "its id (a new number)");
  cli.AddText(create, "-d,--data", options->document, "JSON|@FILE|-", "an object ({})");
  cli.AddText(create, "-s,--status", options->status, "STATUS", "one of the initial states");
  cli.AddParsed(create, "--parent", options->target.parent, &ParseRecordKey, "KIND/ID",
                "the record it belongs to, for good");
  AddForce(create, options);
  AddLockGuards(cli, create, options->write);
  AddWriteOptions(cli, create, options->write);
}

void AddEditCommands(Cli& cli, CLI::App& group, const RecordOptionsPtr& options) {
  AddEdit(cli, group, options, "replace", "Puts other data in the place of a record's.",
          "holdfast record replace ticket T-1 @ticket.json --version 3", "DATA", "an object",
          &MakeWithDocument<ReplaceRecord, &ReplaceRecord::data>);
  AddEdit(cli, group, options, "merge", "Merges a patch into a record's data (RFC 7396).",
          "holdfast record merge ticket T-1 '{\"assignee\":\"ada\",\"draft\":null}'", "PATCH",
          "an object", &MakeWithDocument<MergeRecord, &MergeRecord::patch>);
  AddEdit(cli, group, options, "patch", "Applies a JSON Patch to a record's data (RFC 6902).",
          "holdfast record patch ticket T-1 '[{\"op\":\"replace\",\"path\":\"/title\","
          "\"value\":\"Printer smokes\"}]'",
          "PATCH", "an array", &MakeWithDocument<PatchRecord, &PatchRecord::patch>);

  CLI::App& increment = cli.AddCommand(group, "increment", "Adds to a number of a record.",
                                       "holdfast record increment counter hits /n\n"
                                       "holdfast record increment account A-1 /balance -5",
                                       Changing(cli, options, &MakeIncrement));
  AddKey(cli, increment, options);
  cli.AddText(increment, "PATH", options->path, "", "JSON pointer to the number")->required();
  cli.AddParsed(increment, "BY", options->by, &ParseAmount, "", "how much (1)");
  AddConditions(cli, increment, options);

  CLI::App& append = cli.AddCommand(
      group, "append", "Adds to the end of an array of a record.",
      "holdfast record append list L-1 /entries '{\"text\":\"milk\"}' --max-length 100",
      Changing(cli, options, &MakeAppend));
  AddKey(cli, append, options);
  cli.AddText(append, "PATH", options->path, "", "JSON pointer to the array")->required();
  cli.AddText(append, "VALUE", options->document, "", "JSON, @FILE, or - for stdin")->required();
  cli.AddNumber(append, "--max-length", options->max_length, 1, "keep only so many, the newest");
  AddConditions(cli, append, options);
}

void AddStateCommands(Cli& cli, CLI::App& group, const RecordOptionsPtr& options) {
  CLI::App& transition = cli.AddCommand(
      group, "transition", "Changes the status of a record, and its data with it.",
      "holdfast record transition ticket T-1 OPEN\n"
      "holdfast record transition ticket T-1 RESOLVED --data '{\"comment\":\"new toner\"}'",
      Changing(cli, options, &MakeTransition));
  AddKey(cli, transition, options);
  cli.AddText(transition, "TO", options->status, "", "the new status")->required();
  cli.AddText(transition, "-d,--data", options->document, "JSON|@FILE|-", "a merge patch ({})");
  AddForce(transition, options);
  AddConditions(cli, transition, options);

  CLI::App& action =
      cli.AddCommand(group, "action", "Runs an action of the record's kind, as one change.",
                     "holdfast record action ticket T-1 escalate -p assignee=ada\n"
                     "holdfast record action ticket T-1 escalate --params '{\"assignee\":\"ada\"}'",
                     Changing(cli, options, &MakeAction));
  AddKey(cli, action, options);
  cli.AddText(action, "ACTION", options->action, "", "its name")->required();
  auto* params =
      cli.AddText(action, "--params", options->params, "JSON|@FILE|-", "its parameters: an object");
  cli.AddRepeated(action, "-p,--param", options->pairs, "NAME=VALUE",
                  "one parameter: JSON, or else a string; as often as wanted")
      ->excludes(params);
  AddConditions(cli, action, options);

  CLI::App& remove = cli.AddCommand(group, "delete", "Removes a record.",
                                    "holdfast record delete ticket T-1 --version 4",
                                    [&cli, options] { return Delete(cli, options); });
  AddKey(cli, remove, options);
  AddConditions(cli, remove, options);
}

}  // namespace

void AddRecordCommands(Cli& cli) {
  CLI::App& group = cli.AddGroup(cli.root(), "record", "Adds, shows and changes records.");
  auto options = std::make_shared<RecordOptions>();
  options->document = "{}";
  AddCreateCommand(cli, group, options);
  AddReadCommands(cli, group, options);
  AddEditCommands(cli, group, options);
  AddStateCommands(cli, group, options);
}

}  // namespace holdfast::cli
