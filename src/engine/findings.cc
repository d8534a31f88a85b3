#include "engine/findings.h"

#include <fmt/format.h>

namespace holdfast::engine {

std::string_view NameOf(Health health) {
  switch (health) {
    case Health::kOk:
      return "ok";
    case Health::kWarn:
      return "warn";
    case Health::kFail:
      return "fail";
  }
  return "fail";
}

Finding Healthy(std::string found) {
  return {.health = Health::kOk, .found = std::move(found)};
}

Finding Suspect(std::string found, std::string advice) {
  return {.health = Health::kWarn, .found = std::move(found), .advice = std::move(advice)};
}

Finding Broken(ErrorCode code, std::string found, std::string advice) {
  return {.health = Health::kFail,
          .found = std::move(found),
          .advice = std::move(advice),
          .code = code};
}

std::string ListSome(const std::vector<std::string>& texts) {
  constexpr std::size_t kMost = 3;
  std::string list;
  for (std::size_t i = 0; i < texts.size() && i < kMost; ++i) {
    list += (i == 0 ? "" : "; ") + texts[i];
  }
  if (texts.size() > kMost) list += fmt::format(" and {} more", texts.size() - kMost);
  return list;
}

std::string ByteText(std::int64_t bytes) {
  constexpr double kStep = 1024;
  auto amount = static_cast<double>(bytes);
  if (amount < kStep) return fmt::format("{} bytes", bytes);
  for (std::string_view unit : {"KiB", "MiB"}) {
    amount /= kStep;
    if (amount < kStep) return fmt::format("{:.1f} {}", amount, unit);
  }
  return fmt::format("{:.1f} GiB", amount / kStep);
}

}  // namespace holdfast::engine
