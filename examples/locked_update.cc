// A change that takes a while: two clerks each read an account, think, and write it back under its
// lock, so that neither undoes what the other did.
//
//   locked_update [KINDS [STORE]]
#include "examples/kinds.h"

namespace {

using holdfast::Result;

const holdfast::RecordKey kAccount{"account", "shared"};

Result<void> Deposit(holdfast::Store& store, std::int64_t amount) {
  auto under_lock = [&](holdfast::HeldLock& lock) -> Result<void> {
    auto account = store.GetRecord({}, kAccount);
    if (!account) return std::unexpected(account.error());
    // What takes long looks at lock.stop() from time to time: it fires if the lock is lost.
    const std::int64_t balance = examples::NumberIn(**account, "balance") + amount;
    holdfast::Batch batch;
    batch.operations.emplace_back(
        holdfast::MergeRecord{{.kind = kAccount.kind, .id = kAccount.id},
                              R"({"balance":)" + std::to_string(balance) + "}"});
    // By the lock, not by the store: refused if the lock was lost meanwhile.
    auto receipt = lock.Commit({}, std::move(batch));
    if (!receipt) return std::unexpected(receipt.error());
    return {};
  };
  return holdfast::WithLock(
      store, {}, {.name = LockNameOf(kAccount), .wait = std::chrono::minutes(1)}, under_lock);
}

}  // namespace

int main(int argc, char** argv) {
  constexpr int kEach = 50;
  auto store = holdfast::OpenStore(argc > 2 ? argv[2] : "memory:");
  if (!store) return examples::Report(store.error());
  auto kind = examples::DeclareKind(**store, argc > 1 ? argv[1] : HOLDFAST_KINDS_DIR, "account");
  if (!kind) return examples::Report(kind.error());
  auto opened = (*store)->Create({}, {kAccount.kind, kAccount.id, R"({"balance":0})"});
  if (!opened) return examples::Report(opened.error());

  std::atomic<int> failed = 0;
  examples::RunThreads(2, [&](int) {
    for (int i = 0; i < kEach; ++i) failed += Deposit(**store, 10) ? 0 : 1;
  });
  auto account = (*store)->GetRecord({}, kAccount);
  if (!account) return examples::Report(account.error());
  const std::int64_t balance = examples::NumberIn(**account, "balance");
  std::cout << "two clerks made " << 2 * kEach << " deposits of 10, " << failed
            << " failed: " << balance << "\n";
  return failed == 0 && balance == 2 * kEach * 10 ? 0 : 1;
}
