// How much an answer holds, and when it is full (kAnswerBytes).
#pragma once

#include <cstddef>

#include "holdfast/audit.h"
#include "holdfast/job.h"
#include "holdfast/lock.h"
#include "holdfast/queue.h"
#include "holdfast/record.h"
#include "rules/limits.h"

namespace holdfast::rules {

/// The bytes that an item adds to an answer: its texts, and a flat amount for the rest of it. As
/// JSON it may be longer by what has to be escaped in messages and names; payloads, results, data
/// and rules are JSON as they are.
std::size_t SizeOf(const Job& job);
std::size_t SizeOf(const Record& record);
std::size_t SizeOf(const Kind& kind);
std::size_t SizeOf(const Transfer& transfer);
std::size_t SizeOf(const Lock& lock);
std::size_t SizeOf(const LockGrant& grant);
std::size_t SizeOf(const Queue& queue);
std::size_t SizeOf(const AuditEntry& entry);

/// The room of a page of a list, or of a claim: so many items, of so many bytes together. The first
/// item always fits, so that a page cannot be empty while there is more.
class PageRoom {
 public:
  explicit PageRoom(int items) : items_(items) {}

  /// Whether the item fits, and then it is counted in. After false the page is full.
  template <typename Item>
  [[nodiscard]] bool Take(const Item& item) {
    const std::size_t size = SizeOf(item);
    if (taken_ >= items_ || (taken_ > 0 && bytes_ + size > kAnswerBytes)) return false;
    ++taken_;
    bytes_ += size;
    return true;
  }

 private:
  const int items_;
  int taken_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace holdfast::rules
