#include "lab/mix.h"

#include <fmt/format.h>

#include <algorithm>

namespace holdfast::lab {
namespace {

constexpr std::int64_t kMoney = 20;  // of both accounts together
constexpr int kMixPlaces = 2;
constexpr int kUsers = 4;
constexpr const char* kCounterRules = R"({"bounds":{"/n":{"min":0,"max":12}}})";

template <typename T>
const T& Pick(Attacker& attacker, const std::vector<T>& some) {
  return some[static_cast<std::size_t>(attacker.Below(static_cast<int>(some.size())))];
}

}  // namespace

Result<void> Mix::Prepare() {
  HF_ASSIGN_OR_RETURN(std::string counter, arena_.Declare("torture-counter", kCounterRules));
  HF_ASSIGN_OR_RETURN(std::string document, arena_.Declare("torture-document", "{}"));
  HF_ASSIGN_OR_RETURN(std::string account, arena_.DeclareShipped("account"));
  HF_ASSIGN_OR_RETURN(std::string ticket, arena_.DeclareShipped("ticket"));
  HF_ASSIGN_OR_RETURN(std::string campaign, arena_.DeclareShipped("campaign"));
  HF_ASSIGN_OR_RETURN(application_, arena_.DeclareShipped("application"));
  HF_ASSIGN_OR_RETURN(counter_, arena_.Make(counter, NameOf("counter"), {{"n", 0}}));
  HF_ASSIGN_OR_RETURN(
      document_, arena_.Make(document, NameOf("document"), {{"n", 0}, {"list", Json::array()}}));
  HF_ASSIGN_OR_RETURN(guarded_, arena_.Make(document, NameOf("guarded"), {{"n", 0}}));
  HF_ASSIGN_OR_RETURN(rich_, arena_.Make(account, NameOf("rich"), {{"balance", kMoney}}));
  HF_ASSIGN_OR_RETURN(poor_, arena_.Make(account, NameOf("poor"), {{"balance", 0}}));
  HF_ASSIGN_OR_RETURN(ticket_,
                      arena_.Make(ticket, NameOf("ticket"), {{"title", "torture"}, {"level", 0}}));
  HF_ASSIGN_OR_RETURN(
      campaign_,
      arena_.Make(campaign, NameOf("campaign"),
                  {{"title", "torture"}, {"is_active", true}, {"max_participants", kMixPlaces}}));
  for (int user = 0; user < kUsers; ++user) {
    arena_.Adopt({application_, arena_.Own(NameOf(fmt::format("user-{}", user)))});
  }
  queue_ = arena_.Own(NameOf("queue"));
  constexpr int kJobs = 3;
  for (int i = 0; i < kJobs; ++i) {  // one by one, so that they have nothing to do with one another
    HF_ASSIGN_OR_RETURN(std::vector<JobId> job, arena_.Push(NameOf("queue"), 1));
    jobs_.push_back(job.front());
  }
  return {};
}

void Mix::Step(Attacker& attacker, Hands& hands) const {
  switch (attacker.Below(8)) {
    case 0:
      return StepCounter(attacker);
    case 1:
      return StepDocument(attacker, hands);
    case 2:
      return StepMoney(attacker, hands);
    case 3:
      return StepTicket(attacker);
    case 4:
      return StepPlaces(attacker);
    case 5:
      return StepJobs(attacker, hands);
    default:
      return StepLocks(attacker, hands);
  }
}

void Mix::StepCounter(Attacker& attacker) const {
  if (attacker.Below(4) == 0) return void(attacker.client.GetRecord(counter_));
  Batch batch;
  batch.operations.emplace_back(
      IncrementRecord{On(counter_), "/n", std::int64_t{attacker.Below(9) - 4}});
  // Now and then under a key that somebody else has as well.
  if (attacker.Below(3) == 0) {
    batch.operations = {IncrementRecord{On(counter_), "/n", std::int64_t{1}}};
    batch.idempotency_key = fmt::format("{}-{}", counter_.id, attacker.Below(6));
  }
  (void)attacker.client.Commit(std::move(batch));
}

void Mix::StepDocument(Attacker& attacker, Hands& hands) const {
  Client& client = attacker.client;
  auto note = [&](const Result<OperationResult>& result) {
    if (result && result->record) hands.version = result->record->version;
  };
  const std::string mine = fmt::format(R"({{"by{}":{}}})", attacker.number, attacker.Below(100));
  switch (attacker.Below(6)) {
    case 0: {
      Result<std::optional<Record>> read = client.GetRecord(document_);
      if (read && *read) hands.version = (*read)->version;
      return;
    }
    case 1:
      return note(
          client.Do(ReplaceRecord{On(document_, hands.version),
                                  fmt::format(R"({{"n":{},"list":[]}})", attacker.Below(10))}));
    case 2:
      return note(client.Do(MergeRecord{On(document_), mine}));
    case 3:
      return note(client.Do(AppendRecord{On(document_), "/list", mine, 3}));
    case 4: {
      const std::string patch = fmt::format(
          R"([{{"op":"test","path":"/n","value":{}}},{{"op":"replace","path":"/n","value":{}}}])",
          attacker.Below(4), attacker.Below(4));
      return note(client.Do(PatchRecord{On(document_), patch}));
    }
    default:
      return note(client.Do(MergeRecord{On(document_), R"({"n":1})"},
                            {VersionGuard{document_, hands.version}}));
  }
}

void Mix::StepMoney(Attacker& attacker, Hands& hands) const {
  Client& client = attacker.client;
  if (attacker.Below(6) == 0) {
    return void(client.GetRecord(attacker.Below(2) == 0 ? rich_ : poor_));
  }
  if (!hands.pending.empty() && attacker.Below(2) == 0) {
    const TransferId id = hands.pending.back();
    hands.pending.pop_back();
    if (attacker.Below(2) == 0) return void(client.Do(VoidTransfer{id}));
    return void(client.Do(PostTransfer{id}));
  }
  MakeTransfer transfer{.from = rich_, .to = poor_, .path = "/balance"};
  if (attacker.Below(2) == 0) std::swap(transfer.from, transfer.to);
  transfer.amount = 1 + attacker.Below(8);
  transfer.pending = attacker.Below(3) == 0;
  Result<OperationResult> made = client.Do(transfer);
  if (made && transfer.pending) hands.pending.push_back(made->transfer->id);
}

void Mix::StepTicket(Attacker& attacker) const {
  Client& client = attacker.client;
  static const std::vector<std::string> kStatuses = {"OPEN", "ONHOLD", "RESOLVED", "NEW"};
  switch (attacker.Below(4)) {
    case 0:
      return void(client.GetRecord(ticket_));
    case 1:
      return void(client.Do(RunAction{On(ticket_), "escalate",
                                      fmt::format(R"({{"assignee":"t{}"}})", attacker.number)}));
    default:
      return void(client.Do(
          TransitionRecord{On(ticket_), Pick(attacker, kStatuses), R"({"comment":"torture"})"}));
  }
}

void Mix::StepPlaces(Attacker& attacker) const {
  Client& client = attacker.client;
  const int user = attacker.Below(kUsers);
  const RecordKey key{application_, arena_.Own(NameOf(fmt::format("user-{}", user)))};
  static const std::vector<std::string> kStatuses = {"approved", "withdrawn", "pending"};
  if (attacker.Below(5) == 0) return void(client.GetRecord(campaign_));
  if (attacker.Below(2) == 0) {
    return void(client.Do(CreateRecord{.kind = key.kind,
                                       .id = key.id,
                                       .data = fmt::format(R"({{"user":"u{}"}})", user % 3),
                                       .parent = campaign_}));
  }
  if (attacker.Below(6) == 0) return void(client.Do(DeleteRecord{On(key)}));
  (void)client.Do(TransitionRecord{On(key), Pick(attacker, kStatuses)});
}

void Mix::Acquire(Attacker& attacker, Hands& hands) const {
  AcquireLock request{.owner = fmt::format("{}-{}", name_, attacker.number), .ttl = kLongLease};
  switch (attacker.Below(4)) {
    case 0:
      request.name = arena_.Own(NameOf("places"));
      request.mode = LockMode::kShared;
      request.limit = 2;
      break;
    case 1:
      request.name = LockNameOf(guarded_);
      break;
    default:
      request.name = arena_.Own(NameOf("lock"));
  }
  if (attacker.Below(2) == 0) request.wait = std::chrono::milliseconds(1 + attacker.Below(20));
  Result<std::vector<LockGrant>> grants = attacker.client.Acquire(request);
  if (grants) hands.leases.push_back(grants->front());
}

void Mix::StepLocks(Attacker& attacker, Hands& hands) const {
  Client& client = attacker.client;
  if (hands.leases.empty()) {
    if (attacker.Below(8) == 0) return void(client.GetLock(arena_.Own(NameOf("lock"))));
    return Acquire(attacker, hands);
  }
  const LockGrant lease = hands.leases.back();
  const bool is_stale = !hands.old_tokens.empty() && attacker.Below(4) == 0;
  const Token token = is_stale ? hands.old_tokens.back() : lease.token;
  switch (attacker.Below(4)) {
    case 0:
      return void(client.Do(RenewLock{lease.name, token, kLongLease}));
    case 1:
      return void(client.Do(IncrementRecord{On(guarded_), "/n", std::int64_t{1}},
                            {LockGuard{lease.name, token}}));
    default:
      (void)client.Do(ReleaseLock{lease.name, token});
      if (is_stale) return;
      hands.leases.pop_back();
      hands.old_tokens.push_back(lease.token);
  }
}

void Mix::StepJobs(Attacker& attacker, Hands& hands) const {
  Client& client = attacker.client;
  const std::string worker = fmt::format("worker-{}", attacker.number);
  if (!hands.jobs.empty()) return ReportJob(attacker, hands);
  const JobId id = Pick(attacker, jobs_);
  switch (attacker.Below(5)) {
    case 0: {
      Result<std::vector<Job>> jobs = client.Claim({.worker = worker,
                                                    .queues = {queue_},
                                                    .max = 1 + attacker.Below(2),
                                                    .lease = kLongLease});
      if (jobs) hands.jobs = *std::move(jobs);
      return;
    }
    case 1:
      return void(client.GetJob(id));
    case 2:
      return void(attacker.Below(3) == 0 ? client.Do(CancelJob{id}) : client.Do(RetryJob{id}));
    default: {
      Result<OperationResult> claimed =
          client.Do(ClaimJob{.id = id, .worker = worker, .lease = kLongLease});
      if (claimed && claimed->job) hands.jobs.push_back(*claimed->job);
    }
  }
}

void Mix::ReportJob(Attacker& attacker, Hands& hands) const {
  Client& client = attacker.client;
  const Job job = hands.jobs.back();
  const bool is_stale = !hands.old_tokens.empty() && attacker.Below(5) == 0;
  const Token token = is_stale ? hands.old_tokens.back() : job.token;
  if (attacker.Below(4) == 0) return void(client.Do(RenewJob{job.id, token, kLongLease}));
  switch (attacker.Below(4)) {
    case 0:
      (void)client.Do(ReleaseJob{job.id, token});
      break;
    case 1:
      (void)client.Do(CompleteJob{job.id, token, R"({"done":true})"});
      break;
    default:
      (void)client.Do(FailJob{.id = job.id, .token = token, .error = "no", .permanent = true});
  }
  if (is_stale) return;
  hands.jobs.pop_back();
  hands.old_tokens.push_back(job.token);
}

void Mix::End(Attacker& attacker, Hands& hands) const {
  for (const LockGrant& lease : std::exchange(hands.leases, {})) {
    (void)attacker.client.Do(ReleaseLock{lease.name, lease.token});
  }
  for (const Job& job : std::exchange(hands.jobs, {})) {
    (void)attacker.client.Do(ReleaseJob{job.id, job.token});
  }
  for (TransferId id : std::exchange(hands.pending, {})) {
    (void)attacker.client.Do(VoidTransfer{id});
  }
}

Result<void> Mix::Check() {
  std::int64_t sum = 0;
  for (const RecordKey& key : {rich_, poor_}) {
    HF_ASSIGN_OR_RETURN(std::int64_t balance, arena_.NumberOf(key, "balance"));
    if (balance < 0) arena_.Violated("no account is overdrawn", fmt::format("{}", balance));
    sum += balance;
  }
  arena_.Expect("the sum of the accounts", kMoney, sum);
  HF_ASSIGN_OR_RETURN(Record campaign, arena_.Load(campaign_));
  std::int64_t taken = 0;
  for (const ChildCount& count : campaign.children) {
    if (count.status == "pending" || count.status == "approved") taken += count.count;
  }
  if (taken > kMixPlaces)
    arena_.Violated("no place is given twice", fmt::format("{} taken", taken));
  for (const RecordKey& key : {counter_, document_, guarded_, rich_, poor_, ticket_}) {
    HF_RETURN_IF_ERROR(arena_.ExpectTrail(key));
  }
  return {};
}

}  // namespace holdfast::lab
