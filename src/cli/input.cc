#include "cli/input.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/result.h"

namespace holdfast::cli {
namespace {

constexpr std::size_t kMostBytes = 8 * 1024 * 1024;

}  // namespace

Result<std::unique_ptr<Input>> Input::Open(const std::string& file) {
  auto input = std::make_unique<Input>();
  if (file.empty() || file == "-") return input;
  input->fd_ = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status {};
  if (input->fd_ < 0 || fstat(input->fd_, &status) != 0) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("cannot open {}: {}", file, std::strerror(errno)));
  }
  if (S_ISDIR(status.st_mode)) {
    return Fail(ErrorCode::kInvalidArgument, file + " is a directory, not a file");
  }
  input->regular_ = S_ISREG(status.st_mode);
  return input;
}

Input::~Input() {
  if (fd_ > STDERR_FILENO) close(fd_);
}

Result<bool> ReadSome(int fd, std::string& buffer) {
  std::size_t size = buffer.size();
  buffer.resize(size + 64 * 1024);
  ssize_t got = 0;
  do {
    got = read(fd, buffer.data() + size, buffer.size() - size);
  } while (got < 0 && errno == EINTR);
  buffer.resize(size + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  if (got < 0) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("cannot read the input: {}", std::strerror(errno)));
  }
  return got > 0;
}

std::string_view TrimBlanks(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  std::size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

Result<std::string> ReadWhole(const std::string& file) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Input> input, Input::Open(file));
  std::string text;
  while (true) {
    HF_ASSIGN_OR_RETURN(bool more, ReadSome(input->fd(), text));
    if (!more) return text;
    if (text.size() > kMostBytes) {
      return Fail(ErrorCode::kPayloadTooLarge,
                  fmt::format("{} is over 8 MiB", file == "-" ? "stdin" : file));
    }
  }
}

Result<std::string> ReadJsonWord(const std::string& word) {
  bool is_file = word.size() > 1 && word.starts_with('@');
  if (!is_file && word != "-") return word;
  HF_ASSIGN_OR_RETURN(std::string text, ReadWhole(is_file ? word.substr(1) : word));
  return std::string(TrimBlanks(text));
}

}  // namespace holdfast::cli
