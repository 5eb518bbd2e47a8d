// Command line flags in the manner that runc's callers use them: "--name value", "--name=value", "-name", "-n value",
// "--bool", "--bool=false"; parsing ends at the first argument that is no flag, or after "--". A table-driven parser of
// our own: a start of this program is part of a 4 ms container start, and its callers use one-dash long names, which
// CLI11 does not take.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace davit::front {

struct Flag {
  std::string_view name;   // "bundle"
  char letter = 0;         // 'b' for -b, 0: none
  std::string_view value;  // what the value is, for --help ("PATH"); empty: a switch
  std::string_view help;
  std::function<Result<void>(std::string const&)> set;
};

// Ready-made setters.
Flag switch_flag(std::string_view name, char letter, bool& out, std::string_view help);
Flag text_flag(std::string_view name, char letter, std::string_view value, std::string& out, std::string_view help);
Flag list_flag(std::string_view name, char letter, std::string_view value, std::vector<std::string>& out,
               std::string_view help);
Flag unsigned_flag(std::string_view name, char letter, unsigned& out, std::string_view help);
Flag signed_flag(std::string_view name, std::optional<std::int64_t>& out, std::string_view help);

// Returns what follows the flags. kInvalidArgument names an unknown flag and the nearest known one.
Result<std::vector<std::string>> parse_flags(std::vector<Flag> const& flags, std::span<char const* const> arguments);

std::string flags_help(std::vector<Flag> const& flags);

}  // namespace davit::front
