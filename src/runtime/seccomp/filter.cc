#include "runtime/seccomp/filter.h"

#include "runtime/seccomp/build.h"
#include "runtime/seccomp/cache.h"

namespace davit::runtime {

Result<SeccompFilter> compile_seccomp(oci::Seccomp const& profile, std::string const& cache_dir) {
  if (cache_dir.empty()) return build_seccomp(profile);
  std::string const key = seccomp_cache_key(profile);
  if (auto cached = load_cached_seccomp(cache_dir, key)) return std::move(*cached);
  SeccompFilter filter = TRY(build_seccomp(profile));
  store_cached_seccomp(cache_dir, key, filter);
  return filter;
}

}  // namespace davit::runtime
