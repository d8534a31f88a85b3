// What the contention tests of records share: threads that begin together and their answers by
// code, the shipped kinds, and what must hold of a record's versions and its audit trail.
#pragma once

#include <array>
#include <atomic>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "testing/store_suite.h"

namespace holdfast::testing {

/// How many calls were answered how. Threads: any.
class Tally {
 public:
  template <typename T>
  void Add(const Result<T>& result) {
    if (result) {
      ++ok_;
    } else {
      ++errors_.at(static_cast<std::size_t>(result.error().code));
    }
  }
  int ok() const { return ok_; }
  int Of(ErrorCode code) const { return errors_.at(static_cast<std::size_t>(code)); }
  int all() const {
    int sum = ok_;
    for (const std::atomic<int>& count : errors_) sum += count;
    return sum;
  }

 private:
  std::atomic<int> ok_ = 0;
  std::array<std::atomic<int>, std::size(kErrorCodes)> errors_{};
};

/// So many calls succeeded, so many got this error, and none another one.
inline void ExpectTally(const Tally& tally, int ok, ErrorCode code, int refused) {
  EXPECT_EQ(tally.ok(), ok);
  EXPECT_EQ(tally.Of(code), refused) << InfoOf(code).name;
  EXPECT_EQ(tally.all(), ok + refused) << "there were other errors";
}

class RecordContention : public StoreSuite {
 protected:
  using Json = nlohmann::json;

  /// Runs `body(i)` on that many threads, which begin together.
  template <typename Body>
  static void RunThreads(int count, Body body) {
    std::atomic<int> ready = 0;
    std::vector<std::jthread> threads;
    for (int i = 0; i < count; ++i) {
      threads.emplace_back([&, i] {
        ++ready;
        while (ready < count) std::this_thread::yield();
        body(i);
      });
    }
  }

  void Declare(const std::string& name, const std::string& rules) {
    Must(store().Apply({}, {.name = name, .rules = rules}));
  }
  /// A kind from the folder kinds/.
  void DeclareShipped(const std::string& name) {
    std::ifstream file(HOLDFAST_KINDS_DIR "/" + name + ".json");
    std::ostringstream rules;
    if (!(rules << file.rdbuf())) throw std::runtime_error("kind " + name + " is not shipped");
    Declare(name, rules.str());
  }

  Record Create(const std::string& kind, const std::string& id, const Json& data,
                std::optional<RecordKey> parent = {}) {
    return Must(store().Create(
        {}, {.kind = kind, .id = id, .data = data.dump(), .parent = std::move(parent)}));
  }
  Record Load(const std::string& kind, const std::string& id) {
    std::optional<Record> record = Must(store().GetRecord({}, {kind, id}));
    if (!record) throw std::runtime_error(kind + "/" + id + " is not there");
    return *record;
  }
  static Json DataOf(const Record& record) { return Json::parse(record.data); }
  Json DataOf(const std::string& kind, const std::string& id) { return DataOf(Load(kind, id)); }
  std::vector<Record> LoadAll(RecordFilter filter) {
    filter.limit = 1'000;
    std::vector<Record> records;
    do {
      RecordPage page = Must(store().ListRecords({}, filter));
      for (Record& record : page.items) records.push_back(std::move(record));
      filter.cursor = page.next_cursor;
    } while (!filter.cursor.empty());
    return records;
  }

  static RecordTarget On(const std::string& kind, const std::string& id,
                         std::optional<std::int64_t> version = {}) {
    return {.kind = kind, .id = id, .version = version};
  }
  static Context As(int thread) { return {.actor = "t" + std::to_string(thread)}; }

  using StoreSuite::CountOf;
  static std::int64_t CountOf(const Record& parent, const std::string& kind,
                              const std::string& status) {
    for (const ChildCount& count : parent.children) {
      if (count.kind == kind && count.status == status) return count.count;
    }
    return 0;
  }
  /// The counts that a record has of its children are those of the children there are.
  void ExpectChildrenToBeCounted(const std::string& kind, const std::string& id,
                                 const std::string& child_kind) {
    std::map<std::string, std::int64_t> counted;
    for (const Record& child : LoadAll({.kind = child_kind, .parent = RecordKey{kind, id}})) {
      ++counted[child.status];
    }
    std::map<std::string, std::int64_t> told;
    for (const ChildCount& count : Load(kind, id).children) told[count.status] = count.count;
    EXPECT_EQ(told, counted) << kind << "/" << id;
  }

  /// What was done to a record (not what was refused), newest first.
  std::vector<AuditEntry> AuditOf(const std::string& kind, const std::string& id) {
    AuditFilter filter{.target = ToString(RecordKey{kind, id}), .limit = 1'000};
    std::vector<AuditEntry> entries;
    do {
      AuditPage page = Must(store().ListAudit({}, filter));
      for (AuditEntry& entry : page.items) {
        if (entry.error.empty()) entries.push_back(std::move(entry));
      }
      filter.cursor = page.next_cursor;
    } while (!filter.cursor.empty());
    return entries;
  }
  /// The record is at this version, and its audit trail tells of every version on the way, once.
  void ExpectVersion(const std::string& kind, const std::string& id, std::int64_t version) {
    EXPECT_EQ(Load(kind, id).version, version) << kind << "/" << id;
    std::int64_t next = version;
    for (const AuditEntry& entry : AuditOf(kind, id)) {
      EXPECT_EQ(entry.new_version, next) << kind << "/" << id;
      EXPECT_EQ(entry.old_version, next - 1) << kind << "/" << id;
      --next;
    }
    EXPECT_EQ(next, 0) << kind << "/" << id << ": entries are missing";
  }
};

}  // namespace holdfast::testing
