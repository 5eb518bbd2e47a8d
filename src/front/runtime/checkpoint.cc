// checkpoint, restore: not there yet, and said so.
#include "front/runtime/commands.h"

namespace davit::front {

CommandResult checkpoint_command(Globals const&, Arguments) {
  return Error(Errc::kUnimplemented, "checkpoint: this build cannot checkpoint containers yet");
}

CommandResult restore_command(Globals const&, Arguments) {
  return Error(Errc::kUnimplemented, "restore: this build cannot restore containers yet");
}

}  // namespace davit::front
