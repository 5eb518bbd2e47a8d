#include "sys/machine.h"

#include <sys/utsname.h>

#include "base/result.h"

namespace davit::sys {

std::string machine_name() {
  utsname names{};
  DAVIT_CHECK(::uname(&names) == 0);  // fails for a bad pointer only
  return names.machine;
}

}  // namespace davit::sys
