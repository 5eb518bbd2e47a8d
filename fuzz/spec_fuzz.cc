// config.json, a process or a resources object from outside (oci/runtime_spec.h), and what the runtime reads out of it.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "codec/json.h"
#include "codec/json_writer.h"
#include "oci/runtime_spec.h"
#include "runtime/capabilities.h"
#include "runtime/mount/options.h"
#include "runtime/names.h"
#include "runtime/seccomp/cache.h"

namespace {

using namespace davit;

void require(bool condition) {
  if (!condition) std::abort();
}

// What was printed reads back and prints the same.
void check_resources(oci::Resources const& resources) {
  std::string const printed = oci::print_resources(resources);
  auto const again = oci::parse_resources(printed);
  require(again.ok());
  require(oci::print_resources(*again) == printed);
}

void check_spec(oci::Spec const& spec) {
  for (oci::Mount const& mount : spec.mounts) {
    auto const options = runtime::parse_mount_options(mount.options);
    if (options.ok()) require((options->flags & options->clear) == 0 && (options->rec_set & ~0x2000ffu) == 0);
  }
  if (spec.process && spec.process->capabilities) {
    (void)runtime::parse_capabilities(spec.process->capabilities->bounding, "bounding").ok();
  }
  if (!spec.linux) return;
  if (spec.linux->resources) check_resources(*spec.linux->resources);
  if (spec.linux->seccomp) (void)runtime::seccomp_cache_key(*spec.linux->seccomp);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  if (auto const spec = oci::parse_spec(text); spec.ok()) check_spec(*spec);
  (void)oci::parse_process(text).ok();
  if (auto const resources = oci::parse_resources(text); resources.ok()) check_resources(*resources);
  (void)runtime::parse_signal(text.substr(0, 16)).ok();
  // Any bytes become a JSON string that is read back.
  std::string quoted;
  json::append_quoted(quoted, text);
  require(json::Document::parse(quoted, {.max_bytes = quoted.size()}).ok());
  return 0;
}
