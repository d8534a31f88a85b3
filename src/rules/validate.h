// The limits of what may be asked (JOB-12), checked before anything is stored. The syntax of JSON
// texts is checked by the store, which has a parser.
#pragma once

#include "holdfast/audit.h"
#include "holdfast/batch.h"
#include "holdfast/context.h"
#include "holdfast/error.h"

namespace holdfast::rules {

/// Errors: invalid_argument or payload_too_large; the message names the thing and the limit, the
/// detail the operation.
Result<void> Validate(const Batch& batch);
Result<void> Validate(const ClaimRequest& request);
Result<void> Validate(const JobFilter& filter);
Result<void> Validate(const AuditFilter& filter);
Result<void> Validate(const Context& context);

/// The id in a page's cursor. Errors: invalid_argument.
Result<std::int64_t> ParseCursor(std::string_view cursor);

}  // namespace holdfast::rules
