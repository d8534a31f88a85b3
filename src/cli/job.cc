// holdfast job: looking at jobs, and doing by hand what workers do.
#include <fmt/format.h>

#include <memory>

#include "base/result.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "wire/encode.h"

namespace holdfast::cli {
namespace {

constexpr Duration kWatchPoll = std::chrono::milliseconds(200);

struct JobOptions {
  JobId id = 0;
  std::optional<JobId> claim_id;
  std::vector<std::string> ids;
  JobFilter filter;
  std::optional<int> limit;
  bool all = false;
  ClaimRequest claim;
  Token token = 0;
  std::optional<std::string> result;
  FailJob failure;
};
using JobOptionsPtr = std::shared_ptr<JobOptions>;

std::vector<std::pair<std::string, JobState>> StateWords() {
  std::vector<std::pair<std::string, JobState>> words;
  for (std::size_t i = 0; i < kJobStateCount; ++i) {
    auto state = static_cast<JobState>(i);
    words.emplace_back(NameOf(state), state);
  }
  return words;
}

/// Every page of the filter, or the first `limit` jobs; `use` gets each page.
template <typename Use>
Result<std::string> ForEachPage(Cli& cli, Store& store, JobFilter filter,
                                std::optional<std::int64_t> limit, Use use) {
  std::int64_t left = limit.value_or(std::numeric_limits<std::int64_t>::max());
  while (true) {
    filter.limit = static_cast<int>(std::min<std::int64_t>(left, 1000));
    HF_ASSIGN_OR_RETURN(JobPage page, store.ListJobs(cli.MakeContext(), filter));
    left -= static_cast<std::int64_t>(page.items.size());
    HF_RETURN_IF_ERROR(use(page.items));
    filter.cursor = page.next_cursor;
    if (page.next_cursor.empty() || left <= 0) return page.next_cursor;
  }
}

/// {"<name>":[...]}, or a table.
void PrintJobList(const std::vector<Job>& jobs, const std::string& name,
                  const std::string& next_cursor, OutputFormat format, bool with_tokens) {
  if (format == OutputFormat::kTable) return PrintJobs(jobs, with_tokens);
  PrintList(name, jobs, next_cursor, wire::WriteJob);
}

Result<int> Get(Cli& cli, const JobOptionsPtr& options) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  HF_ASSIGN_OR_RETURN(std::optional<Job> job, store->GetJob(cli.MakeContext(), options->id));
  if (!job) return Fail(ErrorCode::kNotFound, fmt::format("job {} does not exist", options->id));
  PrintJob(*job, cli.globals().output);
  return 0;
}

Result<int> List(Cli& cli, const JobOptionsPtr& options) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  std::optional<std::int64_t> limit;
  if (!options->all) limit = options->limit.value_or(100);
  std::vector<Job> jobs;
  auto keep = [&](std::vector<Job>& page) -> Result<void> {
    jobs.insert(jobs.end(), std::make_move_iterator(page.begin()),
                std::make_move_iterator(page.end()));
    return {};
  };
  HF_ASSIGN_OR_RETURN(std::string cursor, ForEachPage(cli, *store, options->filter, limit, keep));
  PrintJobList(jobs, "items", cursor, cli.globals().output, false);
  if (!cursor.empty() && cli.globals().output == OutputFormat::kTable) {
    fmt::print(stderr, "there are more: --limit N or --all\n");
  }
  return 0;
}

/// Why a job was not claimed, as far as it shows afterwards.
Result<std::string> WhyNotClaimed(const Context& context, Store& store, JobId id) {
  HF_ASSIGN_OR_RETURN(std::optional<Job> job, store.GetJob(context, id));
  if (!job) return std::string("it does not exist");
  if (job->state != JobState::kPending) return fmt::format("it is {}", NameOf(job->state));
  HF_ASSIGN_OR_RETURN(std::optional<Queue> queue, store.GetQueue(context, job->queue));
  if (queue && queue->paused) return fmt::format("its queue {} is paused", queue->name);
  if (queue && queue->max_running && queue->CountOf(JobState::kProcessing) >= *queue->max_running) {
    return fmt::format("its queue {} runs {} jobs, and may run {} (max_running)", queue->name,
                       queue->CountOf(JobState::kProcessing), *queue->max_running);
  }
  return std::string("it was not pending, or its queue let no more jobs run; now it is free");
}

Result<int> ClaimOne(Cli& cli, Store& store, const JobOptionsPtr& options) {
  HF_ASSIGN_OR_RETURN(std::optional<Job> job,
                      store.ClaimById(cli.MakeContext(), *options->claim_id, options->claim.worker,
                                      options->claim.lease));
  if (cli.globals().output == OutputFormat::kTable) {
    if (job) {
      PrintJobs({*job}, true);
    } else {
      HF_ASSIGN_OR_RETURN(std::string why,
                          WhyNotClaimed(cli.MakeContext(), store, *options->claim_id));
      fmt::print("job {} was not claimed: {}\n", *options->claim_id, why);
    }
    return 0;
  }
  base::JsonWriter json;
  json.BeginObject();
  json.Field("claimed", job.has_value());
  if (job) {
    json.Key("job");
    wire::WriteJob(json, *job);
  } else {
    HF_ASSIGN_OR_RETURN(std::string why,
                        WhyNotClaimed(cli.MakeContext(), store, *options->claim_id));
    json.Field("reason", why);
  }
  json.EndObject();
  PrintJson(json);
  return 0;
}

Result<int> Claim(Cli& cli, const JobOptionsPtr& options) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open(/*maintain=*/true));
  // Nobody else may be there to promote due jobs and to end leases: do so before looking.
  HF_RETURN_IF_ERROR(store->Maintain(cli.MakeContext()));
  if (options->claim_id) return ClaimOne(cli, *store, options);
  HF_ASSIGN_OR_RETURN(std::vector<Job> jobs, store->Claim(cli.MakeContext(), options->claim));
  if (jobs.empty() && cli.globals().output == OutputFormat::kTable) {
    fmt::print("no job is ready\n");
    return 0;
  }
  PrintJobList(jobs, "jobs", {}, cli.globals().output, true);
  return 0;
}

/// A command that changes one job and prints it.
template <typename Change>
Action OnOneJob(Cli& cli, Change change) {
  return [&cli, change]() -> Result<int> {
    HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
    HF_ASSIGN_OR_RETURN(Job job, change(*store, cli.MakeContext()));
    PrintJob(job, cli.globals().output);
    return 0;
  };
}

Result<int> Delete(Cli& cli, const JobOptionsPtr& options) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  HF_RETURN_IF_ERROR(store->Delete(cli.MakeContext(), options->id));
  if (cli.globals().output == OutputFormat::kJson) {
    fmt::print("{{\"deleted\":\"{}\"}}\n", options->id);
  } else {
    fmt::print("job {} deleted\n", options->id);
  }
  return 0;
}

/// What came of retrying many jobs.
struct RetryTally {
  std::int64_t retried = 0;
  std::vector<std::pair<JobId, Error>> refused;

  /// The first refusal that the caller has to know of. A job that was found by a filter may have
  /// been retried or deleted meanwhile: that is what was wanted.
  const Error* Failure(bool was_found) const {
    for (const auto& [id, error] : refused) {
      const bool is_done =
          error.code == ErrorCode::kNotFound || error.code == ErrorCode::kInvalidTransition;
      if (!was_found || !is_done) return &error;
    }
    return nullptr;
  }
};

Result<void> RetryMany(Cli& cli, Store& store, const std::vector<JobId>& ids, RetryTally& tally) {
  std::vector<Batch> batches;
  for (JobId id : ids) batches.push_back(Batch{.operations = {RetryJob{id}}});
  auto receipts = store.CommitMany(cli.MakeContext(), std::move(batches));
  for (std::size_t i = 0; i < receipts.size(); ++i) {
    if (receipts[i]) {
      ++tally.retried;
    } else {
      tally.refused.emplace_back(ids[i], receipts[i].error());
    }
  }
  return {};
}

/// {"retried":2,"refused":[{"id":"7","code":"already_exists","detail":...}]}, or in words.
void PrintRetried(const RetryTally& tally, OutputFormat format) {
  if (format == OutputFormat::kJson) {
    base::JsonWriter json;
    json.BeginObject();
    json.Field("retried", tally.retried);
    json.Key("refused");
    json.BeginArray();
    for (const auto& [id, error] : tally.refused) {
      json.BeginObject();
      json.Key("id");
      json.Id(id);
      json.Field("code", InfoOf(error.code).name);
      json.Field("detail", error.message);
      json.EndObject();
    }
    json.EndArray();
    json.EndObject();
    return PrintJson(json);
  }
  fmt::print("{} {} will be tried again\n", WithCommas(tally.retried),
             tally.retried == 1 ? "job" : "jobs");
  constexpr std::size_t kShown = 10;
  for (std::size_t i = 0; i < tally.refused.size() && i < kShown; ++i) {
    fmt::print("refused: {}\n", Describe(tally.refused[i].second));
  }
  if (tally.refused.size() > kShown) {
    fmt::print("refused: {} more (-o json lists them)\n", tally.refused.size() - kShown);
  }
}

Result<void> RetryAll(Cli& cli, Store& store, const JobOptionsPtr& options, RetryTally& tally) {
  Progress progress("retrying", std::nullopt);
  auto retry_page = [&](std::vector<Job>& page) -> Result<void> {
    std::vector<JobId> ids;
    for (const Job& job : page) ids.push_back(job.id);
    progress.Update(tally.retried);
    return ids.empty() ? Result<void>() : RetryMany(cli, store, ids, tally);
  };
  auto done = ForEachPage(cli, store, options->filter, std::nullopt, retry_page);
  if (!done) return std::unexpected(done.error());
  return {};
}

Result<int> Retry(Cli& cli, const JobOptionsPtr& options) {
  if (options->all == !options->ids.empty()) {
    return Fail(ErrorCode::kInvalidArgument,
                "name the jobs to retry, or --all (with --state failed or --state cancelled)");
  }
  if (options->all && options->filter.state != JobState::kFailed &&
      options->filter.state != JobState::kCancelled) {
    return Fail(ErrorCode::kInvalidArgument, "--all needs --state failed or --state cancelled");
  }
  std::vector<JobId> ids;
  for (const std::string& text : options->ids) {
    HF_ASSIGN_OR_RETURN(JobId id, ParseId(text));
    ids.push_back(id);
  }
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  RetryTally tally;
  if (options->all) {
    HF_RETURN_IF_ERROR(RetryAll(cli, *store, options, tally));
  } else {
    HF_RETURN_IF_ERROR(RetryMany(cli, *store, ids, tally));
  }
  PrintRetried(tally, cli.globals().output);
  if (const Error* failure = tally.Failure(options->all)) return std::unexpected(*failure);
  return 0;
}

bool IsFinished(JobState state) {
  return !kLiveStates.Has(state);
}

void PrintWatched(const Job& job, OutputFormat format) {
  if (format == OutputFormat::kJson) {
    base::JsonWriter json;
    wire::WriteJob(json, job);
    PrintJson(json);
  } else {
    std::string line = fmt::format("{}  {}  attempt {}", job.id, Paint(job.state), job.attempt);
    if (!job.worker.empty()) line += "  " + Printable(job.worker);
    if (job.progress) line += fmt::format("  {:.0f}%", *job.progress * 100);
    if (!job.message.empty()) line += "  " + Printable(job.message);
    if (job.state == JobState::kCompleted && job.result) line += "  " + Printable(*job.result, 200);
    if (!job.errors.empty() && job.state != JobState::kCompleted) {
      line += "  " + Printable(job.errors.back().message, 200);
    }
    fmt::print("{}\n", line);
  }
  std::fflush(stdout);
}

/// Says what changes until the job is finished. Exit code 0 if it completed, otherwise 1.
Result<int> Watch(Cli& cli, const JobOptionsPtr& options) {
  StopSignals signals;
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  Context context = cli.MakeContext();  // one deadline for all of it
  std::optional<Job> last;
  while (true) {
    HF_ASSIGN_OR_RETURN(std::optional<Job> job, store->GetJob(context, options->id));
    if (!job) {
      return Fail(ErrorCode::kNotFound,
                  fmt::format("job {} {}", options->id,
                              last ? "was deleted while being watched" : "does not exist"));
    }
    if (!last || last->state != job->state || last->attempt != job->attempt ||
        last->progress != job->progress || last->message != job->message) {
      PrintWatched(*job, cli.globals().output);
    }
    if (IsFinished(job->state)) return job->state == JobState::kCompleted ? 0 : 1;
    last = std::move(job);
    if (auto signal = signals.Wait(kWatchPoll)) return 128 + *signal;
  }
}

void AddFilter(Cli& cli, CLI::App& command, const JobOptionsPtr& options) {
  cli.AddChoice<std::optional<JobState>, JobState>(command, "-s,--state", options->filter.state,
                                                   StateWords(), "only jobs in this state");
  cli.AddText(command, "-q,--queue", options->filter.queue, "NAME", "only jobs of this queue")
      ->check(&RefuseEmpty);
  cli.AddText(command, "-k,--kind", options->filter.kind, "KIND", "only jobs of this kind")
      ->check(&RefuseEmpty);
}

void AddId(Cli& cli, CLI::App& command, const JobOptionsPtr& options) {
  cli.AddParsed(command, "ID", options->id, &ParseId, "", "the job")->required();
}

void AddReadCommands(Cli& cli, CLI::App& job, const JobOptionsPtr& options) {
  CLI::App& get = cli.AddCommand(job, "get", "Shows one job.", "holdfast job get 7 -o json",
                                 [&cli, options] { return Get(cli, options); });
  AddId(cli, get, options);

  CLI::App& list = cli.AddCommand(job, "list", "Lists jobs, oldest first.",
                                  "holdfast job list --state failed --queue mail\n"
                                  "holdfast job list --all -o json | jq -r '.items[].id'",
                                  [&cli, options] { return List(cli, options); });
  AddFilter(cli, list, options);
  cli.AddParsed(list, "--parent", options->filter.parent, &ParseId, "ID",
                "only the children of this job");
  list.add_flag("--retrying", options->filter.retrying,
                "only those that failed and will be tried again");
  auto* limit = cli.AddNumber<std::optional<int>>(list, "-n,--limit", options->limit, 1,
                                                  "at most so many (100)");
  list.add_flag("-a,--all", options->all, "every one")->excludes(limit);

  CLI::App& watch = cli.AddCommand(
      job, "watch", "Follows one job until it is finished. Exit code 0 if it completed, else 1.",
      "holdfast job watch 7 --timeout 10m", [&cli, options] { return Watch(cli, options); });
  AddId(cli, watch, options);
}

void AddWorkerCommands(Cli& cli, CLI::App& job, const JobOptionsPtr& options) {
  CLI::App& claim = cli.AddCommand(
      job, "claim", "Takes jobs, as a worker does. That none is ready is not an error.",
      "holdfast job claim --queue mail --wait 30s -o json\n"
      "holdfast job claim 7 --worker ada --lease 5m",
      [&cli, options] { return Claim(cli, options); });
  options->claim.worker = cli.globals().actor.empty() ? "cli" : cli.globals().actor;
  cli.AddParsed(claim, "ID", options->claim_id, &ParseId, "", "this job alone");
  cli.AddRepeated(claim, "-q,--queue", options->claim.queues, "NAME",
                  "from this queue; as often as wanted (every queue)");
  cli.AddRepeated(claim, "-k,--kind", options->claim.kinds, "KIND",
                  "of this kind; as often as wanted (every kind)");
  cli.AddNumber(claim, "-m,--max", options->claim.max, 1, "at most so many (1)");
  cli.AddDuration(claim, "--lease", options->claim.lease, "how long they are yours (30s)");
  cli.AddDuration(claim, "--wait", options->claim.wait, "wait so long for a first one (0s)");
  cli.AddText(claim, "-w,--worker", options->claim.worker, "NAME", "who will work");

  CLI::App& complete =
      cli.AddCommand(job, "complete", "Reports a claimed job as done.",
                     "holdfast job complete 7 --token 12 '{\"sent\":true}'",
                     OnOneJob(cli, [options](Store& store, const Context& context) {
                       return store.Complete(context, options->id, options->token, options->result);
                     }));
  AddId(cli, complete, options);
  cli.AddText(complete, "RESULT", options->result, "", "JSON, at most 1 MiB");
  cli.AddParsed(complete, "-t,--token", options->token, &ParseToken, "TOKEN", "of your claim")
      ->required();

  CLI::App& fail = cli.AddCommand(job, "fail", "Reports that an attempt at a claimed job failed.",
                                  "holdfast job fail 7 --token 12 'mailbox full' --retry-in 10m\n"
                                  "holdfast job fail 7 --token 12 'no such user' --permanent",
                                  OnOneJob(cli, [options](Store& store, const Context& context) {
                                    options->failure.id = options->id;
                                    options->failure.token = options->token;
                                    return store.FailAttempt(context, options->failure);
                                  }));
  AddId(cli, fail, options);
  cli.AddText(fail, "ERROR", options->failure.error, "", "what went wrong")->required();
  cli.AddParsed(fail, "-t,--token", options->token, &ParseToken, "TOKEN", "of your claim")
      ->required();
  auto* permanent = fail.add_flag("--permanent", options->failure.permanent, "do not try again");
  cli.AddDuration(fail, "--retry-in", options->failure.retry_in, "try again after so long")
      ->excludes(permanent);
}

void AddOperatorCommands(Cli& cli, CLI::App& job, const JobOptionsPtr& options) {
  CLI::App& cancel = cli.AddCommand(
      job, "cancel", "Cancels a job: at once if it waits, by asking its worker if it runs.",
      "holdfast job cancel 7", OnOneJob(cli, [options](Store& store, const Context& context) {
        return store.Cancel(context, options->id);
      }));
  AddId(cli, cancel, options);

  CLI::App& retry = cli.AddCommand(job, "retry", "Lets failed or cancelled jobs run again.",
                                   "holdfast job retry 7 9\n"
                                   "holdfast job retry --all --state failed --kind email",
                                   [&cli, options] { return Retry(cli, options); });
  cli.AddWords(retry, "ID", options->ids, "the jobs");
  retry.add_flag("-a,--all", options->all, "every job the filter finds");
  AddFilter(cli, retry, options);

  CLI::App& remove =
      cli.AddCommand(job, "delete", "Removes a job that nobody is working on.",
                     "holdfast job delete 7", [&cli, options] { return Delete(cli, options); });
  AddId(cli, remove, options);
}

}  // namespace

void AddJobCommands(Cli& cli) {
  CLI::App& job = cli.AddGroup(cli.root(), "job", "Adds, shows and changes jobs.");
  auto options = std::make_shared<JobOptions>();
  AddPushCommand(cli, job);
  AddReadCommands(cli, job, options);
  AddWorkerCommands(cli, job, options);
  AddOperatorCommands(cli, job, options);
}

}  // namespace holdfast::cli
