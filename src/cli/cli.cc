#include "cli/cli.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <system_error>

#include "base/result.h"
#include "base/store_url.h"
#include "cli/lock_presets.h"
#include "wire/encode.h"

namespace holdfast::cli {
namespace {

std::string FirstOf(std::initializer_list<const char*> variables) {
  for (const char* name : variables) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') return value;
  }
  return {};
}

/// Help that begins with examples, because they are what most people look for.
class ExamplesFirst final : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override {
    std::string examples = app->get_footer();
    std::string help = CLI::Formatter::make_help(app, std::move(name), mode);
    while (help.ends_with("\n\n")) help.pop_back();
    if (!examples.empty()) help = "Examples:\n" + Indent(examples) + "\n" + help;
    const CLI::App* root = app;
    while (root->get_parent() != nullptr) root = root->get_parent();
    if (root != app) help += make_group("Options of every command", false, NamedOptions(root));
    return help;
  }
  std::string make_footer(const CLI::App*) const override { return {}; }
  /// One line a command: its own help says the rest.
  std::string make_subcommand(const CLI::App* command) const override {
    std::string description = command->get_description();
    std::stringstream out;
    CLI::detail::format_help(out, command->get_display_name(true),
                             description.substr(0, description.find('\n')), get_column_width());
    return out.str();
  }

 private:
  static std::string Indent(const std::string& text) {
    std::string indented;
    std::size_t start = 0;
    while (start < text.size()) {
      std::size_t end = std::min(text.find('\n', start), text.size());
      indented += "  " + text.substr(start, end - start) + "\n";
      start = end + 1;
    }
    return indented;
  }
  static std::vector<const CLI::Option*> NamedOptions(const CLI::App* app) {
    return app->get_options([app](const CLI::Option* option) {
      return option->nonpositional() && option != app->get_help_ptr();
    });
  }
};

/// Whether the line asks for JSON, told without parsing it: for the errors of parsing itself.
bool AsksForJson(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::string_view word = argv[i];
    if (word == "--") return false;
    if (word == "-ojson" || word == "--output=json") return true;
    if ((word == "-o" || word == "--output") && i + 1 < argc &&
        std::strcmp(argv[i + 1], "json") == 0) {
      return true;
    }
  }
  return false;
}

}  // namespace

Result<std::int64_t> ParseNumber(std::string_view text, std::int64_t least, std::int64_t most) {
  auto value = base::ParseInteger(text);
  if (value && *value >= least && *value <= most) return *value;
  return Fail(ErrorCode::kInvalidArgument, fmt::format("'{}' is not a whole number from {} to {}",
                                                       text.substr(0, 64), least, most));
}

Result<JobId> ParseId(std::string_view text) {
  auto id = base::ParseInteger(text);
  if (id && *id > 0) return *id;
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("'{}' is not a job id: a whole number from 1", text.substr(0, 64)));
}

Result<Token> ParseToken(std::string_view text) {
  auto token = base::ParseInteger(text);
  if (token && *token > 0) return *token;
  return Fail(ErrorCode::kInvalidArgument, fmt::format("'{}' is not a token: a whole number from 1",
                                                       Printable(text.substr(0, 64))));
}

Cli::Cli() : root_("Holdfast keeps jobs, locks and records that cannot be raced.", "holdfast") {
  root_.formatter(std::make_shared<ExamplesFirst>());
  root_.footer(
      "holdfast job push email '{\"to\":\"ada\"}'\n"
      "holdfast work --concurrency 4 -- ./send-email\n"
      "holdfast job list --state failed\n"
      "holdfast kind apply kinds/ticket.json\n"
      "holdfast record transition ticket T-1 RESOLVED --data '{\"comment\":\"done\"}'\n"
      "holdfast lock run nightly-report --wait 1m -- ./report.sh\n"
      "holdfast serve --listen 127.0.0.1:8420");
  root_.require_subcommand(0, 1);  // at least one: told by NothingChosen, in better words
  root_.fallthrough();
  globals_.actor = FirstOf({"USER", "LOGNAME"});
  // In a container or from cron nothing says who it is but the system itself.
  const passwd* user = globals_.actor.empty() ? ::getpwuid(::geteuid()) : nullptr;
  if (user != nullptr) globals_.actor = user->pw_name;
  AddGlobals();
}

void Cli::AddGlobals() {
  AddText(root_, "--store", globals_.store, "URL",
          "sqlite:FILE, postgres://HOST/DATABASE, memory: or http://HOST:PORT; else "
          "$HOLDFAST_STORE, else "
          "sqlite:./holdfast.db")
      ->envname("HOLDFAST_STORE");
  AddChoice<OutputFormat, OutputFormat>(
      root_, "-o,--output", globals_.output,
      {{"table", OutputFormat::kTable}, {"json", OutputFormat::kJson}}, "how answers are printed");
  AddText(root_, "--actor", globals_.actor, "NAME",
          "who asks, for the audit trail; else $HOLDFAST_ACTOR, else the user")
      ->envname("HOLDFAST_ACTOR");
  AddDuration(root_, "--timeout", globals_.timeout, "give up after this long");
  AddChoice<std::optional<LogLevel>, LogLevel>(root_, "--log-level", globals_.log_level,
                                               {{"debug", LogLevel::kDebug},
                                                {"info", LogLevel::kInfo},
                                                {"warning", LogLevel::kWarning},
                                                {"error", LogLevel::kError}},
                                               "what is logged to stderr");
  AddChoice<base::LogFormat, base::LogFormat>(
      root_, "--log-format", globals_.log_format,
      {{"text", base::LogFormat::kText}, {"json", base::LogFormat::kJson}}, "how it is logged");
}

CLI::App& Cli::AddGroup(CLI::App& parent, const std::string& name, const std::string& description) {
  CLI::App* group = parent.add_subcommand(name, description);
  group->require_subcommand(0, 1);
  return *group;
}

CLI::App& Cli::AddCommand(CLI::App& parent, const std::string& name, const std::string& description,
                          const std::string& examples, Action action) {
  CLI::App* command = parent.add_subcommand(name, description);
  command->footer(examples);
  command->callback([this, command, action = std::move(action)] {
    bool takes = std::find(takes_command_line_.begin(), takes_command_line_.end(), command) !=
                 takes_command_line_.end();
    if (has_command_line_ && !takes) {
      throw CLI::ValidationError("--", command->get_name() + " runs no command of yours");
    }
    chosen_ = action;
  });
  return *command;
}

CLI::Option* Cli::AddRepeated(CLI::App& command, const std::string& name,
                              std::vector<std::string>& target, const std::string& type,
                              const std::string& description) {
  CLI::callback_t read = [&target](const CLI::results_t& words) {
    target.clear();
    std::transform(words.begin(), words.end(), std::back_inserter(target), &Typed);
    return true;
  };
  return command.add_option(name, read, description)
      ->type_name(type)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

CLI::Option* Cli::AddWords(CLI::App& command, const std::string& name,
                           std::vector<std::string>& target, const std::string& description) {
  return AddRepeated(command, name, target, "", description)->expected(-1);
}

Result<int> Cli::ReadLine(int argc, char** argv) {
  // What follows "--" is the user's own command line: not ours to interpret.
  int end = 1;
  while (end < argc && std::strcmp(argv[end], "--") != 0) ++end;
  has_command_line_ = end < argc;
  if (has_command_line_) command_line_.assign(argv + end + 1, argv + argc);
  std::vector<std::string> words;  // from the last to the first, as CLI11 wants them
  while (--end > 0) {
    std::string_view word = argv[end];
    const bool is_list = word.starts_with('[') && word.ends_with(']');
    words.push_back((is_list ? std::string(1, kVerbatim) : "") + std::string(word));
  }
  try {
    root_.parse(std::move(words));
  } catch (const CLI::Success& help) {
    root_.exit(help);
    return 0;
  } catch (const CLI::ParseError& error) {
    std::string message = error.what();
    if (std::size_t line_end = message.find('\n'); line_end != std::string::npos) {
      message.resize(line_end);
    }
    std::erase(message, kVerbatim);
    return Fail(ErrorCode::kInvalidArgument, message + " (see --help)");
  }
  if (!chosen_) return NothingChosen();
  return chosen_();
}

std::unexpected<Error> Cli::NothingChosen() const {
  const CLI::App* deepest = &root_;
  while (!deepest->get_subcommands().empty()) deepest = deepest->get_subcommands().front();
  std::vector<std::string> names;
  for (const CLI::App* command : deepest->get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
  }
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("{} needs a command: {} (see --help)", deepest->get_name(),
                          fmt::join(names, ", ")));
}

int Cli::Report(const Error& error) const {
  if (globals_.output == OutputFormat::kJson) {
    base::JsonWriter json;
    json.BeginObject();
    wire::WriteErrorFields(json, error);
    json.EndObject();
    std::fprintf(stderr, "%s\n", json.text().c_str());
  } else {
    std::fprintf(stderr, "holdfast: %s\n", Describe(error).c_str());
    for (const std::string& violation : error.detail.violations) {
      std::fprintf(stderr, "  %s\n", Printable(violation).c_str());
    }
  }
  return InfoOf(error.code).exit_code;
}

int Cli::Run(int argc, char** argv) {
  if (AsksForJson(argc, argv)) globals_.output = OutputFormat::kJson;
  auto fail = [this](const std::string& why) { return Report({ErrorCode::kInternal, why, {}}); };
  try {
    Result<int> done = ReadLine(argc, argv);
    if (!done) return Report(done.error());
    // What did not fit into the buffer was to be written before: that failure is only noted.
    if (std::ferror(stdout) != 0) return fail("cannot write all of the answer to stdout");
    if (std::fflush(stdout) == 0) return *done;
    return fail(fmt::format("cannot write to stdout: {}", std::strerror(errno)));
  } catch (const std::system_error& error) {  // fmt::print has no other way to say so
    return fail(std::ferror(stdout) != 0
                    ? "cannot write to stdout: " + error.code().message()
                    : std::string("the system refused what was needed: ") + error.what());
  }
}

Result<std::unique_ptr<Store>> Cli::Open(bool maintain) {
  return Open(StoreOptions{.log = &Log(), .maintain = maintain});
}

Result<std::unique_ptr<Store>> Cli::Open(StoreOptions options) {
  const std::string presets = FirstOf({"HOLDFAST_LOCK_PRESETS"});
  if (auto added = AddLockPresets(presets, options.lock_presets); !added) {
    Error error = std::move(added).error();
    error.message = "HOLDFAST_LOCK_PRESETS: " + error.message;
    return std::unexpected(std::move(error));
  }
  return OpenStore(globals_.store, options);
}

std::string Cli::ShownStore() const {
  return base::ShownUrl(globals_.store);
}

std::string Cli::StoreVariable() const {
  const bool is_inherited = FirstOf({"HOLDFAST_STORE"}) == globals_.store;
  return "HOLDFAST_STORE=" +
         (is_inherited ? globals_.store : base::UrlWithoutPassword(globals_.store));
}

Context Cli::MakeContext() const {
  Context context;
  if (globals_.timeout) context = Context::WithTimeout(*globals_.timeout);
  context.actor = globals_.actor;
  return context;
}

LogSink& Cli::Log(LogLevel usual) {
  if (!log_) log_ = base::MakeStderrLog(globals_.log_level.value_or(usual), globals_.log_format);
  return *log_;
}

}  // namespace holdfast::cli
