// What commands read besides their words: files, stdin, and options that name either.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "holdfast/error.h"

namespace holdfast::cli {

/// A file, or stdin, to be read from its beginning. Threads: one.
class Input {
 public:
  /// "" and "-" mean stdin. Errors: invalid_argument (cannot be opened, or is a directory).
  static Result<std::unique_ptr<Input>> Open(const std::string& file);
  Input() = default;
  ~Input();
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  int fd() const { return fd_; }
  /// A file on a disk, which can be read twice.
  bool regular() const { return regular_; }

 private:
  int fd_ = 0;  // stdin
  bool regular_ = false;
};

/// Appends what there is to read next to `buffer`. False: the end. Errors: invalid_argument.
Result<bool> ReadSome(int fd, std::string& buffer);

/// `text` without the white space around it.
std::string_view TrimBlanks(std::string_view text);

/// All of a file, or of stdin ("-"). Errors: invalid_argument, payload_too_large (over 8 MiB, more
/// than any call takes).
Result<std::string> ReadWhole(const std::string& file);

/// JSON as it stands on a command line: the text itself, "@FILE", or "-" for stdin.
Result<std::string> ReadJsonWord(const std::string& word);

}  // namespace holdfast::cli
