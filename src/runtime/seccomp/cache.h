// Internal to seccomp: compiled programs on disk (docs/disk/seccomp-cache.md). A cache, so nothing here is an error
// that stops a container: what cannot be read or trusted is a miss, what cannot be written is left out.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runtime/seccomp/filter.h"

namespace davit::runtime {

// The profile as bytes: equal for equal profiles on one machine with one libseccomp, different otherwise.
std::string seccomp_cache_key(oci::Seccomp const& profile);

std::optional<SeccompFilter> load_cached_seccomp(std::string const& cache_dir, std::string_view key);
void store_cached_seccomp(std::string const& cache_dir, std::string_view key, SeccompFilter const& filter);

}  // namespace davit::runtime
