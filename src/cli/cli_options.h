// How the kinds of options are read: the templates of Cli. Included by cli.h alone.
#pragma once

#include <limits>

#include "base/text.h"

namespace holdfast::cli {

template <typename T, typename Parse>
CLI::Option* Cli::AddParsed(CLI::App& command, const std::string& name, T& target, Parse parse,
                            const std::string& type, const std::string& description) {
  std::string shown = name.substr(name.rfind(',') + 1);
  CLI::callback_t read = [&target, parse, shown](const CLI::results_t& words) {
    auto value = parse(Typed(words.front()));
    if (!value) throw CLI::ValidationError(shown, value.error().message);
    target = *std::move(value);
    return true;
  };
  return command.add_option(name, read, description)->type_name(type);
}

template <typename T>
CLI::Option* Cli::AddText(CLI::App& command, const std::string& name, T& target,
                          const std::string& type, const std::string& description) {
  auto parse = [](const std::string& text) -> Result<std::string> { return text; };
  return AddParsed(command, name, target, parse, type, description);
}

template <typename T>
CLI::Option* Cli::AddDuration(CLI::App& command, const std::string& name, T& target,
                              const std::string& description) {
  return AddParsed(command, name, target, &base::ParseDuration, "DURATION", description);
}

template <typename T>
CLI::Option* Cli::AddTime(CLI::App& command, const std::string& name, T& target,
                          const std::string& description) {
  return AddParsed(command, name, target, &base::ParseTime, "TIME", description);
}

template <typename T>
CLI::Option* Cli::AddNumber(CLI::App& command, const std::string& name, T& target,
                            std::int64_t least, const std::string& description) {
  auto parse = [least](const std::string& text) {
    constexpr bool kIsInt = std::is_same_v<T, int>;
    return ParseNumber(
        text, least,
        kIsInt ? std::numeric_limits<int>::max() : std::numeric_limits<std::int64_t>::max());
  };
  return AddParsed(command, name, target, parse, "N", description);
}

template <typename T, typename Value>
CLI::Option* Cli::AddChoice(CLI::App& command, const std::string& name, T& target,
                            std::vector<std::pair<std::string, Value>> words,
                            const std::string& description) {
  std::string type;
  std::vector<std::string> names;
  for (const auto& [word, value] : words) {
    type += (type.empty() ? "" : "|") + word;
    names.push_back(word);
  }
  auto parse = [words, type](const std::string& text) -> Result<Value> {
    for (const auto& [word, value] : words) {
      if (word == text) return value;
    }
    return Fail(ErrorCode::kInvalidArgument, "'" + text.substr(0, 64) + "' is none of " + type);
  };
  CLI::Option* option = AddParsed(command, name, target, parse, type, description);
  choices_[option] = std::move(names);
  return option;
}

}  // namespace holdfast::cli
