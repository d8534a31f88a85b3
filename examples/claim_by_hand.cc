// Without a pool: claim, work, report. And what happens to a worker that was paused for too long.
//
//   claim_by_hand [STORE]
#include <holdfast/holdfast.h>

#include <iostream>
#include <thread>

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

int Report(const holdfast::Error& error) {
  std::cerr << InfoOf(error.code).name << ": " << error.message << "\n";
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  auto store = holdfast::OpenStore(argc > 1 ? argv[1] : "memory:");
  if (!store) return Report(store.error());
  for (const char* number : {"1", "2"}) {
    auto job = (*store)->Enqueue({}, {.kind = "square", .queue = "sums", .payload = number});
    if (!job) return Report(job.error());
  }

  // This worker takes a job for 100 ms, then is paused for longer than that.
  auto paused =
      (*store)->Claim({}, {.worker = "paused", .queues = {"sums"}, .lease = milliseconds(100)});
  if (!paused) return Report(paused.error());
  std::this_thread::sleep_for(milliseconds(300));

  // Meanwhile another one does all there is to do, the lost job included.
  int done = 0;
  while (done < 2) {
    auto jobs = (*store)->Claim({}, {.worker = "busy", .queues = {"sums"}, .wait = seconds(10)});
    if (!jobs) return Report(jobs.error());
    for (const holdfast::Job& job : *jobs) {
      int number = std::stoi(job.payload);
      auto finished = (*store)->Complete({}, job.id, job.token, std::to_string(number * number));
      if (!finished) return Report(finished.error());
      std::cout << number << " squared is " << *finished->result << "\n";
      ++done;
    }
  }

  // The paused worker wakes up. Its token is an old one: it can do no damage.
  auto late = (*store)->Complete({}, paused->front().id, paused->front().token, "-1");
  std::cout << "the paused worker: " << (late ? "ACCEPTED" : InfoOf(late.error().code).name)
            << "\n";
  return late ? 1 : 0;
}
