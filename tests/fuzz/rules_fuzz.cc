// The rules of a kind, in the first line, and data that is held against them in the second.
#include "rules/kind_rules.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  auto [first, second] = fuzz::SplitLines(fuzz::TextOf(data, size));
  Result<rules::KindRulesPtr> compiled = rules::CompileRules("fuzz", 1, first);
  if (!compiled) {
    HF_CHECK(compiled.error().code == ErrorCode::kInvalidArgument);
    fuzz::CheckMessage(compiled.error().message);
    return 0;
  }
  Result<base::Json> json = base::ParseJson("data", second);
  if (!json) return 0;
  auto violation = rules::CheckData(**compiled, *json, {{"/balance", 5}});
  if (violation) {
    fuzz::CheckMessage(violation->rule);
    fuzz::CheckMessage(violation->message);
  }
  for (const auto& [name, action] : (*compiled)->actions) {
    for (const auto& [parameter, declared] : action.params) {
      if (declared.schema) (void)declared.schema->Check(*json);
    }
  }
  return 0;
}
