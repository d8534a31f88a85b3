// How records and transfers are named on the command line.
#pragma once

#include <string_view>

#include "holdfast/record.h"

namespace holdfast::cli {

/// "ticket/T-1". Errors: invalid_argument.
Result<RecordKey> ParseRecordKey(std::string_view text);

/// Errors: invalid_argument.
Result<TransferId> ParseTransferId(std::string_view text);

}  // namespace holdfast::cli
