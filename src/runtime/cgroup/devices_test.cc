#include "runtime/cgroup/devices.h"

#include <gtest/gtest.h>

namespace davit::runtime {
namespace {

// Runs a program as the kernel would, for the instructions that device_program uses.
int run(std::vector<bpf_insn> const& program, char type, unsigned major, unsigned minor, unsigned access) {
  std::uint64_t registers[11] = {};
  std::uint32_t const context[3] = {
      access << 16 | static_cast<unsigned>(type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR), major, minor};
  for (std::size_t at = 0; at < program.size(); ++at) {
    bpf_insn const& i = program[at];
    std::uint64_t& to = registers[i.dst_reg];
    auto const number = static_cast<std::uint64_t>(std::int64_t{i.imm});
    switch (i.code) {
      case BPF_LDX | BPF_MEM | BPF_W:
        to = context[i.off / 4];
        break;
      case BPF_ALU64 | BPF_MOV | BPF_X:
        to = registers[i.src_reg];
        break;
      case BPF_ALU64 | BPF_MOV | BPF_K:
        to = number;
        break;
      case BPF_ALU64 | BPF_AND | BPF_K:
        to &= number;
        break;
      case BPF_ALU64 | BPF_RSH | BPF_K:
        to >>= number;
        break;
      case BPF_JMP | BPF_JNE | BPF_K:
        at += to != number ? static_cast<std::size_t>(i.off) : 0;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += to == number ? static_cast<std::size_t>(i.off) : 0;
        break;
      case BPF_JMP | BPF_EXIT:
        return static_cast<int>(registers[0]);
      default:
        ADD_FAILURE() << "instruction " << int{i.code};
        return -1;
    }
  }
  ADD_FAILURE() << "ran past the end";
  return -1;
}

// What the kernel's v1 list answers (match_exception: one exception must cover the whole access that is asked for).
int ask(DeviceList const& list, char type, unsigned major, unsigned minor, unsigned access) {
  for (DeviceMatch const& e : list.exceptions) {
    if (e.type != type || (e.major >= 0 && e.major != major) || (e.minor >= 0 && e.minor != minor)) continue;
    if (!list.allow_by_default && (access & ~e.access) == 0) return 1;
    if (list.allow_by_default && (access & e.access) != 0) return 0;
  }
  return list.allow_by_default ? 1 : 0;
}

oci::DeviceRule rule(bool allow, std::string type, std::optional<std::int64_t> major, std::optional<std::int64_t> minor,
                     std::string access) {
  return {allow, std::move(type), major, minor, std::move(access)};
}

struct Question {
  char type;
  unsigned major, minor, access;
  int answer;
};
struct Case {
  std::string_view name;
  std::vector<oci::DeviceRule> rules;
  std::vector<Question> questions;
  bool v1_can = true;
};

class Devices : public testing::TestWithParam<Case> {};

TEST_P(Devices, BothVersionsAnswer) {
  std::vector<DeviceMatch> const rules = resolve_devices(GetParam().rules).value();
  std::vector<bpf_insn> const program = device_program(rules);
  Result<DeviceList> const list = device_list(rules);
  EXPECT_EQ(list.ok(), GetParam().v1_can);
  if (!list) {
    EXPECT_EQ(list.error().code(), Errc::kUnimplemented);
  }
  for (Question const& q : GetParam().questions) {
    EXPECT_EQ(run(program, q.type, q.major, q.minor, q.access), q.answer) << q.type << q.major << ":" << q.minor;
    if (list) {
      EXPECT_EQ(ask(*list, q.type, q.major, q.minor, q.access), q.answer) << q.type << q.major << ":" << q.minor;
    }
  }
}

std::optional<std::int64_t> const kAny;

INSTANTIATE_TEST_SUITE_P(
    Table, Devices,
    testing::Values(
        Case{"no_rules_allow_the_built_in_only",
             {},
             {{'c', 1, 3, kDeviceAll, 1},
              {'c', 136, 77, kDeviceRead | kDeviceWrite, 1},
              {'c', 1, 1, kDeviceRead, 0},
              {'c', 1, 1, kDeviceMknod, 1},
              {'b', 8, 0, kDeviceMknod, 1},
              {'b', 8, 0, kDeviceMknod | kDeviceRead, 0},
              {'b', 1, 3, kDeviceRead, 0}}},
        Case{"deny_all_then_allow",
             {rule(false, "", kAny, kAny, "rwm"), rule(true, "c", 10, 229, "rw"), rule(true, "b", 7, kAny, "r")},
             {{'c', 10, 229, kDeviceRead | kDeviceWrite, 1},
              {'c', 10, 228, kDeviceRead, 0},
              {'b', 7, 5, kDeviceRead, 1},
              {'b', 7, 5, kDeviceWrite, 0},
              {'b', 7, 5, kDeviceRead | kDeviceWrite, 0}}},
        Case{"allow_all",
             {rule(true, "a", kAny, kAny, "rwm")},
             {{'c', 1, 1, kDeviceAll, 1}, {'b', 8, 0, kDeviceAll, 1}}},
        Case{"allow_all_but_one",
             {rule(true, "a", -1, -1, ""), rule(false, "b", 8, kAny, "rw")},
             {{'b', 8, 3, kDeviceRead, 0},
              {'b', 8, 3, kDeviceMknod, 1},
              {'b', 9, 3, kDeviceRead, 1},
              {'c', 8, 3, kDeviceRead, 1}}},
        Case{
            "later_rules_win",
            {rule(true, "c", 10, kAny, "rw"), rule(false, "c", 10, kAny, "w")},
            {{'c', 10, 1, kDeviceRead, 1}, {'c', 10, 1, kDeviceWrite, 0}, {'c', 10, 1, kDeviceRead | kDeviceWrite, 0}}},
        Case{"a_deny_of_all_forgets_what_was_before",
             {rule(true, "c", 10, 1, "rw"), rule(false, "a", kAny, kAny, "rwm")},
             {{'c', 10, 1, kDeviceRead, 0}}},
        Case{"built_in_devices_cannot_be_denied",
             {rule(true, "a", kAny, kAny, ""), rule(false, "c", 1, 3, "rwm")},
             {{'c', 1, 3, kDeviceRead, 1}}},
        Case{"a_narrow_rule_for_both_types",
             {rule(true, "a", 10, 1, "r")},
             {{'c', 10, 1, kDeviceRead, 1}, {'b', 10, 1, kDeviceRead, 1}, {'b', 10, 1, kDeviceWrite, 0}}},
        Case{"a_hole_in_an_exception",
             {rule(true, "c", 10, kAny, "rw"), rule(false, "c", 10, 5, "rw")},
             {{'c', 10, 4, kDeviceRead, 1}, {'c', 10, 5, kDeviceRead, 0}},
             false},
        Case{"largest_numbers",
             {rule(true, "b", 4095, 1048575, "rw")},
             {{'b', 4095, 1048575, kDeviceRead, 1}, {'b', 4095, 1048574, kDeviceRead, 0}}}),
    [](auto const& info) { return std::string(info.param.name); });

TEST(Rules, RefuseNonsenseByName) {
  for (oci::DeviceRule const& bad :
       {rule(true, "x", 1, 1, "r"), rule(true, "c", 1, 1, "rx"), rule(true, "c", 1L << 40, 1, "r")}) {
    EXPECT_EQ(resolve_devices({bad}).error().code(), Errc::kInvalidArgument);
  }
}

std::string text_of(std::vector<KnobWrite> const& plan) {
  std::string text;
  for (KnobWrite const& write : plan) text += write.file.substr(8) + " " + write.value + "\n";
  return text;
}

TEST(List, AllowAllIsOneWrite) {
  auto const rules = resolve_devices({rule(true, "a", kAny, kAny, "rwm")}).value();
  EXPECT_TRUE(allows_everything(rules));
  EXPECT_EQ(text_of(plan_device_list(device_list(rules).value(), std::nullopt)), "allow a\n");
}

TEST(List, DockersRulesAreNotWrittenTwice) {
  // The list that Docker sends repeats most of the built-in ones.
  std::vector<oci::DeviceRule> docker = {rule(false, "", kAny, kAny, "rwm")};
  for (int const minor : {5, 3, 9, 8}) docker.push_back(rule(true, "c", 1, minor, "rwm"));
  docker.push_back(rule(true, "c", 5, 0, "rwm"));
  docker.push_back(rule(true, "c", 5, 1, "rwm"));
  docker.push_back(rule(false, "c", 10, 229, "rwm"));
  auto const rules = resolve_devices(docker).value();
  EXPECT_EQ(
      text_of(plan_device_list(device_list(rules).value(), std::nullopt)),
      "deny a\nallow c *:* m\nallow b *:* m\nallow c 1:3 rwm\nallow c 1:5 rwm\nallow c 1:7 rwm\nallow c 1:8 rwm\n"
      "allow c 1:9 rwm\nallow c 5:0 rwm\nallow c 5:1 rwm\nallow c 5:2 rwm\nallow c 10:200 rwm\nallow c 136:* rwm\n");
}

TEST(List, AnUpdateWritesTheDifference) {
  DeviceList const current = parse_device_list("c *:* m\nc 1:3 rwm\nb 8:0 rw\n").value();
  DeviceList wanted = current;
  wanted.exceptions[2].access = kDeviceRead;
  wanted.exceptions.push_back({true, 'c', 10, 1, kDeviceRead});
  EXPECT_EQ(text_of(plan_device_list(wanted, current)), "allow c 10:1 r\ndeny b 8:0 w\n");
  EXPECT_EQ(text_of(plan_device_list(current, current)), "");
  EXPECT_FALSE(parse_device_list("a *:* rwm\n"));
}

}  // namespace
}  // namespace davit::runtime
