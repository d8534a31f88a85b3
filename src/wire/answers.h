// What the readers of answers share. Not for use outside this folder.
#pragma once

#include "holdfast/lock.h"
#include "wire/reader.h"

namespace holdfast::wire {

bool ReadRecord(Value& value, Record& out, Trouble& trouble);
bool ReadKind(Value& value, Kind& out, Trouble& trouble);
bool ReadTransfer(Value& value, Transfer& out, Trouble& trouble);
bool ReadGrants(Value& value, LockOutcome& out, Trouble& trouble);

/// A whole answer that is one T.
template <typename T>
Result<T> DecodeAnswer(std::string_view text, std::span<const Field<T>> fields) {
  return ReadDocument<T>(
      text,
      [&](Value& value, T& out, Trouble& trouble) {
        return ReadFields<T>(value, fields, out, trouble, kLenient);
      },
      "the answer");
}

/// A column of a row.
template <auto Read, typename T>
Result<T> DecodeColumn(std::string_view text, std::string_view name) {
  return ReadDocument<T>(
      text, [](Value& value, T& out, Trouble& trouble) { return Read(value, out, trouble); }, name,
      ErrorCode::kCorrupt);
}

}  // namespace holdfast::wire
