#include "base/text.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "base/utf8.h"

namespace holdfast::base {
namespace {

struct Unit {
  std::string_view suffix;
  Duration length;
};
constexpr Unit kUnits[] = {
    {"d", std::chrono::hours(24)},        {"h", std::chrono::hours(1)},
    {"m", std::chrono::minutes(1)},       {"s", std::chrono::seconds(1)},
    {"ms", std::chrono::milliseconds(1)}, {"us", Duration(1)},
};

/// Reads `digits` decimal digits at the front of `text`, and removes them.
std::optional<int> TakeDigits(std::string_view& text, std::size_t digits) {
  if (text.size() < digits) return std::nullopt;
  int value = 0;
  for (char c : text.substr(0, digits)) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  text.remove_prefix(digits);
  return value;
}

bool TakeChar(std::string_view& text, std::string_view choices) {
  if (text.empty() || choices.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<Duration> TakeFraction(std::string_view& text) {
  if (!TakeChar(text, ".")) return Duration::zero();
  std::int64_t value = 0;
  std::size_t digits = 0;
  while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
    if (digits < 6) value = value * 10 + (text.front() - '0');
    ++digits;
    text.remove_prefix(1);
  }
  if (digits == 0 || digits > 9) return std::nullopt;
  for (; digits < 6; ++digits) value *= 10;
  return Duration(value);
}

std::optional<Duration> TakeOffset(std::string_view& text) {
  if (TakeChar(text, "Zz")) return Duration::zero();
  bool negative = !text.empty() && text.front() == '-';
  if (!TakeChar(text, "+-")) return std::nullopt;
  auto hours = TakeDigits(text, 2);
  if (!hours || !TakeChar(text, ":")) return std::nullopt;
  auto minutes = TakeDigits(text, 2);
  if (!minutes || *hours > 23 || *minutes > 59) return std::nullopt;
  Duration offset = std::chrono::hours(*hours) + std::chrono::minutes(*minutes);
  return negative ? -offset : offset;
}

std::optional<Time> TryParseTime(std::string_view text) {
  auto year = TakeDigits(text, 4);
  if (!year || !TakeChar(text, "-")) return std::nullopt;
  auto month = TakeDigits(text, 2);
  if (!month || !TakeChar(text, "-")) return std::nullopt;
  auto day = TakeDigits(text, 2);
  if (!day || !TakeChar(text, "Tt ")) return std::nullopt;
  auto hour = TakeDigits(text, 2);
  if (!hour || !TakeChar(text, ":")) return std::nullopt;
  auto minute = TakeDigits(text, 2);
  if (!minute || !TakeChar(text, ":")) return std::nullopt;
  auto second = TakeDigits(text, 2);
  if (!second || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  auto fraction = TakeFraction(text);
  if (!fraction) return std::nullopt;
  auto offset = TakeOffset(text);
  if (!offset || !text.empty()) return std::nullopt;
  std::chrono::year_month_day date{std::chrono::year(*year),
                                   std::chrono::month(static_cast<unsigned>(*month)),
                                   std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  return Time(std::chrono::sys_days(date)) + std::chrono::hours(*hour) +
         std::chrono::minutes(*minute) + std::chrono::seconds(*second) + *fraction - *offset;
}

}  // namespace

// Written digit by digit: every job that is sent carries four or five of these.
std::string FormatTime(Time time) {
  auto days = std::chrono::floor<std::chrono::days>(time);
  std::chrono::year_month_day date{days};
  std::chrono::hh_mm_ss clock{time - days};
  std::string text = "0000-00-00T00:00:00.000000Z";
  auto put = [&text](std::size_t at, std::size_t digits, std::int64_t number) {
    for (std::size_t i = digits; i-- > 0; number /= 10) {
      text[at + i] = static_cast<char>('0' + number % 10);
    }
  };
  put(0, 4, static_cast<int>(date.year()));
  put(5, 2, static_cast<unsigned>(date.month()));
  put(8, 2, static_cast<unsigned>(date.day()));
  put(11, 2, clock.hours().count());
  put(14, 2, clock.minutes().count());
  put(17, 2, clock.seconds().count());
  put(20, 6, clock.subseconds().count());
  return text;
}

Result<Time> ParseTime(std::string_view text) {
  if (auto time = TryParseTime(text)) return *time;
  return Fail(
      ErrorCode::kInvalidArgument,
      fmt::format("'{}' is not an RFC 3339 time such as 2026-11-23T08:15:30Z", CutUtf8(text, 64)));
}

std::string FormatDuration(Duration duration) {
  if (duration == Duration::zero()) return "0s";
  for (const Unit& unit : kUnits) {
    if (duration % unit.length == Duration::zero()) {
      return fmt::format("{}{}", duration / unit.length, unit.suffix);
    }
  }
  return fmt::format("{}us", duration.count());
}

Result<Duration> ParseDuration(std::string_view text) {
  auto bad = [&] {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("'{}' is not a duration such as 30s, 250ms or 1h (units: us, ms, s, m, "
                            "h, d; at most 10000d)",
                            CutUtf8(text, 64)));
  };
  std::size_t length = text.find_first_not_of("0123456789.");
  if (length == 0 || length == std::string_view::npos) return bad();
  double number = 0;
  auto [end, error] =
      std::from_chars(text.data(), text.data() + length, number, std::chars_format::fixed);
  if (error != std::errc() || end != text.data() + length) return bad();
  for (const Unit& unit : kUnits) {
    if (text.substr(length) != unit.suffix) continue;
    double count = number * static_cast<double>(unit.length.count());
    if (count > 10000.0 * 86400e6) return bad();
    return Duration(std::llround(count));
  }
  return bad();
}

std::optional<std::int64_t> ParseInteger(std::string_view text) {
  std::int64_t value = 0;
  if (text.empty() || text.front() == '-') return std::nullopt;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace holdfast::base
