// holdfast queue: what is in the queues, and their settings.
#include <fmt/format.h>

#include <memory>

#include "base/result.h"
#include "cli/cli.h"
#include "wire/encode.h"

namespace holdfast::cli {
namespace {

std::string BoundOf(const std::optional<std::int64_t>& bound) {
  return bound ? std::to_string(*bound) : "-";
}

void PrintQueues(const std::vector<Queue>& queues, Time now) {
  Table table({{"QUEUE"},
               {"PAUSED"},
               {"SCHEDULED", true},
               {"PENDING", true},
               {"PROCESSING", true},
               {"COMPLETED", true},
               {"FAILED", true},
               {"CANCELLED", true},
               {"OLDEST", true},
               {"MAX PENDING", true},
               {"MAX RUNNING", true}});
  for (const Queue& queue : queues) {
    std::vector<std::string> row = {queue.name, queue.paused ? "yes" : "no"};
    for (std::int64_t count : queue.counts) row.push_back(std::to_string(count));
    row.push_back(queue.oldest_pending_at ? RoughDuration(now - *queue.oldest_pending_at) : "-");
    row.push_back(BoundOf(queue.max_pending));
    row.push_back(BoundOf(queue.max_running));
    table.AddRow(std::move(row));
  }
  table.Print();
}

void PrintQueue(const Queue& queue, OutputFormat format) {
  if (format == OutputFormat::kJson) {
    base::JsonWriter json;
    wire::WriteQueue(json, queue);
    return PrintJson(json);
  }
  auto line = [](std::string_view name, const std::string& value) {
    fmt::print("{:<17} {}\n", name, value);
  };
  line("queue", queue.name);
  line("paused", queue.paused ? "yes" : "no");
  line("max pending", BoundOf(queue.max_pending));
  line("max running", BoundOf(queue.max_running));
  line("audit", queue.audit ? "on" : "off");
  line("retain completed", base::FormatDuration(queue.retain_completed));
  line("retain failed", base::FormatDuration(queue.retain_failed));
}

Result<int> ListQueues(Cli& cli) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  std::vector<Queue> queues;
  QueueFilter filter;
  do {
    HF_ASSIGN_OR_RETURN(QueuePage page, store->ListQueues(cli.MakeContext(), filter));
    queues.insert(queues.end(), page.items.begin(), page.items.end());
    filter.cursor = page.next_cursor;
  } while (!filter.cursor.empty());
  if (cli.globals().output == OutputFormat::kTable) {
    PrintQueues(queues, Clock::System().Wall());
    return 0;
  }
  base::JsonWriter json;
  json.BeginObject();
  json.Key("items");
  json.BeginArray();
  for (const Queue& queue : queues) wire::WriteQueue(json, queue);
  json.EndArray();
  json.EndObject();
  PrintJson(json);
  return 0;
}

Result<int> Set(Cli& cli, const SetQueue& change) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  HF_ASSIGN_OR_RETURN(Queue queue, store->Set(cli.MakeContext(), change));
  PrintQueue(queue, cli.globals().output);
  return 0;
}

Result<std::optional<std::int64_t>> ParseBound(const std::string& text) {
  if (text == "none") return std::nullopt;
  if (auto bound = base::ParseInteger(text)) return *bound;
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("'{}' is neither a whole number from 0 nor none", text.substr(0, 64)));
}

void AddSetCommand(Cli& cli, CLI::App& group, const std::shared_ptr<SetQueue>& change) {
  CLI::App& set = cli.AddCommand(
      group, "set", "Changes the settings that are named.",
      "holdfast queue set mail --max-running 8\n"
      "holdfast queue set mail --max-pending none --audit on --retain-failed 30d",
      [&cli, change]() -> Result<int> {
        if (!change->max_pending && !change->max_running && !change->audit &&
            !change->retain_completed && !change->retain_failed) {
          return Fail(ErrorCode::kInvalidArgument, "name at least one setting to change");
        }
        return Set(cli, *change);
      });
  cli.AddText(set, "QUEUE", change->name, "", "the queue")->required();
  cli.AddParsed(set, "--max-pending", change->max_pending, &ParseBound, "N|none",
                "jobs waiting at most; beyond it, pushing answers queue_full");
  cli.AddParsed(set, "--max-running", change->max_running, &ParseBound, "N|none",
                "jobs running at most, over all workers");
  cli.AddChoice<std::optional<bool>, bool>(set, "--audit", change->audit,
                                           {{"on", true}, {"off", false}},
                                           "audit entries for claims and finishes, too");
  cli.AddDuration(set, "--retain-completed", change->retain_completed,
                  "how long completed and cancelled jobs are kept");
  cli.AddDuration(set, "--retain-failed", change->retain_failed, "how long failed jobs are kept");
}

}  // namespace

void AddQueueCommands(Cli& cli) {
  CLI::App& group = cli.AddGroup(cli.root(), "queue", "Shows, pauses and limits queues.");
  auto change = std::make_shared<SetQueue>();
  cli.AddCommand(group, "list", "Lists queues and what is in them.", "holdfast queue list",
                 [&cli] { return ListQueues(cli); });
  struct Verb {
    const char* name;
    const char* description;
    bool paused;
  };
  for (const Verb& verb : {Verb{"pause", "Stops claims from a queue; survives restarts.", true},
                           Verb{"resume", "Lets a paused queue go on.", false}}) {
    CLI::App& command = cli.AddCommand(group, verb.name, verb.description,
                                       fmt::format("holdfast queue {} mail", verb.name),
                                       [&cli, change, paused = verb.paused] {
                                         change->paused = paused;
                                         return Set(cli, *change);
                                       });
    cli.AddText(command, "QUEUE", change->name, "", "the queue")->required();
  }
  AddSetCommand(cli, group, change);
}

}  // namespace holdfast::cli
