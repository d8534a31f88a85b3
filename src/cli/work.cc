// holdfast work: runs a command of the user's for each job.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <memory>

#include "base/json_writer.h"
#include "base/result.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/process.h"
#include "cli/signals.h"
#include "holdfast/worker.h"
#include "rules/limits.h"
#include "wire/decode.h"

namespace holdfast::cli {
namespace {

// From sysexits.h: what the command says with its exit code.
constexpr int kExitPermanent = 65;  // EX_DATAERR: this job can never succeed
constexpr int kExitAgain = 75;      // EX_TEMPFAIL: try again
// What --drain says with its own: there are jobs that nothing can run now.
constexpr int kExitLeft = 75;

constexpr Duration kDrainPoll = std::chrono::milliseconds(100);

struct WorkOptions {
  WorkerOptions pool;
  std::vector<std::string> kinds;
  Duration kill_after = std::chrono::seconds(5);
  bool drain = false;
};

/// What the command wrote to stdout, as the job's result: JSON as it is, anything else as a string.
Result<std::optional<std::string>> ResultOf(std::string output) {
  while (!output.empty() && (output.back() == '\n' || output.back() == '\r')) output.pop_back();
  if (output.empty()) return std::nullopt;
  if (!wire::ValidateJson("stdout", output, wire::JsonShape::kAny)) {
    std::string text;
    base::AppendJsonString(text, base::CutUtf8(output, 2 * rules::kResultBytes));
    output = std::move(text);
  }
  if (output.size() > rules::kResultBytes) {
    return Fail(ErrorCode::kPayloadTooLarge, "the command's stdout is over 1 MiB as a result");
  }
  return output;
}

/// "what: the end of stderr".
std::string WithTail(std::string what, std::string_view tail) {
  while (!tail.empty() && std::isspace(static_cast<unsigned char>(tail.back())) != 0) {
    tail.remove_suffix(1);
  }
  if (tail.empty()) return what;
  std::size_t room = rules::kErrorBytes - what.size() - 2;
  if (tail.size() > room) tail.remove_prefix(tail.size() - room);
  return what + ": " + base::CutUtf8(tail, room);
}

Outcome OutcomeOf(const ChildResult& child) {
  if (child.output_too_long) {
    return Failed{.error = "the command wrote more than 1 MiB to stdout", .permanent = true};
  }
  if (child.signal != 0) {
    return Failed{
        WithTail("the command was killed by " + SignalName(child.signal), child.error_tail)};
  }
  if (child.exit_code == 0) {
    auto result = ResultOf(child.output);
    if (!result) return Failed{.error = result.error().message, .permanent = true};
    return Completed{*std::move(result)};
  }
  std::string what = fmt::format("the command exited with {}", child.exit_code);
  if (child.exit_code == kExitAgain) what += " (try again)";
  return Failed{.error = WithTail(std::move(what), child.error_tail),
                .permanent = child.exit_code == kExitPermanent};
}

/// Runs the command for one attempt.
class CommandHandler {
 public:
  CommandHandler(const WorkOptions& options, std::vector<std::string> command, std::string program,
                 std::string store_variable, std::stop_token at_once)
      : options_(options),
        command_(std::move(command)),
        program_(std::move(program)),
        store_variable_(std::move(store_variable)),
        at_once_(std::move(at_once)) {}

  Outcome operator()(Attempt& attempt) const {
    const Job& job = attempt.job();
    ChildSpec spec{.program = program_,
                   .command = command_,
                   .environment = EnvironmentOf(job),
                   .input = job.payload,
                   .max_output = rules::kResultBytes,
                   .error_tail = rules::kErrorBytes,
                   .error_prefix = fmt::format("job {}: ", job.id),
                   .kill_after = options_.kill_after};
    auto child = RunChild(spec, attempt.stop(), at_once_);
    if (!child) return Failed{child.error().message};
    bool ended_well = child->exit_code == 0 && child->signal == 0;
    // The pool knows why it was told to end, and what that means for the job.
    if (child->was_stopped && !ended_well) return Released{};
    return OutcomeOf(*child);
  }

 private:
  std::vector<std::string> EnvironmentOf(const Job& job) const {
    return {fmt::format("HOLDFAST_JOB_ID={}", job.id),
            fmt::format("HOLDFAST_TOKEN={}", job.token),
            fmt::format("HOLDFAST_ATTEMPT={}", job.attempt),
            "HOLDFAST_KIND=" + job.kind,
            "HOLDFAST_QUEUE=" + job.queue,
            "HOLDFAST_WORKER=" + job.worker,
            store_variable_};
  }

  const WorkOptions& options_;
  const std::vector<std::string> command_;
  const std::string program_;
  const std::string store_variable_;
  const std::stop_token at_once_;
};

/// Every combination of the queues and kinds that were named.
std::vector<JobFilter> FiltersOf(const WorkOptions& options) {
  std::vector<std::string> queues = options.pool.queues;
  std::vector<std::string> kinds = options.kinds;
  if (queues.empty()) queues.emplace_back();
  if (kinds.empty()) kinds.emplace_back();
  std::vector<JobFilter> filters;
  for (const std::string& queue : queues) {
    for (const std::string& kind : kinds) filters.push_back({.queue = queue, .kind = kind});
  }
  return filters;
}

/// Jobs that a drained worker leaves, although they are not finished.
struct Left {
  std::int64_t paused = 0;    ///< pending in paused queues
  std::int64_t at_limit = 0;  ///< pending in queues where others run as many as max_running allows
  std::int64_t retrying = 0;  ///< failed, and scheduled for another attempt
  bool ready = false;         ///< pending, and free to be claimed: not drained

  bool IsNothing() const { return paused + at_limit + retrying == 0; }
};

Result<std::int64_t> CountJobs(const Context& context, Store& store, JobFilter filter) {
  filter.limit = 1000;
  std::int64_t count = 0;
  do {
    HF_ASSIGN_OR_RETURN(JobPage page, store.ListJobs(context, filter));
    count += static_cast<std::int64_t>(page.items.size());
    filter.cursor = page.next_cursor;
  } while (!filter.cursor.empty());
  return count;
}

/// Of one queue, which this worker takes jobs from.
Result<void> LookAt(const Context& context, Store& store, const WorkOptions& options,
                    const Queue& queue, Left& left) {
  std::int64_t pending = queue.CountOf(JobState::kPending);
  if (pending == 0) return {};
  if (!options.kinds.empty()) {
    pending = 0;
    for (const std::string& kind : options.kinds) {
      const JobFilter filter{.state = JobState::kPending, .queue = queue.name, .kind = kind};
      HF_ASSIGN_OR_RETURN(std::int64_t count, CountJobs(context, store, filter));
      pending += count;
    }
  }
  const bool is_full =
      queue.max_running && queue.CountOf(JobState::kProcessing) >= *queue.max_running;
  if (queue.paused) {
    left.paused += pending;
  } else if (is_full) {
    left.at_limit += pending;
  } else {
    left.ready |= pending > 0;
  }
  return {};
}

Result<Left> FindLeft(const Context& context, Store& store, const WorkOptions& options) {
  Left left;
  std::vector<Queue> queues;
  QueueFilter all;
  do {
    HF_ASSIGN_OR_RETURN(QueuePage page, store.ListQueues(context, all));
    queues.insert(queues.end(), page.items.begin(), page.items.end());
    all.cursor = page.next_cursor;
  } while (!all.cursor.empty());
  const std::vector<std::string>& taken = options.pool.queues;
  for (const Queue& queue : queues) {
    if (!taken.empty() && std::ranges::find(taken, queue.name) == taken.end()) continue;
    HF_RETURN_IF_ERROR(LookAt(context, store, options, queue, left));
  }
  if (left.ready) return left;
  for (JobFilter filter : FiltersOf(options)) {
    filter.retrying = true;
    HF_ASSIGN_OR_RETURN(std::int64_t count, CountJobs(context, store, filter));
    left.retrying += count;
  }
  return left;
}

/// Jobs that the pool claimed and whose outcomes the store does not know yet.
std::int64_t HeldBy(const WorkerStats& stats) {
  return stats.claimed - stats.completed - stats.failed - stats.released - stats.lost;
}

/// Until a signal comes or, with --drain, nothing can run. The answer: what is left then.
Result<Left> WaitForTheEnd(Cli& cli, Store& store, const WorkOptions& options,
                           const WorkerPool& pool, StopSignals& signals) {
  if (!options.drain) {
    signals.Wait();
    return Left{};
  }
  // Due jobs count as ready: promote them before the first look.
  HF_RETURN_IF_ERROR(store.Maintain(cli.MakeContext()));
  while (!signals.Wait(kDrainPoll)) {
    const WorkerStats before = pool.stats();
    if (HeldBy(before) > 0) continue;
    HF_ASSIGN_OR_RETURN(Left left, FindLeft(cli.MakeContext(), store, options));
    // What was claimed and given back between the two looks was seen by neither.
    if (!left.ready && pool.stats().claimed == before.claimed) return left;
  }
  return Left{};
}

void PrintStats(const WorkerPool& pool, const WorkOptions& options, const Left& left,
                OutputFormat format) {
  WorkerStats stats = pool.stats();
  if (format == OutputFormat::kTable) {
    fmt::print("{}: {} claimed, {} completed, {} failed, {} given back, {} lost\n", pool.name(),
               stats.claimed, stats.completed, stats.failed, stats.released, stats.lost);
    if (!left.IsNothing()) {
      fmt::print("left: {} in paused queues, {} in queues at max_running, {} to be retried\n",
                 left.paused, left.at_limit, left.retrying);
    }
    return;
  }
  base::JsonWriter json;
  json.BeginObject();
  json.Field("worker", pool.name());
  json.Field("claimed", stats.claimed);
  json.Field("completed", stats.completed);
  json.Field("failed", stats.failed);
  json.Field("released", stats.released);
  json.Field("lost", stats.lost);
  if (options.drain) {
    json.Key("left");
    json.BeginObject();
    json.Field("paused", left.paused);
    json.Field("at_limit", left.at_limit);
    json.Field("retrying", left.retrying);
    json.EndObject();
  }
  json.EndObject();
  PrintJson(json);
}

Result<int> Work(Cli& cli, WorkOptions& options) {
  const std::vector<std::string>& command = cli.command_line();
  if (command.empty()) {
    return Fail(ErrorCode::kInvalidArgument,
                "name the command to run for each job: holdfast work [options] -- CMD...");
  }
  HF_ASSIGN_OR_RETURN(std::string program, FindProgram(command.front()));
  StopSignals signals;
  options.pool.log = &cli.Log(LogLevel::kInfo);
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open(/*maintain=*/true));
  // The pool would wait for a store that is not there; whoever starts it wants to be told.
  Context first_call = Context::WithTimeout(std::chrono::seconds(5));
  if (auto stats = store->GetStats(first_call); !stats) return std::unexpected(stats.error());

  std::stop_source at_once;
  WorkerPool pool(*store, options.pool);
  CommandHandler handler(options, command, program, cli.StoreVariable(), at_once.get_token());
  for (const std::string& kind : options.kinds) pool.Handle(kind, handler);
  if (options.kinds.empty()) pool.Handle("*", handler);
  HF_RETURN_IF_ERROR(pool.Start());

  auto ended = WaitForTheEnd(cli, *store, options, pool, signals);
  auto cut_short = signals.Finish([&] { pool.Stop(); }, [&] { at_once.request_stop(); });
  PrintStats(pool, options, ended ? *ended : Left{}, cli.globals().output);
  if (!ended) return std::unexpected(ended.error());
  if (cut_short) return 128 + *cut_short;
  return ended->IsNothing() ? 0 : kExitLeft;
}

}  // namespace

void AddWorkCommand(Cli& cli) {
  auto options = std::make_shared<WorkOptions>();
  CLI::App& work = cli.AddCommand(
      cli.root(), "work",
      "Runs a command for each job, several at a time.\n\n"
      "The command gets the payload on stdin and HOLDFAST_JOB_ID, HOLDFAST_TOKEN,\n"
      "HOLDFAST_ATTEMPT, HOLDFAST_KIND, HOLDFAST_QUEUE, HOLDFAST_WORKER and HOLDFAST_STORE in its\n"
      "environment. What it writes to stdout is the result. Exit code 0 completes the job, 75 "
      "tries\n"
      "again later, 65 fails it for good, anything else is a failed attempt.\n\n"
      "SIGTERM, SIGINT or SIGHUP stops taking jobs and waits for those that run (--grace); then\n"
      "they get SIGTERM, and what they leave is given back. A second signal does that at once.\n"
      "--drain ends when no job can run, with 75 if it leaves jobs in paused queues, in queues at\n"
      "max_running, or to be retried later; else with 0. Lines of the commands' stderr begin with\n"
      "\"job ID: \"; its end is kept as the error of a failed attempt.\n",
      "holdfast work --queue mail --concurrency 4 -- ./send-email\n"
      "holdfast work --kind hash --drain -- sha256sum\n"
      "holdfast work --lease 5m --attempt-timeout 10m -- python3 report.py",
      [&cli, options] { return Work(cli, *options); });
  cli.TakesCommandLine(work);
  WorkerOptions& pool = options->pool;
  cli.AddRepeated(work, "-q,--queue", pool.queues, "NAME",
                  "from this queue; as often as wanted (every queue)");
  cli.AddRepeated(work, "-k,--kind", options->kinds, "KIND",
                  "jobs of this kind, others are left alone; as often as wanted (every kind)");
  cli.AddNumber(work, "-c,--concurrency", pool.concurrency, 1, "jobs at a time (one per core)");
  cli.AddNumber(work, "--claim-ahead", pool.claim_ahead, 0,
                "most jobs taken before a place is free, while each lasts under 20ms (500)");
  cli.AddDuration(work, "--lease", pool.lease,
                  "how long a job is ours without a sign of life (30s)");
  cli.AddDuration(work, "--attempt-timeout", pool.timeout,
                  "how long one attempt may take (no limit)");
  cli.AddDuration(work, "--grace", pool.grace, "how long a graceful stop waits (25s)");
  cli.AddDuration(work, "--kill-after", options->kill_after,
                  "from SIGTERM to SIGKILL for the command (5s)");
  cli.AddText(work, "-n,--name", pool.name, "NAME", "of this worker (host, process, random part)");
  work.add_flag("--drain", options->drain, "exit when no job can run");
}

}  // namespace holdfast::cli
