// The part of random scripts that is about locks.
#include "testing/script.h"

namespace holdfast::testing {

using std::chrono::hours;
using std::chrono::milliseconds;

std::string ScriptWriter::MakeLockName() {
  // The locks of records that the script changes are among them.
  static const std::vector<std::string> names = {"a", "b", "c d/e", "record:user/1",
                                                 "record:account/2"};
  return Pick(names);
}

Token ScriptWriter::MakeLockToken(const std::string& name) {
  auto known = lock_tokens_.find(name);
  if (known == lock_tokens_.end() || OneIn(15)) return Below(50);
  return OneIn(6) ? Pick(known->second) : known->second.back();
}

AcquireLock ScriptWriter::MakeWait() {
  AcquireLock request{.name = MakeLockName(), .owner = "o" + std::to_string(Below(5))};
  if (OneIn(2)) {
    request.mode = LockMode::kShared;
    if (!OneIn(3)) request.limit = 2;
  }
  request.ttl = milliseconds(100 + Below(60'000));
  if (OneIn(6)) request.lock_delay = milliseconds(Below(20'000));
  request.wait = OneIn(4) ? milliseconds(3'600'000) : hours(20);
  return request;
}

Operation ScriptWriter::MakeLockOperation() {
  std::string name = MakeLockName();
  switch (Below(8)) {
    case 0:
    case 1:
    case 2: {
      AcquireLock acquire = MakeWait();
      acquire.wait.reset();
      if (OneIn(4)) {
        acquire.names = {"b", "a"};
        if (OneIn(2)) acquire.names.push_back("c d/e");
        acquire.name.clear();
        if (OneIn(2)) acquire.policy = LockPolicy::kAny;
      }
      if (OneIn(30)) acquire.ttl = Duration::zero();
      return acquire;
    }
    case 3: {
      RenewLock renewal{name, MakeLockToken(name)};
      if (OneIn(2)) renewal.ttl = milliseconds(100 + Below(60'000));
      return renewal;
    }
    case 4:
      if (OneIn(3)) return BreakLock{name, "somebody said so"};
      [[fallthrough]];
    default:
      return ReleaseLock{name, MakeLockToken(name)};
  }
}

void ScriptWriter::Learn(const LockGrant& grant) {
  std::vector<Token>& tokens = lock_tokens_[grant.name];
  if (tokens.empty() || tokens.back() < grant.token) tokens.push_back(grant.token);
}

}  // namespace holdfast::testing
