#include "e2e/harness.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "testing/wait_for_stop.h"

namespace holdfast::e2e {
namespace {

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> EnvironmentOf(const Environment& more) {
  std::vector<std::string> texts;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    std::string text = *variable;
    std::string name = text.substr(0, text.find('='));
    // Nothing of whoever runs the tests may change what they see.
    if (!more.contains(name) && !name.starts_with("HOLDFAST_")) texts.push_back(text);
  }
  for (const auto& [name, value] : more) texts.push_back(fmt::format("{}={}", name, value));
  return texts;
}

}  // namespace

Folder::Folder() {
  path_ = (std::filesystem::temp_directory_path() / "holdfast-e2e-XXXXXX").string();
  if (mkdtemp(path_.data()) == nullptr) std::abort();
}

Folder::~Folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string Folder::Write(const std::string& name, const std::string& text, bool executable) const {
  std::ofstream(File(name)) << text;
  if (executable) chmod(File(name).c_str(), 0755);
  return File(name);
}

std::string ReadAll(const std::string& file) {
  std::ifstream in(file);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

Process::Process(const std::vector<std::string>& command, const std::string& input,
                 const Environment& environment, const std::string& folder) {
  files_.Write("in", input);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, files_.File("in").c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, files_.File("out").c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_addopen(&actions, 2, files_.File("err").c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (!folder.empty()) posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
  std::vector<std::string> arguments = command;
  std::vector<std::string> variables = EnvironmentOf(environment);
  // Who runs the tests may have had a signal ignored, as nohup does: a child would inherit it.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGHUP);
  posix_spawnattr_setsigdefault(&attributes, &signals);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  int error = posix_spawnp(&pid_, command.front().c_str(), &actions, &attributes,
                           Pointers(arguments).data(), Pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    ADD_FAILURE() << "cannot run " << command.front() << ": " << std::strerror(error);
    reaped_ = true;
  }
}

Process::~Process() {
  if (reaped_) return;
  Signal(SIGCONT);
  Signal(SIGKILL);
  Reap(true);
}

void Process::Signal(int number) const {
  if (!reaped_) kill(pid_, number);
}

bool Process::Reap(bool block) {
  if (!reaped_ && waitpid(pid_, &status_, block ? 0 : WNOHANG) == pid_) reaped_ = true;
  return reaped_;
}

bool Process::IsRunning() {
  return !Reap(false);
}

Ended Process::Wait(std::chrono::seconds most) {
  if (!testing::WaitUntilTrue([&] { return Reap(false); }, most)) {
    ADD_FAILURE() << "process " << pid_ << " did not end in time; stderr:\n" << err();
    Signal(SIGKILL);
    Reap(true);
  }
  Ended ended{.out = out(), .err = err()};
  if (WIFEXITED(status_)) ended.exit_code = WEXITSTATUS(status_);
  if (WIFSIGNALED(status_)) ended.signal = WTERMSIG(status_);
  return ended;
}

std::string Process::out() const {
  return ReadAll(files_.File("out"));
}
std::string Process::err() const {
  return ReadAll(files_.File("err"));
}

std::string Process::LineAfter(const std::string& prefix) {
  std::string found;
  bool there = Eventually([&] {
    std::stringstream lines(out());
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with(prefix) || lines.eof()) continue;  // the last line may not be whole
      found = line.substr(prefix.size());
      return true;
    }
    return !IsRunning();
  });
  EXPECT_TRUE(there && !found.empty()) << "no line '" << prefix << "...'; stderr:\n" << err();
  return found;
}

bool Eventually(const std::function<bool()>& condition) {
  return testing::WaitUntilTrue(condition, std::chrono::seconds(30));
}

Json::Json(const std::string& text) {
  auto error = parser_.parse(text).get(root_);
  EXPECT_EQ(error, simdjson::SUCCESS) << "not JSON: " << text;
}

std::optional<simdjson::dom::element> Json::Find(std::string_view pointer) const {
  simdjson::dom::element value = root_;
  while (!pointer.empty()) {
    pointer.remove_prefix(1);  // the slash
    std::string name(pointer.substr(0, pointer.find('/')));
    pointer.remove_prefix(name.size());
    simdjson::dom::element next;
    auto error =
        value.is_array() ? value.at(std::stoul(name)).get(next) : value.at_key(name).get(next);
    if (error != simdjson::SUCCESS) return std::nullopt;
    value = next;
  }
  return value;
}

std::string Json::At(std::string_view pointer) const {
  auto value = Find(pointer);
  if (!value) return "(none)";
  std::string_view text;
  if (value->get(text) == simdjson::SUCCESS) return std::string(text);
  return simdjson::minify(*value);
}

std::size_t Json::SizeOf(std::string_view pointer) const {
  auto value = Find(pointer);
  simdjson::dom::array array;
  if (!value || value->get(array) != simdjson::SUCCESS) return 0;
  return array.size();
}

std::vector<std::string> CliTest::Command(std::vector<std::string> arguments) const {
  std::vector<std::string> command = {HOLDFAST_BINARY, "--store", store_};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

Ended CliTest::Holdfast(std::vector<std::string> arguments, const std::string& input) {
  return Process(Command(std::move(arguments)), input).Wait();
}

Ended CliTest::Done(std::vector<std::string> arguments, const std::string& input) {
  SCOPED_TRACE(::testing::PrintToString(arguments));
  arguments.insert(arguments.begin(), {"-o", "json"});
  Ended ended = Holdfast(std::move(arguments), input);
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  return ended;
}

std::string CliTest::Field(const std::string& pointer, std::vector<std::string> arguments) {
  return Json(Done(std::move(arguments)).out).At(pointer);
}

void CliTest::ExpectRefused(std::vector<std::string> arguments, int exit_code,
                            const std::string& code, const std::string& names) {
  SCOPED_TRACE(::testing::PrintToString(arguments).substr(0, 300));
  Ended ended = Holdfast(std::move(arguments));
  EXPECT_EQ(ended.exit_code, exit_code);
  EXPECT_THAT(ended.err, ::testing::StartsWith("holdfast: " + code + ": "));
  EXPECT_THAT(ended.err, ::testing::HasSubstr(names));
  EXPECT_EQ(ended.out, "");
}

std::string CliTest::Push(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"-o", "json", "job", "push"});
  Ended pushed = Holdfast(std::move(arguments));
  EXPECT_EQ(pushed.exit_code, 0) << pushed.err;
  return Json(pushed.out).At("/id");
}

std::string CliTest::JobField(const std::string& id, const std::string& pointer) {
  Ended got = Holdfast({"-o", "json", "job", "get", id});
  EXPECT_EQ(got.exit_code, 0) << got.err;
  return Json(got.out).At(pointer);
}

}  // namespace holdfast::e2e
