// holdfast lock show, list and history: who holds what, who waits for it, who did.
#include <fmt/format.h>

#include <memory>

#include "base/result.h"
#include "cli/audit.h"
#include "cli/lock.h"
#include "cli/paging.h"
#include "wire/encode.h"

namespace holdfast::cli {
namespace {

struct ViewOptions {
  std::string name;
  LockFilter filter;
  std::optional<std::int64_t> limit;
  bool all = false;
  AuditListing history;
};
using ViewOptionsPtr = std::shared_ptr<ViewOptions>;

/// The clock that judges the leases, which need not be that of this machine.
Result<Time> NowOf(const Context& context, Store& store) {
  HF_ASSIGN_OR_RETURN(StoreStats stats, store.GetStats(context));
  return stats.now;
}

Result<int> Show(Cli& cli, const ViewOptionsPtr& options) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  HF_ASSIGN_OR_RETURN(Lock lock, store->GetLock(cli.MakeContext(), options->name));
  if (cli.globals().output == OutputFormat::kJson) {
    base::JsonWriter json;
    wire::WriteLock(json, lock);
    PrintJson(json);
    return 0;
  }
  HF_ASSIGN_OR_RETURN(Time now, NowOf(cli.MakeContext(), *store));
  PrintLock(lock, now);
  return 0;
}

Result<int> List(Cli& cli, const ViewOptionsPtr& options) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  std::optional<std::int64_t> limit;
  if (!options->all) limit = options->limit.value_or(100);
  std::vector<Lock> locks;
  auto list = [&](const LockFilter& filter) { return store->ListLocks(cli.MakeContext(), filter); };
  HF_ASSIGN_OR_RETURN(std::string cursor, Collect(options->filter, limit, locks, list));
  if (cli.globals().output == OutputFormat::kTable) {
    HF_ASSIGN_OR_RETURN(Time now, NowOf(cli.MakeContext(), *store));
    PrintLocks(locks, now);
    if (!cursor.empty()) fmt::print(stderr, "there are more: --limit N or --all\n");
    return 0;
  }
  PrintList("items", locks, cursor, wire::WriteLock);
  return 0;
}

Result<int> History(Cli& cli, const ViewOptionsPtr& options) {
  options->history.filter.target = "lock/" + options->name;
  return PrintAudit(cli, options->history);
}

}  // namespace

void AddLockViewCommands(Cli& cli, CLI::App& lock) {
  auto options = std::make_shared<ViewOptions>();
  CLI::App& show =
      cli.AddCommand(lock, "show", "Shows who holds a lock, and who waits for it, in order.",
                     "holdfast lock show invoices/7\n"
                     "holdfast lock show record:ticket/T-1 -o json",
                     [&cli, options] { return Show(cli, options); });
  cli.AddText(show, "NAME", options->name, "", "the lock")->required();

  CLI::App& list =
      cli.AddCommand(lock, "list", "Lists the locks that are held or waited for, by name.",
                     "holdfast lock list\n"
                     "holdfast lock list --prefix record:ticket/ --all -o json",
                     [&cli, options] { return List(cli, options); });
  cli.AddText(list, "--prefix", options->filter.prefix, "TEXT", "whose names begin with this");
  cli.AddText(list, "--owner", options->filter.owner, "NAME", "that it holds or waits for");
  auto* limit = cli.AddNumber(list, "-n,--limit", options->limit, 1, "at most so many (100)");
  list.add_flag("-a,--all", options->all, "every one")->excludes(limit);

  CLI::App& history = cli.AddCommand(
      lock, "history", "Lists who took, lost and broke a lock, newest first.",
      "holdfast lock history invoices/7", [&cli, options] { return History(cli, options); });
  cli.AddText(history, "NAME", options->name, "", "the lock")->required();
  AddAuditBounds(cli, history, options->history);
}

}  // namespace holdfast::cli
