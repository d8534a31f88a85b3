// What the benchmarks share: samples, temporary folders, and the raw SQLite statements that the
// figures are held against.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/json_writer.h"
#include "holdfast/error.h"
#include "holdfast/store.h"
#include "holdfast/time.h"

namespace holdfast::cli {

/// Durations of one kind of call, in microseconds. Threads: one; samples of threads are merged.
class Samples {
 public:
  void Add(std::chrono::steady_clock::duration took) {
    micros_.push_back(std::chrono::duration<float, std::micro>(took).count());
  }
  void Merge(const Samples& other) {
    micros_.insert(micros_.end(), other.micros_.begin(), other.micros_.end());
  }
  std::int64_t count() const { return static_cast<std::int64_t>(micros_.size()); }
  /// The value that `part` (0 to 1) of the samples do not exceed. Sorts.
  double Percentile(double part);

 private:
  std::vector<float> micros_;
};

/// A call that was measured.
struct CallFigures {
  std::string name;
  Samples samples;
};

/// One way of doing it.
struct CaseFigures {
  std::string name;
  std::int64_t life_cycles = 0;
  double seconds = 0;
  std::vector<CallFigures> calls;
  double raw_per_second = 0;  ///< the hand-written statements at the same group size; 0: none

  double PerSecond() const { return seconds > 0 ? static_cast<double>(life_cycles) / seconds : 0; }
};

/// A folder that is removed, with what is in it.
class TemporaryFolder {
 public:
  /// In `parent`. Errors: unavailable.
  static Result<TemporaryFolder> Make(const std::string& parent);
  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::move(other.path_)) {
    other.path_.clear();
  }
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  ~TemporaryFolder();
  const std::string& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

/// A JSON payload of that many bytes.
std::string MakePayload(int bytes);

/// A new name: the store may be one that others use.
std::string QueueOfItsOwn(std::string_view benchmark);

/// Pushes jobs of the kind "bench", showing how far it is.
Result<void> FillQueue(Store& store, const std::string& queue, std::int64_t jobs,
                       int payload_bytes);

/// Life cycles a second of hand-written statements on a fresh file: `group` inserts,
/// claims and completions to a transaction each, for about `length`.
Result<double> MeasureRawSqlite(const std::string& file, int group, int payload_bytes,
                                Duration length);

/// "12,346" for 12345.6.
std::string Whole(double number);

/// Resident memory of this process, in MiB.
double ResidentMiB();

}  // namespace holdfast::cli
