#include "runtime/init/init_plan.h"

#include <fmt/format.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "runtime/names.h"
#include "sys/file.h"
#include "sys/raw.h"

namespace davit::runtime {

namespace abi = sys::abi;

namespace {

Error bad_field(std::string_view field, std::string_view problem) {
  return Error(Errc::kInvalidArgument, fmt::format("{}: {}", field, problem));
}

Result<bool> is_our_namespace(int fd, char const* file) {
  struct stat const given = TRY(sys::fstat(fd));
  struct stat ours {};
  if (::stat(fmt::format("/proc/self/ns/{}", file).c_str(), &ours) < 0) return false;  // the kernel has no such kind
  return given.st_ino == ours.st_ino && given.st_dev == ours.st_dev;
}

Result<void> plan_namespaces(oci::Spec const& spec, InitPlan& plan) {
  for (std::size_t i = 0; i < spec.linux->namespaces.size(); ++i) {
    oci::Namespace const& entry = spec.linux->namespaces[i];
    std::string const field = fmt::format("linux.namespaces[{}]", i);
    NamespaceKind const* const kind = namespace_kind(entry.type);
    if (kind == nullptr) return bad_field(field + ".type", fmt::format("unknown namespace '{}'", entry.type));
    if (entry.path.empty()) {
      plan.new_namespaces |= kind->clone_flag;
      plan.own_namespaces |= kind->clone_flag;
      continue;
    }
    UniqueFd fd = TRY_CTX(sys::open(entry.path, O_RDONLY), field + ".path");
    if (TRY(sys::fs_magic(fd.get())) != abi::kNsfsMagic)
      return bad_field(field + ".path", entry.path + " is no namespace");
    // Joining where one is already changes nothing, and what is set in it (hostname, sysctls) would be the host's.
    if (TRY(is_our_namespace(fd.get(), kind->file))) continue;
    plan.own_namespaces |= kind->clone_flag;
    plan.joins.push_back({std::move(fd), kind->clone_flag, entry.type, entry.path});
  }
  return {};
}

bool has(std::uint64_t namespaces, std::uint64_t flag) { return (namespaces & flag) != 0; }

Result<void> check_namespaces(oci::Spec const& spec, std::uint64_t all, InitPlan& plan) {
  plan.new_user_namespace = has(plan.new_namespaces, abi::kNewUser);
  plan.new_mount_namespace = has(plan.new_namespaces, abi::kNewNs);
  plan.new_cgroup_namespace = has(plan.new_namespaces, abi::kNewCgroup);
  plan.new_namespaces &= ~abi::kNewCgroup;  // made by the child once it is in its cgroup, which becomes the root of it
  bool joined_pid = false;
  for (JoinNamespace const& join : plan.joins) {
    plan.joined_user_namespace |= join.flag == abi::kNewUser;
    joined_pid |= join.flag == abi::kNewPid;
  }
  plan.join_in_helper = !plan.joins.empty() && (joined_pid || plan.new_user_namespace || plan.joined_user_namespace);
  plan.loopback_up = has(plan.new_namespaces, abi::kNewNet);
  if (plan.new_user_namespace && (spec.linux->uid_mappings.empty() || spec.linux->gid_mappings.empty())) {
    return bad_field("linux.uidMappings", "a new user namespace needs uidMappings and gidMappings");
  }
  if (!has(all, abi::kNewUser) && !spec.linux->uid_mappings.empty()) {
    return bad_field("linux.uidMappings", "given without a user namespace");
  }
  if (!spec.hostname.empty() && !has(all, abi::kNewUts)) {
    return bad_field("hostname", "cannot be set without a uts namespace of the container's own");
  }
  if (!spec.domainname.empty() && !has(all, abi::kNewUts)) {
    return bad_field("domainname", "cannot be set without a uts namespace of the container's own");
  }
  if (!spec.linux->time_offsets.empty() && !has(plan.new_namespaces, abi::kNewTime)) {
    return bad_field("linux.timeOffsets", "given without a new time namespace");
  }
  if (!plan.new_mount_namespace && !spec.mounts.empty()) {
    return bad_field("mounts", "cannot be made without a new mount namespace: they would be mounts of the host");
  }
  if (plan.new_mount_namespace) return {};
  constexpr std::string_view kNeedsMounts = "cannot be applied without a new mount namespace";
  if (!spec.linux->masked_paths.empty()) return bad_field("linux.maskedPaths", kNeedsMounts);
  if (!spec.linux->readonly_paths.empty()) return bad_field("linux.readonlyPaths", kNeedsMounts);
  if (spec.root->readonly) return bad_field("root.readonly", kNeedsMounts);
  if (!spec.linux->devices.empty()) return bad_field("linux.devices", kNeedsMounts);
  if (!spec.linux->rootfs_propagation.empty()) return bad_field("linux.rootfsPropagation", kNeedsMounts);
  return {};
}

// The namespace that a sysctl belongs to (namespaces(7)); 0: it is the host's, which no container may change.
std::uint64_t sysctl_namespace(std::string_view name) {
  constexpr std::array<std::string_view, 8> kIpc{"kernel.msgmax", "kernel.msgmnb",         "kernel.msgmni",
                                                 "kernel.sem",    "kernel.shmall",         "kernel.shmmax",
                                                 "kernel.shmmni", "kernel.shm_rmid_forced"};
  if (name.starts_with("net.")) return abi::kNewNet;
  if (name.starts_with("fs.mqueue.") || std::ranges::find(kIpc, name) != kIpc.end()) return abi::kNewIpc;
  if (name == "kernel.domainname" || name == "kernel.hostname") return abi::kNewUts;
  return 0;
}

// Dots and slashes swapped.
std::string swapped(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) { return c == '/' ? '.' : c == '.' ? '/' : c; });
  return text;
}

Result<void> plan_sysctls(oci::Spec const& spec, std::uint64_t all, InitPlan& plan) {
  for (auto const& [given, value] : spec.linux->sysctl) {
    // "net/ipv4/conf/eth0.100/forwarding" is the form for names that hold dots (sysctl(8)).
    std::size_t const separator = given.find_first_of("./");
    bool const slashes = separator != std::string::npos && given[separator] == '/';
    std::string const name = slashes ? swapped(given) : given;
    std::string const file = slashes ? given : swapped(given);
    std::string const field = fmt::format("linux.sysctl: {}", given);
    // A name that walks ("net/../kernel/core_pattern") would be judged by its beginning and written at its end.
    for (std::string_view const part : split(file, '/')) {
      if (part.empty() || part == "." || part == "..") return bad_field(field, "is not the name of a sysctl");
    }
    std::uint64_t const needed = sysctl_namespace(name);
    if (needed == 0) return bad_field(field, "is not in a separate kernel namespace");
    if (!has(all, needed)) return bad_field(field, "needs a namespace of the container's own");
    if (name == "kernel.hostname" && !spec.hostname.empty()) return bad_field(field, "conflicts with hostname");
    plan.sysctls.push_back({"sys/" + file, value, given});
  }
  return {};
}

// Where the host has procfs and sysfs, deepest last; proc(5), /proc/PID/mountinfo.
Result<std::vector<std::string>> kernel_mounts() {
  std::string const text = TRY(sys::read_file("/proc/self/mountinfo"));
  std::vector<std::string> out;
  for (std::string_view const line : split(text, '\n')) {
    std::size_t const dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    std::string_view const type = line.substr(dash + 3);
    auto const fields = split(line, ' ');
    if (fields.size() > 4 && (type.starts_with("proc ") || type.starts_with("sysfs "))) out.emplace_back(fields[4]);
  }
  std::ranges::reverse(out);
  return out;
}

Result<std::vector<std::string>> inner_paths(std::string_view field, std::vector<std::string> const& paths) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    if (!paths[i].starts_with('/')) {
      return bad_field(fmt::format("{}[{}]", field, i), fmt::format("'{}' is not an absolute path", paths[i]));
    }
    out.push_back(sys::clean_path(paths[i]).substr(1));
  }
  return out;
}

Result<void> plan_rootfs(InitPlanInput const& input, InitPlan& plan) {
  oci::Spec const& spec = input.spec;
  plan.rootfs = input.rootfs;
  plan.readonly_root = spec.root->readonly;
  plan.no_pivot = input.options.no_pivot;
  unsigned long const propagation =
      TRY_CTX(parse_propagation(spec.linux->rootfs_propagation), "linux.rootfsPropagation");
  bool const shared = (propagation & MS_SHARED) != 0;
  bool const slave = propagation == 0 || (propagation & MS_SLAVE) != 0;
  plan.root_propagation = (slave ? MS_SLAVE : MS_PRIVATE) | MS_REC;
  if (propagation != 0 && !slave) plan.container_root_propagation = propagation;
  if (!plan.new_mount_namespace) return {};
  // pivot_root(2) refuses a shared root; what the host mounts below it later still arrives when it is a slave.
  plan.rootfs_origin = {plan.rootfs, true, static_cast<unsigned long>(slave ? MS_SLAVE : MS_PRIVATE), -1, false};
  plan.rootfs_tree = TRY_CTX(make_tree(plan.rootfs_origin), fmt::format("root.path: {}", plan.rootfs));
  MountContext const context{spec,
                             input.bundle,
                             plan.new_user_namespace || plan.joined_user_namespace,
                             plan.new_cgroup_namespace,
                             input.cgroups,
                             &input.cgroup,
                             shared ? 0UL : static_cast<unsigned long>(slave ? MS_SLAVE : MS_PRIVATE)};
  plan.mounts = TRY(plan_mounts(context));
  plan.setup_dev = dev_is_ours(spec);
  if (plan.setup_dev) plan.devices = TRY(plan_devices(context));
  plan.masked_paths = TRY(inner_paths("linux.maskedPaths", spec.linux->masked_paths));
  plan.readonly_paths = TRY(inner_paths("linux.readonlyPaths", spec.linux->readonly_paths));
  return {};
}

Result<void> plan_personality(oci::Linux const& linux, ProcessPlan& process) {
  if (!linux.personality_flags.empty())
    return bad_field("linux.personality.flags", "the specification defines none yet");
  if (linux.personality_domain.empty()) return {};
  constexpr unsigned long kLinux = 0x0000, kLinux32 = 0x0008;  // personality(2)
  if (linux.personality_domain == "LINUX") {
    process.personality = kLinux;
  } else if (linux.personality_domain == "LINUX32") {
    process.personality = kLinux32;
  } else {
    return bad_field("linux.personality.domain",
                     fmt::format("'{}' is neither LINUX nor LINUX32", linux.personality_domain));
  }
  return {};
}

Result<void> check_hooks(oci::Hooks const& hooks) {
  for (auto const* list : {&hooks.prestart, &hooks.create_runtime, &hooks.create_container, &hooks.start_container,
                           &hooks.poststart, &hooks.poststop}) {
    for (oci::Hook const& hook : *list) {
      if (hook.timeout_seconds && *hook.timeout_seconds <= 0) {
        return bad_field(fmt::format("hooks: timeout of {}", hook.path), "is not a positive number of seconds");
      }
    }
  }
  return {};
}

void plan_hooks(InitPlanInput const& input, InitPlan& plan) {
  oci::Hooks const& hooks = input.spec.hooks;
  for (auto const& hook : hooks.create_container) plan.create_container_hooks.push_back(plan_hook(hook));
  for (auto const& hook : hooks.start_container) plan.start_container_hooks.push_back(plan_hook(hook));
  plan.hooks_before_pivot = !hooks.prestart.empty() || !hooks.create_runtime.empty();
  // Without pivot_root the root is moved over "/", so it cannot be there already.
  plan.root_at_path = plan.hooks_before_pivot || !hooks.create_container.empty() || input.options.no_pivot;
  State state;
  state.id = input.options.id;
  state.oci_version = input.spec.oci_version;
  state.bundle = input.bundle;
  state.annotations = input.spec.annotations;
  state.pid = 1;  // as the process sees itself
  if (!has(plan.own_namespaces, abi::kNewPid)) state.pid = 0;
  if (!hooks.create_container.empty())
    plan.create_container_state = print_state(state, Status::kCreating, StateFields::kOci);
  if (!hooks.start_container.empty())
    plan.start_container_state = print_state(state, Status::kCreated, StateFields::kOci);
}

}  // namespace

std::string seccomp_cache(std::string const& root) { return root + "/~seccomp"; }

HookPlan plan_hook(oci::Hook const& hook) {
  HookPlan plan;
  plan.path = hook.path;
  plan.args = CStrings(hook.args.empty() ? oci::Strings{hook.path} : hook.args);
  plan.env = CStrings(hook.env);
  constexpr int kLongest = 2'000'000;  // seconds: 23 days, the most that fits in milliseconds
  if (hook.timeout_seconds) plan.timeout_ms = std::min(*hook.timeout_seconds, kLongest) * 1000;
  return plan;
}

std::uint64_t container_namespaces(oci::Spec const& spec) {
  std::uint64_t all = 0;
  for (auto const& entry : spec.linux->namespaces) {
    NamespaceKind const* const kind = namespace_kind(entry.type);
    if (kind != nullptr) all |= kind->clone_flag;
  }
  return all;
}

bool owns_pid_namespace(oci::Spec const& spec) {
  return std::ranges::any_of(spec.linux->namespaces,
                             [](auto const& entry) { return entry.type == "pid" && entry.path.empty(); });
}

Result<InitPlan> plan_init(InitPlanInput const& input) {
  oci::Spec const& spec = input.spec;
  oci::Linux const& linux = *spec.linux;
  InitPlan plan;
  if (linux.intel_rdt) {
    return Error(Errc::kUnimplemented, "linux.intelRdt: Intel RDT (resctrl) is not supported by this runtime");
  }
  TRY(plan_namespaces(spec, plan));
  std::uint64_t const all = plan.own_namespaces;
  plan.own_pid_namespace = has(plan.new_namespaces, abi::kNewPid);
  TRY(check_namespaces(spec, all, plan));
  TRY(plan_sysctls(spec, all, plan));
  TRY(check_hooks(spec.hooks));
  if (!linux.mount_label.empty() && !sys::exists("/sys/fs/selinux/enforce")) {
    return Error(Errc::kUnimplemented, "linux.mountLabel: SELinux is not enabled in this kernel");
  }
  ProcessPlanInput const process{*spec.process, linux.seccomp ? &*linux.seccomp : nullptr,
                                 seccomp_cache(input.options.root), input.options.preserve_fds, input.options.stdio};
  plan.process = TRY(plan_process(process));
  TRY(plan_personality(linux, plan.process));
  plan.process.new_keyring = !input.options.no_new_keyring;
  plan.process.keyring_name = "_ses." + input.options.id;
  plan.hostname = spec.hostname;
  plan.domainname = spec.domainname;
  plan_hooks(input, plan);
  TRY(plan_rootfs(input, plan));
  plan.cgroup_v2 = TRY(input.cgroup.open_v2_directory());
  plan.cgroup_files = TRY(input.cgroup.open_join_files(plan.cgroup_v2.valid() ? JoinFiles::kV1 : JoinFiles::kAll));
  bool const user_namespace = plan.new_user_namespace || plan.joined_user_namespace;
  plan.wait_for_parent = user_namespace;
  plan.process.in_user_namespace = user_namespace;
  plan.process.rlimits_set = user_namespace;
  plan.trees_from_parent = user_namespace && plan.new_mount_namespace;
  if (plan.no_pivot) plan.host_kernel_mounts = TRY(kernel_mounts());
  // A copy of the mount that ends at this directory: ".." of the real one leads to the host's cgroups.
  if (plan.cgroup_v2.valid() && !plan.joins.empty()) {
    long const copy = sys::raw::open_tree(plan.cgroup_v2.get(), "", abi::kOpenTreeClone | abi::kAtEmptyPath);
    if (copy >= 0) plan.cgroup_v2 = UniqueFd(static_cast<int>(copy));
  }
  return plan;
}

}  // namespace davit::runtime
