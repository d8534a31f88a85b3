// Jobs: what they are, how one is described before it exists, how they are listed and claimed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/error.h"
#include "holdfast/time.h"

namespace holdfast {

/// Rises from 1 within a store; never reused.
using JobId = std::int64_t;

/// The fencing token of a lease: from one counter for the whole store, strictly increasing, never
/// reused. 0 means none.
using Token = std::int64_t;

/// The states of a job (JOB-1). failed holds the dead letters.
enum class JobState : std::uint8_t {
  kScheduled,
  kPending,
  kProcessing,
  kCompleted,
  kFailed,
  kCancelled,
};
inline constexpr std::size_t kJobStateCount = 6;

/// "scheduled", "pending", and so on: the name used in SQL, JSON and the command line.
std::string_view NameOf(JobState state);

/// The state of that name, or nothing.
std::optional<JobState> ParseJobState(std::string_view name);

/// A set of job states.
class JobStates {
 public:
  constexpr JobStates() = default;
  constexpr JobStates(std::initializer_list<JobState> states) {
    for (JobState state : states) Add(state);
  }
  static constexpr JobStates FromBits(std::uint8_t bits) {
    JobStates states;
    states.bits_ = bits;
    return states;
  }
  constexpr void Add(JobState state) { bits_ |= Bit(state); }
  constexpr bool Has(JobState state) const { return (bits_ & Bit(state)) != 0; }
  constexpr bool HasAll(JobStates other) const { return (bits_ & other.bits_) == other.bits_; }
  constexpr bool IsEmpty() const { return bits_ == 0; }
  constexpr std::uint8_t bits() const { return bits_; }
  constexpr bool operator==(const JobStates&) const = default;

 private:
  static constexpr std::uint8_t Bit(JobState state) {
    return static_cast<std::uint8_t>(1U << static_cast<unsigned>(state));
  }
  std::uint8_t bits_ = 0;
};

/// The states in which a job still has something ahead of it.
inline constexpr JobStates kLiveStates{JobState::kScheduled, JobState::kPending,
                                       JobState::kProcessing};

/// How long to wait before the next attempt: min(initial * factor^(attempt-1), max), +- jitter.
/// Without one a job waits attempt^4 seconds, +- 10 %.
struct RetryDelay {
  Duration initial = std::chrono::seconds(1);
  double factor = 2;
  Duration max = std::chrono::hours(1);
  double jitter = 0.1;  ///< a fraction of the delay, 0 to 1

  bool operator==(const RetryDelay&) const = default;
};

/// What to do when a job with the same unique key already exists (JOB-10).
enum class OnConflict : std::uint8_t {
  kReject,   ///< already_exists, with the id of the existing job
  kReturn,   ///< the existing job is the answer
  kReplace,  ///< the waiting job's payload becomes this one's; already_exists if it is not waiting
};

/// At most one job of a kind holds a unique key while its state is one of `states`.
struct UniqueKey {
  std::string key{};               ///< 1-256 bytes
  JobStates states = kLiveStates;  ///< must include the live states; may add finished ones
  OnConflict on_conflict = OnConflict::kReject;

  bool operator==(const UniqueKey&) const = default;
};

/// A job before it exists. Only `kind` is required.
struct JobSpec {
  std::string kind{};               ///< 1-128 of [A-Za-z0-9_.:-]
  std::string queue = "default";    ///< 1-128 of [A-Za-z0-9_.:-]
  std::string payload = "null";     ///< JSON text, at most 256 KiB
  int priority = 4;                 ///< 0 (most urgent) to 9
  std::optional<Time> run_at{};     ///< not before this instant; excludes `delay`
  std::optional<Duration> delay{};  ///< not before this much from now, by the engine's clock
  int max_attempts = 25;            ///< in total: 25 means 25 attempts, not 26
  std::optional<RetryDelay> retry{};
  std::optional<UniqueKey> unique{};
  std::optional<JobId> parent{};    ///< must exist
  std::vector<std::string> tags{};  ///< at most 32, each 1-128 bytes
  std::string metadata = "{}";      ///< a JSON object, at most 16 KiB

  bool operator==(const JobSpec&) const = default;
};

/// Why an attempt did not succeed.
struct JobError {
  int attempt = 0;
  std::string worker{};
  Time at{};
  std::string message{};

  bool operator==(const JobError&) const = default;
};

/// A job as stored.
struct Job {
  JobId id = 0;
  std::string queue{};
  std::string kind{};
  JobState state = JobState::kPending;
  int priority = 4;
  int attempt = 0;  ///< claims so far, less those given back by release and snooze
  int max_attempts = 25;
  std::string payload{};                ///< JSON text
  std::optional<std::string> result{};  ///< JSON text
  std::optional<double> progress{};     ///< 0 to 1
  std::string message{};                ///< reported with the progress
  Time run_at{};
  Time created_at{};
  std::optional<Time> started_at{};   ///< of the latest attempt
  std::optional<Time> finished_at{};  ///< completed, failed or cancelled
  std::string worker{};               ///< of the latest attempt
  Token token = 0;                    ///< of the latest attempt; 0 in what is read back by others
  std::optional<Time> lease_expires_at{};
  int lease_expiries = 0;          ///< in a row, without a report between them
  std::vector<JobError> errors{};  ///< the last 10, oldest first
  std::string unique_key{};
  JobStates unique_states{};
  std::optional<JobId> parent{};
  std::vector<std::string> tags{};
  std::string metadata{};  ///< a JSON object
  bool cancel_requested = false;
  std::optional<RetryDelay> retry{};

  bool operator==(const Job&) const = default;
};

/// Which jobs to list. Jobs come in the order of their ids, oldest first.
struct JobFilter {
  std::optional<JobState> state{};
  std::string queue{};  ///< empty: any
  std::string kind{};   ///< empty: any
  std::optional<JobId> parent{};
  bool retrying = false;  ///< only those that failed and are scheduled for another attempt
  int limit = 100;        ///< 1-1,000
  std::string cursor{};   ///< the next_cursor of the page before; empty: from the beginning
};

struct JobPage {
  std::vector<Job> items{};
  std::string next_cursor{};  ///< empty: this was the last page
};

/// What a worker asks for (JOB-3).
struct ClaimRequest {
  std::string worker{};                       ///< 1-128 bytes: who will work
  std::vector<std::string> queues{};          ///< at most 100; empty: every queue
  std::vector<std::string> kinds{};           ///< at most 100; empty: every kind
  int max = 1;                                ///< 1-1,000
  Duration lease = std::chrono::seconds(30);  ///< 100 ms to 24 h
  Duration wait = Duration::zero();           ///< how long to wait for a first job; at most 5 min
};

}  // namespace holdfast
