#include "sys/bpf.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "base/text.h"
#include "sys/raw.h"

namespace davit::sys {

namespace {

long bpf(bpf_cmd command, bpf_attr& attributes) {
  long result;
  // EAGAIN: a signal came while the verifier ran (bpf(2), kernel/bpf/verifier.c).
  do result = raw::call(SYS_bpf, command, &attributes, sizeof attributes);
  while (result == -EAGAIN && command == BPF_PROG_LOAD);
  return result;
}

Error failed(long negative_errno, std::string_view what) {
  return Error::from_errno(static_cast<int>(-negative_errno), what);
}

std::uint64_t address(void const* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

}  // namespace

Result<UniqueFd> bpf_load_cgroup_device(std::span<bpf_insn const> program, std::string const& name) {
  static constexpr char kLicense[] = "Apache-2.0";
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attributes.insns = address(program.data());
  attributes.insn_cnt = static_cast<std::uint32_t>(program.size());
  attributes.license = address(kLicense);
  std::memcpy(attributes.prog_name, name.data(), std::min(name.size(), sizeof attributes.prog_name - 1));
  long result = bpf(BPF_PROG_LOAD, attributes);
  if (result >= 0) return UniqueFd(static_cast<int>(result));
  if (result != -EINVAL && result != -EACCES) return failed(result, "bpf(BPF_PROG_LOAD)");
  // Once more for the verifier's reason; asking for the log each time would slow down every success.
  std::string log(16 << 10, '\0');
  attributes.log_level = 1;
  attributes.log_buf = address(log.data());
  attributes.log_size = static_cast<std::uint32_t>(log.size());
  result = bpf(BPF_PROG_LOAD, attributes);
  if (result >= 0) return UniqueFd(static_cast<int>(result));
  std::string_view words = trim(std::string_view(log.c_str()));
  if (words.size() > 300) words.remove_prefix(words.size() - 300);
  return Error(
      Errc::kInvalidArgument,
      "bpf(BPF_PROG_LOAD): " + std::string(std::strerror(static_cast<int>(-result))) + ": " + std::string(words),
      static_cast<int>(-result));
}

Result<void> bpf_attach_cgroup_device(int cgroup, int program, int replace) {
  bpf_attr attributes{};
  attributes.target_fd = static_cast<std::uint32_t>(cgroup);
  attributes.attach_bpf_fd = static_cast<std::uint32_t>(program);
  attributes.attach_type = BPF_CGROUP_DEVICE;
  attributes.attach_flags = BPF_F_ALLOW_MULTI;
  if (replace >= 0) {
    attributes.attach_flags |= BPF_F_REPLACE;
    attributes.replace_bpf_fd = static_cast<std::uint32_t>(replace);
  }
  long const result = bpf(BPF_PROG_ATTACH, attributes);
  if (result < 0) return failed(result, "bpf(BPF_PROG_ATTACH, BPF_CGROUP_DEVICE)");
  return {};
}

Result<void> bpf_detach_cgroup_device(int cgroup, int program) {
  bpf_attr attributes{};
  attributes.target_fd = static_cast<std::uint32_t>(cgroup);
  attributes.attach_bpf_fd = static_cast<std::uint32_t>(program);
  attributes.attach_type = BPF_CGROUP_DEVICE;
  long const result = bpf(BPF_PROG_DETACH, attributes);
  if (result < 0) return failed(result, "bpf(BPF_PROG_DETACH, BPF_CGROUP_DEVICE)");
  return {};
}

Result<std::vector<std::uint32_t>> bpf_query_cgroup_device(int cgroup) {
  std::vector<std::uint32_t> ids(64);  // BPF_CGROUP_MAX_PROGS
  bpf_attr attributes{};
  attributes.query.target_fd = static_cast<std::uint32_t>(cgroup);
  attributes.query.attach_type = BPF_CGROUP_DEVICE;
  attributes.query.prog_ids = address(ids.data());
  attributes.query.prog_cnt = static_cast<std::uint32_t>(ids.size());
  long const result = bpf(BPF_PROG_QUERY, attributes);
  if (result < 0) return failed(result, "bpf(BPF_PROG_QUERY, BPF_CGROUP_DEVICE)");
  ids.resize(attributes.query.prog_cnt);
  return ids;
}

Result<UniqueFd> bpf_program_by_id(std::uint32_t id) {
  bpf_attr attributes{};
  attributes.prog_id = id;
  long const result = bpf(BPF_PROG_GET_FD_BY_ID, attributes);
  if (result < 0) return failed(result, "bpf(BPF_PROG_GET_FD_BY_ID)");
  return UniqueFd(static_cast<int>(result));
}

Result<std::string> bpf_program_name(int program) {
  bpf_prog_info info{};
  bpf_attr attributes{};
  attributes.info.bpf_fd = static_cast<std::uint32_t>(program);
  attributes.info.info = address(&info);
  attributes.info.info_len = sizeof info;
  long const result = bpf(BPF_OBJ_GET_INFO_BY_FD, attributes);
  if (result < 0) return failed(result, "bpf(BPF_OBJ_GET_INFO_BY_FD)");
  return std::string(info.name, ::strnlen(info.name, sizeof info.name));
}

}  // namespace davit::sys
