// Attacks derived from the rules of a kind (S16): whatever it declares, many threads try to get
// past at the same time.
#include <fmt/format.h>

#include <algorithm>

#include "lab/kind_subject.h"
#include "lab/scenarios.h"

namespace holdfast::lab {
namespace {

Result<KindSubject> ReadSubject(Arena& arena) {
  const TortureOptions& options = arena.options();
  HF_ASSIGN_OR_RETURN(KindSubject subject,
                      KindSubject::Read(arena.store(), options.kind, options.example));
  HF_RETURN_IF_ERROR(subject.Declare(arena));
  return subject;
}

/// A whole number that is written into the rules; nothing: there is none, or it is elsewhere.
std::optional<std::int64_t> WholeLimit(const std::optional<rules::Limit>& limit) {
  const Json* number = limit ? std::get_if<Json>(&*limit) : nullptr;
  if (number == nullptr || !number->is_number_integer()) return std::nullopt;
  return number->get<std::int64_t>();
}

bool IsDeclared(const rules::KindRules& rules, const std::string& from, const std::string& to) {
  const rules::StateRules* state = rules.FindState(from);
  return state != nullptr && std::ranges::find(state->to, to) != state->to.end();
}

/// Every change of status that the trail tells of is a declared one.
Result<void> ExpectDeclaredMoves(Arena& arena, const rules::KindRules& rules,
                                 const RecordKey& key) {
  AuditFilter filter{.target = ToString(key), .refused = false, .limit = 1'000};
  do {
    HF_ASSIGN_OR_RETURN(AuditPage page, arena.store().ListAudit({}, filter));
    for (const AuditEntry& entry : page.items) {
      if (entry.old_version == 0 || entry.old_status == entry.new_status) continue;
      if (IsDeclared(rules, entry.old_status, entry.new_status)) continue;
      arena.Violated("only declared transitions happen",
                     fmt::format("{}: {} from {} to {}, version {}", ToString(key), entry.operation,
                                 entry.old_status, entry.new_status, entry.new_version));
    }
    filter.cursor = page.next_cursor;
  } while (!filter.cursor.empty());
  return arena.ExpectTrail(key);
}

Result<void> AttackKindTransitions(Arena& arena) {
  HF_ASSIGN_OR_RETURN(KindSubject subject, ReadSubject(arena));
  const rules::KindRules& rules = subject.rules();
  std::vector<std::string> statuses;
  for (const auto& [name, state] : rules.states) statuses.push_back(name);
  constexpr int kRecords = 12;
  std::vector<RecordKey> records;
  for (int i = 0; i < kRecords; ++i) {
    const std::string number = fmt::format("{}", i);
    const std::string& status = rules.initial[static_cast<std::size_t>(i) % rules.initial.size()];
    HF_ASSIGN_OR_RETURN(RecordKey key,
                        subject.Make(arena, number, subject.DataFor(arena, number), status));
    records.push_back(std::move(key));
  }
  const int each = arena.Size(40);
  Tally tally = arena.Attack(arena.threads(), [&](Attacker& attacker) {
    for (int i = 0; i < each && !arena.Over(); ++i) {
      const auto& to =
          statuses[static_cast<std::size_t>(attacker.Below(static_cast<int>(statuses.size())))];
      // All are at one record for a while, then at the next.
      const auto& key = records[static_cast<std::size_t>(i * kRecords / each)];
      (void)attacker.client.Do(TransitionRecord{On(key), to, base::ToText(subject.DataInto(to))});
    }
  });
  for (const auto& [code, count] : tally.errors) {
    const bool is_expected = code == ErrorCode::kInvalidTransition ||
                             code == ErrorCode::kRuleViolation || code == ErrorCode::kCapacityFull;
    if (!is_expected) arena.Expect(fmt::format("answers {}", InfoOf(code).name), 0, count);
  }
  if (tally.ok == 0) arena.Violated("a declared transition succeeds", "none did");
  for (const RecordKey& key : records) {
    HF_RETURN_IF_ERROR(ExpectDeclaredMoves(arena, rules, key));
  }
  return {};
}

/// Many change a number by `step` until its limit is in the way, and beyond.
Result<void> CrossBound(Arena& arena, const KindSubject& subject, const rules::Bound& bound,
                        std::int64_t limit, std::int64_t step) {
  const int threads = arena.threads();
  const std::int64_t room = threads / 2;
  const std::string number = fmt::format("{}{}", step < 0 ? "min" : "max", bound.path.text());
  std::string name = number;
  std::ranges::replace(name, '/', '.');
  Json data = subject.DataFor(arena, name);
  bound.path.Put(data, limit - step * room);
  if (rules::CheckData(subject.rules(), data, {})) return {};  // another rule is in the way before
  HF_ASSIGN_OR_RETURN(RecordKey key, subject.Make(arena, name, data));
  Tally tally = arena.Attack(threads, [&](Attacker& attacker) {
    (void)attacker.client.Do(IncrementRecord{On(key), bound.path.text(), step});
  });
  arena.ExpectAnswers(tally, tally.ok, ErrorCode::kRuleViolation, threads - tally.ok);
  HF_ASSIGN_OR_RETURN(Record record, arena.Load(key));
  const Json after = DataOf(record);
  const Json* there = bound.path.Find(after);
  const std::int64_t value =
      there != nullptr && there->is_number_integer() ? there->get<std::int64_t>() : limit + step;
  arena.Expect(fmt::format("{} after {} changes", number, tally.ok),
               limit - step * (room - tally.ok), value);
  if (tally.ok > room) {
    arena.Violated("bounds hold", fmt::format("{} went beyond {}: {}", number, limit, value));
  }
  return arena.ExpectVersion(key, 1 + tally.ok);
}

Result<void> AttackKindBounds(Arena& arena) {
  HF_ASSIGN_OR_RETURN(KindSubject subject, ReadSubject(arena));
  for (const rules::Bound& bound : subject.rules().bounds) {
    if (auto min = WholeLimit(bound.min)) {
      HF_RETURN_IF_ERROR(CrossBound(arena, subject, bound, *min, -1));
    }
    if (auto max = WholeLimit(bound.max)) {
      HF_RETURN_IF_ERROR(CrossBound(arena, subject, bound, *max, 1));
    }
  }
  return {};
}

Result<void> AttackKindUnique(Arena& arena) {
  HF_ASSIGN_OR_RETURN(KindSubject subject, ReadSubject(arena));
  const int rounds = arena.Size(5);
  for (int round = 0; round < rounds && !arena.Over(); ++round) {
    HF_ASSIGN_OR_RETURN(std::optional<RecordKey> parent,
                        subject.MakeParent(arena, fmt::format("parent-{}", round)));
    // The same keys for all, under ids of their own.
    const Json data = subject.DataFor(arena, fmt::format("key-{}", round));
    const std::string text = base::ToText(data);
    auto id_of = [&](int number) { return arena.Own(fmt::format("{}-{}", round, number)); };
    Tally tally = arena.Attack(arena.threads(), [&](Attacker& attacker) {
      (void)attacker.client.Do(CreateRecord{
          .kind = subject.kind(), .id = id_of(attacker.number), .data = text, .parent = parent});
    });
    for (int i = 0; i < arena.threads(); ++i) arena.Adopt({subject.kind(), id_of(i)});
    arena.ExpectAnswers(tally, 1, ErrorCode::kAlreadyExists, arena.threads() - 1);
  }
  return {};
}

/// In which status a child is made that does not count yet, and to which one it goes; the latter
/// empty if it counts from the beginning.
struct WayIn {
  std::string from;
  std::string to;
};
std::optional<WayIn> FindWayIn(const rules::KindRules& rules, const rules::CapacityRule& rule) {
  auto counts = [&](const std::string& status) {
    return std::ranges::find(rule.statuses, status) != rule.statuses.end();
  };
  for (const std::string& initial : rules.initial) {
    if (counts(initial)) return WayIn{initial, ""};
  }
  for (const std::string& initial : rules.initial) {
    for (const std::string& to : rules.FindState(initial)->to) {
      if (counts(to)) return WayIn{initial, to};
    }
  }
  return std::nullopt;
}

std::int64_t CountedIn(const Record& parent, const std::string& kind,
                       const rules::CapacityRule& rule) {
  std::int64_t count = 0;
  for (const ChildCount& child : parent.children) {
    const bool counts = std::ranges::find(rule.statuses, child.status) != rule.statuses.end();
    if (child.kind == kind && counts) count += child.count;
  }
  return count;
}

Result<void> FillPlaces(Arena& arena, const KindSubject& subject, const rules::CapacityRule& rule,
                        std::size_t index) {
  std::optional<WayIn> way = FindWayIn(subject.rules(), rule);
  if (!way) return {};
  const int threads = arena.threads();
  const int places = std::max(1, threads / 3);
  // Those who are to come in from outside must be there first, and may count elsewhere by then.
  const int room = way->to.empty() ? places : threads;
  HF_ASSIGN_OR_RETURN(
      std::optional<RecordKey> parent,
      subject.MakeParent(arena, fmt::format("parent-{}", index), &rule.limit, room));
  auto create = [&](int number) {
    const std::string name = fmt::format("{}-{}", index, number);
    return CreateRecord{.kind = subject.kind(),
                        .id = arena.Own(name),
                        .data = base::ToText(subject.DataFor(arena, name)),
                        .status = way->from,
                        .parent = parent};
  };
  for (int i = 0; i < threads; ++i) {
    arena.Adopt({subject.kind(), create(i).id});
    if (!way->to.empty()) HF_RETURN_IF_ERROR(arena.client().Do(create(i)));
  }
  if (room != places) {
    const Json narrow =
        Json::array({{{"op", "replace"}, {"path", rule.limit.text()}, {"value", places}}});
    HF_RETURN_IF_ERROR(arena.client().Do(PatchRecord{On(*parent), base::ToText(narrow)}));
  }
  Tally tally = arena.Attack(threads, [&](Attacker& attacker) {
    CreateRecord child = create(attacker.number);
    if (way->to.empty()) return void(attacker.client.Do(std::move(child)));
    (void)attacker.client.Do(TransitionRecord{On({child.kind, child.id}), way->to,
                                              base::ToText(subject.DataInto(way->to))});
  });
  arena.ExpectAnswers(tally, places, ErrorCode::kCapacityFull, threads - places);
  HF_ASSIGN_OR_RETURN(Record record, arena.Load(*parent));
  arena.Expect("children in " + rule.limit.text(), places, CountedIn(record, subject.kind(), rule));
  return {};
}

Result<void> AttackKindCapacity(Arena& arena) {
  HF_ASSIGN_OR_RETURN(KindSubject subject, ReadSubject(arena));
  for (std::size_t i = 0; i < subject.rules().capacity.size(); ++i) {
    HF_RETURN_IF_ERROR(FillPlaces(arena, subject, subject.rules().capacity[i], i));
  }
  return {};
}

Result<void> TransferWithin(Arena& arena, const KindSubject& subject, const rules::Bound& bound,
                            std::int64_t min) {
  constexpr int kRecords = 4;
  constexpr int kEach = 50;
  std::vector<RecordKey> records;
  std::int64_t sum = 0;
  for (int i = 0; i < kRecords; ++i) {
    std::string name = fmt::format("{}{}", i, bound.path.text());
    std::ranges::replace(name, '/', '.');
    Json data = subject.DataFor(arena, name);
    bound.path.Put(data, min + kEach);
    if (rules::CheckData(subject.rules(), data, {})) return {};  // another rule is in the way
    sum += min + kEach;
    HF_ASSIGN_OR_RETURN(RecordKey key, subject.Make(arena, name, data));
    records.push_back(std::move(key));
  }
  const int each = arena.Size(20);
  arena.Attack(arena.threads(), [&](Attacker& attacker) {
    for (int i = 0; i < each && !arena.Over(); ++i) {
      const int from = attacker.Below(kRecords);
      const int to = (from + 1 + attacker.Below(kRecords - 1)) % kRecords;
      (void)attacker.client.Do(MakeTransfer{.from = records[static_cast<std::size_t>(from)],
                                            .to = records[static_cast<std::size_t>(to)],
                                            .path = bound.path.text(),
                                            .amount = 1 + attacker.Below(kEach)});
    }
  });
  std::int64_t there = 0;
  for (const RecordKey& key : records) {
    HF_ASSIGN_OR_RETURN(Record record, arena.Load(key));
    const Json data = DataOf(record);
    const Json* number = bound.path.Find(data);
    const std::int64_t value = number != nullptr ? number->get<std::int64_t>() : 0;
    if (value < min) {
      arena.Violated("bounds hold", fmt::format("{} is at {}", ToString(key), value));
    }
    there += value;
    HF_RETURN_IF_ERROR(arena.ExpectTrail(key));
  }
  arena.Expect("the sum of " + bound.path.text(), sum, there);
  return {};
}

Result<void> AttackKindTransfers(Arena& arena) {
  HF_ASSIGN_OR_RETURN(KindSubject subject, ReadSubject(arena));
  for (const rules::Bound& bound : subject.rules().bounds) {
    if (auto min = WholeLimit(bound.min)) {
      HF_RETURN_IF_ERROR(TransferWithin(arena, subject, bound, *min));
    }
  }
  return {};
}

}  // namespace

Result<std::vector<Scenario>> ScenariosOfKind(Store& store, const TortureOptions& options) {
  HF_ASSIGN_OR_RETURN(KindSubject subject, KindSubject::Read(store, options.kind, options.example));
  const rules::KindRules& rules = subject.rules();
  const bool has_numbers = std::ranges::any_of(rules.bounds, [](const rules::Bound& bound) {
    return WholeLimit(bound.min) || WholeLimit(bound.max);
  });
  const bool has_floor = std::ranges::any_of(
      rules.bounds, [](const rules::Bound& bound) { return WholeLimit(bound.min).has_value(); });
  std::vector<Scenario> scenarios;
  if (rules.HasStates()) {
    scenarios.push_back(
        {"kind-transitions", "every status from every status", AttackKindTransitions});
  }
  if (has_numbers) {
    scenarios.push_back({"kind-bounds", "numbers driven beyond their bounds", AttackKindBounds});
  }
  if (!rules.unique.empty()) {
    scenarios.push_back({"kind-unique", "one unique key for all", AttackKindUnique});
  }
  if (!rules.capacity.empty()) {
    scenarios.push_back({"kind-capacity", "more children than places", AttackKindCapacity});
  }
  if (has_floor) {
    scenarios.push_back({"kind-transfers", "transfers of what has bounds", AttackKindTransfers});
  }
  if (!scenarios.empty()) return scenarios;
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("kind {} declares nothing that could be attacked: no states, bounds, "
                          "unique keys or capacity",
                          options.kind));
}

}  // namespace holdfast::lab
