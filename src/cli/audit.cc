// holdfast audit: who did what, and what was refused.
#include "cli/audit.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/result.h"
#include "cli/paging.h"
#include "wire/encode.h"

namespace holdfast::cli {
namespace {

std::string ChangeOf(const AuditEntry& entry) {
  std::string change = entry.error.empty() ? "" : "refused: " + entry.error;
  if (!entry.old_status.empty() || !entry.new_status.empty()) {
    change += (change.empty() ? "" : " ") + entry.old_status + " -> " + entry.new_status;
  }
  return change;
}

bool HasVersion(const AuditEntry& entry) {
  return entry.old_version != 0 || entry.new_version != 0;
}

/// Versions and waits have columns only where there is something to show in them.
void PrintEntries(const std::vector<AuditEntry>& entries, bool with_waits) {
  bool with_versions = std::any_of(entries.begin(), entries.end(), &HasVersion);
  std::vector<Column> columns = {{"SEQ", true}, {"AT"},     {"ACTOR"},
                                 {"OPERATION"}, {"TARGET"}, {"CHANGE"}};
  if (with_versions) columns.push_back({"VERSION"});
  if (with_waits) columns.push_back({"WAITED", true});
  columns.push_back({"COUNT", true});
  columns.push_back({"DETAILS"});
  Table table(std::move(columns));
  for (const AuditEntry& entry : entries) {
    std::vector<std::string> row = {std::to_string(entry.sequence), ShortTime(entry.at),
                                    Printable(entry.actor, 40),     entry.operation,
                                    Printable(entry.target, 80),    Printable(ChangeOf(entry))};
    if (with_versions) {
      row.push_back(
          HasVersion(entry) ? fmt::format("{} -> {}", entry.old_version, entry.new_version) : "");
    }
    if (with_waits) {
      double wait = std::chrono::duration<double, std::milli>(entry.lock_wait).count();
      row.push_back(fmt::format("{:.0f} ms", wait));
    }
    row.push_back(std::to_string(entry.count));
    row.push_back(Printable(entry.details, 80));
    table.AddRow(std::move(row));
  }
  table.Print();
}

}  // namespace

Result<int> PrintAudit(Cli& cli, const AuditListing& listing) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  std::vector<AuditEntry> entries;
  std::optional<std::int64_t> limit;
  if (!listing.all) limit = listing.limit;
  auto list = [&](const AuditFilter& filter) {
    return store->ListAudit(cli.MakeContext(), filter);
  };
  HF_ASSIGN_OR_RETURN(std::string cursor, Collect(listing.filter, limit, entries, list));
  if (cli.globals().output == OutputFormat::kTable) {
    PrintEntries(entries, listing.filter.min_lock_wait.has_value());
    return 0;
  }
  PrintList("items", entries, cursor, wire::WriteAuditEntry);
  return 0;
}

void AddAuditBounds(Cli& cli, CLI::App& command, AuditListing& listing) {
  auto* limit = cli.AddNumber(command, "-n,--limit", listing.limit, 1, "at most so many (100)");
  command.add_flag("-a,--all", listing.all, "every one")->excludes(limit);
}

void AddAuditCommands(Cli& cli) {
  CLI::App& group = cli.AddGroup(cli.root(), "audit", "Shows who did what.");
  auto listing = std::make_shared<AuditListing>();
  CLI::App& list = cli.AddCommand(group, "list", "Lists audit entries, newest first.",
                                  "holdfast audit list --target ticket/T-1\n"
                                  "holdfast audit list --operation queue.set --since "
                                  "2026-11-01T00:00:00Z\n"
                                  "holdfast audit list --actor ada --refused\n"
                                  "holdfast audit list --min-lock-wait 100ms",
                                  [&cli, listing] { return PrintAudit(cli, *listing); });
  AuditFilter& filter = listing->filter;
  cli.AddText(list, "--target", filter.target, "NAME", "job/7, queue/mail, ticket/T-1");
  cli.AddText(list, "--actor", filter.actor, "NAME", "what this actor did");
  cli.AddText(list, "--operation", filter.operation, "NAME", "job.cancel, record.transition");
  cli.AddTime(list, "--since", filter.since, "not before");
  cli.AddTime(list, "--until", filter.until, "before");
  cli.AddDuration(list, "--min-lock-wait", filter.min_lock_wait,
                  "only what waited so long, or longer, for its commit to begin");
  list.add_flag_callback(
      "--refused", [&filter] { filter.refused = true; }, "only what was refused");
  AddAuditBounds(cli, list, *listing);
}

}  // namespace holdfast::cli
