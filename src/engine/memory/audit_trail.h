// The audit trail of the memory engine. Not thread-safe: the engine's mutex guards it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/audit.h"

namespace holdfast::engine {

/// An entry where it is kept. Good until the trail changes.
struct AuditView {
  std::int64_t sequence = 0;
  Time at;
  std::string_view actor;
  std::string_view operation;
  std::string_view target;
  std::string_view old_status;
  std::string_view new_status;
  std::int64_t old_version = 0;
  std::int64_t new_version = 0;
  Token token = 0;
  Duration lock_wait{};
  Duration commit{};
  std::string_view correlation_id;
  std::string_view details;
  std::string_view error;
  std::int64_t count = 1;

  AuditEntry ToEntry() const;
};

/// Entries are packed into blocks, their texts one behind the other: as objects of their own a
/// million of them need four times the memory, and most of the time of a commit goes into asking
/// the system for it.
class AuditTrail {
 public:
  void Add(const AuditEntry& entry);
  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }
  /// By age, 0 for the oldest.
  AuditView At(std::size_t index) const;
  void DropOldest();

 private:
  static constexpr std::size_t kTexts = 8;
  static constexpr std::size_t kBlock = 256;  // entries

  struct Packed {
    std::int64_t sequence = 0;
    Time at;
    std::int64_t old_version = 0;
    std::int64_t new_version = 0;
    Token token = 0;
    Duration lock_wait{};
    Duration commit{};
    std::int64_t count = 1;
    std::size_t begin = 0;  // of its texts
    std::array<std::uint32_t, kTexts> lengths{};
  };
  struct Block {
    std::vector<Packed> entries;
    std::string texts;
  };

  // All full but for the last. Of the first, so many are gone already.
  std::deque<Block> blocks_;
  std::size_t gone_ = 0;
  std::size_t size_ = 0;
};

}  // namespace holdfast::engine
