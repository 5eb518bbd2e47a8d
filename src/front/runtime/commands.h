// The commands of davit-runtime: runc's names, flags, output and exit codes, over src/runtime/container.h.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace davit::front {

struct Globals {
  std::string root;  // --root
  bool systemd_cgroup = false;
  bool debug = false;
};

using Arguments = std::span<char const* const>;
// The exit status of the program.
using CommandResult = Result<int>;

CommandResult create_command(Globals const& globals, Arguments arguments);
CommandResult run_command(Globals const& globals, Arguments arguments);
CommandResult start_command(Globals const& globals, Arguments arguments);
CommandResult state_command(Globals const& globals, Arguments arguments);
CommandResult kill_command(Globals const& globals, Arguments arguments);
CommandResult delete_command(Globals const& globals, Arguments arguments);
CommandResult exec_command(Globals const& globals, Arguments arguments);
CommandResult ps_command(Globals const& globals, Arguments arguments);
CommandResult pause_command(Globals const& globals, Arguments arguments);
CommandResult resume_command(Globals const& globals, Arguments arguments);
CommandResult update_command(Globals const& globals, Arguments arguments);
CommandResult events_command(Globals const& globals, Arguments arguments);
CommandResult features_command(Globals const& globals, Arguments arguments);
CommandResult spec_command(Globals const& globals, Arguments arguments);
CommandResult list_command(Globals const& globals, Arguments arguments);
CommandResult checkpoint_command(Globals const& globals, Arguments arguments);
CommandResult restore_command(Globals const& globals, Arguments arguments);

// Parses global flags, runs the command, prints and logs its error; the program's exit status.
int runtime_main(int argc, char** argv);

// Exactly one argument, the container's id; kInvalidArgument says what the command takes.
Result<std::string> only_id(std::string_view command, std::vector<std::string> const& arguments);

}  // namespace davit::front
