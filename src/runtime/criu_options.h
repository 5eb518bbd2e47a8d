// What dump and restore tell CRIU alike. Any thread.
#pragma once

#include "base/result.h"
#include "runtime/checkpoint.h"
#include "runtime/criu_message.h"

namespace davit::runtime {

// criu_opts (CRIU's rpc.proto). kInvalidArgument names the flag.
Result<CriuMessage> common_criu_options(CriuOptions const& options);

// image_path and work_path become absolute; work_path is image_path where there is none.
Result<void> make_absolute(CriuOptions& options);

}  // namespace davit::runtime
