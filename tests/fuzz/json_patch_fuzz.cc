// A patch in the second line, taken for a JSON Patch and for a merge patch, on the data in the
// first.
#include "rules/edits.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  auto [first, second] = fuzz::SplitLines(fuzz::TextOf(data, size));
  Result<base::Json> before = base::ParseJson("data", first);
  Result<base::Json> patch = base::ParseJson("patch", second);
  for (const auto* parsed : {&before, &patch}) {
    if (!*parsed) {
      fuzz::CheckMessage(parsed->error().message);
      return 0;
    }
    // What is written can be read, and is the same.
    HF_CHECK(base::ParseJson("again", base::ToText(**parsed)) == **parsed);
  }
  Result<base::Json> merged = rules::ApplyMergePatch(*before, *patch);
  HF_CHECK(merged.has_value() == patch->is_object());
  rules::Effort effort;
  Result<base::Json> after = rules::ApplyJsonPatch(*before, *patch, effort);
  if (!after) {
    fuzz::CheckMessage(after.error().message);
    return 0;
  }
  HF_CHECK(base::DepthOf(*after) <= base::kJsonDepth);
  HF_CHECK(base::ParseJson("again", base::ToText(*after)) == *after);
  return 0;
}
