// Jobs inside one program: a store in a file (or in memory), a pool of workers, no server.
//
//   embedded_worker [STORE]      for instance: embedded_worker sqlite:jobs.db
#include <holdfast/holdfast.h>

#include <atomic>
#include <iostream>

int main(int argc, char** argv) {
  auto store = holdfast::OpenStore(argc > 1 ? argv[1] : "memory:");
  if (!store) {
    std::cerr << store.error().message << "\n";
    return 1;
  }

  std::atomic<int> left = 3;
  holdfast::WorkerPool pool(**store, {.queues = {"greetings"}, .concurrency = 2});
  pool.Handle("greet", [&](holdfast::Attempt& attempt) -> holdfast::Outcome {
    std::string greeting = R"({"greeted":)" + attempt.job().payload + "}";
    if (--left == 0) left.notify_all();
    return holdfast::Completed{greeting};
  });
  if (auto started = pool.Start(); !started) {
    std::cerr << started.error().message << "\n";
    return 1;
  }

  std::vector<holdfast::JobId> ids;
  for (const char* name : {R"("ada")", R"("grace")", R"("barbara")"}) {
    auto job = (*store)->Enqueue({}, {.kind = "greet", .queue = "greetings", .payload = name});
    if (!job) {
      std::cerr << job.error().message << "\n";
      return 1;
    }
    ids.push_back(job->id);
  }
  for (int now = left; now > 0; now = left) left.wait(now);
  pool.Stop();  // reports what is finished; a job that was still running would be given back

  for (holdfast::JobId id : ids) {
    auto job = (*store)->GetJob({}, id);
    if (!job || !*job) return 1;
    std::cout << NameOf((*job)->state) << " " << (*job)->result.value_or("null") << "\n";
  }
}
