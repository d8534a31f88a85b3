// Drives the real binary the way a user does: as processes, with files and signals.
#pragma once

#include <gtest/gtest.h>
#include <simdjson.h>

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::e2e {

using Environment = std::map<std::string, std::string>;

/// How a process ended, and what it wrote.
struct Ended {
  int exit_code = -1;
  int signal = 0;
  std::string out;
  std::string err;
};

/// A folder that is removed with what is in it.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }
  /// Writes a file and returns its path.
  std::string Write(const std::string& name, const std::string& text,
                    bool executable = false) const;

 private:
  std::string path_;
};

std::string ReadAll(const std::string& file);

/// A running process. Killed and reaped at the end, if it still runs.
class Process {
 public:
  /// `command[0]` is a path, or a name on the PATH.
  Process(const std::vector<std::string>& command, const std::string& input = {},
          const Environment& environment = {}, const std::string& folder = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  int pid() const { return pid_; }
  void Signal(int number) const;
  /// Waits for the end; a process that does not end in time is killed and has signal 9.
  Ended Wait(std::chrono::seconds most = std::chrono::seconds(60));
  bool IsRunning();
  std::string out() const;
  std::string err() const;
  /// What stands behind `prefix` on the first line of stdout that begins with it; waits for it.
  std::string LineAfter(const std::string& prefix);

 private:
  bool Reap(bool block);
  Folder files_;
  int pid_ = -1;
  int status_ = 0;
  bool reaped_ = false;
};

/// Waits until `condition` holds. Gives up after 30 s, with false.
bool Eventually(const std::function<bool()>& condition);

/// A JSON document that is read by names.
class Json {
 public:
  explicit Json(const std::string& text);
  /// The value at a JSON pointer, as text: a string's own, otherwise minified JSON. "(none)": there
  /// is none.
  std::string At(std::string_view pointer) const;
  std::size_t SizeOf(std::string_view pointer) const;

 private:
  std::optional<simdjson::dom::element> Find(std::string_view pointer) const;

  simdjson::dom::parser parser_;
  simdjson::dom::element root_;
};

/// A store in a folder of its own, and the binary in front of it.
class CliTest : public ::testing::Test {
 protected:
  /// holdfast with these arguments on this test's store.
  Ended Holdfast(std::vector<std::string> arguments, const std::string& input = {});
  std::vector<std::string> Command(std::vector<std::string> arguments) const;
  /// Runs it with -o json and expects it to succeed.
  Ended Done(std::vector<std::string> arguments, const std::string& input = {});
  /// One member of what such a command prints, by JSON pointer.
  std::string Field(const std::string& pointer, std::vector<std::string> arguments);
  /// Runs it and expects an error with this code, whose message has `names` in it.
  void ExpectRefused(std::vector<std::string> arguments, int exit_code, const std::string& code,
                     const std::string& names);
  /// Adds a job, returns its id.
  std::string Push(std::vector<std::string> arguments);
  /// One field of a job, by JSON pointer: JobField("7", "/state").
  std::string JobField(const std::string& id, const std::string& pointer);
  std::string store() const { return store_; }
  void set_store(std::string url) { store_ = std::move(url); }

  Folder folder_;

 private:
  std::string store_ = "sqlite:" + folder_.File("jobs.db");
};

}  // namespace holdfast::e2e
