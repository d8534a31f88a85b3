// REC-8: actions are one change, with parameters, actor and time filled in.
#include "testing/record_suite.h"

namespace holdfast::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kTicket = R"({
  "states": {"initial": "new", "transitions": {"new": ["open", "done"], "open": ["done"]},
             "final": ["done"]},
  "bounds": {"/level": {"max": 3}},
  "history": {"path": "/history", "cap": 3, "on": ["escalate", "note", "record.transition"]},
  "actions": {
    "escalate": {
      "from": ["new", "open"],
      "params": {"to": {"schema": {"type": "string"}}, "why": {"default": "none"}},
      "steps": [
        {"do": "record.increment", "path": "/level"},
        {"do": "record.merge", "data": {"assignee": {"$param": "to"}, "by": {"$actor": true},
          "at": {"$now": true}, "was": {"$old": "/assignee"}, "id": {"$id": true},
          "status": {"$status": true}, "list": [{"$param": "why"}, 1]}},
        {"do": "record.transition", "to": "open", "if": {"status": ["new"]}},
        {"do": "job.enqueue", "kind": "page", "queue": "pages",
         "payload": {"whom": {"$param": "to"}},
         "if": {"not": {"at": "/quiet", "equals": true}}}
      ]
    },
    "note": {"params": {"text": {}}, "steps": []}
  }})";

class Actions : public RecordSuite {
 protected:
  Actions() {
    Declare("ticket", kTicket);
    Make("ticket", "t", R"({"level":0,"assignee":"ada"})");
  }
};

TEST_P(Actions, REC_8_AnActionIsOneChange) {
  Record done =
      Must(store().Run({.actor = "eve"}, {{"ticket", "t"}, "escalate", R"({"to":"bob"})"}));
  EXPECT_EQ(done.version, 2);
  EXPECT_EQ(done.status, "open");
  Json data = Data(done);
  EXPECT_EQ(data["level"], 1);
  EXPECT_EQ(data["assignee"], "bob");
  EXPECT_EQ(data["was"], "ada");
  EXPECT_EQ(data["by"], "eve");
  EXPECT_EQ(data["id"], "t");
  EXPECT_EQ(data["status"], "new");
  EXPECT_EQ(data["list"], Json::parse(R"(["none",1])"));
  ASSERT_EQ(data["history"].size(), 1U);
  Json entry = data["history"][0];
  EXPECT_EQ(entry["who"], "eve");
  EXPECT_EQ(entry["action"], "escalate");
  EXPECT_EQ(entry["previous_status"], "new");
  EXPECT_EQ(entry["details"], Json::parse(R"({"to":"bob","why":"none"})"));
  EXPECT_EQ(entry["when"], data["at"]);
  std::vector<AuditEntry> trail = Trail("ticket/t");
  ASSERT_EQ(trail.size(), 2U);
  EXPECT_EQ(trail[1].operation, "record.action");
  EXPECT_EQ(Json::parse(trail[1].details)["action"], "escalate");
  std::vector<Job> jobs = Must(store().ListJobs({}, {.queue = "pages"})).items;
  ASSERT_EQ(jobs.size(), 1U);
  EXPECT_EQ(jobs[0].kind, "page");
  EXPECT_EQ(jobs[0].payload, R"({"whom":"bob"})");
}

TEST_P(Actions, REC_8_AnActionThatFailsChangesNothing) {
  for (int i = 0; i < 3; ++i) Must(Run("ticket", "t", "escalate", R"({"to":"bob"})"));
  Record before = Read("ticket", "t");
  EXPECT_THAT(Run("ticket", "t", "escalate", R"({"to":"bob"})"),
              StatusIs(ErrorCode::kRuleViolation, HasSubstr("4")));
  EXPECT_EQ(Read("ticket", "t"), before);
  EXPECT_EQ(CountOf(JobState::kPending, "pages"), 3);
  Must(store().Set({}, {.name = "pages", .max_pending = 3}));
  Make("ticket", "u", R"({"level":0})");
  EXPECT_THAT(Run("ticket", "u", "escalate", R"({"to":"bob"})"), StatusIs(ErrorCode::kQueueFull));
  EXPECT_EQ(Read("ticket", "u").version, 1);
}

TEST_P(Actions, REC_8_ParametersAreChecked) {
  auto refused = [&](const char* action, const char* params, const char* message) {
    EXPECT_THAT(Run("ticket", "t", action, params),
                StatusIs(ErrorCode::kInvalidArgument, HasSubstr(message)));
  };
  refused("escalate", "{}", "parameter to is missing");
  refused("escalate", R"({"to":1})", "parameter to");
  refused("escalate", R"({"to":"x","more":1})", "no parameter 'more'");
  refused("escalate", "[]", "object");
  refused("explode", "{}", "no action 'explode'");
  Must(MoveTo("ticket", "t", "done"));
  EXPECT_THAT(Run("ticket", "t", "escalate", R"({"to":"x"})"),
              StatusIs(ErrorCode::kInvalidTransition, HasSubstr("escalate is for new, open")));
}

TEST_P(Actions, REC_8_TheHistoryKeepsTheNewest) {
  for (const char* text : {"1", "2", "3", "4"}) {
    Must(Run("ticket", "t", "note", std::string(R"({"text":)") + text + "}"));
  }
  Must(MoveTo("ticket", "t", "open", R"({"x":1})"));
  Json history = DataOf("ticket", "t")["history"];
  ASSERT_EQ(history.size(), 3U);
  EXPECT_EQ(history[0]["details"]["text"], 3);
  EXPECT_EQ(history[2]["action"], "record.transition");
  EXPECT_EQ(history[2]["details"]["to"], "open");
  EXPECT_EQ(history[2]["previous_status"], "new");
}

TEST_P(Actions, REC_8_AnActionMayRequireWhatMustBeSo) {
  Declare("seat", R"({"actions":{"take":{"params":{"by":{}},
      "require":{"at":"/holder","equals":{"$param":"by"}},
      "steps":[{"do":"record.merge","data":{"taken":true}}]}}})");
  Make("seat", "s", R"({"holder":"ada"})");
  Result<Record> refused = Run("seat", "s", "take", R"({"by":"bob"})");
  ASSERT_THAT(refused, StatusIs(ErrorCode::kRuleViolation, HasSubstr("take requires")));
  EXPECT_EQ(refused.error().detail.rule, "require");
  EXPECT_EQ(Read("seat", "s").version, 1);
  EXPECT_EQ(Data(Must(Run("seat", "s", "take", R"({"by":"ada"})")))["taken"], true);
}

constexpr const char* kTask = R"({
  "states": {"initial": "todo",
             "transitions": {"todo": ["done", "shut"], "half": ["shut"], "done": ["half", "shut"]},
             "final": ["shut"]},
  "parent": {"kind": "task", "touch": true},
  "actions": {
    "close": {"steps": [
      {"do": "record.transition", "to": "half",
       "if": {"and": [{"children": {"any": ["done"]}}, {"not": {"children": {"all": ["done"]}}}]}},
      {"do": "record.transition", "to": "shut",
       "if": {"or": [{"not": {"children": {"any": ["done"]}}}, {"children": {"all": ["done"]}}]}},
      {"do": "record.transition", "to": "shut", "on": {"children": ["todo"]}},
      {"do": "record.merge", "data": {"late": true}, "on": {"children": ["todo"], "kind": "task"}}
    ]},
    "report": {"steps": [
      {"do": "record.append", "path": "/reports", "value": {"$id": true}, "on": "parent"}]}
  }})";

class ActionsOnChildren : public RecordSuite {
 protected:
  ActionsOnChildren() {
    Declare("task", kTask);
    Make("task", "p", R"({"reports":[]})");
    for (const char* id : {"a", "b", "c"}) Make("task", id, "{}", RecordKey{"task", "p"});
  }
};

TEST_P(ActionsOnChildren, REC_8_ParentAndChildrenChangeTogether) {
  Record before = Read("task", "p");
  Record closed = Must(Run("task", "p", "close"));
  EXPECT_EQ(closed.status, "shut");
  EXPECT_EQ(closed.version, before.version + 1);
  EXPECT_THAT(closed.children, ElementsAre(ChildCount{"task", "shut", 3}));
  for (const char* id : {"a", "b", "c"}) {
    EXPECT_EQ(StatusOf("task", id), "shut");
    EXPECT_EQ(Read("task", id).version, 2);
    EXPECT_EQ(DataOf("task", id)["late"], true);
    EXPECT_EQ(Json::parse(Trail(std::string("task/") + id).back().details)["of"], "task/p");
  }
}

TEST_P(ActionsOnChildren, REC_8_ConditionsLookAtTheStateBefore) {
  Must(MoveTo("task", "a", "done"));
  TransitionRecord force{{"task", "p"}, "done"};
  force.force = true;
  Must(store().Transition({}, force));
  Record closed = Must(Run("task", "p", "close"));
  EXPECT_EQ(closed.status, "half");
  EXPECT_THAT(closed.children,
              ElementsAre(ChildCount{"task", "done", 1}, ChildCount{"task", "shut", 2}));
}

TEST_P(ActionsOnChildren, REC_8_AStepMayChangeTheParent) {
  Record before = Read("task", "p");
  Must(Run("task", "a", "report"));
  Record parent = Read("task", "p");
  EXPECT_EQ(parent.version, before.version + 1);
  EXPECT_EQ(Data(parent)["reports"], Json::parse(R"(["a"])"));
  EXPECT_EQ(Read("task", "a").version, 2);
  EXPECT_THAT(Run("task", "p", "report"),
              StatusIs(ErrorCode::kRuleViolation, HasSubstr("no parent")));
}

TEST_P(ActionsOnChildren, REC_8_WhatIsOverIsNotActedOn) {
  Declare("hall", R"({"actions":{"sell":{"steps":[
      {"do":"record.transition","to":"sold","on":{"children":["held"]}}]}}})");
  Declare("place", R"({"parent":{"kind":"hall"},"states":{"initial":"held",
      "transitions":{"held":["free","sold"]},"final":["free","sold"],
      "expire":{"held":{"after":"1m","to":"free"}}}})");
  Make("hall", "h");
  Make("place", "a", "{}", RecordKey{"hall", "h"});
  clock().Advance(minutes(1));
  Make("place", "b", "{}", RecordKey{"hall", "h"});
  Must(Run("hall", "h", "sell"));
  EXPECT_EQ(StatusOf("place", "a"), "free");
  EXPECT_EQ(StatusOf("place", "b"), "sold");
}

TEST_P(ActionsOnChildren, REC_8_ChildrenOfTheSameBatchAreSeen) {
  Must(Commit({CreateRecord{.kind = "task", .id = "q"},
               CreateRecord{.kind = "task", .id = "x", .parent = RecordKey{"task", "q"}},
               RunAction{{"task", "q"}, "close"}}));
  EXPECT_EQ(StatusOf("task", "x"), "shut");
  EXPECT_EQ(StatusOf("task", "q"), "shut");
}

HOLDFAST_FOR_ALL_VARIANTS(Actions);
HOLDFAST_FOR_ALL_VARIANTS(ActionsOnChildren);

}  // namespace
}  // namespace holdfast::testing
