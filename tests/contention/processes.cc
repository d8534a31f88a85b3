#include "contention/processes.h"

#include <unistd.h>

#include <fstream>
#include <iostream>

#include "testing/matchers.h"

namespace holdfast::testing {
namespace {

std::unique_ptr<Store> Open(const std::string& url, const StoreOptions& options = {}) {
  return Must(OpenStore(url, options));
}

}  // namespace

int RunDrainer(const std::vector<std::string>& arguments) {
  std::unique_ptr<Store> store = Open(arguments.at(0));
  while (true) {
    std::vector<Job> jobs = Must(store->Claim({}, {.worker = arguments.at(1), .max = 5}));
    if (jobs.empty()) return 0;
    for (const Job& job : jobs) {
      Must(store->Complete({}, job.id, job.token));
      std::cout << job.id << ' ' << job.token << std::endl;
    }
  }
}

int RunHolder(const std::vector<std::string>& arguments) {
  // Without maintenance, so that it is never stopped within a transaction: whoever is, keeps all
  // other processes from writing for as long.
  std::unique_ptr<Store> store = Open(arguments.at(0), {.maintain = false});
  std::vector<Job> jobs = Must(store->Claim(
      {}, {.worker = "holder", .lease = std::chrono::milliseconds(std::stoi(arguments.at(1)))}));
  std::cout << jobs.at(0).id << ' ' << jobs.at(0).token << std::endl;
  std::string line;
  std::getline(std::cin, line);
  Result<Job> result = store->Complete({}, jobs[0].id, jobs[0].token, "\"late\"");
  std::cout << (result ? "ok" : InfoOf(result.error().code).name) << std::endl;
  return 0;
}

int RunWaiter(const std::vector<std::string>& arguments) {
  std::unique_ptr<Store> store = Open(arguments.at(0));
  std::cout << "waiting" << std::endl;
  std::vector<Job> jobs =
      Must(store->Claim({}, {.worker = "waiter", .wait = std::chrono::minutes(1)}));
  std::cout << (jobs.empty() ? "none" : std::to_string(jobs[0].id)) << std::endl;
  return 0;
}

int RunLocker(const std::vector<std::string>& arguments) {
  // Without maintenance, for the reason given above.
  std::unique_ptr<Store> store = Open(arguments.at(0), {.maintain = false});
  AcquireLock request{.name = arguments.at(1),
                      .owner = "locker",
                      .ttl = std::chrono::milliseconds(std::stoi(arguments.at(2)))};
  LockGrant grant = Must(store->Acquire({}, std::move(request))).front();
  std::cout << grant.token << std::endl;
  std::string line;
  std::getline(std::cin, line);
  Batch batch{.operations = {IncrementRecord{{"account", "a"}, "/n", 100}}};
  if (line == "guarded") batch.guards.emplace_back(LockGuard{grant.name, grant.token});
  Result<Receipt> result = store->Commit({}, std::move(batch));
  std::cout << (result ? "ok" : InfoOf(result.error().code).name) << std::endl;
  return 0;
}

int RunLockWaiter(const std::vector<std::string>& arguments) {
  std::unique_ptr<Store> store = Open(arguments.at(0));
  AcquireLock request{.name = arguments.at(1),
                      .owner = arguments.at(2),
                      .ttl = std::chrono::hours(1),
                      .wait = std::chrono::minutes(5)};
  const int count = arguments.size() > 3 ? std::stoi(arguments[3]) : 1;
  for (int i = 1; i < count; ++i) {
    AcquireLock other = request;
    other.owner += "-" + std::to_string(i);
    store->AcquireAsync({}, std::move(other), [](const auto&) {});
  }
  std::cout << "waiting" << std::endl;
  Result<std::vector<LockGrant>> grants = store->Acquire({}, std::move(request));
  std::cout << (grants ? std::to_string(grants->front().token)
                       : std::string(InfoOf(grants.error().code).name))
            << std::endl;
  std::string line;
  std::getline(std::cin, line);
  return 0;
}

int RunLockCounter(const std::vector<std::string>& arguments) {
  std::unique_ptr<Store> store = Open(arguments.at(0));
  for (int i = 0; i < std::stoi(arguments.at(2)); ++i) {
    AcquireLock request{.name = arguments.at(1),
                        .owner = std::to_string(getpid()),
                        .wait = std::chrono::minutes(5)};
    LockGrant grant = Must(store->Acquire({}, std::move(request))).front();
    long number = 0;
    std::ifstream(arguments.at(3)) >> number;
    std::ofstream(arguments.at(3)) << number + 1;
    Must(store->Release({}, {grant.name, grant.token}));
    std::cout << grant.token << std::endl;
  }
  return 0;
}

int RunDuplicator(const std::vector<std::string>& arguments) {
  std::unique_ptr<Store> store = Open(arguments.at(0));
  for (int key = 0; key < std::stoi(arguments.at(1)); ++key) {
    Batch batch{.operations = {EnqueueJob{{.kind = "k"}}},
                .idempotency_key = "key " + std::to_string(key)};
    std::cout << Must(store->Commit({}, std::move(batch))).results.at(0).job->id << std::endl;
  }
  return 0;
}

}  // namespace holdfast::testing
