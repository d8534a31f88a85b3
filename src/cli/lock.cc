// holdfast lock: takes locks and gives them back.
#include "cli/lock.h"

#include <fmt/format.h>
#include <unistd.h>

#include <climits>
#include <memory>

#include "base/result.h"
#include "base/utf8.h"
#include "cli/commit.h"
#include "cli/progress.h"
#include "cli/record_key.h"
#include "wire/encode.h"

namespace holdfast::cli {

std::string MakeOwner(const Cli& cli) {
  char host[HOST_NAME_MAX + 1] = {};
  if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0') host[0] = '?';
  const std::string& actor = cli.globals().actor;
  return fmt::format("{}@{}/{}-{:04x}", base::CutUtf8(actor.empty() ? "cli" : actor, 40),
                     base::CutUtf8(host, 64), getpid(), Random::System().Next() & 0xffff);
}

std::string DescribeNames(const AcquireLock& request) {
  if (request.names.size() < 2) {
    return "lock " + Printable(request.names.empty() ? request.name : request.names.front(), 80);
  }
  return fmt::format("lock {} and {} {}", Printable(request.names.front(), 80),
                     request.names.size() - 1, request.names.size() == 2 ? "other" : "others");
}

Result<AcquireLock> RequestOf(const Cli& cli, const AcquireOptions& options) {
  AcquireLock request = options.request;
  request.names = options.names;
  for (const std::string& record : options.records) {
    HF_ASSIGN_OR_RETURN(RecordKey key, ParseRecordKey(record));
    request.names.push_back(LockNameOf(key));
  }
  if (options.shared) request.mode = LockMode::kShared;
  if (request.owner.empty()) request.owner = MakeOwner(cli);
  if (request.names.size() == 1) {
    request.name = std::move(request.names.front());
    request.names.clear();
  }
  return request;
}

Result<void> CheckNamed(const AcquireOptions& options) {
  if (!options.names.empty() || !options.records.empty()) return {};
  return Fail(ErrorCode::kInvalidArgument, "name a lock: NAME, or --record KIND/ID");
}

void AddLeaseOptions(Cli& cli, CLI::App& command, AcquireOptions& options) {
  AcquireLock& request = options.request;
  cli.AddText(command, "--owner", request.owner, "NAME",
              "who holds it: one course of action (user@host/process-random)")
      ->check(&RefuseEmpty);
  cli.AddDuration(command, "--ttl", request.ttl, "how long it is held without a renewal (10s)");
  cli.AddText(command, "--preset", request.preset, "NAME",
              "of --ttl and --wait, where they are not given: DEFAULT, JOB_WORKFLOW, ...")
      ->check(&RefuseEmpty);
  cli.AddDuration(command, "--lock-delay", request.lock_delay,
                  "it stays taken so long after a lease that ran out (0s)");
  auto* shared = command.add_flag("--shared", options.shared, "others may hold it shared, too");
  cli.AddNumber(command, "--limit", request.limit, 1, "so many of them at most (no limit)")
      ->needs(shared);
}

void AddNames(Cli& cli, CLI::App& command, AcquireOptions& options) {
  cli.AddWords(command, "NAME", options.names, "the lock; several: all of them, or none");
  cli.AddRepeated(command, "--record", options.records, "KIND/ID",
                  "the lock of this record; as often as wanted");
  cli.AddDuration(command, "-w,--wait", options.request.wait, "wait in line for so long (0s)");
}

namespace {

/// "waiting 12s for lock a, held by ada@db1/4711-3f2a (2 in line)".
std::string DescribeWait(Store& store, const AcquireLock& request, Duration waited) {
  std::string text =
      fmt::format("waiting {} for {}", RoughDuration(waited), DescribeNames(request));
  const std::string& name = request.names.empty() ? request.name : request.names.front();
  auto lock = store.GetLock(Context::WithTimeout(std::chrono::seconds(2)), name);
  if (!lock) return text;
  if (!lock->holders.empty()) {
    text += ", held by " + Printable(lock->holders.front().owner, 60);
    if (lock->holders.size() > 1) text += fmt::format(" and {} more", lock->holders.size() - 1);
  }
  if (lock->waiters.size() > 1) text += fmt::format(" ({} in line)", lock->waiters.size());
  return text;
}

}  // namespace

std::optional<int> AcquireUnlessStopped(Cli& cli, Store& store, StopSignals& signals,
                                        const AcquireLock& request,
                                        const std::function<void(const Context&)>& acquire) {
  std::stop_source stop;
  Context context = cli.MakeContext();
  context.stop = stop.get_token();
  StatusLine line;
  const SteadyTime start = std::chrono::steady_clock::now();
  auto tick = [&] {
    if (!line.enabled()) return;
    auto waited = std::chrono::steady_clock::now() - start;
    line.Show(DescribeWait(store, request, std::chrono::duration_cast<Duration>(waited)));
  };
  return signals.Finish([&] { acquire(context); }, [&] { stop.request_stop(); }, tick);
}

Error WithHolder(Store& store, Error error) {
  if (error.code != ErrorCode::kBusy || error.detail.lock.empty()) return error;
  auto lock = store.GetLock(Context::WithTimeout(std::chrono::seconds(2)), error.detail.lock);
  if (!lock || lock->holders.empty()) return error;
  const std::string& owner = lock->holders.front().owner;
  if (error.message.find(owner) == std::string::npos) {
    error.message += fmt::format(": {} holds {}", owner, lock->name);
    if (error.detail.retry_after) {
      error.message += fmt::format(", the lease ends in {} unless it is renewed",
                                   RoughDuration(*error.detail.retry_after));
    }
  }
  return error;
}

namespace {

struct LockOptions {
  AcquireOptions acquire;
  bool any = false;
  RecordFilter next;
  std::string name;
  Token token = 0;
  std::optional<Token> only;
  std::optional<Duration> ttl;
  std::string reason;
  WriteOptions write;
};
using LockOptionsPtr = std::shared_ptr<LockOptions>;

/// As the endpoints answer: the one grant itself, of several a list.
void PrintGranted(const std::vector<LockGrant>& grants, bool is_one, OutputFormat format) {
  if (format == OutputFormat::kTable) return PrintGrants(grants);
  base::JsonWriter json;
  if (is_one) {
    wire::WriteLockGrant(json, grants.front());
  } else {
    wire::WriteGrants(json, grants);
  }
  PrintJson(json);
}

/// They came in the instant in which a signal did: nobody will use them.
void GiveBack(Store& store, const std::vector<LockGrant>& grants, const std::string& actor) {
  Batch batch;
  for (const LockGrant& grant : grants) {
    batch.operations.emplace_back(ReleaseLock{grant.name, grant.token});
  }
  Context context = Context::WithTimeout(std::chrono::seconds(5));
  context.actor = actor;
  (void)store.Commit(context, std::move(batch));  // if it fails, they end by themselves
}

Result<int> Acquire(Cli& cli, const LockOptionsPtr& options) {
  HF_RETURN_IF_ERROR(CheckNamed(options->acquire));
  HF_ASSIGN_OR_RETURN(AcquireLock request, RequestOf(cli, options->acquire));
  if (options->any) request.policy = LockPolicy::kAny;
  const bool is_one = request.names.empty() && !options->any;
  StopSignals signals;
  cli.Log(LogLevel::kError);  // what became of other people's leases is not for this one to tell
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  Result<std::vector<LockGrant>> grants;
  auto signal = AcquireUnlessStopped(cli, *store, signals, request, [&](const Context& context) {
    grants = store->Acquire(context, request);
  });
  if (signal) {
    if (grants) GiveBack(*store, *grants, cli.globals().actor);
    return 128 + *signal;
  }
  if (!grants) return std::unexpected(WithHolder(*store, std::move(grants).error()));
  PrintGranted(*grants, is_one, cli.globals().output);
  return 0;
}

/// A command that changes one lock and prints the leases it changed.
Action Changing(Cli& cli, const LockOptionsPtr& options, bool is_one,
                Operation (*make)(const LockOptions& options)) {
  return [&cli, options, is_one, make]() -> Result<int> {
    cli.Log(LogLevel::kError);  // whoever breaks a lock knows that it is broken
    HF_ASSIGN_OR_RETURN(OperationResult result, CommitOne(cli, make(*options), options->write));
    PrintGranted(result.lock->grants, is_one, cli.globals().output);
    return 0;
  };
}

Operation MakeRenew(const LockOptions& options) {
  return RenewLock{options.name, options.token, options.ttl};
}
Operation MakeRelease(const LockOptions& options) {
  return ReleaseLock{options.name, options.token};
}
Operation MakeBreak(const LockOptions& options) {
  return BreakLock{options.name, options.reason, options.only};
}

Result<int> Next(Cli& cli, const LockOptionsPtr& options) {
  HF_ASSIGN_OR_RETURN(AcquireLock request, RequestOf(cli, options->acquire));
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  HF_ASSIGN_OR_RETURN(std::optional<LockedRecord> taken,
                      store->AcquireNext(cli.MakeContext(), options->next, std::move(request)));
  if (cli.globals().output == OutputFormat::kJson) {
    base::JsonWriter json;
    wire::WriteLockedRecord(json, taken);
    PrintJson(json);
  } else if (taken) {
    PrintGrants({taken->lock});
    PrintRecord(taken->record, OutputFormat::kTable);
  } else {
    fmt::print(stderr, "no such {} is free\n", Printable(options->next.kind, 128));
  }
  return taken ? 0 : InfoOf(ErrorCode::kBusy).exit_code;
}

void AddNameAndToken(Cli& cli, CLI::App& command, const LockOptionsPtr& options) {
  cli.AddText(command, "NAME", options->name, "", "the lock")->required();
  cli.AddParsed(command, "TOKEN", options->token, &ParseToken, "", "under which it is held")
      ->required();
  AddWriteOptions(cli, command, options->write);
}

void AddAcquireCommands(Cli& cli, CLI::App& group, const LockOptionsPtr& options) {
  CLI::App& acquire =
      cli.AddCommand(group, "acquire",
                     "Takes a lock, or several, and prints the token.\n"
                     "It is held until it is released, or its ttl is over without a renewal.",
                     "holdfast lock acquire invoices/7 --ttl 1m --wait 30s\n"
                     "token=$(holdfast lock acquire invoices/7 -o json | jq -r .token)\n"
                     "holdfast lock acquire gpu-0 gpu-1 gpu-2 --any\n"
                     "holdfast lock acquire licences --shared --limit 5\n"
                     "holdfast lock acquire --record ticket/T-1",
                     [&cli, options] { return Acquire(cli, options); });
  AddNames(cli, acquire, options->acquire);
  AddLeaseOptions(cli, acquire, options->acquire);
  acquire.add_flag("--any", options->any, "of several, the first that is free");

  CLI::App& next =
      cli.AddCommand(group, "next",
                     "Takes the lock of the first record of a kind that is free, and prints both.\n"
                     "Exits with 75 if none is.",
                     "holdfast lock next ticket --status OPEN --ttl 5m -o json\n"
                     "holdfast lock next task --parent project/P-1",
                     [&cli, options] { return Next(cli, options); });
  cli.AddText(next, "KIND", options->next.kind, "", "the kind of the record")->required();
  cli.AddText(next, "-s,--status", options->next.status, "STATUS", "only those in this status");
  cli.AddParsed(next, "--parent", options->next.parent, &ParseRecordKey, "KIND/ID",
                "only the children of this record");
  AddLeaseOptions(cli, next, options->acquire);
}

void AddHeldCommands(Cli& cli, CLI::App& group, const LockOptionsPtr& options) {
  CLI::App& renew = cli.AddCommand(group, "renew", "Holds a lock for another while, from now.",
                                   "holdfast lock renew invoices/7 17 --ttl 1m",
                                   Changing(cli, options, true, &MakeRenew));
  AddNameAndToken(cli, renew, options);
  cli.AddDuration(renew, "--ttl", options->ttl, "so long (as when it was taken)");

  CLI::App& release = cli.AddCommand(
      group, "release", "Gives a lock back, and so to whoever is next in line.",
      "holdfast lock release invoices/7 17", Changing(cli, options, true, &MakeRelease));
  AddNameAndToken(cli, release, options);

  CLI::App& end = cli.AddCommand(
      group, "break",
      "Ends leases by force, at once, and prints them.\n"
      "What their holders still commit under their tokens is refused; anything else they do is\n"
      "not. Audited with the reason.",
      "holdfast lock break invoices/7 --reason 'worker db3 is gone'\n"
      "holdfast lock break licences --token 17 --reason 'stuck'",
      Changing(cli, options, false, &MakeBreak));
  cli.AddText(end, "NAME", options->name, "", "the lock")->required();
  cli.AddText(end, "-r,--reason", options->reason, "TEXT", "for the audit trail")->required();
  cli.AddParsed(end, "--token", options->only, &ParseToken, "TOKEN",
                "only the lease of this token (every one)");
  AddWriteOptions(cli, end, options->write);
}

}  // namespace

void AddLockCommands(Cli& cli) {
  CLI::App& group =
      cli.AddGroup(cli.root(), "lock", "Takes, shows and gives back locks; runs commands in them.");
  group.footer(
      "holdfast lock run nightly-report --wait 1m -- ./report.sh\n"
      "holdfast lock acquire invoices/7 --ttl 1m\n"
      "holdfast lock release invoices/7 17\n"
      "holdfast lock list");
  auto options = std::make_shared<LockOptions>();
  AddLockRunCommand(cli, group);
  AddAcquireCommands(cli, group, options);
  AddHeldCommands(cli, group, options);
  AddLockViewCommands(cli, group);
}

}  // namespace holdfast::cli
