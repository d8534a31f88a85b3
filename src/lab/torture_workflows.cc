// Jobs in the field and tickets under attack (S4, S5).
#include <fmt/format.h>

#include "lab/scenarios.h"

namespace holdfast::lab {
namespace {

std::int64_t ChildrenIn(const Record& parent, std::string_view status) {
  std::int64_t count = 0;
  for (const ChildCount& child : parent.children) {
    if (child.status == status) count += child.count;
  }
  return count;
}

}  // namespace

Result<void> AttackAutoclose(Arena& arena) {
  HF_ASSIGN_OR_RETURN(std::string kind, arena.DeclareShipped("jobneed"));
  HF_ASSIGN_OR_RETURN(RecordKey key, arena.Make(kind, "1", {{"title", "torture"}}));
  constexpr int kChildren = 3;
  for (int i = 0; i < kChildren; ++i) {
    HF_RETURN_IF_ERROR(arena.Make(kind, fmt::format("1-{}", i), Json::object(), key));
  }
  HF_ASSIGN_OR_RETURN(Record before, arena.Load(key));
  Tally tally = arena.Attack(arena.threads(), [&](Attacker& attacker) {
    (void)attacker.client.Do(RunAction{On(key), "autoclose"});
  });
  arena.ExpectAnswers(tally, 1, ErrorCode::kInvalidTransition, arena.threads() - 1);
  HF_ASSIGN_OR_RETURN(Record after, arena.Load(key));
  arena.Expect("the job is AUTOCLOSED", 1, after.status == "AUTOCLOSED" ? 1 : 0);
  arena.Expect("children that were closed with it", kChildren, ChildrenIn(after, "AUTOCLOSED"));
  arena.Expect("its version", before.version + 1, after.version);
  return arena.ExpectTrail(key);
}

Result<void> AttackChildren(Arena& arena) {
  constexpr int kThreads = 10;
  const int count = arena.Size(100);
  HF_ASSIGN_OR_RETURN(std::string kind, arena.DeclareShipped("jobneed"));
  HF_ASSIGN_OR_RETURN(RecordKey parent, arena.Make(kind, "parent", Json::object()));
  std::vector<RecordKey> children;
  for (int i = 0; i < count; ++i) {
    HF_ASSIGN_OR_RETURN(RecordKey child,
                        arena.Make(kind, fmt::format("child-{}", i), Json::object(), parent));
    children.push_back(std::move(child));
  }
  HF_ASSIGN_OR_RETURN(Record before, arena.Load(parent));
  Tally tally = arena.Attack(kThreads, [&](Attacker& attacker) {
    for (int i = 0; i < count && !arena.Over(); ++i) {
      // Each from another place, so that they meet.
      const int child = (i + attacker.number * count / kThreads) % count;
      (void)attacker.client.Do(
          TransitionRecord{On(children[static_cast<std::size_t>(child)]), "AUTOCLOSED"});
    }
  });
  arena.ExpectAnswers(tally, count, ErrorCode::kInvalidTransition,
                      std::int64_t{kThreads - 1} * count);
  HF_ASSIGN_OR_RETURN(Record after, arena.Load(parent));
  arena.Expect("children that are closed", count, ChildrenIn(after, "AUTOCLOSED"));
  arena.Expect("children that are not", 0, ChildrenIn(after, "ASSIGNED"));
  // A child's change is one of its parent.
  arena.Expect("the parent's version", before.version + count, after.version);
  for (const RecordKey& child : children) HF_RETURN_IF_ERROR(arena.ExpectVersion(child, 2));
  return arena.ExpectTrail(parent);
}

Result<void> AttackEscalations(Arena& arena) {
  constexpr int kTickets = 10;
  const int count = arena.Size(100);
  HF_ASSIGN_OR_RETURN(std::string kind, arena.DeclareShipped("ticket"));
  std::vector<RecordKey> tickets;
  for (int i = 0; i < kTickets; ++i) {
    HF_ASSIGN_OR_RETURN(RecordKey key, arena.Make(kind, fmt::format("{}", i),
                                                  {{"title", "torture"}, {"level", 0}}));
    tickets.push_back(std::move(key));
  }
  const int threads = std::min(arena.threads(), count);
  Tally tally = arena.Attack(threads, [&](Attacker& attacker) {
    for (int i = attacker.number; i < count && !arena.Over(); i += threads) {
      (void)attacker.client.Do(RunAction{On(tickets[static_cast<std::size_t>(i % kTickets)]),
                                         "escalate",
                                         fmt::format(R"({{"assignee":"agent-{}"}})", i)});
    }
  });
  arena.ExpectAnswers(tally, count, ErrorCode::kInvalidTransition, 0);
  std::int64_t levels = 0;
  std::int64_t entries = 0;
  for (const RecordKey& key : tickets) {
    HF_ASSIGN_OR_RETURN(Record ticket, arena.Load(key));
    const Json data = DataOf(ticket);
    levels += data.value("level", std::int64_t{0});
    auto history = data.find("history");
    if (history != data.end()) entries += static_cast<std::int64_t>(history->size());
    HF_RETURN_IF_ERROR(arena.ExpectTrail(key));
  }
  arena.Expect("the sum of the levels", count, levels);
  arena.Expect("history entries", count, entries);
  return {};
}

}  // namespace holdfast::lab
