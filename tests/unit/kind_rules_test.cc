// The rules of kinds: what a document may say, every complaint with its place, and the shipped
// ones.
#include "rules/kind_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace holdfast::rules {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(std::filesystem::path(HOLDFAST_SOURCE_DIR) / path);
  EXPECT_TRUE(file) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

KindRulesPtr Compiled(std::string_view document) {
  auto rules = CompileRules("ticket", 3, document);
  EXPECT_TRUE(rules) << document << "\n" << rules.error().message;
  return rules ? *rules : std::make_shared<KindRules>();
}

std::string Complaint(std::string_view document) {
  auto rules = CompileRules("ticket", 1, document);
  if (rules) return "no complaint";
  EXPECT_EQ(rules.error().code, ErrorCode::kInvalidArgument) << document;
  EXPECT_EQ(rules.error().message.find('\n'), std::string::npos) << rules.error().message;
  if (!rules.error().detail.rule.empty()) {
    EXPECT_THAT(rules.error().message, StartsWith(rules.error().detail.rule + ": "));
  }
  return rules.error().message;
}

std::vector<std::string> Texts(const std::vector<JsonPointer>& pointers) {
  std::vector<std::string> texts;
  for (const JsonPointer& pointer : pointers) texts.push_back(pointer.text());
  return texts;
}

/// The first JSON document that docs/rules.md shows.
std::string DocumentedRules() {
  std::string text = ReadFile("docs/rules.md");
  std::size_t begin = text.find("```json\n") + 8;
  return text.substr(begin, text.find("```", begin) - begin);
}

// ---- what is read ------------------------------------------------------------------------------

TEST(KindRules, REC_9_AnEmptyDocumentAllowsEverything) {
  KindRulesPtr rules = Compiled("{}");
  EXPECT_EQ(rules->kind, "ticket");
  EXPECT_EQ(rules->version, 3);
  EXPECT_FALSE(rules->HasStates());
  EXPECT_FALSE(rules->schema || rules->parent || rules->history);
  EXPECT_EQ(CheckData(*rules, Json::parse(R"({"a":[1]})"), {}), std::nullopt);
}

TEST(KindRules, REC_9_TheDocumentedRulesSayWhatTheyShow) {
  KindRulesPtr rules = Compiled(DocumentedRules());
  EXPECT_THAT(rules->initial, ElementsAre("NEW"));
  ASSERT_EQ(rules->states.size(), 5u);
  EXPECT_THAT(rules->FindState("NEW")->to, ElementsAre("OPEN", "CANCELLED"));
  EXPECT_TRUE(rules->FindState("CLOSED")->to.empty());
  EXPECT_EQ(rules->FindState("LOST"), nullptr);
  EXPECT_THAT(Texts(rules->FindState("RESOLVED")->require), ElementsAre("/comment"));
  EXPECT_TRUE(rules->FindState("OPEN")->require.empty());
  EXPECT_FALSE(rules->ignores_same);
  const Expiry& expiry = rules->FindState("RESOLVED")->expire.value();
  EXPECT_EQ(expiry.after, std::chrono::hours(336));
  EXPECT_EQ(expiry.to, "CLOSED");
  EXPECT_EQ(expiry.data, Json::parse(R"({"comment":"closed by itself"})"));
  EXPECT_FALSE(rules->FindState("OPEN")->expire);
  EXPECT_TRUE(rules->schema);
  ASSERT_EQ(rules->bounds.size(), 1u);
  EXPECT_EQ(rules->bounds[0].path.text(), "/level");
  EXPECT_EQ(std::get<Json>(*rules->bounds[0].max), 9);
  ASSERT_EQ(rules->unique.size(), 2u);
  EXPECT_EQ(rules->unique[0].name, "/number");
  EXPECT_EQ(rules->unique[1].name, "/customer,/title");
  EXPECT_EQ(rules->parent->kind, "project");
  EXPECT_FALSE(rules->parent->required);
  EXPECT_TRUE(rules->parent->touch);
  ASSERT_EQ(rules->parent->when.size(), 1u);
  EXPECT_EQ(rules->parent->when[0].first.text(), "/is_open");
  EXPECT_EQ(rules->parent->when[0].second, true);
  ASSERT_EQ(rules->capacity.size(), 1u);
  EXPECT_EQ(rules->capacity[0].limit.text(), "/max_tickets");
  EXPECT_THAT(rules->capacity[0].statuses, ElementsAre("NEW", "OPEN"));
  EXPECT_EQ(rules->history->path.text(), "/history");
  EXPECT_EQ(rules->history->cap, 100u);
  EXPECT_THAT(rules->history->on, ElementsAre("record.transition", "escalate"));
  EXPECT_THAT(Texts(rules->audit), ElementsAre("/assignee"));
}

TEST(KindRules, REC_8_TheDocumentedActionIsRead) {
  KindRulesPtr rules = Compiled(DocumentedRules());
  ASSERT_EQ(rules->actions.size(), 1u);
  const Action& action = rules->actions.begin()->second;
  EXPECT_EQ(action.name, "escalate");
  EXPECT_THAT(action.from, ElementsAre("NEW", "OPEN"));
  ASSERT_EQ(action.params.size(), 2u);
  EXPECT_TRUE(action.params.at("assignee").schema);
  EXPECT_FALSE(action.params.at("assignee").otherwise);
  EXPECT_FALSE(action.params.at("reason").schema);
  EXPECT_EQ(action.params.at("reason").otherwise, Json(""));
  ASSERT_EQ(action.steps.size(), 2u);
  EXPECT_EQ(action.steps[0].operation, "record.increment");
  EXPECT_EQ(action.steps[0].fields, Json::parse(R"({"path":"/level","by":1})"));
  EXPECT_EQ(action.steps[0].on, Subject::kSelf);
  EXPECT_TRUE(action.steps[0].condition.is_null());
  EXPECT_EQ(action.steps[1].fields["data"]["assignee"], Json::parse(R"({"$param":"assignee"})"));
}

TEST(KindRules, REC_4_StatesInEveryForm) {
  KindRulesPtr rules = Compiled(R"({"states":{"initial":["b","a"],"same":"ignore",
      "transitions":{"a":["b"],"b":["a"]}}})");
  EXPECT_THAT(rules->initial, ElementsAre("b", "a"));
  EXPECT_TRUE(rules->ignores_same);
  // One state that is the first and the last.
  rules = Compiled(R"({"states":{"initial":"done","final":["done"],"same":"refuse"}})");
  EXPECT_EQ(rules->states.size(), 1u);
  EXPECT_FALSE(rules->ignores_same);
  // A state may be left for itself, if that is declared.
  rules = Compiled(R"({"states":{"initial":"a","transitions":{"a":["a"]}}})");
  EXPECT_THAT(rules->FindState("a")->to, ElementsAre("a"));
}

constexpr const char* kEveryPart = R"({"parent":{"kind":"p@1.a:b-c_","required":true},
      "bounds":{"/a/b":{"min":"/c","max":1.5},"/x":{"max":-5},"/y":{}},
      "unique":[["/user","parent"],"parent"],
      "capacity":[{"limit":"/max"}],
      "history":{"path":"/h","cap":10000,"on":["record.create","record.replace","record.merge",
          "record.patch","record.increment","record.append","record.transition","a"]},
      "schema":true,"description":"","actions":{"a":{"steps":[],"description":"none"}},
      "example":{}})";

TEST(KindRules, REC_3_PartsInEveryForm) {
  KindRulesPtr rules = Compiled(kEveryPart);
  EXPECT_TRUE(rules->parent->required);
  EXPECT_FALSE(rules->parent->touch);
  ASSERT_EQ(rules->bounds.size(), 3u);
  EXPECT_EQ(std::get<JsonPointer>(*rules->bounds[0].min).text(), "/c");
  EXPECT_FALSE(rules->bounds[1].min);
  ASSERT_EQ(rules->unique.size(), 2u);
  EXPECT_EQ(rules->unique[0].name, "/user,parent");
  EXPECT_EQ(rules->unique[0].parts[0]->text(), "/user");
  EXPECT_FALSE(rules->unique[0].parts[1]);
  EXPECT_THAT(rules->capacity.at(0).statuses, ElementsAre(""));
  EXPECT_EQ(rules->history->cap, 10'000u);
  rules = Compiled(R"({"parent":{"kind":"p"},"capacity":[{"limit":"/max","statuses":[]}]})");
  EXPECT_THAT(rules->capacity.at(0).statuses, ElementsAre(""));
}

constexpr const char* kEveryStep = R"({"parent":{"kind":"p"},
      "states":{"initial":"a","transitions":{"a":["b"]},"final":["b"]},
      "actions":{"all":{"params":{"p":{"schema":{"type":"integer"},"default":1,"description":"x"},
                                  "free":{}},
       "steps":[
        {"do":"record.merge","data":{"x":{"$param":"p"},"y":[{"$actor":true},{"z":{"$now":true}}]}},
        {"do":"record.merge","on":"self","data":{"$param":"free"}},
        {"do":"record.increment","on":"parent","path":"/n"},
        {"do":"record.increment","path":"/n","by":{"$negative":{"$param":"p"}}},
        {"do":"record.increment","path":"/n","by":{"$negative":{"$old":"/n"}}},
        {"do":"record.append","path":"/l","value":{"$id":true},"max_length":5},
        {"do":"record.append","path":"/l","value":null},
        {"do":"record.transition","to":"b","data":{"was":{"$status":true}},
         "if":{"and":[{"status":["a"]},{"not":{"children":{"all":["x"]}}},
                      {"or":[{"children":{"any":["x","y"]}},{"at":"/f","equals":null}]}]}},
        {"do":"record.transition","to":{"$param":"free"}},
        {"do":"record.transition","on":{"children":["x"],"kind":"c"},"to":"elsewhere"},
        {"do":"record.merge","on":{"children":["x"]},"data":{}},
        {"do":"job.enqueue","kind":"mail","queue":"out","payload":{"id":{"$id":true}},
         "priority":0,"delay":"0s","max_attempts":1000},
        {"do":"job.enqueue","kind":"mail"}]}}})";

TEST(KindRules, REC_8_StepsInEveryForm) {
  KindRulesPtr rules = Compiled(kEveryStep);
  const std::vector<Step>& steps = rules->actions.at("all").steps;
  ASSERT_EQ(steps.size(), 13u);
  EXPECT_EQ(steps[2].on, Subject::kParent);
  EXPECT_EQ(steps[2].fields, Json::parse(R"({"path":"/n"})"));
  EXPECT_EQ(steps[7].condition["and"].size(), 3u);
  EXPECT_FALSE(steps[7].fields.contains("if"));
  EXPECT_EQ(steps[9].on, Subject::kChildren);
  EXPECT_THAT(steps[9].children, ElementsAre("x"));
  EXPECT_EQ(steps[9].child_kind, "c");
  EXPECT_EQ(steps[10].child_kind, "");
  EXPECT_EQ(steps[11].operation, "job.enqueue");
}

// ---- what is refused ---------------------------------------------------------------------------

struct Refused {
  const char* document;
  const char* message;  // how it begins
};

class KindRulesRefused : public ::testing::TestWithParam<Refused> {};

TEST_P(KindRulesRefused, REC_9_WithThePlace) {
  EXPECT_THAT(Complaint(GetParam().document), StartsWith(GetParam().message))
      << GetParam().document;
}

constexpr Refused kDocuments[] = {
    {"", "rules is not valid JSON"},
    {"{", "rules is not valid JSON"},
    {R"({"a":1,"a":2})", "rules has the member \"a\" twice"},
    {"[]", "rules: must be an object, not an array"},
    {"null", "rules: must be an object, not null"},
    {R"({"staets":{}})", "/staets: is unknown; there can be: description, states,"},
    {R"({"a/b~\n":1})", "/a~1b~0?: is unknown"},
    {R"({"description":1})", "/description: must be a string, not a number"},
    {R"({"schema":{"type":"strnig"}})", "/schema/type: 'strnig' is no type"},
    {R"({"schema":[]})", "/schema: must be a schema"},
    {R"({"example":[]})", "/example: must be an object"},
    {R"({"schema":{"required":["n"]},"example":{}})", "/example: schema: Missing required"},
    {R"({"bounds":{"/n":{"min":1}},"example":{"n":0}})", "/example: bounds /n: /n would be 0"},
};
INSTANTIATE_TEST_SUITE_P(Documents, KindRulesRefused, ::testing::ValuesIn(kDocuments));

constexpr Refused kStates[] = {
    {R"({"states":[]})", "/states: must be an object"},
    {R"({"states":{}})", "/states: initial is missing"},
    {R"({"states":{"initial":"a"}})", "/states: has neither transitions nor final"},
    {R"({"states":{"initial":"a","transitions":{}}})", "/states: has neither"},
    {R"({"states":{"initial":"a","start":"a"}})", "/states/start: is unknown"},
    {R"({"states":{"initial":1,"final":["a"]}})", "/states/initial: must be a list"},
    {R"({"states":{"initial":[],"final":["a"]}})", "/states/initial: must not be empty"},
    {R"({"states":{"initial":"b","final":["a"]}})", "/states/initial: 'b' is not a declared state"},
    {R"({"states":{"initial":["a","b"],"final":["a"]}})", "/states/initial/1: 'b' is not a decl"},
    {R"({"states":{"initial":["a","a"],"final":["a"]}})", "/states/initial/1: 'a' is there twice"},
    {R"({"states":{"initial":"NEW","transitions":{"NEW":["OPENN"],"OPEN":["NEW"]}}})",
     "/states/transitions/NEW/0: 'OPENN' is not a declared state"},
    {R"({"states":{"initial":"a","transitions":{"a":["b"]}}})",
     "/states/transitions/a/0: 'b' is not a declared state"},
    {R"({"states":{"initial":"a","transitions":[]}})", "/states/transitions: must be an object"},
    {R"({"states":{"initial":"a","transitions":{"a":[]}}})", "/states/transitions/a: must not be"},
    {R"({"states":{"initial":"a","transitions":{"a":"b"}}})", "/states/transitions/a: must be a l"},
    {R"({"states":{"initial":"a","transitions":{"a":[1]}}})", "/states/transitions/a/0: must be a"},
    {R"({"states":{"initial":"a","transitions":{"a b":["a"]}}})", "/states/transitions/a b: state"},
    {R"({"states":{"initial":"a","transitions":{"":["a"]}}})", "/states/transitions/: state is em"},
    {R"({"states":{"initial":"a","transitions":{"a":["b","b"]},"final":["b"]}})",
     "/states/transitions/a/1: 'b' is there twice"},
    {R"({"states":{"initial":"a","transitions":{"a":["b"],"b":["a"]},"final":["b"]}})",
     "/states/transitions/b: is final"},
    {R"({"states":{"initial":"a","final":[]}})", "/states/final: must not be empty"},
    {R"({"states":{"initial":"a","final":["a","a"]}})", "/states/final/1: 'a' is there twice"},
    {R"({"states":{"initial":"a","final":["a","b"]}})", "/states/final/1: the state 'b' cannot be"},
    {R"({"states":{"initial":"a","transitions":{"a":["b"],"c":["b"]},"final":["b"]}})",
     "/states/transitions/c: the state 'c' cannot be reached"},
    {R"({"states":{"initial":"a","final":["a"],"same":"maybe"}})", "/states/same: must be"},
    {R"({"states":{"initial":"a","final":["a"],"same":true}})", "/states/same: must be"},
    {R"({"states":{"initial":"a","final":["a"],"require":[]}})", "/states/require: must be an obj"},
    {R"({"states":{"initial":"a","final":["a"],"require":{"b":["/x"]}}})",
     "/states/require/b: 'b' is not a declared state"},
    {R"({"states":{"initial":"a","final":["a"],"require":{"a":"/x"}}})",
     "/states/require/a: must be a list"},
    {R"({"states":{"initial":"a","final":["a"],"require":{"a":["/x","y"]}}})",
     "/states/require/a/1: 'y' is not a JSON pointer"},
    {R"({"states":{"initial":"a","final":["a"],"require":{"a":[""]}}})",
     "/states/require/a/0: must point at a part"},
};
INSTANTIATE_TEST_SUITE_P(States, KindRulesRefused, ::testing::ValuesIn(kStates));

// A part of the document that belongs to "expire" of the state a, from which b can be reached.
constexpr Refused kExpiries[] = {
    {R"([])", "/states/expire: must be an object"},
    {R"({"c":{"after":"1s","to":"b"}})", "/states/expire/c: 'c' is not a declared state"},
    {R"({"a":"1s"})", "/states/expire/a: must be an object"},
    {R"({"a":{"to":"b"}})", "/states/expire/a: after is missing"},
    {R"({"a":{"after":"1s"}})", "/states/expire/a: to is missing"},
    {R"({"a":{"after":"1s","to":"b","in":1}})", "/states/expire/a/in: is unknown"},
    {R"({"a":{"after":"soon","to":"b"}})", "/states/expire/a/after: "},
    {R"({"a":{"after":1,"to":"b"}})", "/states/expire/a/after: must be a string"},
    {R"({"a":{"after":"0s","to":"b"}})", "/states/expire/a/after: must be more than 0"},
    {R"({"a":{"after":"3661d","to":"b"}})", "/states/expire/a/after: is more than"},
    {R"({"a":{"after":"1s","to":"a"}})", "/states/expire/a/to: 'a' is not a declared transition"},
    {R"({"b":{"after":"1s","to":"a"}})", "/states/expire/b/to: 'a' is not a declared transition"},
    {R"({"a":{"after":"1s","to":1}})", "/states/expire/a/to: must be a string"},
    {R"({"a":{"after":"1s","to":"b","data":[]}})", "/states/expire/a/data: must be an object"},
    {R"({"a":{"after":"1s","to":"b"}})", "/states/expire/a: data must have /why, which b requires"},
    {R"({"a":{"after":"1s","to":"b","data":{"why":""}}})", "/states/expire/a: data must have /why"},
};

TEST(KindRules, REC_9_ExpiriesAreRefusedWithThePlace) {
  auto wrap = [](const std::string& expire) {
    return R"({"states":{"initial":"a","transitions":{"a":["b"]},"final":["b"],
               "require":{"b":["/why"]},"expire":)" +
           expire + "}}";
  };
  for (const Refused& c : kExpiries) {
    EXPECT_THAT(Complaint(wrap(c.document)), StartsWith(c.message)) << c.document;
  }
  Compiled(wrap(R"({"a":{"after":"3660d","to":"b","data":{"why":"late"}}})"));
}

constexpr Refused kParts[] = {
    {R"({"bounds":[]})", "/bounds: must be an object"},
    {R"({"bounds":{"n":{"min":0}}})", "/bounds/n: 'n' is not a JSON pointer"},
    {R"({"bounds":{"":{"min":0}}})", "/bounds/: must point at a part"},
    {R"({"bounds":{"/n":0}})", "/bounds/~1n: must be an object"},
    {R"({"bounds":{"/n":{"least":0}}})", "/bounds/~1n/least: is unknown"},
    {R"({"bounds":{"/n":{"min":null}}})", "/bounds/~1n/min: must be a number or a path"},
    {R"({"bounds":{"/n":{"max":"m"}}})", "/bounds/~1n/max: 'm' is not a JSON pointer"},
    {R"({"bounds":{"/n":{"min":2,"max":1}}})", "/bounds/~1n: min is more than max"},
    {R"({"bounds":{"/n":{"min":9007199254740993,"max":9007199254740992.0}}})",
     "/bounds/~1n: min is more than max"},
    {R"({"unique":{}})", "/unique: must be a list"},
    {R"({"unique":[[]]})", "/unique/0: must not be empty"},
    {R"({"unique":[1]})", "/unique/0: must be a list"},
    {R"({"unique":["a"]})", "/unique/0: 'a' is not a JSON pointer"},
    {R"({"unique":["/a",["/b",1]]})", "/unique/1/1: must be a string"},
    {R"({"unique":[["/a","/a"]]})", "/unique/0/1: is there twice"},
    {R"({"unique":["/a",["/a"]]})", "/unique/1: is there twice"},
    {R"({"unique":[["/a","parent"]]})", "/unique/0/1: the kind has no parent"},
    {R"({"parent":{"kind":"p"},"unique":[["parent","/a","parent"]]})", "/unique/0/2: is there tw"},
    {R"({"parent":"p"})", "/parent: must be an object"},
    {R"({"parent":{}})", "/parent: kind is missing"},
    {R"({"parent":{"kind":"a b"}})", "/parent/kind: name has a character outside"},
    {R"({"parent":{"kind":""}})", "/parent/kind: name is empty"},
    {R"({"parent":{"kind":"p","required":1}})", "/parent/required: must be true or false"},
    {R"({"parent":{"kind":"p","touch":"yes"}})", "/parent/touch: must be true or false"},
    {R"({"parent":{"kind":"p","when":[]}})", "/parent/when: must be an object"},
    {R"({"parent":{"kind":"p","when":{"open":true}}})", "/parent/when/open: 'open' is not a JSON"},
    {R"({"parent":{"kind":"p","if":{}}})", "/parent/if: is unknown"},
    {R"({"capacity":[]})", "/capacity: is a limit of the parent"},
    {R"({"parent":{"kind":"p"},"capacity":{}})", "/capacity: must be a list"},
    {R"({"parent":{"kind":"p"},"capacity":[{}]})", "/capacity/0: limit is missing"},
    {R"({"parent":{"kind":"p"},"capacity":[{"limit":5}]})", "/capacity/0/limit: must be a string"},
    {R"({"parent":{"kind":"p"},"capacity":[{"limit":"/n","of":1}]})", "/capacity/0/of: is unknown"},
    {R"({"parent":{"kind":"p"},"capacity":[{"limit":"/n","statuses":["a"]}]})",
     "/capacity/0/statuses: the kind has no states"},
    {R"({"parent":{"kind":"p"},"states":{"initial":"a","final":["a"]},
         "capacity":[{"limit":"/n"}]})",
     "/capacity/0: statuses is missing"},
    {R"({"parent":{"kind":"p"},"states":{"initial":"a","final":["a"]},
         "capacity":[{"limit":"/n","statuses":[]}]})",
     "/capacity/0/statuses: must not be empty"},
    {R"({"parent":{"kind":"p"},"states":{"initial":"a","final":["a"]},
         "capacity":[{"limit":"/n","statuses":["a","b"]}]})",
     "/capacity/0/statuses/1: 'b' is not a declared state"},
    {R"({"history":{}})", "/history: path is missing"},
    {R"({"history":{"path":"/h"}})", "/history: on is missing"},
    {R"({"history":{"path":"h","on":["record.merge"]}})", "/history/path: 'h' is not a JSON po"},
    {R"({"history":{"path":"/h","on":[]}})", "/history/on: must not be empty"},
    {R"({"history":{"path":"/h","on":["record.merge","a"]}})", "/history/on/1: 'a' is neither an"},
    {R"({"history":{"path":"/h","on":["record.delete"]}})", "/history/on/0: 'record.delete' is ne"},
    {R"({"history":{"path":"/h","cap":0,"on":["record.merge"]}})", "/history/cap: is 0 (1 to 100"},
    {R"({"history":{"path":"/h","cap":10001,"on":["record.merge"]}})", "/history/cap: is 10001"},
    {R"({"history":{"path":"/h","cap":1.5,"on":["record.merge"]}})", "/history/cap: must be an in"},
    {R"({"history":{"path":"/h","max":1,"on":["record.merge"]}})", "/history/max: is unknown"},
    {R"({"audit":"/a"})", "/audit: must be a list"},
    {R"({"audit":["/a","b"]})", "/audit/1: 'b' is not a JSON pointer"},
    {R"({"audit":["/a","/a"]})", "/audit/1: is there twice"},
};
INSTANTIATE_TEST_SUITE_P(Parts, KindRulesRefused, ::testing::ValuesIn(kParts));

constexpr Refused kActions[] = {
    {R"({"actions":[]})", "/actions: must be an object"},
    {R"({"actions":{"a b":{"steps":[]}}})", "/actions/a b: action has a character outside"},
    {R"({"actions":{"a":[]}})", "/actions/a: must be an object"},
    {R"({"actions":{"a":{}}})", "/actions/a: steps is missing"},
    {R"({"actions":{"a":{"steps":{}}}})", "/actions/a/steps: must be a list"},
    {R"({"actions":{"a":{"steps":[],"to":"b"}}})", "/actions/a/to: is unknown"},
    {R"({"actions":{"a":{"steps":[],"description":1}}})", "/actions/a/description: must be a st"},
    {R"({"actions":{"a":{"steps":[],"from":["x"]}}})", "/actions/a/from/0: 'x' is not a declared"},
    {R"({"actions":{"a":{"steps":[],"from":[]}}})", "/actions/a/from: must not be empty"},
    {R"({"actions":{"a":{"steps":[],"params":[]}}})", "/actions/a/params: must be an object"},
    {R"({"actions":{"a":{"steps":[],"params":{"p q":{}}}}})", "/actions/a/params/p q: name has"},
    {R"({"actions":{"a":{"steps":[],"params":{"p":1}}}})", "/actions/a/params/p: must be an obj"},
    {R"({"actions":{"a":{"steps":[],"params":{"p":{"type":"string"}}}}})",
     "/actions/a/params/p/type: is unknown"},
    {R"({"actions":{"a":{"steps":[],"params":{"p":{"schema":{"type":"x"}}}}}})",
     "/actions/a/params/p/schema/type: 'x' is no type"},
    {R"({"actions":{"a":{"steps":[],"params":{"p":{"schema":{"type":"null"},"default":1}}}}})",
     "/actions/a/params/p/default: "},
};
INSTANTIATE_TEST_SUITE_P(Actions, KindRulesRefused, ::testing::ValuesIn(kActions));

// Steps of the action a of a kind with the states s and t, a parent, and the parameter p.
constexpr Refused kSteps[] = {
    {R"(1)", ": must be an object"},
    {R"({})", ": do is missing"},
    {R"({"do":1})", "/do: must be a string"},
    {R"({"do":"record.delete"})", "/do: 'record.delete' is not an operation"},
    {R"({"do":"record.merge"})", ": data is missing"},
    {R"({"do":"record.merge","data":1})", "/data: must be an object"},
    {R"({"do":"record.merge","data":{},"path":"/x"})", "/path: is no field of record.merge"},
    {R"({"do":"record.increment"})", ": path is missing"},
    {R"({"do":"record.increment","path":"x"})", "/path: 'x' is not a JSON pointer"},
    {R"({"do":"record.increment","path":{"$param":"p"}})", "/path: must be a string"},
    {R"({"do":"record.increment","path":"/x","by":"1"})", "/by: must be a number"},
    {R"({"do":"record.increment","path":"/x","by":{"a":1}})", "/by: must be a number"},
    {R"({"do":"record.append","path":"/x"})", ": value is missing"},
    {R"({"do":"record.append","path":"/x","value":1,"max_length":0})", "/max_length: is 0 (1 to "},
    {R"({"do":"record.append","path":"/x","value":1,"max_length":{"$param":"p"}})",
     "/max_length: must be an integer"},
    {R"({"do":"record.transition"})", ": to is missing"},
    {R"({"do":"record.transition","to":"x"})", "/to: 'x' is not a declared state"},
    {R"({"do":"record.transition","to":"x y","on":"parent"})", "/to: name has a character"},
    {R"({"do":"record.transition","to":1})", "/to: must be a string"},
    {R"({"do":"record.transition","to":"t","data":[]})", "/data: must be an object"},
    {R"({"do":"record.transition","to":"t","force":true})", "/force: is no field"},
    {R"({"do":"job.enqueue"})", ": kind is missing"},
    {R"({"do":"job.enqueue","kind":"a@b"})", "/kind: name has a character outside"},
    {R"({"do":"job.enqueue","kind":{"$param":"p"}})", "/kind: must be a string"},
    {R"({"do":"job.enqueue","kind":"k","queue":""})", "/queue: name is empty"},
    {R"({"do":"job.enqueue","kind":"k","queue":{"$id":true}})", "/queue: must be a string"},
    {R"({"do":"job.enqueue","kind":"k","priority":10})", "/priority: is 10 (0 to 9)"},
    {R"({"do":"job.enqueue","kind":"k","priority":-1})", "/priority: is -1 (0 to 9)"},
    {R"({"do":"job.enqueue","kind":"k","delay":5})", "/delay: must be a string"},
    {R"({"do":"job.enqueue","kind":"k","delay":"-5s"})", "/delay: "},
    {R"({"do":"job.enqueue","kind":"k","delay":"3661d"})", "/delay: is more than"},
    {R"({"do":"job.enqueue","kind":"k","max_attempts":0})", "/max_attempts: is 0 (1 to 1000)"},
    {R"({"do":"job.enqueue","kind":"k","max_attempts":1001})", "/max_attempts: is 1001"},
    {R"({"do":"job.enqueue","kind":"k","tags":[]})", "/tags: is no field of job.enqueue"},
    {R"({"do":"job.enqueue","kind":"k","on":"self"})", "/on: is no field of job.enqueue"},
    {R"({"do":"record.merge","data":{},"on":"child"})", "/on: must be \"self\""},
    {R"({"do":"record.merge","data":{},"on":["self"]})", "/on: must be \"self\""},
    {R"({"do":"record.merge","data":{},"on":{}})", "/on: children is missing"},
    {R"({"do":"record.merge","data":{},"on":{"children":[]}})", "/on/children: must not be empty"},
    {R"({"do":"record.merge","data":{},"on":{"children":["x","x"]}})", "/on/children/1: 'x' is th"},
    {R"({"do":"record.merge","data":{},"on":{"children":["x"],"kind":1}})", "/on/kind: must be a"},
    {R"({"do":"record.merge","data":{},"on":{"children":["x"],"id":1}})", "/on/id: is unknown"},
    {R"({"do":"record.merge","data":{"x":{"$param":"q"}}})", "/data/x/$param: 'q' is not a param"},
    {R"({"do":"record.merge","data":{"x":[{"$param":1}]}})", "/data/x/0/$param: must be a string"},
    {R"({"do":"record.merge","data":{"$actor":false}})", "/data: is no reference"},
    {R"({"do":"record.merge","data":{"x":{"$now":1}}})", "/data/x: is no reference"},
    {R"({"do":"record.merge","data":{"x":{"$time":true}}})", "/data/x: is no reference"},
    {R"({"do":"record.merge","data":{"x":{"$old":"n"}}})", "/data/x/$old: 'n' is not a JSON"},
    {R"({"do":"record.merge","data":{"x":{"$old":1}}})", "/data/x/$old: must be a string"},
    {R"({"do":"record.merge","data":{"x":{"$negative":"1"}}})", "/data/x/$negative: must be a nu"},
    {R"({"do":"record.merge","data":{"x":{"$negative":{"$param":"q"}}}})",
     "/data/x/$negative/$param: 'q' is not a param"},
    {R"({"do":"record.merge","data":{"x":{"$param":"p","y":1}}})", "/data/x/$param: must stand al"},
    {R"({"do":"record.merge","data":{},"if":1})", "/if: must be an object"},
    {R"({"do":"record.merge","data":{},"if":{}})", "/if: must have one of"},
    {R"({"do":"record.merge","data":{},"if":{"status":["s"],"not":{}}})", "/if: must have one of"},
    {R"({"do":"record.merge","data":{},"if":{"state":["s"]}})", "/if/state: is unknown"},
    {R"({"do":"record.merge","data":{},"if":{"status":"s"}})", "/if/status: must be a list"},
    {R"({"do":"record.merge","data":{},"if":{"status":["x"]}})", "/if/status/0: 'x' is not a de"},
    {R"({"do":"record.merge","data":{},"if":{"children":["x"]}})", "/if/children: must be an ob"},
    {R"({"do":"record.merge","data":{},"if":{"children":{}}})", "/if/children: must have any or"},
    {R"({"do":"record.merge","data":{},"if":{"children":{"any":["x"],"all":["x"]}}})",
     "/if/children: must have any or all"},
    {R"({"do":"record.merge","data":{},"if":{"children":{"none":["x"]}}})",
     "/if/children/none: is unknown"},
    {R"({"do":"record.merge","data":{},"if":{"children":{"any":[]}}})", "/if/children/any: must "},
    {R"({"do":"record.merge","data":{},"if":{"at":"/x"}})", "/if: equals is missing"},
    {R"({"do":"record.merge","data":{},"if":{"at":"x","equals":1}})", "/if/at: 'x' is not a JSON"},
    {R"({"do":"record.merge","data":{},"if":{"equals":1}})", "/if/equals: is unknown"},
    {R"({"do":"record.merge","data":{},"if":{"at":"/x","equals":1,"not":{}}})", "/if/not: is unk"},
    {R"({"do":"record.merge","data":{},"if":{"and":[]}})", "/if: must not be empty"},
    {R"({"do":"record.merge","data":{},"if":{"or":{}}})", "/if/or: must be a list"},
    {R"({"do":"record.merge","data":{},"if":{"not":{"or":[{"and":[1]}]}}})",
     "/if/not/or/0/and/0: must be an object"},
};

TEST(KindRules, REC_9_StepsAreRefusedWithThePlace) {
  for (const Refused& c : kSteps) {
    std::string document = R"({"states":{"initial":"s","transitions":{"s":["t"]},"final":["t"]},
        "parent":{"kind":"p"},"actions":{"a":{"params":{"p":{}},
        "steps":[{"do":"record.merge","data":{}},)" +
                           std::string(c.document) + "]}}}";
    EXPECT_THAT(Complaint(document), StartsWith("/actions/a/steps/1" + std::string(c.message)))
        << c.document;
  }
  EXPECT_THAT(Complaint(R"({"actions":{"a":{"steps":[
                  {"do":"record.merge","on":"parent","data":{}}]}}})"),
              StartsWith("/actions/a/steps/0/on: the kind has no parent"));
  EXPECT_THAT(Complaint(R"({"actions":{"a":{"steps":[{"do":"record.transition","to":"t"}]}}})"),
              StartsWith("/actions/a/steps/0/to: 't' is not a declared state"));
}

TEST(KindRules, REC_9_SizesAreLimited) {
  auto states = [](int count) {
    Json transitions = Json::object();
    for (int i = 0; i < count; ++i) {
      transitions["s" + std::to_string(i)] = {"s" + std::to_string((i + 1) % count)};
    }
    return Json{{"states", {{"initial", "s0"}, {"transitions", transitions}}}}.dump();
  };
  Compiled(states(256));
  EXPECT_THAT(Complaint(states(257)), StartsWith("/states: declares more than 256 states"));

  auto actions = [](int count, int steps) {
    Json action = {{"steps", Json::array()}};
    for (int i = 0; i < steps; ++i) {
      action["steps"].push_back({{"do", "record.merge"}, {"data", Json::object()}});
    }
    Json all = Json::object();
    for (int i = 0; i < count; ++i) all["a" + std::to_string(i)] = action;
    return Json{{"actions", all}}.dump();
  };
  Compiled(actions(100, 1));
  EXPECT_THAT(Complaint(actions(101, 0)), StartsWith("/actions: declares more than 100 actions"));
  Compiled(actions(1, 100));
  EXPECT_THAT(Complaint(actions(1, 101)), StartsWith("/actions/a0/steps: has more than 100 steps"));

  auto condition = [](int depth) {
    std::string text = R"({"at":"/x","equals":1})";
    for (int i = 0; i < depth; ++i) text = R"({"not":)" + text + "}";
    return R"({"actions":{"a":{"steps":[{"do":"record.merge","data":{},"if":)" + text + "}]}}}";
  };
  Compiled(condition(16));
  EXPECT_THAT(Complaint(condition(17)), HasSubstr(": is nested too deep"));
  std::string name(128, 'n');
  Compiled(R"({"parent":{"kind":")" + name + "\"}}");
  EXPECT_THAT(Complaint(R"({"parent":{"kind":")" + name + "n\"}}"), StartsWith("/parent/kind: "));
}

// ---- the documents that are shipped ------------------------------------------------------------

TEST(KindRules, REC_9_ShippedKindsCompileAndFitTheirSchema) {
  auto document = base::ParseJson("rules.schema.json", ReadFile("docs/rules.schema.json"));
  ASSERT_TRUE(document) << document.error().message;
  auto schema = Schema::Compile(*document, "rules.schema.json");
  ASSERT_TRUE(schema) << schema.error().message;
  EXPECT_EQ(schema->Check(Json::parse(DocumentedRules())), std::nullopt);
  EXPECT_EQ(schema->Check(Json::object()), std::nullopt);
  int kinds = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(HOLDFAST_SOURCE_DIR) / "kinds")) {
    if (entry.path().extension() != ".json") continue;
    std::string text = ReadFile(entry.path());
    Compiled(text);
    EXPECT_EQ(schema->Check(Json::parse(text)), std::nullopt) << entry.path();
    ++kinds;
  }
  EXPECT_GE(kinds, 7);
}

TEST(KindRules, REC_9_TheSchemaOfRulesFindsMistakesToo) {
  auto schema =
      Schema::Compile(Json::parse(ReadFile("docs/rules.schema.json")), "rules.schema.json");
  ASSERT_TRUE(schema);
  EXPECT_EQ(schema->Check(Json::parse(kEveryPart)), std::nullopt);
  EXPECT_EQ(schema->Check(Json::parse(kEveryStep)), std::nullopt);
  int found = 0;
  auto check = [&](const Refused& c) {
    auto document = base::ParseJson("rules", c.document);
    if (document && schema->Check(*document)) ++found;
  };
  for (const Refused& c : kDocuments) check(c);
  for (const Refused& c : kStates) check(c);
  for (const Refused& c : kParts) check(c);
  for (const Refused& c : kActions) check(c);
  EXPECT_GE(found, 75);
}

}  // namespace
}  // namespace holdfast::rules
