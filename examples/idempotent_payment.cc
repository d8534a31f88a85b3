// A payment that is asked for twice is made once: the idempotency key is part of the commit.
//
//   idempotent_payment [STORE]
#include <holdfast/holdfast.h>

#include <iostream>

namespace {

/// What a web shop does when a customer presses "pay", perhaps twice, perhaps after a time-out.
holdfast::Result<holdfast::Receipt> Pay(holdfast::Store& store, const std::string& order,
                                        const std::string& amount) {
  holdfast::Batch batch;
  batch.operations.push_back(
      holdfast::EnqueueJob{{.kind = "payment",
                            .queue = "payments",
                            .payload = R"({"order":")" + order + R"(","amount":)" + amount + "}"}});
  batch.idempotency_key = "pay-" + order;
  return store.Commit({}, std::move(batch));
}

}  // namespace

int main(int argc, char** argv) {
  auto store = holdfast::OpenStore(argc > 1 ? argv[1] : "memory:");
  if (!store) {
    std::cerr << store.error().message << "\n";
    return 1;
  }
  auto first = Pay(**store, "1042", "1999");
  auto again = Pay(**store, "1042", "1999");
  if (!first || !again) return 1;
  bool same = first->results[0].job->id == again->results[0].job->id;
  std::cout << "asked twice: " << (same && again->replayed ? "one payment" : "TWO PAYMENTS")
            << "\n";

  // The same key for something else is a mistake, and is told.
  auto other = Pay(**store, "1042", "5");
  std::cout << "another amount: " << (other ? "ACCEPTED" : InfoOf(other.error().code).name) << "\n";
  return same && !other ? 0 : 1;
}
