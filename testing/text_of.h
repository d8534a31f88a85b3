// Whatever a store answers, as text: all of it, with tokens where TokenNames looks for them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json_writer.h"
#include "holdfast/holdfast.h"
#include "wire/encode.h"

namespace holdfast::testing {

inline std::string TextOf(const Job& job) {
  return wire::ToText(wire::WriteJob, job);
}
inline std::string TextOf(const Queue& queue) {
  return wire::ToText(wire::WriteQueue, queue);
}
inline std::string TextOf(const Kind& kind) {
  return wire::ToText(wire::WriteKind, kind);
}
inline std::string TextOf(const Record& record) {
  return wire::ToText(wire::WriteRecord, record);
}
inline std::string TextOf(const Transfer& transfer) {
  return wire::ToText(wire::WriteTransfer, transfer);
}
inline std::string TextOf(const Lock& lock) {
  return wire::ToText(wire::WriteLock, lock);
}
inline std::string TextOf(const AuditEntry& entry) {
  return wire::ToText(wire::WriteAuditEntry, entry);
}
inline std::string TextOf(const Receipt& receipt) {
  return wire::ToText(wire::WriteReceipt, receipt);
}
inline std::string TextOf(Error error) {
  std::string text;
  if (error.detail.id && !error.detail.lock.empty()) {  // the token of the lock
    text = "token " + std::to_string(*error.detail.id) + ": ";
    error.detail.id.reset();
  }
  base::JsonWriter json;
  json.BeginObject();
  wire::WriteErrorFields(json, error);
  json.EndObject();
  return text + std::move(json).Take();
}
template <typename T>
std::string TextOf(const std::optional<T>& value) {
  return value ? TextOf(*value) : "nothing";
}
template <typename T>
std::string TextOf(const std::vector<T>& values) {
  std::string text;
  for (const T& value : values) text += TextOf(value) + "\n";
  return text;
}
template <typename Page>
requires requires(Page page) {
  page.next_cursor;
}
std::string TextOf(const Page& page) {
  return TextOf(page.items) + "next: " + page.next_cursor;
}
template <typename T>
std::string TextOf(const Result<T>& result) {
  return result ? TextOf(*result) : TextOf(result.error());
}

}  // namespace holdfast::testing
