// Writes plans of knobs (plan.h) to a group's directories. One thread at a time.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/cgroup/directory.h"
#include "runtime/cgroup/plan.h"

namespace davit::runtime {

// The directory for a write; null: the host has no hierarchy for it (kUnimplemented naming the field).
using FindDirectory = std::function<CgroupDirectory const*(KnobWrite const&)>;

// Errors name field and file: kUnimplemented where the knob is missing, kInvalidArgument for a value that the kernel
// refuses, kConflict where the group uses more than the new limit.
Result<void> write_plan(std::span<KnobWrite const> plan, FindDirectory const& find);

// v2: gives the group the named controllers (all that the root has when empty) by enabling them in each group from the
// mount point down to the parent. Best effort: a limit whose controller could not be enabled fails by name later.
void enable_controllers(std::string const& mount_point, std::string const& group, std::vector<std::string> wanted);

}  // namespace davit::runtime
