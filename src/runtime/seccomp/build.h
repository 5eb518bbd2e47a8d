// Internal to seccomp: from the profile to a program, without the cache.
#pragma once

#include "runtime/seccomp/filter.h"

namespace davit::runtime {

// See compile_seccomp(). Takes milliseconds.
Result<SeccompFilter> build_seccomp(oci::Seccomp const& profile);

}  // namespace davit::runtime
