// The smallest program that uses an installed Holdfast: one job, claimed and completed.
#include <holdfast/holdfast.h>

#include <cstdio>

int main() {
  auto store = holdfast::OpenStore("memory:");
  if (!store || !(*store)->Enqueue({}, {.kind = "greet"})) return 1;
  auto jobs = (*store)->Claim({}, {.worker = "consumer", .queues = {"default"}});
  if (!jobs || jobs->size() != 1) return 1;
  auto done = (*store)->Complete({}, jobs->front().id, jobs->front().token);
  if (!done || done->state != holdfast::JobState::kCompleted) return 1;
  std::printf("holdfast %s: completed\n", holdfast::kVersion);
}
