// What many clients asked of one store at the same time, and what they were told.
//
// A history is complete: it tells of every call that touched the objects in it, from their creation
// on. What can be concluded from it is in check.h; how it is kept as a file in history_file.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "history/linearizability.h"
#include "holdfast/batch.h"
#include "holdfast/error.h"

namespace holdfast::history {

struct ReadRecord {
  RecordKey key;
};
struct ReadJob {
  JobId id = 0;
};
struct ReadLock {
  std::string name;
};

/// An AcquireLock is one of Store::Acquire: it may wait.
using Request = std::variant<Batch, ClaimRequest, AcquireLock, ReadRecord, ReadJob, ReadLock>;
/// The answer to the request at the same place.
using Answer = std::variant<Receipt, std::vector<Job>, std::vector<LockGrant>,
                            std::optional<Record>, std::optional<Job>, Lock>;

/// "commit", "claim", "acquire", "get_record", "get_job", "get_lock".
std::string_view NameOf(const Request& request);

/// One call. Neither answer nor error: nobody heard of it again.
struct Observed {
  int process = 0;    ///< makes one call at a time, and none after one with an unknown end
  std::string actor;  ///< on whose behalf
  Request request;
  std::optional<Answer> answer{};
  std::optional<Error> error{};
  // The places of its beginning and its end among all such events; nobody shares one.
  std::int64_t invoked = 0;
  std::int64_t returned = 0;
  // The instants, in nanoseconds since the history began.
  std::int64_t invoked_ns = 0;
  std::int64_t returned_ns = 0;
};

/// What an error says of the call: some are an answer that must be explained, some say that nothing
/// was done, and some say nothing.
CallEnd EndOf(const Observed& call);

/// Where a history comes from.
struct Source {
  std::string engine;
  std::string version;
  std::uint64_t seed = 0;
  std::string scenario;
};

struct History {
  Source source;
  std::vector<Observed> calls{};
};

/// In the order in which they began.
void SortByBeginning(History& history);

/// "process 3, 17 to 20: commit record.increment counter/c-1: version_mismatch", for a person who
/// looks for what went wrong.
std::string Describe(const Observed& call);

}  // namespace holdfast::history
