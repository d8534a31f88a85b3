// Money: payments never overdraw an account, transfers and holds never make or lose any.
//
//   accounts [KINDS [STORE]]
#include <random>

#include "examples/kinds.h"

namespace {

using holdfast::Record;
using holdfast::Result;
using holdfast::Transfer;

/// Accounts of the shipped kind. Every call may be made from any thread.
class Accounts {
 public:
  explicit Accounts(holdfast::Store& store) : store_(store) {}

  Result<Record> Open(const std::string& id, std::int64_t balance) {
    return store_.Create(
        {},
        {.kind = "account", .id = id, .data = R"({"balance":)" + std::to_string(balance) + "}"});
  }
  Result<std::int64_t> Balance(const std::string& id) {
    Result<std::optional<Record>> account = store_.GetRecord({}, {"account", id});
    if (!account) return std::unexpected(account.error());
    if (!*account) return holdfast::Fail(holdfast::ErrorCode::kNotFound, "no account " + id);
    return examples::NumberIn(**account, "balance");
  }
  /// Nobody reads the balance first: the rule "at least 0" is checked in the commit.
  Result<Record> Pay(const std::string& id, std::int64_t amount) {
    return store_.Increment({}, {{.kind = "account", .id = id}, "/balance", -amount});
  }
  Result<Transfer> Move(const std::string& from, const std::string& to, std::int64_t amount) {
    return store_.Make({}, Between(from, to, amount));
  }
  /// Sets the amount aside; after `timeout` it is free again by itself.
  Result<Transfer> Hold(const std::string& from, const std::string& to, std::int64_t amount,
                        holdfast::Duration timeout) {
    holdfast::MakeTransfer transfer = Between(from, to, amount);
    transfer.pending = true;
    transfer.timeout = timeout;
    return store_.Make({}, transfer);
  }
  /// Moves what was held, or a part of it: the rest is free again.
  Result<Transfer> Post(holdfast::TransferId hold, std::optional<std::int64_t> part = {}) {
    return store_.Post({}, {.id = hold, .amount = part});
  }
  Result<Transfer> Void(holdfast::TransferId hold) { return store_.Void({}, {.id = hold}); }

 private:
  static holdfast::MakeTransfer Between(const std::string& from, const std::string& to,
                                        std::int64_t amount) {
    return {.from = {"account", from}, .to = {"account", to}, .path = "/balance", .amount = amount};
  }

  holdfast::Store& store_;
};

/// Ten threads want 150 each of 1,000: six get it.
bool SixOfTenArePaid(Accounts& accounts) {
  if (Result<Record> opened = accounts.Open("shop", 1'000); !opened) {
    return examples::Report(opened.error()) == 0;
  }
  std::atomic<int> paid = 0;
  std::atomic<int> refused = 0;
  examples::RunThreads(10, [&](int) {
    Result<Record> payment = accounts.Pay("shop", 150);
    if (payment) ++paid;
    if (!payment && payment.error().code == holdfast::ErrorCode::kRuleViolation) ++refused;
  });
  std::int64_t left = accounts.Balance("shop").value_or(-1);
  std::cout << paid << " payments of 150 from 1000, " << refused << " refused, " << left
            << " left\n";
  return paid == 6 && refused == 4 && left == 100;
}

/// Transfers, and holds that are posted in full, in part, or given up.
void MoveAtRandom(Accounts& accounts, const std::vector<std::string>& ids, unsigned seed) {
  std::mt19937 random(seed);
  for (int i = 0; i < 100; ++i) {
    std::size_t from = random() % ids.size();
    std::size_t to = (from + 1 + random() % (ids.size() - 1)) % ids.size();
    std::int64_t amount = 2 + random() % 60;
    if (i % 2 == 0) {
      (void)accounts.Move(ids[from], ids[to], amount);  // refused where the money is not there
      continue;
    }
    Result<Transfer> hold = accounts.Hold(ids[from], ids[to], amount, std::chrono::minutes(10));
    if (!hold) continue;
    Result<Transfer> ended = i % 3 == 0   ? accounts.Void(hold->id)
                             : i % 3 == 1 ? accounts.Post(hold->id)
                                          : accounts.Post(hold->id, amount / 2);
    if (!ended) examples::Report(ended.error());
  }
}

}  // namespace

int main(int argc, char** argv) {
  auto store = holdfast::OpenStore(argc > 2 ? argv[2] : "memory:");
  if (!store) return examples::Report(store.error());
  auto kind = examples::DeclareKind(**store, argc > 1 ? argv[1] : HOLDFAST_KINDS_DIR, "account");
  if (!kind) return examples::Report(kind.error());
  Accounts accounts(**store);
  if (!SixOfTenArePaid(accounts)) return 1;

  const std::vector<std::string> ids = {"ada", "grace", "barbara", "edith", "radia"};
  for (const std::string& id : ids) {
    if (auto opened = accounts.Open(id, 100); !opened) return examples::Report(opened.error());
  }
  examples::RunThreads(
      8, [&](int thread) { MoveAtRandom(accounts, ids, static_cast<unsigned>(thread)); });
  std::int64_t sum = 0;
  for (const std::string& id : ids) {
    Result<std::int64_t> balance = accounts.Balance(id);
    if (!balance) return examples::Report(balance.error());
    if (*balance < 0) return 1;
    sum += *balance;
  }
  std::cout << "after 800 moves 5 accounts hold " << sum << "\n";
  return sum == 500 ? 0 : 1;
}
