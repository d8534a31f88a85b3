// The packed audit trail gives back what was put in, whatever went before it and is gone.
#include "engine/memory/audit_trail.h"

#include <gtest/gtest.h>

#include <string>

namespace holdfast::engine {
namespace {

AuditEntry EntryOf(std::int64_t number) {
  const std::string text = std::to_string(number);
  return {.sequence = number,
          .at = Time(Duration(1000 + number)),
          .actor = number % 3 == 0 ? "" : "actor " + text,
          .operation = "lock.acquire",
          .target = "lock/" + text,
          .old_status = "free",
          .new_status = number % 2 == 0 ? "exclusive" : "",
          .old_version = number,
          .new_version = number + 1,
          .token = 7 * number,
          .lock_wait = Duration(number),
          .commit = Duration(2 * number),
          .correlation_id = number % 5 == 0 ? std::string(300, 'c') : "",
          .details = R"({"n":)" + text + "}",
          .error = number % 7 == 0 ? "fenced" : "",
          .count = 1 + number % 4};
}

void ExpectToHold(const AuditTrail& trail, std::int64_t first, std::int64_t last) {
  ASSERT_EQ(trail.size(), static_cast<std::size_t>(last - first + 1));
  EXPECT_EQ(trail.empty(), trail.size() == 0);
  for (std::int64_t number = first; number <= last; ++number) {
    ASSERT_EQ(trail.At(static_cast<std::size_t>(number - first)).ToEntry(), EntryOf(number));
  }
}

TEST(AuditTrail, GivesBackWhatWasPutIn) {
  AuditTrail trail;
  EXPECT_TRUE(trail.empty());
  for (std::int64_t number = 1; number <= 1000; ++number) trail.Add(EntryOf(number));
  ExpectToHold(trail, 1, 1000);
}

TEST(AuditTrail, DropsTheOldest) {
  AuditTrail trail;
  std::int64_t first = 1;
  for (std::int64_t number = 1; number <= 2000; ++number) {
    trail.Add(EntryOf(number));
    if (trail.size() <= 300) continue;
    trail.DropOldest();
    ++first;
  }
  ExpectToHold(trail, first, 2000);
}

TEST(AuditTrail, GoesOnAfterItWasEmptied) {
  AuditTrail trail;
  for (std::int64_t count : {1, 255, 256, 257, 600}) {
    for (std::int64_t number = 1; number <= count; ++number) trail.Add(EntryOf(number));
    ExpectToHold(trail, 1, count);
    while (!trail.empty()) trail.DropOldest();
  }
  trail.Add(EntryOf(5));
  ExpectToHold(trail, 5, 5);
}

}  // namespace
}  // namespace holdfast::engine
