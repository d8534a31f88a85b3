// holdfast completion bash: a script made from the tree of commands, so that it cannot fall behind.
#include <fmt/format.h>

#include <algorithm>

#include "cli/cli.h"

namespace holdfast::cli {
namespace {

/// The long and short names of an option, as they are typed.
std::vector<std::string> NamesOf(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  return names;
}

bool IsNamed(const CLI::Option* option) {
  return option->nonpositional();
}

/// Writes the cases of one command and of those below it. `path` is what was typed: "job push".
class Script {
 public:
  explicit Script(const Cli& cli) : cli_(cli) {}

  void Visit(const CLI::App& app, const std::string& path) {
    std::vector<std::string> words;
    std::vector<std::string> below;
    for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
      below.push_back(command->get_name());
      Visit(*command, path.empty() ? command->get_name() : path + " " + command->get_name());
    }
    words.insert(words.end(), below.begin(), below.end());
    for (const CLI::Option* option : app.get_options(&IsNamed)) {
      std::vector<std::string> names = NamesOf(*option);
      words.insert(words.end(), names.begin(), names.end());
      AddValues(path, *option, names);
    }
    words_ += fmt::format("    \"{}\") words=\"{}\" commands=\"{}\" ;;\n", path,
                          fmt::join(words, " "), fmt::join(below, " "));
  }

  const std::string& words() const { return words_; }
  const std::string& values() const { return values_; }
  const std::string& root_values() const { return root_values_; }

 private:
  void AddValues(const std::string& path, const CLI::Option& option,
                 const std::vector<std::string>& names) {
    if (option.get_expected_max() == 0) return;  // a flag takes none
    std::string values;
    if (auto found = cli_.choices().find(&option); found != cli_.choices().end()) {
      values = fmt::format("values=\"{}\"", fmt::join(found->second, " "));
    } else {
      values = option.get_type_name() == "FILE" || option.get_type_name() == "DIR" ? "values=FILES"
                                                                                   : "values=ANY";
    }
    for (const std::string& name : names) {
      // An option of the root is taken behind every command.
      std::string pattern =
          path.empty() ? fmt::format("*\" {}\"", name) : fmt::format("\"{} {}\"", path, name);
      (path.empty() ? root_values_ : values_) += fmt::format("    {}) {} ;;\n", pattern, values);
    }
  }

  const Cli& cli_;
  std::string words_;
  std::string values_;
  std::string root_values_;
};

constexpr const char* kBash =
    R"bash(# bash completion for holdfast; use it with: source <(holdfast completion bash)
_holdfast_words() {{
  case "$1" in
{words}    *) words="" commands="" ;;
  esac
}}

_holdfast_values() {{
  case "$1" in
{values}{root_values}    *) values="" ;;
  esac
}}

_holdfast() {{
  local cur="${{COMP_WORDS[COMP_CWORD]}}" path="" option="" words commands values i word
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="${{COMP_WORDS[i]}}"
    if [[ "$word" == "--" ]]; then
      COMPREPLY=($(compgen -c -- "$cur"))
      return
    fi
    option=""
    _holdfast_words "$path"
    if [[ "$word" == -* ]]; then
      _holdfast_values "$path $word"
      if [[ -n "$values" ]]; then
        option="$word"
        i=$((i + 1))
      fi
    elif [[ " $commands " == *" $word "* ]]; then
      path="${{path:+$path }}$word"
    fi
  done
  if [[ -n "$option" && "$i" -gt "$COMP_CWORD" ]]; then
    _holdfast_values "$path $option"
    case "$values" in
      FILES) COMPREPLY=($(compgen -f -- "$cur")) ;;
      ANY) ;;
      *) COMPREPLY=($(compgen -W "$values" -- "$cur")) ;;
    esac
    return
  fi
  _holdfast_words "$path"
  local all="$words"
  if [[ "$cur" == -* ]]; then
    _holdfast_words ""
    all="$all $words"
  fi
  COMPREPLY=($(compgen -W "$all" -- "$cur"))
}}
complete -o bashdefault -F _holdfast holdfast
)bash";

Result<int> PrintBash(Cli& cli) {
  Script script(cli);
  script.Visit(cli.root(), "");
  fmt::print(fmt::runtime(kBash), fmt::arg("words", script.words()),
             fmt::arg("values", script.values()), fmt::arg("root_values", script.root_values()));
  return 0;
}

}  // namespace

void AddCompletionCommand(Cli& cli) {
  CLI::App& group = cli.AddGroup(cli.root(), "completion", "Makes completion scripts.");
  cli.AddCommand(group, "bash", "Prints a completion script for bash.",
                 "source <(holdfast completion bash)", [&cli] { return PrintBash(cli); });
}

}  // namespace holdfast::cli
