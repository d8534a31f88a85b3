// Answers about locks.
#include "wire/answers.h"
#include "wire/decode.h"
#include "wire/operation_fields.h"

namespace holdfast::wire {
namespace {

bool ReadMilliseconds(Value& value, Duration& out, Trouble& trouble) {
  std::int64_t count = 0;
  if (!ReadInteger(value, count, trouble)) return false;
  out = std::chrono::milliseconds(count);
  return true;
}

constexpr Field<LockGrant> kGrantFields[] = {
    {"name", As<ReadText, &LockGrant::name>, kRequired},
    {"owner", As<ReadText, &LockGrant::owner>, kRequired},
    {"mode", As<ReadLockMode, &LockGrant::mode>, kRequired},
    {"token", As<ReadId, &LockGrant::token>, kRequired},
    {"acquired_at", As<ReadTime, &LockGrant::acquired_at>, kRequired},
    {"expires_at", As<ReadTime, &LockGrant::expires_at>, kRequired},
    {"waited_ms", As<ReadMilliseconds, &LockGrant::waited>, kRequired},
};

bool ReadGrant(Value& value, LockGrant& out, Trouble& trouble) {
  return ReadFields<LockGrant>(value, kGrantFields, out, trouble, kLenient);
}

struct GrantList {
  std::vector<LockGrant> locks;
};
constexpr Field<GrantList> kGrantListFields[] = {
    {"locks", As<ReadList<ReadGrant, LockGrant>, &GrantList::locks>, kRequired},
};

constexpr Field<LockHolder> kHolderFields[] = {
    {"owner", As<ReadText, &LockHolder::owner>, kRequired},
    {"mode", As<ReadLockMode, &LockHolder::mode>, kRequired},
    {"token", As<ReadId, &LockHolder::token>, kRequired},
    {"acquired_at", As<ReadTime, &LockHolder::acquired_at>, kRequired},
    {"expires_at", As<ReadTime, &LockHolder::expires_at>, kRequired},
};

bool ReadHolder(Value& value, LockHolder& out, Trouble& trouble) {
  return ReadFields<LockHolder>(value, kHolderFields, out, trouble, kLenient);
}

constexpr Field<LockWaiter> kWaiterFields[] = {
    {"owner", As<ReadText, &LockWaiter::owner>, kRequired},
    {"mode", As<ReadLockMode, &LockWaiter::mode>, kRequired},
    {"since", As<ReadTime, &LockWaiter::since>, kRequired},
};

bool ReadWaiter(Value& value, LockWaiter& out, Trouble& trouble) {
  return ReadFields<LockWaiter>(value, kWaiterFields, out, trouble, kLenient);
}

constexpr Field<Lock> kLockFields[] = {
    {"name", As<ReadText, &Lock::name>, kRequired},
    {"limit", As<ReadInteger, &Lock::limit>},
    {"delayed_until", As<ReadTime, &Lock::delayed_until>},
    {"holders", As<ReadList<ReadHolder, LockHolder>, &Lock::holders>, kRequired},
    {"waiters", As<ReadList<ReadWaiter, LockWaiter>, &Lock::waiters>, kRequired},
};

bool ReadLock(Value& value, Lock& out, Trouble& trouble) {
  return ReadFields<Lock>(value, kLockFields, out, trouble, kLenient);
}

constexpr Field<LockPage> kLockPageFields[] = {
    {"items", As<ReadList<ReadLock, Lock>, &LockPage::items>, kRequired},
    {"next_cursor", As<ReadCursor, &LockPage::next_cursor>},
};

}  // namespace

bool ReadGrants(Value& value, LockOutcome& out, Trouble& trouble) {
  return ReadList<ReadGrant>(value, out.grants, trouble);
}

Result<Lock> DecodeLock(std::string_view text) {
  return DecodeAnswer<Lock>(text, kLockFields);
}
Result<LockPage> DecodeLockPage(std::string_view text) {
  return DecodeAnswer<LockPage>(text, kLockPageFields);
}
Result<std::vector<LockGrant>> DecodeGrants(std::string_view text) {
  auto list = DecodeAnswer<GrantList>(text, kGrantListFields);
  if (!list) return std::unexpected(std::move(list).error());
  return std::move(list->locks);
}

}  // namespace holdfast::wire
