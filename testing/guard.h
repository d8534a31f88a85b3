// Programs that must not run as root, and that must be gone when whoever started them is, however
// that ends.
#pragma once

#include <pwd.h>
#include <sys/types.h>

#include <string>
#include <vector>

namespace holdfast::testing {

/// Whom to run them as if this is root, which they refuse; else nobody else.
const passwd* Unprivileged();
/// The command line that runs this one as Unprivileged().
std::vector<std::string> AsUnprivileged(const std::vector<std::string>& words);

/// Starts a program in the root folder, which everybody may enter, with what it says in a file, in
/// a session of its own: Ctrl-C is for the tests.
pid_t Spawn(std::vector<std::string> words, const std::string& output, int input = -1);

/// A script of sh, run as Unprivileged(), whose stdin closes with this object or this process:
/// "read -r _" returns then, and what comes after it cleans up. It is waited for.
class GuardScript {
 public:
  /// `arguments` are $1, $2 ...
  GuardScript(const std::string& script, const std::vector<std::string>& arguments,
              const std::string& output = "/dev/null");
  ~GuardScript();
  GuardScript(const GuardScript&) = delete;
  GuardScript& operator=(const GuardScript&) = delete;

  /// Its stdin closes, and it is not waited for.
  void LetGo();

 private:
  pid_t pid_ = -1;
  int pipe_ = -1;
};

}  // namespace holdfast::testing
