#include "testing/token_names.h"

#include <iterator>
#include <regex>
#include <utility>
#include <variant>
#include <vector>

namespace holdfast::testing {
namespace {

// Above every token that a test gets to see, and below what JSON cannot say exactly.
constexpr Token kNever = 1'000'000'000'000'000;

/// A text with its tokens taken out.
struct Cut {
  explicit Cut(const std::string& text) {
    static const std::regex token(R"re(("(?:token|fence)":"|\btoken |newer than )(\d+))re");
    auto end = text.cbegin();
    for (std::sregex_iterator match(text.begin(), text.end(), token), none; match != none;
         ++match) {
      rest.append(end, (*match)[2].first).push_back('\0');
      tokens.push_back(std::stoll((*match)[2]));
      end = (*match)[2].second;
    }
    rest.append(end, text.cend());
  }

  std::string rest;
  std::vector<Token> tokens;
};

template <typename Visit>
void ForEachToken(Batch& batch, Visit visit) {
  auto look = [&](auto& part) {
    if constexpr (requires { Token{part.token}; }) {
      visit(part.token);
    } else if constexpr (requires { *part.token; }) {
      if (part.token) visit(*part.token);
    }
  };
  for (Operation& operation : batch.operations) std::visit(look, operation);
  for (Guard& guard : batch.guards) std::visit(look, guard);
}

}  // namespace

bool TokenNames::Match(const std::string& specification, const std::string& subject) {
  if (are_dense_) return specification == subject;
  const Cut expected(specification);
  const Cut actual(subject);
  if (expected.rest != actual.rest) return false;
  TokenNames names = *this;
  for (std::size_t i = 0; i < expected.tokens.size(); ++i) {
    if (!names.Bind(expected.tokens[i], actual.tokens[i])) return false;
  }
  subject_ = std::move(names.subject_);
  specification_ = std::move(names.specification_);
  return true;
}

std::string TokenNames::Describe() const {
  std::string text;
  for (const auto& [specification, subject] : subject_) {
    text += (text.empty() ? "" : ", ") + std::to_string(specification) + " is " +
            std::to_string(subject);
  }
  return text;
}

bool TokenNames::Bind(Token specification, Token subject) {
  const auto [known, is_new] = subject_.emplace(specification, subject);
  if (!is_new) return known->second == subject;
  if (!specification_.emplace(subject, specification).second) return false;
  // One to one and in order with all others if it is with its neighbours.
  if (known != subject_.begin() && std::prev(known)->second >= subject) return false;
  return std::next(known) == subject_.end() || std::next(known)->second > subject;
}

bool TokenNames::MatchRefusal(const std::string& specification, const std::string& subject) const {
  return TokenNames(*this).Match(specification, subject);
}

void TokenNames::Name(Batch& specification, Batch& subject) const {
  subject = specification;
  if (are_dense_) return;
  ForEachToken(specification, [&](Token& token) {
    if (!subject_.contains(token)) token += kNever;
  });
  subject = specification;
  ForEachToken(subject, [&](Token& token) {
    auto known = subject_.find(token);
    if (known != subject_.end()) token = known->second;
  });
}

}  // namespace holdfast::testing
