// How locks and their leases are printed.
#include <fmt/format.h>

#include "cli/output.h"

namespace holdfast::cli {
namespace {

constexpr std::size_t kOwnersShown = 3;

/// "exclusive", "shared 2/5", "delayed", "free".
std::string ModeOf(const Lock& lock) {
  if (lock.holders.empty()) return lock.delayed_until ? "delayed" : "free";
  const LockMode mode = lock.holders.front().mode;
  if (mode == LockMode::kExclusive) return std::string(NameOf(mode));
  return fmt::format("{} {}{}", NameOf(mode), lock.holders.size(),
                     lock.limit ? fmt::format("/{}", *lock.limit) : "");
}

/// "0" or "5: ada, bob, cy, ...".
std::string WaitersOf(const Lock& lock) {
  std::string text = std::to_string(lock.waiters.size());
  for (std::size_t i = 0; i < lock.waiters.size() && i < kOwnersShown; ++i) {
    text += (i == 0 ? ": " : ", ") + Printable(lock.waiters[i].owner, 40);
  }
  return lock.waiters.size() > kOwnersShown ? text + ", ..." : text;
}

std::string LeftUntil(Time end, Time now) {
  return end > now ? RoughDuration(end - now) : "ended";
}

void PrintGrant(const LockGrant& grant) {
  PrintLine("lock", Printable(grant.name, 512));
  PrintLine("token", std::to_string(grant.token));
  PrintLine("owner", Printable(grant.owner, 128));
  PrintLine("mode", NameOf(grant.mode));
  PrintLine("acquired", ShortTime(grant.acquired_at));
  PrintLine("lease ends", ShortTime(grant.expires_at));
  if (grant.waited >= std::chrono::milliseconds(1)) {
    PrintLine("waited", RoughDuration(grant.waited));
  }
}

}  // namespace

void PrintGrants(const std::vector<LockGrant>& grants) {
  if (grants.size() == 1) return PrintGrant(grants.front());
  Table table({{"NAME"}, {"TOKEN", true}, {"OWNER"}, {"MODE"}, {"ACQUIRED"}, {"LEASE ENDS"}});
  for (const LockGrant& grant : grants) {
    table.AddRow({Printable(grant.name, 80), std::to_string(grant.token),
                  Printable(grant.owner, 128), std::string(NameOf(grant.mode)),
                  ShortTime(grant.acquired_at), ShortTime(grant.expires_at)});
  }
  table.Print();
}

void PrintLock(const Lock& lock, Time now) {
  PrintLine("lock", Printable(lock.name, 512));
  PrintLine("mode", ModeOf(lock));
  if (lock.delayed_until) {
    PrintLine("lock delay", fmt::format("another {}", LeftUntil(*lock.delayed_until, now)));
  }
  if (!lock.holders.empty()) {
    Table holders({{"HOLDER"}, {"TOKEN", true}, {"MODE"}, {"AGE", true}, {"LEFT", true}});
    for (const LockHolder& holder : lock.holders) {
      holders.AddRow({Printable(holder.owner, 128), std::to_string(holder.token),
                      std::string(NameOf(holder.mode)), RoughDuration(now - holder.acquired_at),
                      LeftUntil(holder.expires_at, now)});
    }
    fmt::print("\n");
    holders.Print();
  }
  if (lock.waiters.empty()) return;
  Table waiters({{"#", true}, {"WAITER"}, {"MODE"}, {"WAITING", true}});
  for (std::size_t i = 0; i < lock.waiters.size(); ++i) {
    const LockWaiter& waiter = lock.waiters[i];
    waiters.AddRow({std::to_string(i + 1), Printable(waiter.owner, 128),
                    std::string(NameOf(waiter.mode)), RoughDuration(now - waiter.since)});
  }
  fmt::print("\n");
  waiters.Print();
}

void PrintLocks(const std::vector<Lock>& locks, Time now) {
  Table table({{"NAME"},
               {"MODE"},
               {"HOLDER"},
               {"TOKEN", true},
               {"AGE", true},
               {"LEFT", true},
               {"WAITERS"}});
  for (const Lock& lock : locks) {
    std::vector<std::string> row = {Printable(lock.name, 80), ModeOf(lock), "-", "-", "-", "-",
                                    WaitersOf(lock)};
    if (!lock.holders.empty()) {
      const LockHolder& first = lock.holders.front();
      row[2] = Printable(first.owner, 60);
      if (lock.holders.size() > 1) row[2] += fmt::format(" +{}", lock.holders.size() - 1);
      row[3] = std::to_string(first.token);
      row[4] = RoughDuration(now - first.acquired_at);
      row[5] = LeftUntil(first.expires_at, now);
    } else if (lock.delayed_until) {
      row[5] = LeftUntil(*lock.delayed_until, now);
    }
    table.AddRow(std::move(row));
  }
  table.Print();
}

}  // namespace holdfast::cli
