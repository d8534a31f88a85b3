#include "testing/guard.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <system_error>
#include <utility>

#include "base/check.h"

extern char** environ;

namespace holdfast::testing {

const passwd* Unprivileged() {
  if (::geteuid() != 0) return nullptr;
  static const passwd* nobody = ::getpwnam("nobody");
  HF_CHECK(nobody != nullptr);
  return nobody;
}

std::vector<std::string> AsUnprivileged(const std::vector<std::string>& words) {
  const passwd* user = Unprivileged();
  if (user == nullptr) return words;
  std::vector<std::string> all = {"setpriv", "--reuid=" + std::to_string(user->pw_uid),
                                  "--regid=" + std::to_string(user->pw_gid), "--clear-groups"};
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

pid_t Spawn(std::vector<std::string> words, const std::string& output, int input) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addchdir_np(&actions, "/");
  if (input >= 0) {
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  } else {
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  }
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output.c_str(),
                                   O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  // Ctrl-C is for the tests; what cleans up after them must outlive it.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = -1;
  int error = ::posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::system_error(error, std::generic_category(), words[0]);
  return pid;
}

GuardScript::GuardScript(const std::string& script, const std::vector<std::string>& arguments,
                         const std::string& output) {
  int ends[2];
  HF_CHECK(::pipe2(ends, O_CLOEXEC) == 0);
  std::vector<std::string> words = {"sh", "-c", script, "guard"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  pid_ = Spawn(AsUnprivileged(words), output, ends[0]);
  ::close(ends[0]);
  pipe_ = ends[1];
}

GuardScript::~GuardScript() {
  if (pipe_ < 0) return;
  ::close(pipe_);
  ::waitpid(pid_, nullptr, 0);
}

void GuardScript::LetGo() {
  ::close(std::exchange(pipe_, -1));
}

}  // namespace holdfast::testing
