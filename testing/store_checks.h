// What must hold of a store at any time, whatever happened to it.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "testing/matchers.h"

namespace holdfast::testing {

/// Every job of the store that the filter lets through, by pages.
inline std::vector<Job> ListAllJobs(Store& store, JobFilter filter = {}) {
  std::vector<Job> jobs;
  filter.limit = 1'000;
  do {
    JobPage page = Must(store.ListJobs({}, filter));
    for (Job& job : page.items) jobs.push_back(std::move(job));
    filter.cursor = page.next_cursor;
  } while (!filter.cursor.empty());
  return jobs;
}

/// The counts of every queue are those of its jobs, and ids rise without repetition.
inline void ExpectCountsToBeExact(Store& store) {
  std::map<std::string, std::array<std::int64_t, kJobStateCount>> counted;
  JobId last = 0;
  for (const Job& job : ListAllJobs(store)) {
    EXPECT_GT(job.id, last);
    last = job.id;
    ++counted[job.queue][static_cast<std::size_t>(job.state)];
  }
  for (const Queue& queue : Must(store.ListQueues({})).items) {
    EXPECT_EQ(queue.counts, counted[queue.name]) << "queue " << queue.name;
    counted.erase(queue.name);
  }
  EXPECT_TRUE(counted.empty()) << "jobs in a queue that is not there";
}

/// Every record of a kind, by pages.
inline std::vector<Record> ListAllRecords(Store& store, const std::string& kind) {
  std::vector<Record> records;
  RecordFilter filter{.kind = kind, .limit = 1'000};
  do {
    RecordPage page = Must(store.ListRecords({}, filter));
    for (Record& record : page.items) records.push_back(std::move(record));
    filter.cursor = page.next_cursor;
  } while (!filter.cursor.empty());
  return records;
}

/// Replays the audit trail: versions of a record rise by one from entry to entry, and the last
/// entry tells its version and status. Only where nothing of the trail was pruned.
inline void ExpectTrailToTell(Store& store, const std::string& target,
                              const std::optional<Record>& record) {
  std::int64_t version = 0;
  std::string status;
  AuditFilter filter{.target = target, .refused = false, .limit = 1'000};
  std::vector<AuditEntry> entries;
  do {
    AuditPage page = Must(store.ListAudit({}, filter));
    for (AuditEntry& entry : page.items) entries.push_back(std::move(entry));
    filter.cursor = page.next_cursor;
  } while (!filter.cursor.empty());
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    EXPECT_EQ(entry->old_version, version) << target << ": " << entry->operation;
    EXPECT_EQ(entry->old_status, status) << target << ": " << entry->operation;
    const bool is_step = entry->new_version == entry->old_version + 1;
    const bool is_end = entry->new_version == 0 && entry->operation == "record.delete";
    EXPECT_TRUE(is_step || is_end) << target << ": " << entry->operation;
    version = entry->new_version;
    status = entry->new_status;
  }
  EXPECT_EQ(version, record ? record->version : 0) << target;
  EXPECT_EQ(status, record ? record->status : "") << target;
}

/// The counts of children are those of the children there are, and every trail tells its record.
inline void ExpectRecordsToBeExact(Store& store) {
  std::map<RecordKey, std::map<std::pair<std::string, std::string>, std::int64_t>> counted;
  std::vector<Record> records;
  for (const Kind& kind : Must(store.ListKinds({}))) {
    for (Record& record : ListAllRecords(store, kind.name)) {
      if (record.parent) ++counted[*record.parent][{record.kind, record.status}];
      records.push_back(std::move(record));
    }
  }
  for (const Record& record : records) {
    std::map<std::pair<std::string, std::string>, std::int64_t> kept;
    for (const ChildCount& child : record.children) {
      kept[{child.kind, child.status}] = child.count;
    }
    EXPECT_EQ(kept, counted[record.key()]) << ToString(record.key());
    ExpectTrailToTell(store, ToString(record.key()), record);
  }
}

}  // namespace holdfast::testing
