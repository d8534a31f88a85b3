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
  for (const Queue& queue : Must(store.ListQueues({}))) {
    EXPECT_EQ(queue.counts, counted[queue.name]) << "queue " << queue.name;
    counted.erase(queue.name);
  }
  EXPECT_TRUE(counted.empty()) << "jobs in a queue that is not there";
}

}  // namespace holdfast::testing
