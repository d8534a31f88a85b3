// Races for what a record says: lost updates, more places than there are, more money than there
// is, a seat for two, an order that was shipped and refunded.
#include <fmt/format.h>

#include <atomic>

#include "base/result.h"
#include "lab/race_scenario.h"

namespace holdfast::lab {
namespace {

/// A race for one record, of a kind with rules on the safe side and without on the other.
class RecordRace : public RaceScenario {
 public:
  RecordRace(RaceGround ground, const std::string& kind)
      : RaceScenario(std::move(ground)), key_{is_unsafe() ? kind + "-naive" : kind, run()} {}

  Result<void> CleanUp() override { return Remove(key_); }

 protected:
  Result<void> MakeOne(const std::string& rules, const std::string& data) {
    HF_RETURN_IF_ERROR(Declare(key_.kind, is_unsafe() ? "{}" : rules));
    return Make(key_, data);
  }
  const RecordKey& key() const { return key_; }
  RecordTarget target() const { return {.kind = key_.kind, .id = key_.id}; }

 private:
  const RecordKey key_;
};

class LostUpdate final : public RecordRace {
 public:
  explicit LostUpdate(RaceGround ground) : RecordRace(std::move(ground), "race-counter") {}

  Result<void> Prepare() override { return MakeOne("{}", R"({"n":0})"); }

  Result<void> Run(Racer& racer) override {
    for (int i = 0; i < kRounds; ++i) {
      bool is_done = false;
      while (!is_done) {
        HF_ASSIGN_OR_RETURN(is_done, AddOne(racer));
      }
    }
    return {};
  }

  Result<RaceCount> Count() override {
    HF_ASSIGN_OR_RETURN(Seen counter, Look(context(), key()));
    return RaceCount{.expected = workers() * kRounds,
                     .happened = counter.data["n"].get<std::int64_t>()};
  }

 private:
  static constexpr int kRounds = 5;

  Result<bool> AddOne(Racer& racer) {
    HF_ASSIGN_OR_RETURN(Seen counter, Look(As(racer), key()));
    const auto n = counter.data["n"].get<std::int64_t>();
    racer.Saw(fmt::format("n = {}", n), fmt::format("reads n = {}", n));
    racer.Think();
    ReplaceRecord write{target(), fmt::format(R"({{"n":{}}})", n + 1)};
    if (!is_unsafe()) write.version = counter.record.version;
    racer.Does(fmt::format("writes n = {}", n + 1));
    return racer.EndsWith(store().Replace(As(racer), std::move(write)),
                          ErrorCode::kVersionMismatch);
  }
};

class Overflow final : public RaceScenario {
 public:
  explicit Overflow(RaceGround ground)
      : RaceScenario(std::move(ground)),
        campaign_{"race-campaign", run()},
        kind_(is_unsafe() ? "race-application-naive" : "race-application") {}

  Result<void> Prepare() override {
    HF_RETURN_IF_ERROR(Declare(campaign_.kind, "{}"));
    HF_RETURN_IF_ERROR(
        Declare(kind_, fmt::format(R"({{"states":{{"initial":"approved","final":["approved"]}},)"
                                   R"("parent":{{"kind":"race-campaign","required":true}}{}}})",
                                   is_unsafe() ? ""
                                               : R"(,"capacity":[{"limit":"/places",)"
                                                 R"("statuses":["approved"]}])")));
    HF_RETURN_IF_ERROR(Make(campaign_, fmt::format(R"({{"places":{}}})", kPlaces)));
    for (int i = 1; i < kPlaces; ++i) {
      HF_RETURN_IF_ERROR(Make(ApplicationOf(fmt::format("early-{}", i)), "{}", campaign_));
    }
    return {};
  }

  Result<void> Run(Racer& racer) override {
    HF_ASSIGN_OR_RETURN(Seen campaign, Look(As(racer), campaign_));
    const std::int64_t taken = Taken(campaign.record);
    racer.Saw(fmt::format("{} taken", taken),
              fmt::format("counts {} of {} places", taken, kPlaces));
    if (taken >= kPlaces) {
      racer.Ends(false, "does not apply: it is full");
      return {};
    }
    racer.Think();
    racer.Does("applies");
    const RecordKey application = ApplicationOf(fmt::format("{}", racer.index() + 1));
    auto created = store().Create(
        As(racer),
        {.kind = application.kind, .id = application.id, .data = "{}", .parent = campaign_});
    HF_RETURN_IF_ERROR(racer.EndsWith(created, ErrorCode::kCapacityFull));
    return {};
  }

  Result<RaceCount> Count() override {
    HF_ASSIGN_OR_RETURN(Seen campaign, Look(context(), campaign_));
    return RaceCount{.expected = kPlaces, .happened = Taken(campaign.record)};
  }

  Result<void> CleanUp() override {
    for (int i = 1; i < kPlaces; ++i) {
      HF_RETURN_IF_ERROR(Remove(ApplicationOf(fmt::format("early-{}", i))));
    }
    for (int i = 1; i <= workers(); ++i) {
      HF_RETURN_IF_ERROR(Remove(ApplicationOf(fmt::format("{}", i))));
    }
    return Remove(campaign_);
  }

 private:
  // All but one are taken before: then the first two who count meet at the last one.
  static constexpr std::int64_t kPlaces = 3;

  RecordKey ApplicationOf(const std::string& who) const { return {kind_, run() + "-" + who}; }
  static std::int64_t Taken(const Record& campaign) {
    std::int64_t taken = 0;
    for (const ChildCount& children : campaign.children) taken += children.count;
    return taken;
  }

  const RecordKey campaign_;
  const std::string kind_;
};

class Overdraft final : public RecordRace {
 public:
  explicit Overdraft(RaceGround ground) : RecordRace(std::move(ground), "race-account") {}

  Result<void> Prepare() override {
    return MakeOne(R"({"bounds":{"/balance":{"min":0}}})",
                   fmt::format(R"({{"balance":{}}})", kBalance));
  }

  Result<void> Run(Racer& racer) override {
    HF_ASSIGN_OR_RETURN(Seen account, Look(As(racer), key()));
    const auto balance = account.data["balance"].get<std::int64_t>();
    racer.Saw(fmt::format("balance {}", balance), fmt::format("sees a balance of {}", balance));
    if (balance < kBalance) {
      racer.Ends(false, "goes away: it is not enough");
      return {};
    }
    racer.Think();
    racer.Does(fmt::format("takes {}", kBalance));
    IncrementRecord take{target(), "/balance", -kBalance};
    HF_RETURN_IF_ERROR(
        racer.EndsWith(store().Increment(As(racer), std::move(take)), ErrorCode::kRuleViolation));
    return {};
  }

  Result<RaceCount> Count() override {
    HF_ASSIGN_OR_RETURN(Seen account, Look(context(), key()));
    return RaceCount{.expected = kBalance,
                     .happened = kBalance - account.data["balance"].get<std::int64_t>()};
  }

 private:
  static constexpr std::int64_t kBalance = 100;
};

class DoubleBooking final : public RecordRace {
 public:
  explicit DoubleBooking(RaceGround ground) : RecordRace(std::move(ground), "race-seat") {}

  Result<void> Prepare() override {
    return MakeOne(
        R"({"states":{"initial":"free","transitions":{"free":["booked"]},"final":["booked"]}})",
        R"({"guest":null})");
  }

  Result<void> Run(Racer& racer) override {
    HF_ASSIGN_OR_RETURN(Seen seat, Look(As(racer), key()));
    const base::Json& guest = seat.data["guest"];
    if (!guest.is_null()) {
      racer.Saw("booked", "sees the name of " + guest.get<std::string>());
      racer.Ends(false, "goes away");
      return {};
    }
    racer.Saw("free", "sees that it is free");
    racer.Think();
    racer.Does("writes its name on it");
    const std::string data = base::ToText({{"guest", racer.name()}});
    Result<Record> booked = is_unsafe() ? store().Merge(As(racer), {target(), data})
                                        : store().Transition(As(racer), {target(), "booked", data});
    HF_ASSIGN_OR_RETURN(bool is_mine, racer.EndsWith(booked, ErrorCode::kInvalidTransition));
    if (is_mine) ++told_;
    return {};
  }

  Result<RaceCount> Count() override { return RaceCount{.expected = 1, .happened = told_}; }

 private:
  std::atomic<std::int64_t> told_ = 0;
};

class Toctou final : public RaceScenario {
 public:
  using RaceScenario::RaceScenario;

  Result<void> Prepare() override {
    HF_RETURN_IF_ERROR(Declare(kKind, "{}"));
    for (int pair = 0; pair < pairs(); ++pair) {
      HF_RETURN_IF_ERROR(Make(OrderOf(pair), R"({"shipped":false,"refunded":false})"));
    }
    return {};
  }

  Result<void> Run(Racer& racer) override {
    bool is_settled = false;
    while (!is_settled) {
      HF_ASSIGN_OR_RETURN(is_settled, Settle(racer));
    }
    return {};
  }

  Result<RaceCount> Count() override {
    RaceCount count{.expected = pairs()};
    for (int pair = 0; pair < pairs(); ++pair) {
      HF_ASSIGN_OR_RETURN(Seen order, Look(context(), OrderOf(pair)));
      count.happened += Is(order, "shipped") + Is(order, "refunded");
    }
    return count;
  }

  Result<void> CleanUp() override {
    for (int pair = 0; pair < pairs(); ++pair) HF_RETURN_IF_ERROR(Remove(OrderOf(pair)));
    return {};
  }

 private:
  static constexpr const char* kKind = "race-order";

  RecordKey OrderOf(int pair) const { return {kKind, fmt::format("{}-{}", run(), pair)}; }
  static int Is(const Seen& order, const char* what) {
    return order.data[what].get<bool>() ? 1 : 0;
  }

  Result<bool> Settle(Racer& racer) {
    const RecordKey key = OrderOf(PairOf(racer));
    HF_ASSIGN_OR_RETURN(Seen order, Look(As(racer), key));
    if (Is(order, "shipped") + Is(order, "refunded") > 0) {
      racer.Does("sees that it is settled");
      racer.Ends(false, "leaves it alone");
      return true;
    }
    racer.Saw(fmt::format("order {} is open", PairOf(racer)), "sees that it is open");
    racer.Think();
    MergeRecord settle{{.kind = key.kind, .id = key.id}};
    settle.patch = IsFirst(racer) ? R"({"shipped":true})" : R"({"refunded":true})";
    if (!is_unsafe()) settle.version = order.record.version;
    racer.Does(IsFirst(racer) ? "ships the goods" : "refunds the money");
    return racer.EndsWith(store().Merge(As(racer), std::move(settle)), ErrorCode::kVersionMismatch);
  }
};

}  // namespace

std::unique_ptr<RaceScenario> MakeLostUpdate(RaceGround ground) {
  return std::make_unique<LostUpdate>(std::move(ground));
}
std::unique_ptr<RaceScenario> MakeOverflow(RaceGround ground) {
  return std::make_unique<Overflow>(std::move(ground));
}
std::unique_ptr<RaceScenario> MakeOverdraft(RaceGround ground) {
  return std::make_unique<Overdraft>(std::move(ground));
}
std::unique_ptr<RaceScenario> MakeDoubleBooking(RaceGround ground) {
  return std::make_unique<DoubleBooking>(std::move(ground));
}
std::unique_ptr<RaceScenario> MakeToctou(RaceGround ground) {
  return std::make_unique<Toctou>(std::move(ground));
}

}  // namespace holdfast::lab
