// Records: JSON documents that obey the rules of their kind, and the transfers between them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/error.h"
#include "holdfast/time.h"

namespace holdfast {

/// Names one record. Both parts are 1-128 of [A-Za-z0-9_.:@-].
struct RecordKey {
  std::string kind{};
  std::string id{};

  auto operator<=>(const RecordKey&) const = default;
};

/// "ticket/T-1": how a record is named in messages and in the audit trail.
std::string ToString(const RecordKey& key);

/// How many children of a kind a record has in one status.
struct ChildCount {
  std::string kind{};
  std::string status{};  ///< empty: that kind has no states
  std::int64_t count = 0;

  bool operator==(const ChildCount&) const = default;
};

/// What pending transfers have set aside of a number of this record.
struct Reservation {
  std::string path{};
  std::int64_t amount = 0;

  bool operator==(const Reservation&) const = default;
};

/// A record as stored (REC-1).
struct Record {
  std::string kind{};
  std::string id{};
  std::int64_t version = 0;           ///< from 1, and one more with every committed change
  std::string status{};               ///< empty: the kind has no states
  std::string data{};                 ///< JSON text of an object
  std::optional<RecordKey> parent{};  ///< fixed when the record is created
  Time created_at{};
  Time updated_at{};
  std::string updated_by{};             ///< the actor of the latest change
  std::optional<Time> expires_at{};     ///< when the status ends by itself, if the rules say so
  std::vector<Reservation> reserved{};  ///< by path
  std::vector<ChildCount> children{};   ///< by kind and status; counts of 0 are left out
  std::int64_t fence = 0;  ///< the highest token that a FenceGuard has brought; 0: none

  RecordKey key() const { return {kind, id}; }

  bool operator==(const Record&) const = default;
};

/// Which records of a kind to list, in the order of their ids.
struct RecordFilter {
  std::string kind{};
  std::string status{};  ///< empty: any
  std::optional<RecordKey> parent{};
  int limit = 100;       ///< 1-1,000
  std::string cursor{};  ///< the next_cursor of the page before; empty: from the beginning
};

struct RecordPage {
  std::vector<Record> items{};
  std::string next_cursor{};  ///< empty: this was the last page
};

/// A kind and its rules: one JSON document, see docs/rules.md.
struct Kind {
  std::string name{};
  std::int64_t version = 0;  ///< from 1, and one more whenever the rules change (REC-9)
  std::string rules{};       ///< JSON text
  Time updated_at{};
  std::string updated_by{};

  bool operator==(const Kind&) const = default;
};

/// Rises from 1 within a store; never reused.
using TransferId = std::int64_t;

enum class TransferState : std::uint8_t {
  kPending,  ///< the amount is reserved
  kPosted,   ///< the amount, or a part of it, has moved
  kVoided,   ///< given up: nothing has moved
  kExpired,  ///< as voided, by its time limit
};
inline constexpr std::size_t kTransferStateCount = 4;

/// "pending", "posted", "voided", "expired".
std::string_view NameOf(TransferState state);
std::optional<TransferState> ParseTransferState(std::string_view name);

/// An amount on its way from a number of one record to the same of another (REC-7).
struct Transfer {
  TransferId id = 0;
  RecordKey from{};
  RecordKey to{};
  std::string path{};       ///< of the number, in both records
  std::int64_t amount = 0;  ///< what was asked for
  std::int64_t posted = 0;  ///< what has moved
  TransferState state = TransferState::kPosted;
  Time created_at{};
  std::optional<Time> expires_at{};   ///< pending: when it is given up by itself
  std::optional<Time> finished_at{};  ///< when it was posted, voided or expired
  std::string created_by{};

  bool operator==(const Transfer&) const = default;
};

/// Which transfers to list, in the order of their ids.
struct TransferFilter {
  std::optional<TransferState> state{};
  std::optional<RecordKey> from{};  ///< the record that gives
  int limit = 100;                  ///< 1-1,000
  std::string cursor{};  ///< the next_cursor of the page before; empty: from the beginning
};

struct TransferPage {
  std::vector<Transfer> items{};
  std::string next_cursor{};  ///< empty: this was the last page
};

}  // namespace holdfast
