#include "contention/processes.h"

#include <iostream>

#include "testing/matchers.h"

namespace holdfast::testing {
namespace {

std::unique_ptr<Store> Open(const std::string& file) {
  return Must(OpenStore("sqlite:" + file));
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
  std::unique_ptr<Store> store = Must(OpenStore("sqlite:" + arguments.at(0), {.maintain = false}));
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
