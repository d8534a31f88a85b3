// Compares the answers of two stores whose tokens are different numbers: both count upwards, but
// one may leave gaps. All that anybody may rely on is their order, so the tokens of one are taken
// as names for those of the other, one to one and in the same order. Every other number must be
// equal.
#pragma once

#include <map>
#include <string>

#include "holdfast/batch.h"

namespace holdfast::testing {

class TokenNames {
 public:
  /// `are_dense`: the subject leaves no gaps, so that its tokens are the specification's, too.
  explicit TokenNames(bool are_dense) : are_dense_(are_dense) {}

  /// Whether the texts are equal up to the names of tokens, all earlier matches considered. If they
  /// are, what they tell of names holds from now on; otherwise nothing has changed. Tokens are told
  /// by what stands before them: a JSON member's name, or the words of a message.
  bool Match(const std::string& specification, const std::string& subject);
  /// The same of a refusal. It may speak of tokens that were taken back with what was refused, and
  /// that may be given out again: it is held against what is known, and nothing is learnt from it.
  bool MatchRefusal(const std::string& specification, const std::string& subject) const;

  /// What is known, for a message: "4 is 65537, 5 is 65538".
  std::string Describe() const;

  /// Names the tokens of a batch, made of those of the specification, in terms of each store. A
  /// token that was never seen becomes one that neither will ever give out: a number that is no
  /// token here may be one there.
  void Name(Batch& specification, Batch& subject) const;

 private:
  bool Bind(Token specification, Token subject);

  const bool are_dense_;
  std::map<Token, Token> subject_;        // by the specification's
  std::map<Token, Token> specification_;  // by the subject's
};

}  // namespace holdfast::testing
