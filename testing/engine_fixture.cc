#include "testing/engine_fixture.h"

#include "api/api.h"
#include "base/check.h"
#include "net/http_server.h"
#include "testing/matchers.h"

namespace holdfast::testing {
namespace {

constexpr engine::Traits kMemory{.name = "memory"};
constexpr engine::Traits kSqlite{
    .name = "sqlite", .survives_process_kill = true, .shared_between_processes = true};

engine::Traits Behind(engine::Traits traits) {
  traits.name = "http";
  traits.is_remote = true;
  return traits;
}

}  // namespace

const std::vector<Variant>& AllVariants() {
  static const std::vector<Variant> variants = {{"memory", kMemory},
                                                {"sqlite", kSqlite},
                                                {"http_over_memory", Behind(kMemory)},
                                                {"http_over_sqlite", Behind(kSqlite)}};
  return variants;
}

const std::vector<Variant>& EmbeddedVariants() {
  static const std::vector<Variant> variants = {{"memory", kMemory}, {"sqlite", kSqlite}};
  return variants;
}

struct EngineFixture::Server {
  explicit Server(Store& store) : api(store, metrics), server({.port = 0}, api) {
    Must(server.Start());
  }
  ~Server() {
    api.Drain();
    server.Stop(std::chrono::seconds(10));
  }

  api::Metrics metrics;
  api::Api api;
  net::HttpServer server;
};

EngineFixture::EngineFixture(const Variant& variant) : variant_(variant) {
  Open();
}

EngineFixture::~EngineFixture() = default;

void EngineFixture::Open() {
  const StoreOptions options{.clock = &clock_, .maintain = false};
  owned_ = Must(
      OpenStore(variant_.traits.survives_process_kill ? "sqlite:" + file() : "memory:", options));
  backing_ = store_ = owned_.get();
  if (!variant_.traits.is_remote) return;
  server_ = std::make_unique<Server>(*owned_);
  client_ = Must(OpenStore("http://127.0.0.1:" + std::to_string(server_->server.port())));
  store_ = client_.get();
}

void EngineFixture::Reopen() {
  HF_CHECK(traits().survives_process_kill);
  client_.reset();
  server_.reset();
  owned_.reset();
  Open();
}

MaintainReport EngineFixture::Pass(Duration time) {
  clock_.Advance(time);
  MaintainReport total;
  MaintainReport step;
  do {
    step = Must(backing_->Maintain({}));
    total.promoted += step.promoted;
    total.expired += step.expired;
    total.pruned += step.pruned;
    total.lapsed += step.lapsed;
    total.unlocked += step.unlocked;
  } while (step.more);
  return total;
}

}  // namespace holdfast::testing
