// Everything there is to include. Start reading at store.h.
#pragma once

#include "holdfast/audit.h"      // IWYU pragma: export
#include "holdfast/batch.h"      // IWYU pragma: export
#include "holdfast/context.h"    // IWYU pragma: export
#include "holdfast/error.h"      // IWYU pragma: export
#include "holdfast/held_lock.h"  // IWYU pragma: export
#include "holdfast/job.h"        // IWYU pragma: export
#include "holdfast/lock.h"       // IWYU pragma: export
#include "holdfast/log.h"        // IWYU pragma: export
#include "holdfast/metrics.h"    // IWYU pragma: export
#include "holdfast/queue.h"      // IWYU pragma: export
#include "holdfast/record.h"     // IWYU pragma: export
#include "holdfast/retry.h"      // IWYU pragma: export
#include "holdfast/store.h"      // IWYU pragma: export
#include "holdfast/time.h"       // IWYU pragma: export
#include "holdfast/version.h"    // IWYU pragma: export
#include "holdfast/worker.h"     // IWYU pragma: export
