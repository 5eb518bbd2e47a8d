#include <algorithm>
#include <optional>
#include <utility>

#include "runtime/cgroup/devices.h"
#include "sys/bpf.h"

namespace davit::runtime {

namespace {

// Our programs' name: an update replaces the one that bears it and leaves others (systemd's DeviceAllow=) alone.
constexpr char kProgramName[] = "davit_devices";

// Registers. The context (bpf_cgroup_dev_ctx) comes in r1 and is read at once.
enum Register : std::uint8_t { kResult = 0, kScratch = 1, kType = 2, kWanted = 3, kMajor = 4, kMinor = 5 };

bpf_insn instruction(int code, Register to, unsigned from, std::int16_t offset, std::int32_t number) {
  bpf_insn made{};
  made.code = static_cast<std::uint8_t>(code);
  made.dst_reg = to & 0xf;
  made.src_reg = from & 0xf;
  made.off = offset;
  made.imm = number;
  return made;
}
bpf_insn load_word(Register to, std::int16_t offset) {
  return instruction(BPF_LDX | BPF_MEM | BPF_W, to, kScratch, offset, 0);
}
bpf_insn move(Register to, Register from) { return instruction(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0); }
bpf_insn with_number(int operation, Register to, std::int32_t value) {
  return instruction(BPF_ALU64 | operation | BPF_K, to, 0, 0, value);
}
// Jumps over `skip` instructions.
bpf_insn jump(int condition, Register left, std::int32_t right, std::size_t skip) {
  return instruction(BPF_JMP | condition | BPF_K, left, 0, static_cast<std::int16_t>(skip), right);
}

void answer(std::vector<bpf_insn>& out, bool allow) {
  out.push_back(with_number(BPF_MOV, kResult, allow ? 1 : 0));
  out.push_back(instruction(BPF_JMP | BPF_EXIT, kResult, 0, 0, 0));
}

// For a device that the rule matches: answers, or goes on with the kinds of access that the rule does not name.
std::vector<bpf_insn> verdict(DeviceMatch const& rule) {
  std::vector<bpf_insn> out;
  auto const access = static_cast<std::int32_t>(rule.access);
  if (rule.access == kDeviceAll) {
    answer(out, rule.allow);
  } else if (rule.allow) {
    out.push_back(with_number(BPF_AND, kWanted, kDeviceAll & ~access));
    out.push_back(jump(BPF_JNE, kWanted, 0, 2));
    answer(out, true);
  } else {
    out.push_back(move(kScratch, kWanted));
    out.push_back(with_number(BPF_AND, kScratch, access));
    out.push_back(jump(BPF_JEQ, kScratch, 0, 2));
    answer(out, false);
  }
  return out;
}

void append_rule(std::vector<bpf_insn>& program, DeviceMatch const& rule) {
  std::vector<bpf_insn> const body = verdict(rule);
  std::vector<std::pair<Register, std::int64_t>> tests;
  if (rule.type != 'a') tests.emplace_back(kType, rule.type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
  if (rule.major >= 0) tests.emplace_back(kMajor, rule.major);
  if (rule.minor >= 0) tests.emplace_back(kMinor, rule.minor);
  for (std::size_t i = 0; i < tests.size(); ++i) {
    program.push_back(
        jump(BPF_JNE, tests[i].first, static_cast<std::int32_t>(tests[i].second), tests.size() - i - 1 + body.size()));
  }
  program.insert(program.end(), body.begin(), body.end());
}

Result<std::vector<UniqueFd>> our_programs(int cgroup) {
  std::vector<UniqueFd> ours;
  for (std::uint32_t const id : TRY(sys::bpf_query_cgroup_device(cgroup))) {
    Result<UniqueFd> program = sys::bpf_program_by_id(id);
    if (!program) {
      if (program.error().error_number() == ENOENT) continue;  // detached meanwhile
      return std::move(program).take_error();
    }
    std::string const name = TRY(sys::bpf_program_name(program->get()));
    if (name == kProgramName) ours.push_back(std::move(program).value());
  }
  return ours;
}

}  // namespace

std::vector<bpf_insn> device_program(std::span<DeviceMatch const> rules) {
  // access_type holds the device's type in the low and the access in the high half (linux/bpf.h, bpf_cgroup_dev_ctx).
  std::vector<bpf_insn> program = {load_word(kType, 0),
                                   load_word(kMajor, 4),
                                   load_word(kMinor, 8),
                                   move(kWanted, kType),
                                   with_number(BPF_AND, kType, 0xffff),
                                   with_number(BPF_RSH, kWanted, 16)};
  // The last rule is asked first. Nothing may follow a rule that answers always: the verifier refuses dead code.
  for (auto rule = rules.rbegin(); rule != rules.rend(); ++rule) {
    append_rule(program, *rule);
    if (rule->type == 'a') return program;
  }
  answer(program, false);
  return program;
}

Result<void> attach_device_program(int cgroup, std::span<DeviceMatch const> rules) {
  std::vector<UniqueFd> const ours = TRY(our_programs(cgroup));
  if (ours.empty() && allows_everything(rules)) return {};
  UniqueFd const program = TRY(sys::bpf_load_cgroup_device(device_program(rules), kProgramName));
  TRY(sys::bpf_attach_cgroup_device(cgroup, program.get(), ours.empty() ? -1 : ours.front().get()));
  for (std::size_t i = 1; i < ours.size(); ++i) TRY(sys::bpf_detach_cgroup_device(cgroup, ours[i].get()));
  return {};
}

}  // namespace davit::runtime
