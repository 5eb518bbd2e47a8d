// bpf(2) for BPF_PROG_TYPE_CGROUP_DEVICE: programs that a v2 group asks about each open and mknod of a device. Any
// thread.
#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace davit::sys {

// Loads the program. name: at most 15 of [A-Za-z0-9_.], seen in bpftool. A program that the kernel's verifier refuses
// is kInvalidArgument with the verifier's last words.
Result<UniqueFd> bpf_load_cgroup_device(std::span<bpf_insn const> program, std::string const& name);

// Attaches beside what is attached already (BPF_F_ALLOW_MULTI); replace >= 0: in the place of that program, atomically.
Result<void> bpf_attach_cgroup_device(int cgroup, int program, int replace = -1);
Result<void> bpf_detach_cgroup_device(int cgroup, int program);

// Ids of the programs attached to this very directory.
Result<std::vector<std::uint32_t>> bpf_query_cgroup_device(int cgroup);
Result<UniqueFd> bpf_program_by_id(std::uint32_t id);
Result<std::string> bpf_program_name(int program);

}  // namespace davit::sys
