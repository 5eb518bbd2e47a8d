// The default profile against the rules as Docker publishes them (testdata/seccomp_rules.tsv).
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "base/text.h"
#include "runtime/capabilities.h"
#include "runtime/seccomp/filter.h"

namespace davit::runtime {
namespace {

struct Row {
  std::string name, action, condition;
};

std::vector<Row> rows() {
  std::ifstream file(DAVIT_TESTDATA "/seccomp_rules.tsv");
  std::vector<Row> all;
  for (std::string line; std::getline(file, line);) {
    auto const fields = split(line, '\t');
    if (fields.at(0) != "seccomp-rule") continue;
    all.push_back({std::string(fields.at(1)), std::string(fields.at(2)), std::string(fields.at(3))});
  }
  return all;
}

// Whether the profile holds a rule for the name with that action, errno and argument comparison.
bool holds(oci::Seccomp const& profile, Row const& row) {
  std::string const action = row.action.substr(0, row.action.find(' '));
  bool const with_errno = row.action.ends_with(" errno=38");
  std::string arg;
  for (auto const part : split(row.condition, ';')) {
    if (trim(part).starts_with("arg")) arg = trim(part);
  }
  for (oci::SeccompSyscall const& rule : profile.syscalls) {
    if (std::find(rule.names.begin(), rule.names.end(), row.name) == rule.names.end()) continue;
    if (rule.action != action || rule.errno_ret.has_value() != with_errno) continue;
    if (arg.empty() && rule.args.empty()) return true;
    if (rule.args.size() != 1) continue;
    auto const& compare = rule.args[0];
    if (arg == "arg" + std::to_string(compare.index) + " " + compare.op + " " + std::to_string(compare.value))
      return true;
  }
  return false;
}

std::string value_of(std::string const& condition, std::string const& key) {
  std::size_t const at = condition.find(key);
  if (at == std::string::npos) return "";
  std::size_t const start = at + key.size();
  return condition.substr(start, condition.find(';', start) - start);
}

std::string_view go_architecture() {
#if defined(__x86_64__)
  return "amd64";
#elif defined(__aarch64__)
  return "arm64";
#else
  return "";
#endif
}

bool listed(std::string const& list, std::string_view name) {
  auto const names = split(list, '|');
  return !name.empty() && std::find(names.begin(), names.end(), name) != names.end();
}

TEST(DefaultSeccompProfile, HoldsEveryRuleWhoseConditionIsMet) {
  auto const all = rows();
  ASSERT_EQ(all.size(), 442u);
  for (Row const& row : all) {
    std::string const include_arches = value_of(row.condition, "include arches=");
    std::string const exclude_arches = value_of(row.condition, "exclude arches=");
    std::string const include_cap = value_of(row.condition, "include caps=");
    std::string const exclude_cap = value_of(row.condition, "exclude caps=");
    bool const here = (include_arches.empty() || listed(include_arches, go_architecture())) &&
                      !listed(exclude_arches, go_architecture());
    std::vector<std::string> met;
    if (!include_cap.empty()) met.push_back(include_cap);
    EXPECT_EQ(holds(default_seccomp_profile(met), row), here) << row.name << " " << row.condition;
    if (!exclude_cap.empty()) {
      EXPECT_FALSE(holds(default_seccomp_profile({exclude_cap}), row)) << row.name;
    }
  }
}

TEST(DefaultSeccompProfile, HoldsNothingElse) {
  auto const all = rows();
  auto const profile = default_seccomp_profile({});
  EXPECT_EQ(profile.default_action, "SCMP_ACT_ERRNO");
  EXPECT_EQ(profile.default_errno_ret, 1u);
  for (oci::SeccompSyscall const& rule : profile.syscalls) {
    for (std::string const& name : rule.names) {
      auto const permits = [&](Row const& row) {
        return row.name == name && row.condition.find("include caps=") == std::string::npos;
      };
      EXPECT_TRUE(std::any_of(all.begin(), all.end(), permits)) << name;
    }
  }
}

}  // namespace
}  // namespace davit::runtime
