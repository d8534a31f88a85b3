// The engine that keeps everything in this process: for tests, for what may be forgotten, and as
// the executable specification that every other engine is compared with.
#pragma once

#include <memory>

#include "engine/engine.h"

namespace holdfast::engine {

/// Never fails.
Result<std::unique_ptr<Engine>> OpenMemory(const StoreOptions& options);

}  // namespace holdfast::engine
