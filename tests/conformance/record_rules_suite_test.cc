// REC-3, REC-4, REC-5, REC-6 and REC-9: what the rules of a kind forbid, on every write.
#include "testing/record_suite.h"

namespace holdfast::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RecordRules : public RecordSuite {};

constexpr const char* kDoor = R"({
  "states": {"initial": ["open", "shut"],
             "transitions": {"open": ["shut"], "shut": ["open", "locked"], "locked": ["gone"]},
             "final": ["gone"], "require": {"locked": ["/key"]}}})";

TEST_P(RecordRules, REC_4_OnlyDeclaredTransitionsAreMade) {
  Declare("door", kDoor);
  EXPECT_EQ(Make("door", "a").status, "open");
  Result<Record> refused = MoveTo("door", "a", "locked", R"({"key":"k"})");
  ASSERT_THAT(refused, StatusIs(ErrorCode::kInvalidTransition, HasSubstr("open")));
  EXPECT_EQ(refused.error().detail.record, "door/a");
  EXPECT_THAT(MoveTo("door", "a", "ajar"),
              StatusIs(ErrorCode::kInvalidTransition, HasSubstr("'ajar' is not a state")));
  EXPECT_EQ(Read("door", "a").version, 1);
  EXPECT_EQ(Must(MoveTo("door", "a", "shut")).status, "shut");
  Record locked = Must(MoveTo("door", "a", "locked", R"({"key":"k","by":"ada"})"));
  EXPECT_EQ(locked.status, "locked");
  EXPECT_EQ(Data(locked), Json::parse(R"({"key":"k","by":"ada"})"));
  Must(MoveTo("door", "a", "gone"));
  EXPECT_THAT(MoveTo("door", "a", "open"),
              StatusIs(ErrorCode::kInvalidTransition, HasSubstr("final")));
  EXPECT_EQ(Read("door", "a").version, 4);
}

TEST_P(RecordRules, REC_4_ATransitionMustBringWhatItRequires) {
  Declare("door", kDoor);
  Make("door", "a", R"({"key":"from before"})");
  Must(MoveTo("door", "a", "shut"));
  for (const char* data : {"{}", R"({"key":null})", R"({"key":""})"}) {
    Result<Record> refused = MoveTo("door", "a", "locked", data);
    ASSERT_THAT(refused, StatusIs(ErrorCode::kRuleViolation, HasSubstr("/key"))) << data;
    EXPECT_EQ(refused.error().detail.rule, "require /key");
  }
  EXPECT_EQ(StatusOf("door", "a"), "shut");
}

TEST_P(RecordRules, REC_4_TheSameStatusAgainIsRefusedUnlessTheKindSaysOtherwise) {
  Declare("door", kDoor);
  Make("door", "a");
  EXPECT_THAT(MoveTo("door", "a", "open"), StatusIs(ErrorCode::kInvalidTransition));
  Declare("flag", R"({"states":{"initial":"up","transitions":{"up":["down"],"down":["up"]},
                     "same":"ignore"}})");
  Record made = Make("flag", "a");
  EXPECT_EQ(Must(MoveTo("flag", "a", "up", R"({"x":1})")), made);
  EXPECT_EQ(Read("flag", "a"), made);
  EXPECT_EQ(Trail("flag/a").size(), 1U);
}

TEST_P(RecordRules, REC_4_ARecordBeginsWhereItsKindSays) {
  Declare("door", kDoor);
  Declare("plain");
  EXPECT_EQ(Must(store().Create({}, {.kind = "door", .id = "a", .status = "shut"})).status, "shut");
  EXPECT_THAT(store().Create({}, {.kind = "door", .id = "b", .status = "locked"}),
              StatusIs(ErrorCode::kInvalidTransition, HasSubstr("cannot begin")));
  EXPECT_THAT(store().Create({}, {.kind = "door", .id = "b", .status = "ajar"}),
              StatusIs(ErrorCode::kInvalidTransition));
  EXPECT_THAT(store().Create({}, {.kind = "plain", .id = "b", .status = "open"}),
              StatusIs(ErrorCode::kInvalidTransition));
  Make("plain", "a");
  EXPECT_THAT(MoveTo("plain", "a", "open"), StatusIs(ErrorCode::kInvalidTransition));
}

TEST_P(RecordRules, REC_4_ValidationCanBeSwitchedOffAndIsAudited) {
  Declare("door", kDoor);
  Must(store().Create({}, {.kind = "door", .id = "a", .status = "gone", .force = true}));
  TransitionRecord back{{"door", "a"}, "locked"};
  back.force = true;
  EXPECT_EQ(Must(store().Transition({}, back)).status, "locked");
  back.to = "ajar";
  EXPECT_THAT(store().Transition({}, back), StatusIs(ErrorCode::kInvalidTransition));
  std::vector<AuditEntry> trail = Trail("door/a");
  ASSERT_EQ(trail.size(), 2U);
  EXPECT_EQ(Json::parse(trail[0].details)["forced"], true);
  EXPECT_EQ(Json::parse(trail[1].details)["forced"], true);
  EXPECT_EQ(trail[1].old_status, "gone");
  EXPECT_EQ(trail[1].new_status, "locked");
}

TEST_P(RecordRules, REC_3_DataOutsideItsSchemaIsRefused) {
  Declare("user", R"({"schema":{"type":"object","required":["name"],"additionalProperties":false,
    "properties":{"name":{"type":"string","minLength":1},"age":{"type":"integer","minimum":0}}}})");
  Record made = Make("user", "a", R"({"name":"ada","age":36})");
  for (const char* patch : {R"({"name":null})", R"({"name":""})", R"({"age":"36"})",
                            R"({"age":-1})", R"({"mail":"x"})"}) {
    Result<Record> refused = store().Merge({}, {{"user", "a"}, patch});
    ASSERT_THAT(refused, StatusIs(ErrorCode::kRuleViolation, HasSubstr("user/a"))) << patch;
    EXPECT_EQ(refused.error().detail.rule, "schema");
  }
  EXPECT_THAT(store().Create({}, {.kind = "user", .id = "b"}), StatusIs(ErrorCode::kRuleViolation));
  EXPECT_EQ(Read("user", "a"), made);
  EXPECT_FALSE(Exists("user", "b"));
}

TEST_P(RecordRules, REC_3_NumbersKeepTheirBounds) {
  Declare("stock",
          R"({"bounds":{"/on_hand":{"min":0,"max":100},"/reserved":{"min":0,"max":"/on_hand"}}})");
  Make("stock", "a", R"({"on_hand":10,"reserved":3})");
  auto add = [&](const char* path, std::int64_t by) {
    return store().Increment({}, {{"stock", "a"}, path, by});
  };
  Must(add("/on_hand", -7));
  Result<Record> below = add("/on_hand", -1);
  ASSERT_THAT(below, StatusIs(ErrorCode::kRuleViolation));
  EXPECT_EQ(below.error().detail.rule, "bounds /reserved");
  Must(add("/reserved", -3));
  Must(add("/on_hand", -3));
  Result<Record> negative = add("/on_hand", -1);
  ASSERT_THAT(negative, StatusIs(ErrorCode::kRuleViolation, HasSubstr("-1")));
  EXPECT_EQ(negative.error().detail.rule, "bounds /on_hand");
  EXPECT_THAT(add("/on_hand", 101), StatusIs(ErrorCode::kRuleViolation));
  EXPECT_THAT(store().Merge({}, {{"stock", "a"}, R"({"on_hand":"many"})"}),
              StatusIs(ErrorCode::kRuleViolation));
  EXPECT_EQ(DataOf("stock", "a"), Json::parse(R"({"on_hand":0,"reserved":0})"));
}

TEST_P(RecordRules, REC_3_AUniqueKeyBelongsToOneRecord) {
  Declare("user", R"({"unique":["/mail",["/first","/last"]]})");
  Make("user", "a", R"({"mail":"x","first":"A","last":"L"})");
  Result<Record> taken = store().Create({}, {.kind = "user", .id = "b", .data = R"({"mail":"x"})"});
  ASSERT_THAT(taken, StatusIs(ErrorCode::kAlreadyExists, HasSubstr("user/a")));
  EXPECT_EQ(taken.error().detail.record, "user/a");
  EXPECT_EQ(taken.error().detail.rule, "unique /mail");
  EXPECT_FALSE(Exists("user", "b"));
  Make("user", "b", R"({"mail":"y","first":"A","last":"M"})");
  Make("user", "c", R"({"mail":null})");
  Make("user", "d", R"({"first":"A"})");
  EXPECT_THAT(store().Merge({}, {{"user", "b"}, R"({"last":"L"})"}),
              StatusIs(ErrorCode::kAlreadyExists));
  Must(store().Merge({}, {{"user", "a"}, R"({"mail":"z"})"}));
  Must(store().Merge({}, {{"user", "b"}, R"({"mail":"x"})"}));
  Must(store().Delete({}, DeleteRecord{{"user", "b"}}));
  Make("user", "e", R"({"mail":"x"})");
}

TEST_P(RecordRules, REC_3_ABatchMayHandAUniqueKeyOver) {
  Declare("user", R"({"unique":["/mail"]})");
  Make("user", "a", R"({"mail":"x"})");
  Make("user", "b", R"({"mail":"y"})");
  Must(Commit({MergeRecord{{"user", "a"}, R"({"mail":"y"})"},
               MergeRecord{{"user", "b"}, R"({"mail":"x"})"}}));
  EXPECT_EQ(DataOf("user", "a")["mail"], "y");
  Result<Receipt> both = Commit({MergeRecord{{"user", "a"}, R"({"mail":"n"})"},
                                 MergeRecord{{"user", "b"}, R"({"mail":"n"})"}});
  ASSERT_THAT(both, StatusIs(ErrorCode::kAlreadyExists));
  EXPECT_EQ(both.error().detail.operation, 1);
  EXPECT_THAT(store().Create({}, {.kind = "user", .id = "c", .data = R"({"mail":"x"})"}),
              StatusIs(ErrorCode::kAlreadyExists));
}

constexpr const char* kSeatOf = R"({
  "states": {"initial": "wanted", "transitions": {"wanted": ["given", "lost"], "given": ["lost"]},
             "final": ["lost"]},
  "parent": {"kind": "room", "required": true, "when": {"/open": true}},
  "capacity": [{"limit": "/places", "statuses": ["given"]}]})";

class Capacity : public RecordSuite {
 protected:
  Capacity() {
    Declare("room");
    Declare("guest", kSeatOf);
  }
  Record Guest(const std::string& id, const std::string& room = "r") {
    return Make("guest", id, "{}", RecordKey{"room", room});
  }
};

TEST_P(Capacity, REC_5_TheLimitOfTheParentIsKept) {
  Make("room", "r", R"({"open":true,"places":2})");
  for (const char* id : {"a", "b", "c"}) Guest(id);
  Must(MoveTo("guest", "a", "given"));
  Must(MoveTo("guest", "b", "given"));
  Result<Record> full = MoveTo("guest", "c", "given");
  ASSERT_THAT(full, StatusIs(ErrorCode::kCapacityFull, HasSubstr("2 of 2")));
  EXPECT_EQ(full.error().detail.rule, "capacity /places");
  EXPECT_EQ(full.error().detail.record, "room/r");
  EXPECT_EQ(StatusOf("guest", "c"), "wanted");
  EXPECT_THAT(Read("room", "r").children,
              ElementsAre(ChildCount{"guest", "given", 2}, ChildCount{"guest", "wanted", 1}));
  Must(MoveTo("guest", "a", "lost"));
  Must(MoveTo("guest", "c", "given"));
  Must(store().Delete({}, DeleteRecord{{"guest", "b"}}));
  EXPECT_THAT(Read("room", "r").children,
              ElementsAre(ChildCount{"guest", "given", 1}, ChildCount{"guest", "lost", 1}));
  EXPECT_EQ(Read("room", "r").version, 1);
}

TEST_P(Capacity, REC_5_NullIsUnlimitedAndZeroIsNone) {
  Make("room", "r", R"({"open":true,"places":null})");
  Make("room", "none", R"({"open":true,"places":0})");
  Make("room", "absent", R"({"open":true})");
  Make("room", "odd", R"({"open":true,"places":"many"})");
  for (const char* room : {"r", "none", "absent", "odd"}) Guest(room, room);
  Must(MoveTo("guest", "r", "given"));
  Must(MoveTo("guest", "absent", "given"));
  EXPECT_THAT(MoveTo("guest", "none", "given"),
              StatusIs(ErrorCode::kCapacityFull, HasSubstr("0 of 0")));
  EXPECT_THAT(MoveTo("guest", "odd", "given"),
              StatusIs(ErrorCode::kRuleViolation, HasSubstr("/places is a string")));
}

TEST_P(Capacity, REC_6_AChildNeedsTheParentThatItsKindSays) {
  Declare("house");
  Make("house", "h", R"({"open":true})");
  Make("room", "shut", R"({"open":false})");
  auto create = [&](std::optional<RecordKey> parent) {
    return store().Create({}, {.kind = "guest", .id = "a", .parent = std::move(parent)});
  };
  EXPECT_THAT(create({}), StatusIs(ErrorCode::kRuleViolation, HasSubstr("needs a parent")));
  EXPECT_THAT(create(RecordKey{"house", "h"}), StatusIs(ErrorCode::kRuleViolation));
  EXPECT_THAT(create(RecordKey{"room", "none"}), StatusIs(ErrorCode::kNotFound));
  EXPECT_THAT(create(RecordKey{"room", "shut"}),
              StatusIs(ErrorCode::kRuleViolation, HasSubstr("/open")));
  EXPECT_THAT(store().Create({}, {.kind = "house", .id = "i", .parent = RecordKey{"house", "h"}}),
              StatusIs(ErrorCode::kRuleViolation, HasSubstr("takes no parent")));
  Make("room", "r", R"({"open":true})");
  Guest("a");
  EXPECT_THAT(store().Delete({}, DeleteRecord{{"room", "r"}}),
              StatusIs(ErrorCode::kRuleViolation, HasSubstr("children")));
  Must(Commit({DeleteRecord{{"guest", "a"}}, DeleteRecord{{"room", "r"}}}));
}

TEST_P(Capacity, REC_6_ParentAndChildrenChangeInOneCommit) {
  Must(Commit({CreateRecord{.kind = "room", .id = "r", .data = R"({"open":true,"places":1})"},
               CreateRecord{.kind = "guest", .id = "a", .parent = RecordKey{"room", "r"}},
               CreateRecord{.kind = "guest", .id = "b", .parent = RecordKey{"room", "r"}},
               TransitionRecord{{"guest", "b"}, "given"}}));
  Result<Receipt> too_many = Commit(
      {MergeRecord{{"room", "r"}, R"({"seen":true})"}, TransitionRecord{{"guest", "a"}, "given"}});
  ASSERT_THAT(too_many, StatusIs(ErrorCode::kCapacityFull));
  EXPECT_EQ(too_many.error().detail.operation, 1);
  EXPECT_EQ(Read("room", "r").version, 1);
  Must(Commit(
      {MergeRecord{{"room", "r"}, R"({"places":2})"}, TransitionRecord{{"guest", "a"}, "given"}}));
  EXPECT_THAT(Read("room", "r").children, ElementsAre(ChildCount{"guest", "given", 2}));
}

TEST_P(Capacity, REC_6_ABulkChangeOfChildrenIsAllOrNothing) {
  Make("room", "r", R"({"open":true})");
  Make("room", "other", R"({"open":true})");
  Guest("a");
  Guest("b");
  Guest("stranger", "other");
  RecordKey parent{"room", "r"};
  auto give = [&](const char* id) { return TransitionRecord{{"guest", id, {}, parent}, "given"}; };
  Result<Receipt> refused = Commit({give("a"), give("stranger"), give("b")});
  ASSERT_THAT(refused, StatusIs(ErrorCode::kRuleViolation, HasSubstr("not a child of room/r")));
  EXPECT_EQ(refused.error().detail.operation, 1);
  EXPECT_THAT(Commit({give("a"), give("nobody")}), StatusIs(ErrorCode::kNotFound));
  EXPECT_EQ(StatusOf("guest", "a"), "wanted");
  Must(Commit({give("a"), give("b")}));
  EXPECT_THAT(Read("room", "r").children, ElementsAre(ChildCount{"guest", "given", 2}));
  RecordPage page =
      Must(store().ListRecords({}, {.kind = "guest", .status = "given", .parent = parent}));
  EXPECT_EQ(page.items.size(), 2U);
}

TEST_P(Capacity, REC_6_ARecordMadeAnewHasItsNewParent) {
  Make("room", "r", R"({"open":true})");
  Make("room", "other", R"({"open":true})");
  Guest("a");
  CreateRecord anew{.kind = "guest", .id = "a", .parent = RecordKey{"room", "other"}};
  Must(Commit({DeleteRecord{{"guest", "a"}}, anew}));
  EXPECT_EQ(Read("guest", "a").parent, anew.parent);
  EXPECT_TRUE(Read("room", "r").children.empty());
  EXPECT_THAT(Read("room", "other").children, ElementsAre(ChildCount{"guest", "wanted", 1}));
  // The same by two batches of one group.
  anew.parent = RecordKey{"room", "r"};
  for (Result<Receipt>& receipt : store().CommitMany(
           {}, {{.operations = {DeleteRecord{{"guest", "a"}}}}, {.operations = {anew}}})) {
    Must(std::move(receipt));
  }
  Must(MoveTo("guest", "a", "given"));
  EXPECT_THAT(Read("room", "r").children, ElementsAre(ChildCount{"guest", "given", 1}));
  Must(store().Delete({}, DeleteRecord{{"guest", "a"}}));
  EXPECT_TRUE(Read("room", "r").children.empty());
  EXPECT_TRUE(Read("room", "other").children.empty());
}

TEST_P(RecordRules, REC_9_UniqueKeysAreLookedAtUnderTheRulesThatApply) {
  Declare("user");
  Make("user", "a", R"({"n":1})");
  ApplyKind unique{.name = "user", .rules = R"({"unique":["/n"]})"};
  CreateRecord second{.kind = "user", .id = "b", .data = R"({"n":1.0})"};
  Result<Receipt> refused = Commit({unique, second});
  ASSERT_THAT(refused, StatusIs(ErrorCode::kAlreadyExists, HasSubstr("user/a")));
  EXPECT_EQ(refused.error().detail.operation, 1);
  EXPECT_THAT(Commit({unique}, {VersionGuard{{"user", "a"}, 1}}),
              StatusIs(ErrorCode::kInvalidArgument, HasSubstr("guarded")));
  second.data = R"({"n":2})";
  Must(Commit({unique, MergeRecord{{"user", "a"}, R"({"n":3})"}, second}));
  EXPECT_THAT(store().Create({}, {.kind = "user", .data = R"({"n":2})"}),
              StatusIs(ErrorCode::kAlreadyExists));
  Make("user", "c", R"({"n":1})");
}

TEST_P(RecordRules, REC_9_AStatusWhoseEndTheRulesHaveForgottenStays) {
  const std::string states = R"({"unique":["/n"],
      "states":{"initial":"free","transitions":{"free":["held"],"held":["free"]})";
  Declare("seat", states + R"(,"expire":{"held":{"after":"1m","to":"free"}}}})");
  Make("seat", "a", R"({"n":1})");
  Must(MoveTo("seat", "a", "held"));
  Declare("seat", states + "}}");
  EXPECT_EQ(Pass(minutes(2)).lapsed, 1);
  EXPECT_EQ(StatusOf("seat", "a"), "held");
  EXPECT_EQ(Pass(minutes(2)).lapsed, 0);
  Must(store().Merge({}, {{"seat", "a"}, R"({"x":1})"}));
  std::vector<AuditEntry> refused =
      Must(store().ListAudit({}, {.target = "seat/a", .refused = true})).items;
  ASSERT_EQ(refused.size(), 1U);
  EXPECT_EQ(refused[0].operation, "record.expire");
  EXPECT_EQ(refused[0].actor, "holdfast");
}

TEST_P(RecordRules, REC_9_AStatusMustBeAbleToEndWhateverOthersHold) {
  EXPECT_THAT(store().Apply({}, {.name = "seat", .rules = R"({"unique":[["/seat","/active"]],
          "states":{"initial":"held","transitions":{"held":["over"]},"final":["over"],
                    "expire":{"held":{"after":"1m","to":"over","data":{"active":false}}}}})"}),
              StatusIs(ErrorCode::kInvalidArgument, HasSubstr("/states/expire/held/data")));
}

TEST_P(RecordRules, REC_6_ACycleOfParentsIsRefused) {
  Declare("node", R"({"parent":{"kind":"node"}})");
  auto node = [](const char* id, const char* parent) {
    return CreateRecord{.kind = "node", .id = id, .parent = RecordKey{"node", parent}};
  };
  EXPECT_THAT(Commit({node("a", "b"), node("b", "c"), node("c", "a")}),
              StatusIs(ErrorCode::kInvalidArgument, HasSubstr("cycle of parents")));
  EXPECT_THAT(Commit({node("a", "a")}), StatusIs(ErrorCode::kInvalidArgument, HasSubstr("cycle")));
  EXPECT_FALSE(Exists("node", "a"));
}

TEST_P(RecordRules, REC_6_AChildMayStampItsParent) {
  Declare("order", R"({"audit":["/by"]})");
  Declare("line", R"({"parent":{"kind":"order","touch":true}})");
  Make("order", "o");
  clock().Advance(seconds(5));
  Context ada{.actor = "ada"};
  Must(store().Create(ada, {.kind = "line", .id = "l", .parent = RecordKey{"order", "o"}}));
  Record order = Read("order", "o");
  EXPECT_EQ(order.version, 2);
  EXPECT_EQ(order.updated_by, "ada");
  EXPECT_EQ(order.updated_at, Now());
  EXPECT_EQ(Trail("order/o").back().operation, "record.touch");
  Must(store().Merge({.actor = "bob"}, {{"line", "l"}, R"({"n":1})"}));
  EXPECT_EQ(Read("order", "o").version, 3);
  EXPECT_EQ(Read("order", "o").updated_by, "bob");
}

TEST_P(RecordRules, AUD_1_OldAndNewValuesOfAuditedPathsAreInTheDetails) {
  Declare("ticket", R"({"audit":["/assignee"]})");
  Make("ticket", "t", R"({"assignee":"ada"})");
  Must(store().Merge({}, {{"ticket", "t"}, R"({"assignee":"bob"})"}));
  Must(store().Merge({}, {{"ticket", "t"}, R"({"other":1})"}));
  std::vector<AuditEntry> trail = Trail("ticket/t");
  ASSERT_EQ(trail.size(), 3U);
  EXPECT_EQ(Json::parse(trail[1].details)["changed"]["/assignee"],
            Json::parse(R"({"old":"ada","new":"bob"})"));
  EXPECT_EQ(trail[2].details, "");
}

TEST_P(RecordRules, AUD_1_RefusalsAreInTheTrail) {
  Declare("door", kDoor);
  Make("door", "a");
  (void)store().Transition({.actor = "eve"}, {{"door", "a"}, "gone"});
  (void)store().Transition({.actor = "eve"}, {{"door", "a"}, "gone"});
  Pass(seconds(1));
  std::vector<AuditEntry> refused =
      Must(store().ListAudit({}, {.actor = "eve", .refused = true})).items;
  ASSERT_EQ(refused.size(), 1U);
  EXPECT_EQ(refused[0].target, "door/a");
  EXPECT_EQ(refused[0].operation, "record.transition");
  EXPECT_EQ(refused[0].error, "invalid_transition");
  EXPECT_EQ(refused[0].count, 2);
  EXPECT_TRUE(Must(store().ListAudit({}, {.actor = "eve", .refused = false})).items.empty());
  EXPECT_TRUE(Must(store().ListAudit({}, {.min_lock_wait = hours(1)})).items.empty());
  EXPECT_FALSE(Must(store().ListAudit({}, {.min_lock_wait = microseconds(0)})).items.empty());
}

TEST_P(RecordRules, REC_9_RulesAreVersioned) {
  Kind kind = Must(store().Apply({.actor = "ada"}, {.name = "k", .rules = "{}"}));
  EXPECT_EQ(kind.version, 1);
  EXPECT_EQ(kind.updated_by, "ada");
  EXPECT_EQ(Must(store().GetKind({}, "k")), kind);
  EXPECT_EQ(Declare("k"), kind);  // equal rules change nothing
  EXPECT_THAT(store().Apply({}, {.name = "k", .rules = R"({"description":"x"})", .version = 0}),
              StatusIs(ErrorCode::kVersionMismatch));
  EXPECT_EQ(Must(store().Apply({}, {.name = "k", .rules = R"({"description":"x"})", .version = 1}))
                .version,
            2);
  EXPECT_EQ(Must(store().ListKinds({})).size(), 1U);
  EXPECT_EQ(Must(store().GetKind({}, "none")), std::nullopt);
  std::vector<AuditEntry> trail = Trail("kind/k");
  ASSERT_EQ(trail.size(), 2U);
  EXPECT_EQ(trail[1].old_version, 1);
  EXPECT_EQ(trail[1].new_version, 2);
}

TEST_P(RecordRules, REC_9_RecordsThatWouldBreakNewRulesAreReported) {
  Declare("k");
  Make("k", "a", R"({"n":1})");
  Make("k", "b", R"({"n":-1})");
  Make("k", "c", R"({"n":"x"})");
  ApplyKind stricter{.name = "k", .rules = R"({"bounds":{"/n":{"min":0}}})"};
  Result<Kind> refused = store().Apply({}, stricter);
  ASSERT_THAT(refused, StatusIs(ErrorCode::kRuleViolation, HasSubstr("2 records")));
  ASSERT_EQ(refused.error().detail.violations.size(), 2U);
  EXPECT_THAT(refused.error().detail.violations[0], HasSubstr("k/b"));
  EXPECT_EQ(Must(store().GetKind({}, "k"))->version, 1);
  stricter.force = true;
  EXPECT_EQ(Must(store().Apply({}, stricter)).version, 2);
  EXPECT_EQ(DataOf("k", "b")["n"], -1);
  EXPECT_THAT(store().Merge({}, {{"k", "b"}, R"({"m":1})"}), StatusIs(ErrorCode::kRuleViolation));
  Must(store().Increment({}, {{"k", "b"}, "/n"}));
}

TEST_P(RecordRules, REC_9_NewUniqueKeysHoldForRecordsThatAreThere) {
  Declare("k");
  Make("k", "a", R"({"m":"x"})");
  Make("k", "b", R"({"m":"x"})");
  ApplyKind unique{.name = "k", .rules = R"({"unique":["/m"]})", .force = true};
  Result<Kind> refused = store().Apply({}, unique);
  ASSERT_THAT(refused, StatusIs(ErrorCode::kRuleViolation, HasSubstr("unique key")));
  EXPECT_EQ(refused.error().detail.violations.size(), 1U);
  Must(store().Merge({}, {{"k", "b"}, R"({"m":"y"})"}));
  Must(store().Apply({}, unique));
  EXPECT_THAT(store().Create({}, {.kind = "k", .id = "c", .data = R"({"m":"y"})"}),
              StatusIs(ErrorCode::kAlreadyExists));
  Declare("k");
  Make("k", "c", R"({"m":"y"})");
}

TEST_P(RecordRules, REC_9_RulesThatMakeNoSenseAreRefusedWithThePlace) {
  struct Case {
    const char* rules;
    const char* place;
  };
  for (const Case& c : std::initializer_list<Case>{
           {R"([])", "object"},
           {R"({"staets":{}})", "/staets"},
           {R"({"states":{"initial":"a","transitions":{"a":["b"]}}})", "b"},
           {R"({"states":{"initial":"x","transitions":{"a":["b"]},"final":["b"]}})", "/states"},
           {R"({"states":{"initial":"a","transitions":{"a":["b"],"c":["b"]},"final":["b"]}})", "c"},
           {R"({"schema":{"type":"strnig"}})", "/schema"},
           {R"({"bounds":{"n":{"min":0}}})", "/bounds"},
           {R"({"capacity":[{"limit":"/n","statuses":["a"]}]})", "/capacity"},
           {R"({"unique":[[]]})", "/unique"},
           {R"({"actions":{"a":{"steps":[{"do":"record.jump"}]}}})", "/actions/a/steps/0"},
           {R"({"actions":{"a":{"steps":[{"do":"record.merge","data":{"x":{"$param":"p"}}}]}}})",
            "/actions/a/steps/0"},
           {R"({"schema":{"required":["n"]},"example":{}})", "/example"},
           {R"({"a":1,"a":2})", "twice"}}) {
    EXPECT_THAT(store().Apply({}, {.name = "k", .rules = c.rules}),
                StatusIs(ErrorCode::kInvalidArgument, HasSubstr(c.place)))
        << c.rules;
  }
  EXPECT_EQ(Must(store().GetKind({}, "k")), std::nullopt);
  EXPECT_THAT(Commit({CreateRecord{.kind = "k"}, ApplyKind{.name = "k", .rules = "{}"}}),
              StatusIs(ErrorCode::kInvalidArgument, HasSubstr("before")));
  Must(Commit({ApplyKind{.name = "k", .rules = "{}"}, CreateRecord{.kind = "k", .id = "a"}}));
}

TEST_P(RecordRules, REC_4_ATimedStatusEndsByItself) {
  Declare("seat",
          R"({"states":{"initial":"free","transitions":{"free":["held"],"held":["free","booked"]},
      "final":["booked"],"expire":{"held":{"after":"10m","to":"free","data":{"holder":null}}}}})");
  Make("seat", "1A");
  Record held = Must(MoveTo("seat", "1A", "held", R"({"holder":"ada"})"));
  EXPECT_EQ(held.expires_at, Now() + minutes(10));
  Pass(minutes(9));
  EXPECT_EQ(StatusOf("seat", "1A"), "held");
  EXPECT_EQ(Pass(minutes(1)).lapsed, 1);
  Record free = Read("seat", "1A");
  EXPECT_EQ(free.status, "free");
  EXPECT_EQ(free.version, 3);
  EXPECT_EQ(free.data, "{}");
  EXPECT_EQ(free.expires_at, std::nullopt);
  AuditEntry entry = Trail("seat/1A").back();
  EXPECT_EQ(entry.operation, "record.expire");
  EXPECT_EQ(entry.old_status, "held");
  EXPECT_EQ(entry.new_status, "free");
}

TEST_P(RecordRules, REC_4_NobodyGetsWhatIsOverAlthoughNothingHasSweptItYet) {
  Declare("seat",
          R"({"states":{"initial":"free","transitions":{"free":["held"],"held":["free","booked"]},
      "final":["booked"],"expire":{"held":{"after":"10m","to":"free"}}}})");
  Make("seat", "1A");
  Must(MoveTo("seat", "1A", "held"));
  clock().Advance(minutes(10));
  EXPECT_THAT(MoveTo("seat", "1A", "booked"),
              StatusIs(ErrorCode::kInvalidTransition, HasSubstr("free")));
  Must(MoveTo("seat", "1A", "held"));
  Record held = Read("seat", "1A");
  EXPECT_EQ(held.version, 4);
  EXPECT_EQ(held.expires_at, Now() + minutes(10));
}

TEST_P(RecordRules, REC_6_WhatEndsByItselfStampsItsParentEachTime) {
  Declare("room", "{}");
  Declare("seat",
          R"({"parent":{"kind":"room","touch":true},"states":{"initial":"free",
      "transitions":{"free":["held"],"held":["free"]},
      "expire":{"held":{"after":"10m","to":"free"}}}})");
  Make("room", "r");
  for (const char* id : {"1", "2"}) {
    Must(store().Create({}, {.kind = "seat", .id = id, .parent = RecordKey{"room", "r"}}));
    Must(MoveTo("seat", id, "held"));
  }
  const std::int64_t version = Read("room", "r").version;
  EXPECT_EQ(Pass(minutes(10)).lapsed, 2);
  EXPECT_EQ(Read("room", "r").version, version + 2);
}

HOLDFAST_FOR_ALL_VARIANTS(RecordRules);
HOLDFAST_FOR_ALL_VARIANTS(Capacity);

}  // namespace
}  // namespace holdfast::testing
