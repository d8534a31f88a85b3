// Places, payments, stock, seats and transfers under attack (S12 to S14).
#include <fmt/format.h>

#include "lab/scenarios.h"

namespace holdfast::lab {
namespace {

constexpr int kApplicants = 20;
constexpr int kCampaignPlaces = 10;

struct Campaign {
  RecordKey key;
  std::string application;  // kind
};

Result<Campaign> MakeCampaign(Arena& arena, std::string_view name, Json places) {
  HF_ASSIGN_OR_RETURN(std::string kind, arena.DeclareShipped("campaign"));
  Campaign campaign;
  HF_ASSIGN_OR_RETURN(campaign.application, arena.DeclareShipped("application"));
  HF_ASSIGN_OR_RETURN(
      campaign.key,
      arena.Make(kind, name,
                 {{"title", "torture"}, {"is_active", true}, {"max_participants", places}}));
  return campaign;
}

CreateRecord Application(const Campaign& campaign, std::string id, int user) {
  return {.kind = campaign.application,
          .id = std::move(id),
          .data = fmt::format(R"({{"user":"user-{}"}})", user),
          .parent = campaign.key};
}

Result<std::int64_t> ChildrenOf(Arena& arena, const Campaign& campaign, std::string_view status) {
  HF_ASSIGN_OR_RETURN(Record record, arena.Load(campaign.key));
  std::int64_t count = 0;
  for (const ChildCount& child : record.children) {
    if (status.empty() || child.status == status) count += child.count;
  }
  return count;
}

/// `payers` payments of `amount` from `balance`, at once.
Result<void> Pay(Arena& arena, std::string_view name, int balance, int payers, int amount) {
  HF_ASSIGN_OR_RETURN(std::string kind, arena.DeclareShipped("account"));
  HF_ASSIGN_OR_RETURN(RecordKey payer,
                      arena.Make(kind, fmt::format("{}-payer", name), {{"balance", balance}}));
  HF_ASSIGN_OR_RETURN(RecordKey shop,
                      arena.Make(kind, fmt::format("{}-shop", name), {{"balance", 0}}));
  Tally tally = arena.Attack(payers, [&](Attacker& attacker) {
    (void)attacker.client.Do(
        MakeTransfer{.from = payer, .to = shop, .path = "/balance", .amount = amount});
  });
  const int paid = std::min(payers, balance / amount);
  arena.ExpectAnswers(tally, paid, ErrorCode::kRuleViolation, payers - paid);
  HF_ASSIGN_OR_RETURN(std::int64_t left, arena.NumberOf(payer, "balance"));
  HF_ASSIGN_OR_RETURN(std::int64_t taken, arena.NumberOf(shop, "balance"));
  arena.Expect("what is left", balance - paid * amount, left);
  arena.Expect("what the shop has", std::int64_t{paid} * amount, taken);
  HF_RETURN_IF_ERROR(arena.ExpectVersion(payer, 1 + paid));
  return arena.ExpectVersion(shop, 1 + paid);
}

}  // namespace

Result<void> AttackApplications(Arena& arena) {
  constexpr int kTimes = 5;
  HF_ASSIGN_OR_RETURN(Campaign campaign, MakeCampaign(arena, "campaign", nullptr));
  const int users = arena.Size(10);
  // Each user applies five times at once, each time as another record.
  Tally tally = arena.Attack(users * kTimes, [&](Attacker& attacker) {
    (void)attacker.client.Do(Application(campaign, arena.Own(fmt::format("{}", attacker.number)),
                                         attacker.number % users));
  });
  for (int i = 0; i < users * kTimes; ++i) {
    arena.Adopt({campaign.application, arena.Own(fmt::format("{}", i))});
  }
  arena.ExpectAnswers(tally, users, ErrorCode::kAlreadyExists, std::int64_t{kTimes - 1} * users);
  HF_ASSIGN_OR_RETURN(std::int64_t there, ChildrenOf(arena, campaign, ""));
  arena.Expect("applications", users, there);
  return {};
}

Result<void> AttackPlaces(Arena& arena) {
  HF_ASSIGN_OR_RETURN(Campaign campaign, MakeCampaign(arena, "campaign", kCampaignPlaces));
  Tally tally = arena.Attack(kApplicants, [&](Attacker& attacker) {
    (void)attacker.client.Do(
        Application(campaign, arena.Own(fmt::format("{}", attacker.number)), attacker.number));
  });
  for (int i = 0; i < kApplicants; ++i) {
    arena.Adopt({campaign.application, arena.Own(fmt::format("{}", i))});
  }
  arena.ExpectAnswers(tally, kCampaignPlaces, ErrorCode::kCapacityFull,
                      kApplicants - kCampaignPlaces);
  HF_ASSIGN_OR_RETURN(std::int64_t taken, ChildrenOf(arena, campaign, ""));
  arena.Expect("places that are taken", kCampaignPlaces, taken);
  return {};
}

Result<void> AttackApprovals(Arena& arena) {
  // All may apply; then there are places for half of them.
  HF_ASSIGN_OR_RETURN(Campaign campaign, MakeCampaign(arena, "campaign", kApplicants));
  std::vector<RecordKey> applications;
  for (int i = 0; i < kApplicants; ++i) {
    CreateRecord create = Application(campaign, arena.Own(fmt::format("{}", i)), i);
    applications.push_back({create.kind, create.id});
    HF_RETURN_IF_ERROR(arena.client().Do(std::move(create)));
    arena.Adopt(applications.back());
  }
  HF_RETURN_IF_ERROR(arena.client().Do(
      MergeRecord{On(campaign.key), fmt::format(R"({{"max_participants":{}}})", kCampaignPlaces)}));
  Tally approved = arena.Attack(kApplicants, [&](Attacker& attacker) {
    (void)attacker.client.Do(
        TransitionRecord{On(applications[static_cast<std::size_t>(attacker.number)]), "approved"});
  });
  arena.ExpectAnswers(approved, kCampaignPlaces, ErrorCode::kCapacityFull,
                      kApplicants - kCampaignPlaces);
  HF_ASSIGN_OR_RETURN(std::int64_t places, ChildrenOf(arena, campaign, "approved"));
  arena.Expect("places that are taken", kCampaignPlaces, places);
  // Places are given back and taken again, over and over.
  const int each = arena.Size(5);
  arena.Attack(kApplicants, [&](Attacker& attacker) {
    for (int i = 0; i < each && !arena.Over(); ++i) {
      const RecordKey& key = applications[static_cast<std::size_t>(attacker.Below(kApplicants))];
      for (const char* to : {"withdrawn", "pending", "approved"}) {
        (void)attacker.client.Do(TransitionRecord{On(key), to});
      }
    }
  });
  HF_ASSIGN_OR_RETURN(places, ChildrenOf(arena, campaign, "approved"));
  if (places > kCampaignPlaces) arena.Expect("places that are taken", kCampaignPlaces, places);
  HF_ASSIGN_OR_RETURN(std::int64_t all, ChildrenOf(arena, campaign, ""));
  arena.Expect("applications", kApplicants, all);
  for (const RecordKey& key : applications) HF_RETURN_IF_ERROR(arena.ExpectTrail(key));
  return {};
}

Result<void> AttackPayments(Arena& arena) {
  constexpr int kPayers = 10;
  HF_RETURN_IF_ERROR(Pay(arena, "all", 1'000, kPayers, 100));
  return Pay(arena, "some", 1'000, kPayers, 150);
}

Result<void> AttackLastItem(Arena& arena) {
  HF_ASSIGN_OR_RETURN(std::string kind, arena.DeclareShipped("stock"));
  HF_ASSIGN_OR_RETURN(RecordKey key, arena.Make(kind, "1", {{"on_hand", 1}, {"reserved", 0}}));
  const int threads = arena.threads();
  std::atomic<std::int64_t> buyers = 0;
  Tally tally = arena.Attack(threads, [&](Attacker& attacker) {
    if (!attacker.client.Do(RunAction{On(key), "reserve"})) return;
    ++buyers;
    (void)attacker.client.Do(RunAction{On(key), "sell"});
  });
  arena.ExpectAnswers(tally, 2, ErrorCode::kRuleViolation, threads - 1);
  arena.Expect("buyers", 1, buyers);
  HF_ASSIGN_OR_RETURN(std::int64_t left, arena.NumberOf(key, "on_hand"));
  arena.Expect("what is on hand", 0, left);
  return arena.ExpectVersion(key, 3);
}

Result<void> AttackSeat(Arena& arena) {
  HF_ASSIGN_OR_RETURN(std::string kind, arena.DeclareShipped("seat"));
  HF_ASSIGN_OR_RETURN(RecordKey key, arena.Make(kind, "1A", Json::object()));
  const int threads = arena.threads();
  auto holder = [](const Attacker& attacker) {
    return fmt::format(R"({{"holder":"guest-{}"}})", attacker.number);
  };
  Tally holds = arena.Attack(threads, [&](Attacker& attacker) {
    (void)attacker.client.Do(RunAction{On(key), "hold", holder(attacker)});
  });
  arena.ExpectAnswers(holds, 1, ErrorCode::kInvalidTransition, threads - 1);
  HF_ASSIGN_OR_RETURN(Record held, arena.Load(key));
  // Everybody confirms, but only one is its holder.
  std::atomic<std::int64_t> confirmed = 0;
  arena.Attack(threads, [&](Attacker& attacker) {
    if (attacker.client.Do(RunAction{On(key), "confirm", holder(attacker)})) ++confirmed;
  });
  arena.Expect("confirmations", 1, confirmed);
  HF_ASSIGN_OR_RETURN(Record booked, arena.Load(key));
  arena.Expect("the seat is booked", 1, booked.status == "booked" ? 1 : 0);
  arena.Expect("by whoever held it", 1, DataOf(booked)["holder"] == DataOf(held)["holder"] ? 1 : 0);
  return arena.ExpectVersion(key, 3);
}

Result<void> AttackTransfers(Arena& arena) {
  constexpr int kAccounts = 5;
  constexpr std::int64_t kBalance = 100;
  HF_ASSIGN_OR_RETURN(std::string kind, arena.DeclareShipped("account"));
  std::vector<RecordKey> accounts;
  for (int i = 0; i < kAccounts; ++i) {
    HF_ASSIGN_OR_RETURN(RecordKey key,
                        arena.Make(kind, fmt::format("{}", i), {{"balance", kBalance}}));
    accounts.push_back(std::move(key));
  }
  const int each = arena.Size(40);
  arena.Attack(arena.threads(), [&](Attacker& attacker) {
    for (int i = 0; i < each && !arena.Over(); ++i) {
      const int from = attacker.Below(kAccounts);
      const int to = (from + 1 + attacker.Below(kAccounts - 1)) % kAccounts;
      MakeTransfer transfer{.from = accounts[static_cast<std::size_t>(from)],
                            .to = accounts[static_cast<std::size_t>(to)],
                            .path = "/balance",
                            .amount = 1 + attacker.Below(60),
                            .pending = attacker.Below(3) == 0};
      Result<OperationResult> made = attacker.client.Do(transfer);
      if (!made || !transfer.pending) continue;
      const TransferId id = made->transfer->id;
      if (attacker.Below(2) == 0 || !attacker.client.Do(PostTransfer{id})) {
        (void)attacker.client.Do(VoidTransfer{id});
      }
    }
  });
  std::int64_t sum = 0;
  for (const RecordKey& key : accounts) {
    HF_ASSIGN_OR_RETURN(Record record, arena.Load(key));
    const std::int64_t balance = DataOf(record).value("balance", std::int64_t{0});
    if (balance < 0) arena.Violated("no account is overdrawn", ToString(key));
    arena.Expect("reservations of " + ToString(key), 0,
                 static_cast<std::int64_t>(record.reserved.size()));
    sum += balance;
    HF_RETURN_IF_ERROR(arena.ExpectTrail(key));
  }
  arena.Expect("the sum of the balances", kAccounts * kBalance, sum);
  return {};
}

}  // namespace holdfast::lab
