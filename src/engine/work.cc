#include "engine/work.h"

#include "wire/encode.h"

namespace holdfast::engine {

Work Work::Of(const Context& context, SteadyTime called, std::vector<Batch> batches,
              CommitDone done) {
  CommitWork commit;
  std::size_t size = 0;
  for (const Batch& batch : batches) {
    size += batch.operations.size();
    // Here, on the caller's thread, rather than where everybody waits for it.
    commit.fingerprints.push_back(batch.idempotency_key.empty() ? std::string()
                                                                : wire::FingerprintOf(batch));
  }
  commit.batches = std::move(batches);
  commit.done = std::move(done);
  return {.context = context, .called = called, .size = size, .what = std::move(commit)};
}

Work Work::Of(const Context& context, SteadyTime called, ClaimRequest request, ClaimDone done) {
  const auto size = static_cast<std::size_t>(request.max);
  return {.context = context,
          .called = called,
          .size = size,
          .what = ClaimWork{std::move(request), std::move(done), {}}};
}

Work Work::Of(const Context& context, SteadyTime called, MaintainRequest request,
              MaintainDone done) {
  return {.context = context,
          .called = called,
          .what = MaintainWork{std::move(request), std::move(done), {}}};
}

void Work::Refuse(const Error& error) {
  if (is_answered) return;
  if (auto* commit = std::get_if<CommitWork>(&what)) {
    commit->answers.assign(commit->batches.size(), std::unexpected(error));
  } else if (auto* claim = std::get_if<ClaimWork>(&what)) {
    claim->answer = std::unexpected(error);
  } else {
    std::get<MaintainWork>(what).answer = std::unexpected(error);
  }
}

void Work::Answer() {
  std::visit(
      [](auto& work) {
        if constexpr (requires { work.answers; }) {
          work.done(std::move(work.answers));
        } else {
          work.done(std::move(work.answer));
        }
      },
      what);
}

rules::Origin OriginOf(const Context& context, SteadyTime called, SteadyTime steady, Time now) {
  auto waited = std::chrono::duration_cast<Duration>(steady - called);
  return {.now = now,
          .actor = context.actor,
          .correlation_id = context.correlation_id,
          .lock_wait = waited};
}

}  // namespace holdfast::engine
