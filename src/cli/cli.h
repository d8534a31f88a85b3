// The frame of the command line: the options that every command takes, how commands are declared,
// and how a line becomes an exit code.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"
#include "cli/output.h"
#include "holdfast/context.h"
#include "holdfast/store.h"

namespace holdfast::cli {

/// The options that every command takes.
struct Globals {
  std::string store = "sqlite:./holdfast.db";
  OutputFormat output = OutputFormat::kTable;
  std::string actor;
  std::optional<Duration> timeout;
  std::optional<LogLevel> log_level;
  base::LogFormat log_format = base::LogFormat::kText;
};

/// What a command does once the whole line was read. The answer is the exit code.
using Action = std::function<Result<int>()>;

/// For options whose empty value would mean something else than what was meant: that of a variable
/// which was never set.
inline std::string RefuseEmpty(const std::string& text) {
  return text.empty() ? "is empty" : "";
}

/// CLI11 takes "[a,b]" apart where several words may stand, as if two had been typed. Words of that
/// form are given to it with this in front, and it is taken away again from what it reads.
inline constexpr char kVerbatim = '\x01';
inline std::string Typed(const std::string& word) {
  return word.starts_with(kVerbatim) ? word.substr(1) : word;
}

/// Threads: one.
class Cli {
 public:
  Cli();

  /// Reads the line, runs the command, reports its error. The answer is the exit code.
  int Run(int argc, char** argv);
  /// Prints the error to stderr. The answer is its exit code.
  int Report(const Error& error) const;

  CLI::App& root() { return root_; }
  const Globals& globals() const { return globals_; }
  /// --store as it may be shown.
  std::string ShownStore() const;
  /// "HOLDFAST_STORE=...", for a command that this one runs. A password reaches it only if it comes
  /// from this very variable, which the command would inherit.
  std::string StoreVariable() const;
  /// What stood behind "--".
  const std::vector<std::string>& command_line() const { return command_line_; }
  /// The words an option may take, for completion.
  const std::map<const CLI::Option*, std::vector<std::string>>& choices() const { return choices_; }

  /// Declares a group of commands ("job").
  CLI::App& AddGroup(CLI::App& parent, const std::string& name, const std::string& description);
  /// Declares a command. Help begins with the examples, one a line.
  CLI::App& AddCommand(CLI::App& parent, const std::string& name, const std::string& description,
                       const std::string& examples, Action action);
  /// This command is followed by "--" and a command line of the user's.
  void TakesCommandLine(CLI::App& command) { takes_command_line_.push_back(&command); }

  /// An option whose text `parse` (a function to Result<...>) turns into `target`.
  template <typename T, typename Parse>
  CLI::Option* AddParsed(CLI::App& command, const std::string& name, T& target, Parse parse,
                         const std::string& type, const std::string& description);
  /// The same, as often as wanted.
  CLI::Option* AddRepeated(CLI::App& command, const std::string& name,
                           std::vector<std::string>& target, const std::string& type,
                           const std::string& description);
  /// What stands in no option: as many words as wanted.
  CLI::Option* AddWords(CLI::App& command, const std::string& name,
                        std::vector<std::string>& target, const std::string& description);
  template <typename T>
  CLI::Option* AddText(CLI::App& command, const std::string& name, T& target,
                       const std::string& type, const std::string& description);
  template <typename T>
  CLI::Option* AddDuration(CLI::App& command, const std::string& name, T& target,
                           const std::string& description);
  template <typename T>
  CLI::Option* AddTime(CLI::App& command, const std::string& name, T& target,
                       const std::string& description);
  /// A whole number of at least `least`.
  template <typename T>
  CLI::Option* AddNumber(CLI::App& command, const std::string& name, T& target, std::int64_t least,
                         const std::string& description);
  /// One of a few words.
  template <typename T, typename Value>
  CLI::Option* AddChoice(CLI::App& command, const std::string& name, T& target,
                         std::vector<std::pair<std::string, Value>> words,
                         const std::string& description);

  /// Opens the store of --store. `maintain`: whether this process takes part in maintenance, which
  /// only those that stay around do.
  Result<std::unique_ptr<Store>> Open(bool maintain = false);
  /// The presets of $HOLDFAST_LOCK_PRESETS come behind those of `options`. Errors: those of
  /// OpenStore, invalid_argument (a preset).
  Result<std::unique_ptr<Store>> Open(StoreOptions options);
  /// Until --timeout from now, on behalf of --actor.
  Context MakeContext() const;
  /// A log to stderr; `usual` unless --log-level says otherwise.
  LogSink& Log(LogLevel usual = LogLevel::kWarning);

 private:
  void AddGlobals();
  Result<int> ReadLine(int argc, char** argv);
  std::unexpected<Error> NothingChosen() const;

  CLI::App root_;
  Globals globals_;
  Action chosen_;
  std::vector<std::string> command_line_;
  bool has_command_line_ = false;
  std::vector<CLI::App*> takes_command_line_;
  std::map<const CLI::Option*, std::vector<std::string>> choices_;
  std::unique_ptr<LogSink> log_;
};

/// Numbers as they are typed. Errors: invalid_argument.
Result<std::int64_t> ParseNumber(std::string_view text, std::int64_t least, std::int64_t most);
Result<JobId> ParseId(std::string_view text);
Result<Token> ParseToken(std::string_view text);

// One function a family of commands.
void AddJobCommands(Cli& cli);
void AddPushCommand(Cli& cli, CLI::App& job);
void AddWorkCommand(Cli& cli);
void AddServeCommand(Cli& cli);
void AddQueueCommands(Cli& cli);
void AddRecordCommands(Cli& cli);
void AddKindCommands(Cli& cli);
void AddTransferCommands(Cli& cli);
void AddLockCommands(Cli& cli);
void AddCommitCommand(Cli& cli);
void AddAuditCommands(Cli& cli);
void AddStoreCommands(Cli& cli);
void AddDoctorCommand(Cli& cli);
void AddRaceCommand(Cli& cli);
void AddBenchCommands(Cli& cli);
void AddTortureCommand(Cli& cli);
void AddCompletionCommand(Cli& cli);

}  // namespace holdfast::cli

#include "cli/cli_options.h"
