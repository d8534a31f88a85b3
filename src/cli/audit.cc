// holdfast audit: who did what, and what was refused.
#include <memory>

#include "base/result.h"
#include "cli/cli.h"
#include "wire/encode.h"

namespace holdfast::cli {
namespace {

struct AuditOptions {
  AuditFilter filter;
  int limit = 100;
  bool all = false;
};

void PrintEntries(const std::vector<AuditEntry>& entries) {
  Table table({{"SEQ", true},
               {"AT"},
               {"ACTOR"},
               {"OPERATION"},
               {"TARGET"},
               {"CHANGE"},
               {"COUNT", true},
               {"DETAILS"}});
  for (const AuditEntry& entry : entries) {
    std::string change = entry.error.empty() ? "" : "refused: " + entry.error;
    if (!entry.old_status.empty() || !entry.new_status.empty()) {
      change += (change.empty() ? "" : " ") + entry.old_status + " -> " + entry.new_status;
    }
    table.AddRow({std::to_string(entry.sequence), ShortTime(entry.at), Printable(entry.actor, 40),
                  entry.operation, Printable(entry.target, 80), Printable(change),
                  std::to_string(entry.count), Printable(entry.details, 80)});
  }
  table.Print();
}

Result<int> List(Cli& cli, AuditOptions& options) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  std::vector<AuditEntry> entries;
  AuditFilter filter = options.filter;
  do {
    int left = options.limit - static_cast<int>(entries.size());
    filter.limit = options.all ? 1000 : std::min(left, 1000);
    HF_ASSIGN_OR_RETURN(AuditPage page, store->ListAudit(cli.MakeContext(), filter));
    entries.insert(entries.end(), std::make_move_iterator(page.items.begin()),
                   std::make_move_iterator(page.items.end()));
    filter.cursor = page.next_cursor;
  } while (!filter.cursor.empty() &&
           (options.all || static_cast<int>(entries.size()) < options.limit));
  if (cli.globals().output == OutputFormat::kTable) {
    PrintEntries(entries);
    return 0;
  }
  base::JsonWriter json;
  json.BeginObject();
  json.Key("items");
  json.BeginArray();
  for (const AuditEntry& entry : entries) wire::WriteAuditEntry(json, entry);
  json.EndArray();
  if (!filter.cursor.empty()) json.Field("next_cursor", filter.cursor);
  json.EndObject();
  PrintJson(json);
  return 0;
}

}  // namespace

void AddAuditCommands(Cli& cli) {
  CLI::App& group = cli.AddGroup(cli.root(), "audit", "Shows who did what.");
  auto options = std::make_shared<AuditOptions>();
  CLI::App& list = cli.AddCommand(group, "list", "Lists audit entries, newest first.",
                                  "holdfast audit list --target job/7\n"
                                  "holdfast audit list --operation queue.set --since "
                                  "2026-11-01T00:00:00Z",
                                  [&cli, options] { return List(cli, *options); });
  cli.AddText(list, "--target", options->filter.target, "NAME", "job/7, queue/mail");
  cli.AddText(list, "--actor", options->filter.actor, "NAME", "what this actor did");
  cli.AddText(list, "--operation", options->filter.operation, "NAME", "job.cancel, queue.set");
  cli.AddTime(list, "--since", options->filter.since, "not before");
  cli.AddTime(list, "--until", options->filter.until, "before");
  auto* limit = cli.AddNumber(list, "-n,--limit", options->limit, 1, "at most so many (100)");
  list.add_flag("-a,--all", options->all, "every one")->excludes(limit);
}

}  // namespace holdfast::cli
