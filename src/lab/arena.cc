#include "lab/arena.h"

#include <fmt/format.h>

#include <algorithm>

#include "lab/shipped_kinds.h"

namespace holdfast::lab {
namespace {

constexpr std::string_view kPrefix = "torture-";
constexpr std::size_t kGroup = 500;  // operations to a commit, when something is removed
constexpr Duration kGrace = std::chrono::seconds(30);  // for the calls that are going on at the end

bool IsShipped(const std::string& name) {
  return std::ranges::find(ShippedKinds(), name, &ShippedKind::name) != ShippedKinds().end();
}

/// Rules that name another shipped kind name the copy of it.
void RenameKinds(Json& rules) {
  if (rules.is_object()) {
    auto kind = rules.find("kind");
    if (kind != rules.end() && kind->is_string() && IsShipped(kind->get<std::string>())) {
      *kind = std::string(kPrefix) + kind->get<std::string>();
    }
  }
  if (rules.is_structured()) {
    for (Json& part : rules) RenameKinds(part);
  }
}

double PercentileOf(const std::vector<double>& sorted, double part) {
  if (sorted.empty()) return 0;
  return sorted[static_cast<std::size_t>(part * static_cast<double>(sorted.size() - 1) + 0.5)];
}

}  // namespace

Arena::Arena(Store& store, const TortureOptions& options, std::string_view run,
             history::Recording& recording, std::string_view scenario)
    : store_(store),
      options_(options),
      run_(run),
      recording_(recording),
      scenario_(scenario),
      end_(start_ + options.duration),
      client_(recording, store, ContextOf(0)) {}

Context Arena::ContextOf(int number) const {
  Context context;
  context.deadline = end_ + kGrace;  // a store that hangs does not keep the suite
  context.actor = fmt::format("{}{}", kPrefix, number);
  return context;
}

std::string Arena::Own(std::string_view name) const {
  return fmt::format("{}{}-{}-{}", kPrefix, run_, scenario_, name);
}

Result<std::string> Arena::DeclareShipped(std::string_view name) {
  auto shipped = std::ranges::find(ShippedKinds(), name, &ShippedKind::name);
  if (shipped == ShippedKinds().end()) {
    return Fail(ErrorCode::kNotFound, fmt::format("no kind {} is shipped", name));
  }
  HF_ASSIGN_OR_RETURN(Json rules, base::ParseJson("rules", shipped->rules));
  RenameKinds(rules);
  return Declare(std::string(kPrefix) + std::string(name), base::ToText(rules));
}

Result<std::string> Arena::Declare(const std::string& name, const std::string& rules) {
  HF_RETURN_IF_ERROR(client_.Do(ApplyKind{.name = name, .rules = rules}));
  return name;
}

Result<RecordKey> Arena::Make(const std::string& kind, std::string_view name, const Json& data,
                              std::optional<RecordKey> parent, std::string status) {
  RecordKey key{kind, Own(name)};
  HF_RETURN_IF_ERROR(client_.Do(CreateRecord{.kind = kind,
                                             .id = key.id,
                                             .data = base::ToText(data),
                                             .status = std::move(status),
                                             .parent = std::move(parent)}));
  Adopt(key);
  return key;
}

Result<std::vector<JobId>> Arena::Push(std::string_view queue, int count) {
  constexpr int kJobsAtOnce = 500;
  const std::string name = Own(queue);
  if (std::ranges::find(queues_, name) == queues_.end()) queues_.push_back(name);
  std::vector<JobId> ids;
  while (static_cast<int>(ids.size()) < count) {
    Batch batch;
    const int some = std::min(count - static_cast<int>(ids.size()), kJobsAtOnce);
    for (int i = 0; i < some; ++i) {
      batch.operations.emplace_back(EnqueueJob{{.kind = "torture", .queue = name}});
    }
    HF_ASSIGN_OR_RETURN(Receipt receipt, client_.Commit(std::move(batch)));
    for (const OperationResult& result : receipt.results) ids.push_back(result.job->id);
  }
  return ids;
}

int Arena::Size(int usual) const {
  if (!options_.operations) return usual;
  return static_cast<int>(std::min<std::int64_t>(usual, *options_.operations));
}

std::unique_ptr<Attacker> Arena::MakeAttacker(int number) {
  Store& store =
      nodes_.empty() ? store_ : *nodes_[static_cast<std::size_t>(number) % nodes_.size()];
  auto attacker = std::make_unique<Attacker>(
      number, Client(recording_, store, ContextOf(number + 1)),
      std::mt19937_64(options_.seed * 1'000'003 + static_cast<std::uint64_t>(attacks_) * 1'009 +
                      static_cast<std::uint64_t>(number)));
  if (number == 0 && options_.on_progress) {
    attacker->client.OnCall([this] { options_.on_progress(scenario_, recording_.events() / 2); });
  }
  return attacker;
}

Tally Arena::Take(std::vector<std::unique_ptr<Attacker>>& attackers) {
  Tally tally;
  for (auto& attacker : attackers) {
    for (history::Observed& call : attacker->client.TakeCalls()) {
      if (call.answer) {
        ++tally.ok;
      } else {
        ++tally.errors[call.error->code];
      }
      calls_.push_back(std::move(call));
    }
  }
  return tally;
}

void Arena::Violated(std::string_view what, std::string detail) {
  violations_.push_back({std::string(what), std::move(detail)});
}

void Arena::Expect(std::string_view what, std::int64_t expected, std::int64_t found) {
  if (expected == found) return;
  Violated(what, fmt::format("expected {}, found {}", expected, found));
}

void Arena::ExpectAnswers(const Tally& tally, std::int64_t ok, ErrorCode code,
                          std::int64_t refused) {
  Expect("calls that succeed", ok, tally.ok);
  Expect(fmt::format("calls that are refused with {}", InfoOf(code).name), refused, tally.Of(code));
  for (const auto& [other, count] : tally.errors) {
    if (other != code) Expect(fmt::format("answers {}", InfoOf(other).name), 0, count);
  }
}

Json DataOf(const Record& record) {
  Result<Json> data = base::ParseJson("data", record.data);
  return data ? *std::move(data) : Json::object();
}

Result<Record> Arena::Load(const RecordKey& key) {
  HF_ASSIGN_OR_RETURN(std::optional<Record> record, client_.GetRecord(key));
  if (record) return *std::move(record);
  return Fail(ErrorCode::kNotFound, fmt::format("{} is not there any more", ToString(key)));
}

Result<std::int64_t> Arena::NumberOf(const RecordKey& key, const std::string& member) {
  HF_ASSIGN_OR_RETURN(Record record, Load(key));
  const Json data = DataOf(record);
  auto number = data.find(member);
  if (number != data.end() && number->is_number_integer()) return number->get<std::int64_t>();
  return Fail(ErrorCode::kInternal, fmt::format("{} has no number {}", ToString(key), member));
}

Result<void> Arena::ExpectTrail(const RecordKey& key) {
  HF_ASSIGN_OR_RETURN(Record record, Load(key));
  std::int64_t version = record.version;
  std::string status = record.status;
  AuditFilter filter{.target = ToString(key), .refused = false, .limit = 1'000};
  do {
    HF_ASSIGN_OR_RETURN(AuditPage page, store_.ListAudit(ContextOf(0), filter));
    for (const AuditEntry& entry : page.items) {  // newest first
      if (entry.new_version != version || entry.old_version != version - 1 ||
          entry.new_status != status) {
        Violated("the audit trail gives the state",
                 fmt::format("{} at version {} ({}): the trail has {} from {} ({}) to {} ({})",
                             ToString(key), version, status, entry.operation, entry.old_version,
                             entry.old_status, entry.new_version, entry.new_status));
        return {};
      }
      version = entry.old_version;
      status = entry.old_status;
    }
    filter.cursor = page.next_cursor;
  } while (!filter.cursor.empty());
  if (version == 0) return {};
  Violated("the audit trail gives the state",
           fmt::format("{}: nothing tells of version {} and those before", ToString(key), version));
  return {};
}

Result<void> Arena::ExpectVersion(const RecordKey& key, std::int64_t version) {
  HF_ASSIGN_OR_RETURN(Record record, Load(key));
  Expect("the version of " + ToString(key), version, record.version);
  return ExpectTrail(key);
}

std::vector<history::Observed> Arena::TakeCalls() {
  for (history::Observed& call : client_.TakeCalls()) calls_.push_back(std::move(call));
  return std::exchange(calls_, {});
}

ScenarioReport Arena::Finish(std::string_view title) {
  ScenarioReport report{.name = scenario_, .title = std::string(title)};
  const auto took = std::chrono::steady_clock::now() - start_;
  report.seconds = std::chrono::duration<double>(took).count();
  if (took > options_.duration) {
    Violated("done in time", fmt::format("took {:.0f} s", report.seconds));
  }
  std::vector<double> micros;
  auto add = [&](const history::Observed& call) {
    ++report.calls;
    ++(call.answer ? report.succeeded : report.refused[call.error->code]);
    micros.push_back(static_cast<double>(call.returned_ns - call.invoked_ns) / 1000);
  };
  std::ranges::for_each(calls_, add);
  std::ranges::for_each(client_.calls(), add);
  std::ranges::sort(micros);
  report.p50 = PercentileOf(micros, 0.5);
  report.p95 = PercentileOf(micros, 0.95);
  report.p99 = PercentileOf(micros, 0.99);
  report.violations = std::exchange(violations_, {});
  return report;
}

void Arena::CleanUp(std::vector<std::string>& left_behind) {
  RemoveJobs(left_behind);
  RemoveRecords(left_behind);
  BreakLocks(left_behind);
}

void Arena::RemoveRecords(std::vector<std::string>& left_behind) {
  // Children are younger than their parents, and go first.
  std::ranges::reverse(records_);
  for (std::size_t begin = 0; begin < records_.size(); begin += kGroup) {
    std::vector<Batch> batches;
    const std::size_t end = std::min(begin + kGroup, records_.size());
    for (std::size_t i = begin; i < end; ++i) {
      Batch& batch = batches.emplace_back();
      batch.operations.emplace_back(DeleteRecord{On(records_[i])});
    }
    std::vector<Result<Receipt>> done = store_.CommitMany({}, std::move(batches));
    for (std::size_t i = 0; i < done.size(); ++i) {
      if (done[i] || done[i].error().code == ErrorCode::kNotFound) continue;
      left_behind.push_back(
          fmt::format("{}: {}", ToString(records_[begin + i]), done[i].error().message));
    }
  }
  records_.clear();
}

void Arena::RemoveJobs(std::vector<std::string>& left_behind) {
  for (const std::string& queue : std::exchange(queues_, {})) {
    JobFilter filter{.queue = queue, .limit = 1'000};
    do {
      Result<JobPage> page = store_.ListJobs({}, filter);
      if (!page) {
        left_behind.push_back(fmt::format("queue {}: {}", queue, page.error().message));
        break;
      }
      std::vector<Batch> batches;
      for (const Job& job : page->items) {
        batches.emplace_back().operations.emplace_back(DeleteJob{job.id});
      }
      for (const Result<Receipt>& done : store_.CommitMany({}, std::move(batches))) {
        if (!done) left_behind.push_back(fmt::format("{}: {}", queue, done.error().message));
      }
      filter.cursor = page->next_cursor;
    } while (!filter.cursor.empty());
  }
}

void Arena::BreakLocks(std::vector<std::string>& left_behind) {
  Result<LockPage> page = store_.ListLocks({}, {.prefix = Own(""), .limit = 1'000});
  if (!page) {
    left_behind.push_back(fmt::format("locks: {}", page.error().message));
    return;
  }
  for (const Lock& lock : page->items) {
    if (lock.holders.empty()) continue;
    auto broken = store_.Break({}, {.name = lock.name, .reason = "the attack is over"});
    if (!broken) left_behind.push_back(fmt::format("{}: {}", lock.name, broken.error().message));
  }
}

}  // namespace holdfast::lab
