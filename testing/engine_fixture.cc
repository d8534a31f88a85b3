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
constexpr engine::Traits kPostgres{.name = "postgres",
                                   .survives_process_kill = true,
                                   .shared_between_processes = true,
                                   .has_dense_tokens = false,
                                   .keeps_time = false};

// What these suites check does not depend on how long an fsync takes; tests/crash uses disks.
const std::vector<Variant>& Engines() {
  static const std::vector<Variant> engines = {{"memory", kMemory, PlaceInMemory},
                                               {"sqlite", kSqlite, PlaceInFile},
                                               {"postgres", kPostgres, PlaceInPostgres}};
  return engines;
}

Variant BehindServer(Variant variant) {
  variant.name = "http_over_" + variant.name;
  variant.traits.name = "http";
  variant.traits.is_remote = true;
  return variant;
}

}  // namespace

const std::vector<Variant>& AllVariants() {
  static const std::vector<Variant> variants = [] {
    std::vector<Variant> all = Engines();
    for (const Variant& engine : Engines()) {
      // What a server adds it adds to any engine: two are enough to see it.
      if (engine.traits.keeps_time) all.push_back(BehindServer(engine));
    }
    return all;
  }();
  return variants;
}

const std::vector<Variant>& EmbeddedVariants() {
  return Engines();
}

const std::vector<Variant>& SharedVariants() {
  static const std::vector<Variant> variants = [] {
    std::vector<Variant> shared = Engines();
    std::erase_if(shared, [](const Variant& v) { return !v.traits.shared_between_processes; });
    return shared;
  }();
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

EngineFixture::EngineFixture(const Variant& variant, Duration poll_interval)
    : variant_(variant), poll_interval_(poll_interval), place_(variant.make_place()) {
  Open();
}

EngineFixture::~EngineFixture() = default;

void EngineFixture::Open() {
  const StoreOptions options{.clock = &clock_, .maintain = false, .poll_interval = poll_interval_};
  owned_ = Must(OpenStore(url(), options));
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
