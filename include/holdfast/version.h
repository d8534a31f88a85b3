// Which release this is.
#pragma once

namespace holdfast {

/// The version of this release, as in CHANGELOG.md.
inline constexpr const char* kVersion = "0.1.0";

}  // namespace holdfast
