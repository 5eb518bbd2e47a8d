#include "front/flags.h"

#include <fmt/format.h>

#include "base/text.h"

namespace davit::front {

namespace {

Error bad_value(std::string_view name, std::string_view value, std::string_view expected) {
  return Error(Errc::kInvalidArgument, fmt::format("--{}: '{}' is not {}", name, value, expected));
}

Flag const* find(std::vector<Flag> const& flags, std::string_view name) {
  for (Flag const& flag : flags) {
    if (flag.name == name || (name.size() == 1 && flag.letter == name[0])) return &flag;
  }
  return nullptr;
}

Error unknown_flag(std::vector<Flag> const& flags, std::string_view name) {
  std::vector<std::string_view> names;
  for (Flag const& flag : flags) names.push_back(flag.name);
  std::string message = fmt::format("flag provided but not defined: --{}", name);
  if (auto const near = nearest(name, names)) message += fmt::format(" (did you mean --{}?)", *near);
  return Error(Errc::kInvalidArgument, std::move(message));
}

}  // namespace

Flag switch_flag(std::string_view name, char letter, bool& out, std::string_view help) {
  return {name, letter, {}, help, [&out, name](std::string const& value) -> Result<void> {
            bool const on = value.empty() || value == "true" || value == "1";
            if (!on && value != "false" && value != "0") return bad_value(name, value, "true or false");
            out = on;
            return {};
          }};
}

Flag text_flag(std::string_view name, char letter, std::string_view value, std::string& out, std::string_view help) {
  return {name, letter, value, help, [&out](std::string const& text) -> Result<void> {
            out = text;
            return {};
          }};
}

Flag list_flag(std::string_view name, char letter, std::string_view value, std::vector<std::string>& out,
               std::string_view help) {
  return {name, letter, value, help, [&out](std::string const& text) -> Result<void> {
            out.push_back(text);
            return {};
          }};
}

Flag unsigned_flag(std::string_view name, char letter, unsigned& out, std::string_view help) {
  return {name, letter, "N", help, [&out, name](std::string const& text) -> Result<void> {
            auto const number = parse_u64(text);
            if (!number || *number > 0xffffffffU) return bad_value(name, text, "a number from 0");
            out = static_cast<unsigned>(*number);
            return {};
          }};
}

Flag signed_flag(std::string_view name, std::optional<std::int64_t>& out, std::string_view help) {
  return {name, 0, "N", help, [&out, name](std::string const& text) -> Result<void> {
            auto const number = parse_i64(text);
            if (!number) return bad_value(name, text, "a number");
            out = *number;
            return {};
          }};
}

Result<std::vector<std::string>> parse_flags(std::vector<Flag> const& flags, std::span<char const* const> arguments) {
  std::size_t at = 0;
  while (at < arguments.size()) {
    std::string_view word = arguments[at];
    if (word.size() < 2 || word[0] != '-') break;
    ++at;
    if (word == "--") break;
    word.remove_prefix(word[1] == '-' ? 2 : 1);
    std::size_t const equals = word.find('=');
    std::string_view const name = word.substr(0, equals);
    Flag const* const flag = find(flags, name);
    if (flag == nullptr) return unknown_flag(flags, name);
    std::string value;
    if (equals != std::string_view::npos) {
      value = word.substr(equals + 1);
    } else if (!flag->value.empty()) {
      if (at >= arguments.size()) {
        return Error(Errc::kInvalidArgument, fmt::format("flag needs an argument: --{}", flag->name));
      }
      value = arguments[at++];
    }
    TRY(flag->set(value));
  }
  return std::vector<std::string>(arguments.begin() + static_cast<std::ptrdiff_t>(at), arguments.end());
}

std::string flags_help(std::vector<Flag> const& flags) {
  std::string text;
  for (Flag const& flag : flags) {
    std::string left = flag.letter == 0 ? "    " : fmt::format("-{}, ", flag.letter);
    left += fmt::format("--{}", flag.name);
    if (!flag.value.empty()) left += fmt::format(" {}", flag.value);
    text += fmt::format("  {:<32} {}\n", left, flag.help);
  }
  return text;
}

}  // namespace davit::front
