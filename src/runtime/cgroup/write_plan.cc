#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "runtime/cgroup/limits.h"
#include "sys/file.h"
#include "sys/raw.h"

namespace davit::runtime {

namespace {

// "not supported" inside the kernel, which leaks from knobs that only stayed for their name (include/linux/errno.h).
constexpr int kEnotsupp = 524;

struct OpenKnob {
  CgroupDirectory const* directory = nullptr;
  std::string file;
  UniqueFd fd;
};

std::string describe(KnobWrite const& write) {
  return write.field + ": write '" + write.value + "' to '" + write.file + "'";
}

Error missing_knob(KnobWrite const& write, CgroupDirectory const* directory) {
  std::string text = write.field + ": ";
  if (directory == nullptr) {
    text += "this host has no '" + write.controller + "' control group hierarchy (for '" + write.file + "')";
  } else {
    text += directory->path() + " has no '" + write.file + "'";
    if (!write.other_file.empty()) text += " and no '" + write.other_file + "'";
    if (directory->v2()) {
      Result<std::string> const has = directory->read("cgroup.controllers");
      std::vector<std::string_view> const names = split(has ? trim(*has) : "", ' ');
      if (std::find(names.begin(), names.end(), write.controller) == names.end()) {
        text += " (controller '" + write.controller + "' is not enabled for the group)";
      }
    }
  }
  return Error(Errc::kUnimplemented, std::move(text), ENOENT);
}

Error refused(KnobWrite const& write, int error_number) {
  switch (error_number) {
    case kEnotsupp:
    case EOPNOTSUPP:
      return Error(Errc::kUnimplemented, describe(write) + ": this kernel no longer supports it", error_number);
    case EBUSY:
      if (write.controller != "memory") break;
      return Error(Errc::kConflict, describe(write) + ": the group uses more than that and it cannot be reclaimed",
                   EBUSY);
    case EINVAL:
    case ERANGE: {
      std::string text = describe(write) + ": the kernel refuses the value";
      if (write.file == "memory.limit_in_bytes")
        text += " (is it above linux.resources.memory.swap, memory and swap together?)";
      return Error(Errc::kInvalidArgument, std::move(text), error_number);
    }
    case ENODEV:
      return Error(Errc::kInvalidArgument, describe(write) + ": no such device", ENODEV);
    default:
      break;
  }
  return Error::from_errno(error_number, describe(write));
}

// Writes one knob; 0 or minus the errno. -ENOENT: neither name exists. The last file stays open, for lists of rules
// that go into one file line by line.
int write_once(KnobWrite const& write, CgroupDirectory const& directory, OpenKnob& open) {
  Result<int> const dir = directory.fd();
  if (!dir) return -dir.error().error_number();
  std::string const* value = &write.value;
  if (open.directory != &directory || open.file != write.file) {
    long fd = sys::raw::openat(*dir, write.file.c_str(), O_WRONLY);
    open = {&directory, write.file, UniqueFd()};
    if (fd == -ENOENT && !write.other_file.empty()) {
      fd = sys::raw::openat(*dir, write.other_file.c_str(), O_WRONLY);
      open.file = write.other_file;
      value = &write.other_value;
    }
    if (fd < 0) {
      open = {};
      return static_cast<int>(fd);
    }
    open.fd = UniqueFd(static_cast<int>(fd));
  }
  long const result = sys::raw::write(open.fd.get(), value->data(), value->size());
  return result < 0 ? static_cast<int>(result) : 0;
}

struct Outcome {
  int error_number = 0;
  CgroupDirectory const* directory = nullptr;
};

Outcome try_write(KnobWrite const& write, FindDirectory const& find, OpenKnob& open) {
  CgroupDirectory const* const directory = find(write);
  int const result = directory == nullptr ? -ENOENT : write_once(write, *directory, open);
  if (result == -ENOENT && write.missing == KnobWrite::Missing::kIgnore) return {};
  if (result == -EPERM && write.may_be_refused) return {};
  return {-result, directory};
}

Error failure(KnobWrite const& write, Outcome const& outcome) {
  if (outcome.error_number == ENOENT) return missing_knob(write, outcome.directory);
  return refused(write, outcome.error_number);
}

// Tries the writes again and again as long as each round gets one of them in.
Result<void> write_in_any_order(std::span<KnobWrite const> group, FindDirectory const& find, OpenKnob& open) {
  std::vector<KnobWrite const*> pending;
  for (KnobWrite const& write : group) pending.push_back(&write);
  while (!pending.empty()) {
    std::vector<KnobWrite const*> later;
    Outcome first_refusal;
    for (KnobWrite const* write : pending) {
      Outcome const outcome = try_write(*write, find, open);
      if (outcome.error_number == 0) continue;
      if (outcome.error_number != EINVAL) return failure(*write, outcome);
      if (later.empty()) first_refusal = outcome;
      later.push_back(write);
    }
    if (later.size() == pending.size()) return failure(*later.front(), first_refusal);
    pending = std::move(later);
  }
  return {};
}

}  // namespace

Result<void> write_plan(std::span<KnobWrite const> plan, FindDirectory const& find) {
  OpenKnob open;
  while (!plan.empty()) {
    unsigned const order = plan.front().any_order;
    std::size_t count = 1;
    while (order != 0 && count < plan.size() && plan[count].any_order == order) ++count;
    TRY(write_in_any_order(plan.first(count), find, open));
    plan = plan.subspan(count);
  }
  return {};
}

void enable_controllers(std::string const& mount_point, std::string const& group, std::vector<std::string> wanted) {
  auto const list = [](std::string const& directory) {
    Result<std::string> const text = sys::read_file(directory + "/cgroup.controllers");
    std::vector<std::string> names;
    for (std::string_view const name : split(text ? trim(*text) : "", ' ')) {
      if (!name.empty()) names.emplace_back(name);
    }
    return names;
  };
  if (wanted.empty()) wanted = list(mount_point);
  std::vector<std::string> const has = list(group);
  std::erase_if(wanted, [&](std::string const& name) { return std::find(has.begin(), has.end(), name) != has.end(); });
  if (wanted.empty()) return;
  // Of the directory's ancestors, the topmost first: a group can pass on only what it was given.
  for (std::size_t slash = mount_point.size(); slash != std::string::npos && slash < group.size();
       slash = group.find('/', slash + 1)) {
    // One by one: a single write is refused whole when one of its controllers is.
    for (std::string const& name : wanted) {
      static_cast<void>(sys::write_knob(AT_FDCWD, group.substr(0, slash) + "/cgroup.subtree_control", "+" + name).ok());
    }
  }
}

}  // namespace davit::runtime
