#include "api/url.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "base/utf8.h"

namespace holdfast::api {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool IsUnreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

std::unexpected<Error> Invalid(std::string message) {
  return Fail(ErrorCode::kInvalidArgument, std::move(message));
}

/// In a query, + stands for a space.
Result<std::string> DecodeQueryText(std::string_view text) {
  std::string spaced(text);
  std::ranges::replace(spaced, '+', ' ');
  auto decoded = PercentDecode(spaced);
  if (!decoded || !base::IsUtf8(*decoded)) {
    return Invalid("the query of the URL is not percent-encoded UTF-8");
  }
  return *std::move(decoded);
}

}  // namespace

std::optional<std::string> PercentDecode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    int high = HexDigit(text[i + 1]);
    int low = HexDigit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return decoded;
}

std::string PercentEncode(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string encoded;
  encoded.reserve(text.size());
  for (char c : text) {
    if (IsUnreserved(c)) {
      encoded += c;
    } else {
      auto byte = static_cast<unsigned char>(c);
      encoded += '%';
      encoded += kHex[byte >> 4];
      encoded += kHex[byte & 15];
    }
  }
  return encoded;
}

Result<Query> Query::Parse(std::string_view text) {
  Query query;
  while (!text.empty()) {
    std::size_t end = std::min(text.find('&'), text.size());
    std::string_view part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (part.empty()) continue;
    std::size_t equals = std::min(part.find('='), part.size());
    HF_ASSIGN_OR_RETURN(std::string name, DecodeQueryText(part.substr(0, equals)));
    std::string_view rest = part.substr(std::min(equals + 1, part.size()));
    HF_ASSIGN_OR_RETURN(std::string value, DecodeQueryText(rest));
    for (const auto& parameter : query.parameters_) {
      if (parameter.first == name) {
        return Invalid(fmt::format("query parameter {} is given twice", base::CutUtf8(name, 64)));
      }
    }
    query.parameters_.emplace_back(std::move(name), std::move(value));
  }
  return query;
}

Result<void> Query::AllowOnly(std::initializer_list<std::string_view> names) const {
  for (const auto& [name, value] : parameters_) {
    if (std::ranges::find(names, name) != names.end()) continue;
    std::string_view known = names.size() == 0 ? "this call takes none" : "known are ";
    return Invalid(fmt::format("{} is not a known query parameter ({}{})", base::CutUtf8(name, 64),
                               known, fmt::join(names, ", ")));
  }
  return {};
}

const std::string* Query::Find(std::string_view name) const {
  for (const auto& parameter : parameters_) {
    if (parameter.first == name && !parameter.second.empty()) return &parameter.second;
  }
  return nullptr;
}

std::string Query::Get(std::string_view name) const {
  const std::string* value = Find(name);
  return value != nullptr ? *value : std::string();
}

TargetBuilder& TargetBuilder::Add(std::string_view name, std::string_view value) {
  if (value.empty()) return *this;
  text_ += separator_;
  text_ += name;
  text_ += '=';
  text_ += PercentEncode(value);
  separator_ = '&';
  return *this;
}

}  // namespace holdfast::api
