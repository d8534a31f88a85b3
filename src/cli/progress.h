// A progress bar on stderr: there only when stderr is a terminal, and only for long work.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "holdfast/time.h"

namespace holdfast::cli {

/// Threads: one.
class Progress {
 public:
  /// `total`: nothing if it is not known.
  Progress(std::string what, std::optional<std::int64_t> total);
  ~Progress() { Clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Redraws, ten times a second at most, and not in the first half second.
  void Update(std::int64_t done);
  /// Takes the bar away, before anything else is printed.
  void Clear();

 private:
  void Draw(std::int64_t done, double seconds);

  const std::string what_;
  const std::optional<std::int64_t> total_;
  const bool enabled_;
  const SteadyTime start_;
  SteadyTime next_;
  bool drawn_ = false;
};

/// One line on stderr that says what is waited for: there only when stderr is a terminal.
///
/// Threads: one.
class StatusLine {
 public:
  StatusLine();
  ~StatusLine() { Clear(); }
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  bool enabled() const { return enabled_; }
  /// In place of what it said before.
  void Show(const std::string& text);
  /// Takes the line away, before anything else is printed.
  void Clear();

 private:
  const bool enabled_;
  bool drawn_ = false;
};

}  // namespace holdfast::cli
