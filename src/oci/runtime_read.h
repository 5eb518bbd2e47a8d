// Internal to oci: the readers of runtime_spec.h's types, found by json::read's overloads. Each leaves what is absent
// at its default and answers kInvalidArgument naming the field. One .cc file per object of the specification.
#pragma once

#include "codec/json.h"  // rule: json because only the .cc files that parse include this header
#include "oci/runtime_spec.h"

namespace davit::oci {

Result<void> read(json::Field const& field, Process& process);      // runtime_process.cc
Result<void> read(json::Field const& field, Linux& linux_section);  // runtime_linux.cc
Result<void> read(json::Field const& field, IdMapping& mapping);
Result<void> read(json::Field const& field, Resources& resources);  // runtime_resources.cc

// kInvalidArgument unless value is empty or an absolute path.
Result<void> check_absolute(json::Field const& field, std::string const& value);
// kInvalidArgument, listing the names, unless value is one of them.
Result<void> check_one_of(json::Field const& field, std::string_view value, std::vector<std::string_view> const& names);

}  // namespace davit::oci
