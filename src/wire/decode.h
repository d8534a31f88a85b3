// The JSON shapes of the API, read. Strict: an unknown or repeated field, a wrong type, a number
// out of range or text after the end is invalid_argument, and the message names the field.
//
// Raw JSON (payload, result, metadata) is handed on as the very text that was sent, so that numbers
// stay exact; its own syntax is checked where every batch is validated (ValidateJson).
#pragma once

#include <string_view>

#include "holdfast/store.h"

namespace holdfast::wire {

enum class JsonShape { kAny, kObject };

/// Whether `text` is one JSON value (of that shape), in UTF-8, nested at most 64 deep.
/// Errors: invalid_argument; the message begins with `name`.
Result<void> ValidateJson(std::string_view name, std::string_view text, JsonShape shape);

/// Bodies of requests.
Result<Batch> DecodeBatch(std::string_view text);
Result<JobSpec> DecodeJobSpec(std::string_view text);
struct JobSpecs {
  std::vector<JobSpec> jobs;
  bool atomic = false;
};
Result<JobSpecs> DecodeJobSpecs(std::string_view text);
Result<ClaimRequest> DecodeClaimRequest(std::string_view text);

/// Bodies of answers.
Result<Job> DecodeJob(std::string_view text);
Result<JobPage> DecodeJobPage(std::string_view text);
Result<std::vector<Job>> DecodeClaimedJobs(std::string_view text);
Result<std::vector<Queue>> DecodeQueues(std::string_view text);
Result<AuditPage> DecodeAuditPage(std::string_view text);
Result<StoreStats> DecodeStats(std::string_view text);
Result<Receipt> DecodeReceipt(std::string_view text);
/// problem+json; `http_status` decides if the body is not such a document.
Error DecodeProblem(std::string_view text, int http_status);

/// Single columns of a job's row. Errors: corrupt.
Result<std::vector<JobError>> DecodeErrors(std::string_view text);
Result<std::vector<std::string>> DecodeTags(std::string_view text);
Result<RetryDelay> DecodeRetry(std::string_view text);

}  // namespace holdfast::wire
