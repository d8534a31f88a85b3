// holdfast lock run: a command that runs while a lock is held.
#include <fmt/format.h>

#include <csignal>
#include <memory>

#include "base/json_writer.h"
#include "base/result.h"
#include "cli/lock.h"
#include "cli/process.h"
#include "holdfast/held_lock.h"
#include "wire/encode.h"

namespace holdfast::cli {
namespace {

// After its command has ended nothing keeps this process longer: the lease ends by itself.
constexpr Duration kReleaseTimeout = std::chrono::seconds(2);

struct RunOptions {
  AcquireOptions acquire;
  Duration kill_after = std::chrono::seconds(10);
  std::int64_t conflict_exit_code = InfoOf(ErrorCode::kBusy).exit_code;
};
using RunOptionsPtr = std::shared_ptr<RunOptions>;

/// [{"lock":"a","token":"17"}]: as "guards" of a commit takes them.
std::string GuardsOf(const HeldLock& held) {
  base::JsonWriter json;
  json.BeginArray();
  for (const LockGrant& grant : held.grants()) {
    json.BeginObject();
    json.Field("lock", grant.name);
    json.Field("token", std::to_string(grant.token));
    json.EndObject();
  }
  json.EndArray();
  return std::move(json).Take();
}

std::string DescribeEnd(const ChildResult& child) {
  return child.signal != 0 ? "was ended by " + SignalName(child.signal)
                           : fmt::format("exited with {}", child.exit_code);
}

/// The command, while the lock is held.
Result<ChildResult> RunUnder(const HeldLock& held, Cli& cli, const RunOptions& options,
                             const std::string& program, StopSignals& signals) {
  ChildSpec spec{.program = program,
                 .command = cli.command_line(),
                 .environment = {"HOLDFAST_LOCK_NAME=" + held.name(),
                                 fmt::format("HOLDFAST_TOKEN={}", held.token()),
                                 "HOLDFAST_LOCK_OWNER=" + held.owner(),
                                 "HOLDFAST_GUARDS=" + GuardsOf(held), cli.StoreVariable()},
                 .kill_after = options.kill_after,
                 .pass_through = true,
                 .signals = &signals,
                 .on_stop = {}};
  if (cli.globals().output == OutputFormat::kTable) {
    spec.on_stop = [&] {
      fmt::print(stderr, "holdfast: lock {} is lost: {}; the command is asked to end\n",
                 Printable(held.name(), 80), Printable(held.lost_because()));
    };
  }
  return RunChild(spec, held.stop(), {});
}

/// Gives the lock back. The answer: why it was lost, or nothing if it was ours to the end.
Result<void> GiveBack(HeldLock& held, Cli& cli) {
  const bool is_lost = held.state() == LockState::kLost;
  Context context = Context::WithTimeout(kReleaseTimeout);
  context.actor = cli.globals().actor;
  auto released = held.Release(context);
  if (is_lost) return Fail(ErrorCode::kFenced, held.lost_because(), {.lock = held.name()});
  if (released || released.error().code == ErrorCode::kFenced) return released;
  // The work was done under the lock, which ends by itself.
  fmt::print(stderr, "holdfast: lock {} was not given back, and is free when its lease ends: {}\n",
             Printable(held.name(), 80), Describe(released.error()));
  return {};
}

Result<int> RunHeld(HeldLock& held, Cli& cli, const RunOptions& options, const std::string& program,
                    StopSignals& signals) {
  Result<ChildResult> child = RunUnder(held, cli, options, program, signals);
  Result<void> given_back = GiveBack(held, cli);
  if (!child) return std::unexpected(std::move(child).error());
  if (!given_back) {
    return Fail(ErrorCode::kFenced,
                fmt::format("lock {} was lost ({}); the command {}", Printable(held.name(), 80),
                            given_back.error().message, DescribeEnd(*child)),
                given_back.error().detail);
  }
  return child->signal != 0 ? 128 + child->signal : child->exit_code;
}

Result<int> Run(Cli& cli, const RunOptionsPtr& options) {
  const std::vector<std::string>& command = cli.command_line();
  if (command.empty()) {
    return Fail(ErrorCode::kInvalidArgument,
                "name the command to run: holdfast lock run NAME [options] -- CMD...");
  }
  HF_RETURN_IF_ERROR(CheckNamed(options->acquire));
  HF_ASSIGN_OR_RETURN(std::string program, FindProgram(command.front()));
  HF_ASSIGN_OR_RETURN(AcquireLock request, RequestOf(cli, options->acquire));
  StopSignals signals;
  cli.Log(LogLevel::kError);  // what became of other people's leases is not for this one to tell
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  Result<std::unique_ptr<HeldLock>> held;
  auto signal = AcquireUnlessStopped(cli, *store, signals, request, [&](const Context& context) {
    held = HeldLock::Acquire(*store, context, request);
  });
  if (signal) return 128 + *signal;
  if (held) return RunHeld(**held, cli, *options, program, signals);
  if (held.error().code != ErrorCode::kBusy) return std::unexpected(std::move(held).error());
  cli.Report(WithHolder(*store, std::move(held).error()));
  return static_cast<int>(options->conflict_exit_code);
}

}  // namespace

void AddLockRunCommand(Cli& cli, CLI::App& lock) {
  auto options = std::make_shared<RunOptions>();
  CLI::App& run = cli.AddCommand(
      lock, "run",
      "Runs a command while it holds a lock, or several, and exits as the command does.\n"
      "The command gets HOLDFAST_LOCK_NAME, HOLDFAST_TOKEN, HOLDFAST_LOCK_OWNER, HOLDFAST_STORE\n"
      "and HOLDFAST_GUARDS (JSON, the \"guards\" of a commit) in its environment. The lock is\n"
      "renewed until the command ends, and then given back; what it left in its process group is\n"
      "killed. If the lock is lost, the command gets SIGTERM, later SIGKILL (--kill-after), and "
      "the\nexit code is 5. SIGTERM, SIGINT and SIGHUP are passed on to the command.\n",
      "holdfast lock run nightly-report -- ./report.sh\n"
      "holdfast lock run deploy --wait 10m --ttl 30s -- make deploy\n"
      "holdfast lock run licences --shared --limit 5 --wait 1h -- ./simulate\n"
      "holdfast lock run backup --conflict-exit-code 0 -- ./backup.sh",
      [&cli, options] { return Run(cli, options); });
  cli.TakesCommandLine(run);
  AddNames(cli, run, options->acquire);
  AddLeaseOptions(cli, run, options->acquire);
  cli.AddDuration(run, "--kill-after", options->kill_after,
                  "from SIGTERM to SIGKILL for the command, once the lock is lost (10s)");
  auto parse = [](const std::string& text) { return ParseNumber(text, 0, 255); };
  cli.AddParsed(run, "--conflict-exit-code", options->conflict_exit_code, parse, "N",
                "the exit code if the lock is not free in time (75)");
}

}  // namespace holdfast::cli
