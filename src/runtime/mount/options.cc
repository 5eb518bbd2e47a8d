#include "runtime/mount/options.h"

#include <fmt/format.h>
#include <sys/mount.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "sys/abi/mount.h"

namespace davit::runtime {

namespace {

using namespace sys::abi;  // NOLINT: the table below is all kMountAttr*

enum class Effect {
  kNothing,
  kSet,           // number: MS_*
  kClear,         // number: MS_*
  kPropagation,   // number: MS_*
  kRecursiveSet,  // number: kMountAttr*
  kRecursiveClear,
  kTmpcopyup,
  kIdmap,
  kRecursiveIdmap,
};

struct Option {
  std::string_view name;
  Effect effect;
  std::uint64_t number = 0;
};

// Sorted by name for the binary search.
constexpr std::array kOptions{
    Option{"async", Effect::kClear, MS_SYNCHRONOUS},
    Option{"atime", Effect::kClear, MS_NOATIME},
    Option{"bind", Effect::kSet, MS_BIND},
    Option{"defaults", Effect::kNothing},
    Option{"dev", Effect::kClear, MS_NODEV},
    Option{"diratime", Effect::kClear, MS_NODIRATIME},
    Option{"dirsync", Effect::kSet, MS_DIRSYNC},
    Option{"exec", Effect::kClear, MS_NOEXEC},
    Option{"idmap", Effect::kIdmap},
    Option{"iversion", Effect::kSet, MS_I_VERSION},
    Option{"lazytime", Effect::kSet, MS_LAZYTIME},
    Option{"loud", Effect::kClear, MS_SILENT},
    Option{"mand", Effect::kSet, MS_MANDLOCK},
    Option{"noatime", Effect::kSet, MS_NOATIME},
    Option{"nodev", Effect::kSet, MS_NODEV},
    Option{"nodiratime", Effect::kSet, MS_NODIRATIME},
    Option{"noexec", Effect::kSet, MS_NOEXEC},
    Option{"noiversion", Effect::kClear, MS_I_VERSION},
    Option{"nolazytime", Effect::kClear, MS_LAZYTIME},
    Option{"nomand", Effect::kClear, MS_MANDLOCK},
    Option{"norelatime", Effect::kClear, MS_RELATIME},
    Option{"nostrictatime", Effect::kClear, MS_STRICTATIME},
    Option{"nosuid", Effect::kSet, MS_NOSUID},
    Option{"nosymfollow", Effect::kSet, MS_NOSYMFOLLOW},
    Option{"private", Effect::kPropagation, MS_PRIVATE},
    Option{"ratime", Effect::kRecursiveClear, kMountAttrNoatime},
    Option{"rbind", Effect::kSet, MS_BIND | MS_REC},
    Option{"rdev", Effect::kRecursiveClear, kMountAttrNodev},
    Option{"rdiratime", Effect::kRecursiveClear, kMountAttrNodiratime},
    Option{"relatime", Effect::kSet, MS_RELATIME},
    Option{"remount", Effect::kSet, MS_REMOUNT},
    Option{"rexec", Effect::kRecursiveClear, kMountAttrNoexec},
    Option{"ridmap", Effect::kRecursiveIdmap},
    Option{"rnoatime", Effect::kRecursiveSet, kMountAttrNoatime},
    Option{"rnodev", Effect::kRecursiveSet, kMountAttrNodev},
    Option{"rnodiratime", Effect::kRecursiveSet, kMountAttrNodiratime},
    Option{"rnoexec", Effect::kRecursiveSet, kMountAttrNoexec},
    Option{"rnorelatime", Effect::kRecursiveClear, kMountAttrRelatime},
    Option{"rnostrictatime", Effect::kRecursiveClear, kMountAttrStrictatime},
    Option{"rnosuid", Effect::kRecursiveSet, kMountAttrNosuid},
    Option{"rnosymfollow", Effect::kRecursiveSet, kMountAttrNosymfollow},
    Option{"ro", Effect::kSet, MS_RDONLY},
    Option{"rprivate", Effect::kPropagation, MS_PRIVATE | MS_REC},
    Option{"rrelatime", Effect::kRecursiveSet, kMountAttrRelatime},
    Option{"rro", Effect::kRecursiveSet, kMountAttrRdonly},
    Option{"rrw", Effect::kRecursiveClear, kMountAttrRdonly},
    Option{"rshared", Effect::kPropagation, MS_SHARED | MS_REC},
    Option{"rslave", Effect::kPropagation, MS_SLAVE | MS_REC},
    Option{"rstrictatime", Effect::kRecursiveSet, kMountAttrStrictatime},
    Option{"rsuid", Effect::kRecursiveClear, kMountAttrNosuid},
    Option{"rsymfollow", Effect::kRecursiveClear, kMountAttrNosymfollow},
    Option{"runbindable", Effect::kPropagation, MS_UNBINDABLE | MS_REC},
    Option{"rw", Effect::kClear, MS_RDONLY},
    Option{"shared", Effect::kPropagation, MS_SHARED},
    Option{"silent", Effect::kSet, MS_SILENT},
    Option{"slave", Effect::kPropagation, MS_SLAVE},
    Option{"strictatime", Effect::kSet, MS_STRICTATIME},
    Option{"suid", Effect::kClear, MS_NOSUID},
    Option{"symfollow", Effect::kClear, MS_NOSYMFOLLOW},
    Option{"sync", Effect::kSet, MS_SYNCHRONOUS},
    Option{"tmpcopyup", Effect::kTmpcopyup},
    Option{"unbindable", Effect::kPropagation, MS_UNBINDABLE},
};
static_assert(std::is_sorted(kOptions.begin(), kOptions.end(),
                             [](Option const& a, Option const& b) { return a.name < b.name; }));

Option const* find_option(std::string_view name) {
  auto const found =
      std::lower_bound(kOptions.begin(), kOptions.end(), name,
                       [](Option const& option, std::string_view wanted) { return option.name < wanted; });
  return found != kOptions.end() && found->name == name ? &*found : nullptr;
}

// The access time settings are one field of the kernel's word, relatime being its zero: a new one replaces the old.
bool is_access_time(std::uint64_t attribute) { return (attribute & ~kMountAttrAtimeMask) == 0; }

void set_recursive(MountOptions& out, std::uint64_t attribute) {
  if (is_access_time(attribute)) {
    out.rec_set &= ~kMountAttrAtimeMask;
    out.rec_clear |= kMountAttrAtimeMask;
  } else {
    out.rec_clear &= ~attribute;
  }
  out.rec_set |= attribute;
}

void clear_recursive(MountOptions& out, std::uint64_t attribute) {
  out.rec_set &= ~attribute;
  out.rec_clear |= is_access_time(attribute) ? kMountAttrAtimeMask : attribute;
}

void apply(MountOptions& out, Option const& option) {
  switch (option.effect) {
    case Effect::kNothing:
      return;
    case Effect::kSet:
      out.flags |= option.number;
      out.clear &= ~option.number;
      return;
    case Effect::kClear:
      out.flags &= ~option.number;
      out.clear |= option.number;
      return;
    case Effect::kPropagation:
      out.propagation.push_back(option.number);
      return;
    case Effect::kRecursiveSet:
      return set_recursive(out, option.number);
    case Effect::kRecursiveClear:
      return clear_recursive(out, option.number);
    case Effect::kTmpcopyup:
      out.tmpcopyup = true;
      return;
    case Effect::kRecursiveIdmap:
      out.recursive_idmap = true;
      [[fallthrough]];
    case Effect::kIdmap:
      out.idmap = true;
      return;
  }
}

}  // namespace

Result<MountOptions> parse_mount_options(std::vector<std::string> const& options) {
  MountOptions out;
  std::size_t first_data = options.size();
  for (std::size_t i = 0; i < options.size(); ++i) {
    if (options[i].empty()) continue;
    if (Option const* option = find_option(options[i])) {
      apply(out, *option);
      continue;
    }
    if (!out.data.empty()) out.data += ',';
    out.data += options[i];
    first_data = std::min(first_data, i);
  }
  out.bind = (out.flags & MS_BIND) != 0;
  out.recursive_bind = out.bind && (out.flags & MS_REC) != 0;
  if (out.bind && first_data < options.size()) {
    auto const near = nearest(options[first_data], mount_option_names());
    return Error(Errc::kInvalidArgument,
                 fmt::format("options[{}]: \"{}\" is not an option of a bind mount{}", first_data, options[first_data],
                             near ? fmt::format(", did you mean \"{}\"?", *near) : std::string()));
  }
  return out;
}

std::vector<std::string_view> mount_option_names() {
  std::vector<std::string_view> names;
  for (Option const& option : kOptions) names.push_back(option.name);
  return names;
}

}  // namespace davit::runtime
