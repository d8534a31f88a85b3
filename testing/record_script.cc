// The part of random scripts that is about records, kinds and transfers.
#include "testing/script.h"

namespace holdfast::testing {
namespace {

using std::chrono::milliseconds;

struct Declared {
  const char* kind;
  const char* rules;
};

// Accounts change by transfers alone, so that their sum is known; the others by everything.
constexpr Declared kDeclared[] = {
    {"account", R"({"bounds":{"/balance":{"min":0}}})"},
    {"user", R"({"unique":["/mail"],"audit":["/mail"]})"},
    {"room", R"({"schema":{"type":"object"}})"},
    {"guest", R"({
      "states":{"initial":["wanted","given"],
        "transitions":{"wanted":["given","lost"],"given":["lost","wanted"]},"final":["lost"],
        "require":{"lost":["/why"]},"expire":{"given":{"after":"20s","to":"wanted"}}},
      "parent":{"kind":"room","touch":true},
      "capacity":[{"limit":"/places","statuses":["given"]}],
      "history":{"path":"/history","cap":4,"on":["record.transition","nudge"]},
      "actions":{
        "nudge":{"params":{"by":{"schema":{"type":"integer"},"default":1}},"steps":[
          {"do":"record.merge","data":{"last":{"$old":"/n"}}},
          {"do":"record.increment","path":"/n","by":{"$param":"by"}},
          {"do":"job.enqueue","kind":"nudged","queue":"a","max_attempts":1,
           "if":{"status":["given"]}}]},
        "tell":{"steps":[{"do":"record.merge","on":"parent","data":{"told":{"$id":true}}}]}}})"},
    {"hall", R"({
      "states":{"initial":"open","transitions":{"open":["shut"],"shut":["open"]},"same":"ignore"},
      "parent":{"kind":"hall"},
      "actions":{"shut":{"steps":[{"do":"record.transition","to":"shut"},
        {"do":"record.transition","to":"shut","on":{"children":["open"]}}]}}})"},
};

}  // namespace

Batch ScriptWriter::MakeDeclarations() {
  Batch batch;
  for (const Declared& declared : kDeclared) {
    batch.operations.push_back(ApplyKind{.name = declared.kind, .rules = declared.rules});
  }
  for (int i = 0; i < kAccounts; ++i) {
    batch.operations.push_back(
        CreateRecord{.kind = "account", .id = std::to_string(i), .data = R"({"balance":100})"});
  }
  return batch;
}

std::string ScriptWriter::MakeRecordKind() {
  static const std::vector<std::string> kinds = {"user", "room", "guest", "guest", "hall"};
  return OneIn(60) ? "undeclared" : Pick(kinds);
}

RecordTarget ScriptWriter::MakeTarget() {
  RecordTarget target{MakeRecordKind(), std::to_string(Below(4))};
  if (OneIn(12)) target.version = 1 + Below(6);
  if (OneIn(20)) target.parent = RecordKey{"room", std::to_string(Below(4))};
  return target;
}

std::string ScriptWriter::MakeData() {
  static const std::vector<std::string> documents = {R"({"n":0,"history":[]})",
                                                     R"({"n":1,"places":1,"mail":"x"})",
                                                     R"({"places":2,"mail":"y"})",
                                                     R"({"mail":null,"places":null})",
                                                     R"({"n":2.5,"list":[1]})",
                                                     R"({"why":"because","n":"text"})",
                                                     R"({"deep":{"er":[{"x":1}]}})",
                                                     "{}",
                                                     "[]",
                                                     "{"};
  // Seldom one that is none.
  return documents[static_cast<std::size_t>(Below(OneIn(15) ? 10 : 8))];
}

Operation ScriptWriter::MakeTransfer() {
  switch (Below(6)) {
    case 0:
      return PostTransfer{1 + Below(12),
                          OneIn(2) ? std::optional<std::int64_t>(1 + Below(40)) : std::nullopt};
    case 1:
      return VoidTransfer{1 + Below(12)};
    default: {
      holdfast::MakeTransfer make{.from = {"account", std::to_string(Below(kAccounts))},
                                  .to = {"account", std::to_string(Below(kAccounts + 1))},
                                  .path = OneIn(30) ? "/none" : "/balance",
                                  .amount = Below(60)};
      make.pending = OneIn(3);
      if (make.pending && OneIn(2)) make.timeout = milliseconds(1 + Below(30'000));
      return make;
    }
  }
}

Operation ScriptWriter::MakeRecordOperation() {
  RecordTarget target = MakeTarget();
  switch (Below(14)) {
    case 0:
    case 1:
    case 2: {
      CreateRecord create{.kind = target.kind, .id = target.id, .data = MakeData()};
      if (OneIn(8)) create.id.clear();
      if (target.kind == "guest" && !OneIn(5)) {
        create.parent = RecordKey{"room", std::to_string(Below(4))};
        if (OneIn(4)) create.status = "given";
      }
      if (target.kind == "hall" && OneIn(2)) {
        create.parent = RecordKey{"hall", std::to_string(Below(4))};
      }
      return create;
    }
    case 3:
      return ReplaceRecord{target, MakeData()};
    case 4:
      return MergeRecord{target, MakeData()};
    case 5:
      return PatchRecord{target, Pick<std::string>({R"([{"op":"add","path":"/p","value":[1]}])",
                                                    R"([{"op":"test","path":"/n","value":1}])",
                                                    R"([{"op":"remove","path":"/n"}])"})};
    case 6:
      if (OneIn(3)) return IncrementRecord{target, "/n", 0.5};
      return IncrementRecord{target, "/n", std::int64_t{Below(9) - 4}};
    case 7:
      return AppendRecord{target, OneIn(2) ? "/list" : "/history", MakeData(),
                          OneIn(2) ? std::optional<std::int64_t>(2) : std::nullopt};
    case 8:
    case 9:
    case 10: {
      static const std::vector<std::string> statuses = {"given", "lost", "wanted", "open", "shut"};
      TransitionRecord move{target, Pick(statuses)};
      if (OneIn(2)) move.data = R"({"why":"so"})";
      move.force = OneIn(12);
      return move;
    }
    case 11:
    case 12: {
      static const std::vector<std::string> actions = {"nudge", "tell", "shut"};
      RunAction run{target, Pick(actions)};
      if (OneIn(3)) run.params = R"({"by":3})";
      return run;
    }
    default:
      return DeleteRecord{target};
  }
}

Guard ScriptWriter::MakeRecordGuard() {
  RecordTarget target = MakeTarget();
  if (OneIn(3)) return AbsentGuard{{target.kind, target.id}};
  return VersionGuard{{target.kind, target.id}, 1 + Below(8)};
}

RecordFilter ScriptWriter::MakeRecordFilter() {
  RecordFilter filter{.kind = MakeRecordKind(), .limit = 1 + Below(6)};
  if (OneIn(3)) filter.status = OneIn(2) ? "given" : "open";
  if (OneIn(3)) filter.parent = RecordKey{OneIn(2) ? "room" : "hall", std::to_string(Below(4))};
  if (OneIn(3)) filter.cursor = std::to_string(Below(4));
  return filter;
}

}  // namespace holdfast::testing
