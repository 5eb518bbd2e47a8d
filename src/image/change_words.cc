#include "image/change_words.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/text.h"

namespace davit::image {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_name(char c) { return is_name_start(c) || (c >= '0' && c <= '9'); }

constexpr int kMaxDepth = 16;  // of ${A:-${B:-...}}

class Expander {
 public:
  Expander(std::string_view text, std::vector<std::string> const& env, int depth)
      : text_(text), env_(env), depth_(depth) {}

  Result<std::string> run() {
    while (at_ < text_.size()) {
      char const c = text_[at_];
      if (c == '\'') {
        TRY(single_quoted());
      } else if (c == '"') {
        TRY(double_quoted());
      } else if (c == '$') {
        TRY(variable());
      } else if (c == '\\') {
        ++at_;
        if (at_ < text_.size()) out_ += text_[at_++];
      } else {
        out_ += c;
        ++at_;
      }
    }
    return std::move(out_);
  }

 private:
  Error not_closed(std::string_view what) const {
    return Error(Errc::kInvalidArgument, fmt::format("{} is not closed in: {}", what, text_));
  }
  Result<void> single_quoted() {
    std::size_t const end = text_.find('\'', at_ + 1);
    if (end == std::string_view::npos) return not_closed("a single quote");
    out_ += text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return {};
  }
  Result<void> double_quoted() {
    for (++at_; at_ < text_.size();) {
      char const c = text_[at_];
      if (c == '"') {
        ++at_;
        return {};
      }
      if (c == '$') {
        TRY(variable());
        continue;
      }
      // Inside double quotes a backslash is one, except before what would mean something else.
      bool const escapes = c == '\\' && at_ + 1 < text_.size() &&
                           (text_[at_ + 1] == '"' || text_[at_ + 1] == '$' || text_[at_ + 1] == '\\');
      if (escapes) ++at_;
      out_ += text_[at_++];
    }
    return not_closed("a double quote");
  }
  std::optional<std::string_view> value_of(std::string_view name) const {
    // The last of two wins, as in a process's environment that Docker builds.
    for (auto entry = env_.rbegin(); entry != env_.rend(); ++entry) {
      std::string_view const text = *entry;
      if (text.size() > name.size() && text.starts_with(name) && text[name.size()] == '=')
        return text.substr(name.size() + 1);
    }
    return std::nullopt;
  }
  std::string_view take_name() {
    std::size_t const begin = at_;
    while (at_ < text_.size() && is_name(text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }
  Result<void> variable() {
    ++at_;
    if (at_ < text_.size() && text_[at_] == '{') return braced();
    if (at_ >= text_.size() || !is_name_start(text_[at_])) {
      out_ += '$';
      return {};
    }
    out_ += value_of(take_name()).value_or("");
    return {};
  }
  // The word up to the brace that closes, which may hold variables itself.
  std::optional<std::string_view> take_operand() {
    int open = 1;
    for (std::size_t i = at_; i < text_.size(); ++i) {
      if (text_[i] == '\\') {
        ++i;
      } else if (text_[i] == '{') {
        ++open;
      } else if (text_[i] == '}' && --open == 0) {
        std::string_view const operand = text_.substr(at_, i - at_);
        at_ = i + 1;
        return operand;
      }
    }
    return std::nullopt;
  }
  Result<void> braced() {
    ++at_;
    std::string_view const name = take_name();
    if (at_ >= text_.size()) return not_closed("a brace");
    if (name.empty() || !is_name_start(name[0]))
      return Error(Errc::kInvalidArgument, fmt::format("a variable's name is missing in: {}", text_));
    std::optional<std::string_view> value = value_of(name);
    if (text_[at_] == '}') {
      ++at_;
      out_ += value.value_or("");
      return {};
    }
    bool const colon = text_[at_] == ':';
    if (colon) ++at_;
    char const operation = at_ < text_.size() ? text_[at_++] : '\0';
    auto const operand = take_operand();
    if (!operand) return not_closed("a brace");
    if (colon && value && value->empty()) value = std::nullopt;
    return operate(name, operation, value, *operand);
  }
  Result<void> operate(std::string_view name, char operation, std::optional<std::string_view> value,
                       std::string_view operand) {
    if (depth_ >= kMaxDepth) return Error(Errc::kInvalidArgument, fmt::format("too many braces in: {}", text_));
    if (operation != '-' && operation != '+' && operation != '?') {
      return Error(Errc::kInvalidArgument,
                   fmt::format("${{{}...}}: of the operators only -, + and ? are known here", name));
    }
    std::string word = TRY(Expander(operand, env_, depth_ + 1).run());
    if (operation == '?' && !value)
      return Error(Errc::kInvalidArgument, fmt::format("{}: {}", name, word.empty() ? "it is not set" : word));
    bool const takes_word = (operation == '-' && !value) || (operation == '+' && value);
    if (takes_word) {
      out_ += word;
    } else if (operation != '+') {
      out_ += *value;
    }
    return {};
  }

  std::string_view text_;
  std::vector<std::string> const& env_;
  int depth_;
  std::size_t at_ = 0;
  std::string out_;
};

}  // namespace

Result<std::string> expand(std::string_view word, std::vector<std::string> const& env) {
  return Expander(word, env, 0).run();
}

std::vector<std::string_view> raw_words(std::string_view text) {
  std::vector<std::string_view> words;
  std::size_t begin = 0;
  char quote = 0;
  bool inside = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char const c = text[i];
    if (quote == 0 && is_blank(c)) {
      if (inside) words.push_back(text.substr(begin, i - begin));
      inside = false;
      continue;
    }
    if (!inside) begin = i;
    inside = true;
    if (c == '\\' && quote != '\'') {
      ++i;
    } else if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
    } else if (c == quote) {
      quote = 0;
    }
  }
  if (inside) words.push_back(text.substr(begin));
  return words;
}

Result<std::vector<std::pair<std::string, std::string>>> expand_pairs(std::string_view keyword, std::string_view text,
                                                                      std::vector<std::string> const& env) {
  std::vector<std::string_view> const words = raw_words(text);
  std::vector<std::pair<std::string_view, std::string_view>> raw;
  if (!words.empty() && words[0].find('=') == std::string_view::npos) {
    if (words.size() < 2) return Error(Errc::kInvalidArgument, fmt::format("{} must have two arguments", keyword));
    raw.emplace_back(words[0], trim(trim(text).substr(words[0].size())));
  } else {
    for (std::string_view const word : words) {
      auto const equals = word.find('=');
      if (equals == std::string_view::npos)
        return Error(Errc::kInvalidArgument, fmt::format("{}: KEY=VALUE is expected, not '{}'", keyword, word));
      raw.emplace_back(word.substr(0, equals), word.substr(equals + 1));
    }
  }
  std::vector<std::pair<std::string, std::string>> pairs;
  for (auto const& [key_text, value_text] : raw) {
    std::string key = TRY(expand(key_text, env));
    std::string value = TRY(expand(value_text, env));
    if (key.empty()) return Error(Errc::kInvalidArgument, fmt::format("{} names can not be blank", keyword));
    pairs.emplace_back(std::move(key), std::move(value));
  }
  return pairs;
}

}  // namespace davit::image
