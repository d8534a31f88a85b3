// The body of POST /v1/commit, whatever it holds: read, validated, written, and read again.
#include "rules/validate.h"
#include "tests/fuzz/fuzz.h"
#include "wire/decode.h"
#include "wire/encode.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  std::string_view text = fuzz::TextOf(data, size);
  Result<wire::Commit> commit = wire::DecodeCommit(text);
  if (!commit) {
    fuzz::CheckMessage(commit.error().message);
    return 0;
  }
  // Payloads and the like are handed on as they are: only where all of the text is JSON they are.
  if (!wire::ValidateJson("body", text, wire::JsonShape::kObject)) return 0;
  for (const Batch& batch : commit->batches) {
    if (Result<void> valid = rules::Validate(batch); !valid) {
      fuzz::CheckMessage(valid.error().message);
      continue;
    }
    std::string written = wire::ToText(wire::WriteBatch, batch);
    Result<Batch> again = wire::DecodeBatch(written);
    HF_CHECK(again.has_value());
    HF_CHECK(wire::ToText(wire::WriteBatch, *again) == written);
    HF_CHECK(wire::FingerprintOf(*again) == wire::FingerprintOf(batch));
  }
  return 0;
}
