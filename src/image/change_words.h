// Words of a Dockerfile instruction: apart by blanks, quotes and backslashes taken off, $VARIABLES replaced. Any
// thread.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace davit::image {

// `word` without its quotes and backslashes, and with $NAME, ${NAME}, ${NAME:-x}, ${NAME-x}, ${NAME:+x}, ${NAME+x},
// ${NAME:?x} and ${NAME?x} replaced by what `env` ("NAME=value") says; nothing where it says nothing. kInvalidArgument:
// a quote or brace is not closed; another operator.
Result<std::string> expand(std::string_view word, std::vector<std::string> const& env);

// Apart by blanks outside of quotes; the words as they are written, quotes included.
std::vector<std::string_view> raw_words(std::string_view text);

// KEY=value ..., or the old form KEY value, which takes the rest of the line; both sides expanded. `keyword` is for the
// errors.
Result<std::vector<std::pair<std::string, std::string>>> expand_pairs(std::string_view keyword, std::string_view text,
                                                                      std::vector<std::string> const& env);

}  // namespace davit::image
