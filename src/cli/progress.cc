#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "cli/output.h"

namespace holdfast::cli {
namespace {

bool CanDraw() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) != 0 && term != nullptr && std::string_view(term) != "dumb";
}

}  // namespace

Progress::Progress(std::string what, std::optional<std::int64_t> total)
    : what_(std::move(what)),
      total_(total),
      enabled_(CanDraw()),
      start_(std::chrono::steady_clock::now()),
      next_(start_ + std::chrono::milliseconds(500)) {}

void Progress::Update(std::int64_t done) {
  if (!enabled_) return;
  SteadyTime now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + std::chrono::milliseconds(100);
  Draw(done, std::chrono::duration<double>(now - start_).count());
}

void Progress::Draw(std::int64_t done, double seconds) {
  constexpr int kWidth = 30;
  double rate = static_cast<double>(done) / std::max(seconds, 0.001);
  std::string line = what_ + " ";
  if (total_ && *total_ > 0) {
    double part = std::clamp(static_cast<double>(done) / static_cast<double>(*total_), 0.0, 1.0);
    int filled = static_cast<int>(part * kWidth);
    line += fmt::format("[{}{}] {:3.0f}% ", std::string(filled, '#'),
                        std::string(kWidth - filled, '.'), part * 100);
  }
  line += fmt::format("{}  {}/s", WithCommas(done), WithCommas(static_cast<std::int64_t>(rate)));
  fmt::print(stderr, "\r\x1b[2K{}", line);
  std::fflush(stderr);
  drawn_ = true;
}

void Progress::Clear() {
  if (!drawn_) return;
  fmt::print(stderr, "\r\x1b[2K");
  std::fflush(stderr);
  drawn_ = false;
}

StatusLine::StatusLine() : enabled_(CanDraw()) {}

void StatusLine::Show(const std::string& text) {
  if (!enabled_) return;
  fmt::print(stderr, "\r\x1b[2K{}", text);
  std::fflush(stderr);
  drawn_ = true;
}

void StatusLine::Clear() {
  if (!drawn_) return;
  fmt::print(stderr, "\r\x1b[2K");
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace holdfast::cli
