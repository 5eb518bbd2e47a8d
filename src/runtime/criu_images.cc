#include "runtime/criu_images.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>

#include "base/text.h"
#include "codec/json.h"
#include "codec/json_writer.h"
#include "runtime/names.h"
#include "sys/abi/process.h"
#include "sys/file.h"
#include "sys/pipe.h"

namespace davit::runtime {

namespace abi = sys::abi;

namespace {

constexpr char const* kFile = "davit-checkpoint.json";
constexpr int kVersion = 1;

// proc(5), /proc/PID/mountinfo
struct MountLine {
  std::string id, parent, device, root, point, type;
};

// The kernel writes blanks, tabs, newlines and backslashes of paths as \ and three octal digits.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 3 >= text.size()) {
      out += text[i];
      continue;
    }
    auto const digit = [&](std::size_t at) { return static_cast<unsigned>(text[i + at] - '0') & 7U; };
    out += static_cast<char>(digit(1) << 6 | digit(2) << 3 | digit(3));
    i += 3;
  }
  return out;
}

Result<std::vector<MountLine>> read_mounts(pid_t pid) {
  std::string const text = TRY(sys::read_file(fmt::format("/proc/{}/mountinfo", pid)));
  std::vector<MountLine> mounts;
  for (std::string_view const line : split(text, '\n')) {
    auto const fields = split(line, ' ');
    auto const dash = std::ranges::find(fields, "-");
    if (fields.size() < 7 || fields.end() - dash < 2) continue;
    mounts.push_back({std::string(fields[0]), std::string(fields[1]), std::string(fields[2]), unescape(fields[3]),
                      unescape(fields[4]), std::string(dash[1])});
  }
  return mounts;
}

bool is_bind(oci::Mount const& mount) {
  return mount.type == "bind" ||
         std::ranges::any_of(mount.options, [](auto const& option) { return option == "bind" || option == "rbind"; });
}

std::string mount_id(std::string const& fdinfo) {
  auto const text = sys::read_file(fdinfo);
  if (!text) return {};
  for (std::string_view const line : split(*text, '\n')) {
    if (line.starts_with("mnt_id:")) return std::string(trim(line.substr(7)));
  }
  return {};
}

// The mounts that config.json binds, by the mount id at their destination: links in it are followed as they were when
// the mount was made.
Result<std::vector<std::pair<std::string, std::string>>> bound_mounts(pid_t pid, oci::Spec const& spec) {
  std::vector<std::pair<std::string, std::string>> found;
  UniqueFd const root = TRY(sys::open(fmt::format("/proc/{}/root", pid), O_PATH | O_DIRECTORY));
  for (oci::Mount const& mount : spec.mounts) {
    if (!is_bind(mount)) continue;
    auto const there = sys::openat2(root.get(), mount.destination, O_PATH, abi::kResolveInRoot);
    if (!there) continue;  // unmounted by the container
    std::string id = mount_id(fmt::format("/proc/self/fdinfo/{}", there->get()));
    if (!id.empty()) found.emplace_back(std::move(id), mount.destination);
  }
  return found;
}

Result<std::vector<ExternalMount>> find_mounts(pid_t pid, oci::Spec const& spec) {
  auto const mounts = TRY(read_mounts(pid));
  auto const bound = TRY(bound_mounts(pid, spec));
  std::vector<ExternalMount> found;
  for (MountLine const& mount : mounts) {
    if (mount.point == "/") continue;
    if (mount.type == "devtmpfs") {  // one of the host's devices, over a masked file or as a device
      found.push_back({mount.point, "", "", "/dev" + mount.root});
      continue;
    }
    // The bind that this is, or that it is below.
    MountLine const* at = &mount;
    for (std::size_t depth = 0; at != nullptr && depth <= mounts.size(); ++depth) {
      auto const match = std::ranges::find(bound, at->id, &std::pair<std::string, std::string>::first);
      if (match != bound.end()) {
        found.push_back({mount.point, match->second, mount.point.substr(at->point.size()), ""});
        break;
      }
      auto const parent = std::ranges::find(mounts, at->parent, &MountLine::id);
      at = parent == mounts.end() ? nullptr : &*parent;
      // A file system of its own that config.json mounted below a bind is the container's.
      if (at == nullptr || mount.root == "/") break;
    }
  }
  return found;
}

bool is_terminal(struct stat const& info) {
  if (!S_ISCHR(info.st_mode)) return false;
  unsigned const type = ::major(info.st_rdev);  // devices.txt: 4 and 5 consoles, 136 to 143 Unix98 slaves
  return type == 4 || (type == 5 && ::minor(info.st_rdev) != 2) || (type >= 136 && type <= 143);
}

Result<std::vector<ExternalDescriptor>> find_descriptors(pid_t pid) {
  auto const mounts = TRY(read_mounts(pid));
  std::vector<ExternalDescriptor> found;
  for (int number = 0; number < 3; ++number) {
    std::string const path = fmt::format("/proc/{}/fd/{}", pid, number);
    auto const name = sys::readlink(path);
    struct stat info {};
    if (!name || ::stat(path.c_str(), &info) < 0) continue;  // the program has closed it
    ExternalDescriptor descriptor{number, "", *name};
    std::string const mount = mount_id(fmt::format("/proc/{}/fdinfo/{}", pid, number));
    bool const inside = std::ranges::find(mounts, mount, &MountLine::id) != mounts.end();
    if (name->starts_with("pipe:[") || name->starts_with("socket:[")) {
      descriptor.key = *name;
    } else if (inside) {
      continue;
    } else if (is_terminal(info)) {
      descriptor.key = fmt::format("tty[{:x}:{:x}]", info.st_rdev, info.st_dev);
    } else if (auto const mount_number = parse_u64(mount)) {
      descriptor.key = fmt::format("file[{:x}:{:x}]", *mount_number, info.st_ino);
    } else {
      continue;
    }
    found.push_back(std::move(descriptor));
  }
  return found;
}

// CRIU restores into a network or pid namespace that it is given; others it can only make anew.
Result<std::vector<ExternalNamespace>> find_namespaces(pid_t pid, oci::Spec const& spec) {
  std::vector<ExternalNamespace> found;
  for (oci::Namespace const& entry : spec.linux->namespaces) {
    if (entry.path.empty()) continue;
    if (entry.type != "network" && entry.type != "pid") {
      return Error(Errc::kUnimplemented,
                   fmt::format("linux.namespaces: the {} namespace is {}; CRIU can join only network and pid ones",
                               entry.type, entry.path));
    }
    char const* const file = entry.type == "network" ? "net" : "pid";
    struct stat info {};
    if (::stat(fmt::format("/proc/{}/ns/{}", pid, file).c_str(), &info) < 0)
      return Error::from_errno(errno, fmt::format("stat of the {} namespace", entry.type));
    found.push_back({entry.type, std::to_string(info.st_ino)});
  }
  return found;
}

std::string namespace_key(std::string_view type) { return fmt::format("extRoot{}NS", type == "pid" ? "Pid" : "Net"); }

// criu_opts (rpc.proto)
constexpr unsigned kInheritFd = 27, kExternal = 37;

void inherit(Inherited& out, CriuMessage& options, std::string_view key, UniqueFd descriptor) {
  CriuMessage entry;
  entry.text(1, key).number(2, static_cast<std::uint64_t>(descriptor.get()));
  options.message(kInheritFd, entry);
  out.descriptors.push_back(std::move(descriptor));
}

Result<std::string> mount_source(ExternalMount const& mount, oci::Spec const& spec, std::string const& bundle) {
  if (mount.destination.empty()) return mount.source;
  for (oci::Mount const& entry : spec.mounts) {
    if (entry.destination != mount.destination || !is_bind(entry)) continue;
    return sys::clean_path(entry.source.starts_with('/') ? entry.source : bundle + "/" + entry.source) + mount.below;
  }
  return Error(Errc::kInvalidArgument,
               fmt::format("mounts: no bind mount for {}, which the checkpoint has", mount.destination));
}

Result<void> read(json::Field const& field, ExternalDescriptor& out) {
  TRY(json::read(field["number"], out.number));
  TRY(json::read(field["key"], out.key));
  if (out.number < 0 || out.number > 2) return field.error("number: not 0, 1 or 2");
  return json::read(field["name"], out.name);
}

Result<void> read(json::Field const& field, ExternalMount& out) {
  TRY(json::read(field["mountPoint"], out.mount_point));
  TRY(json::read(field["destination"], out.destination));
  TRY(json::read(field["below"], out.below));
  return json::read(field["source"], out.source);
}

Result<void> read(json::Field const& field, ExternalNamespace& out) {
  TRY(json::read(field["type"], out.type));
  return json::read(field["inode"], out.inode);
}

template <typename T>
Result<void> read_list(json::Field const& list, std::vector<T>& out) {
  std::size_t const size = TRY(list.array_size());
  for (std::size_t i = 0; i < size; ++i) {
    json::Field const entry = list.element(i);
    TRY(read(entry, out.emplace_back()));
  }
  return {};
}

}  // namespace

Result<ExternalParts> find_external_parts(State const& state, oci::Spec const& spec) {
  ExternalParts parts;
  parts.descriptors = TRY(find_descriptors(state.pid));
  if ((state.namespaces & abi::kNewNs) != 0) parts.mounts = TRY(find_mounts(state.pid, spec));
  parts.namespaces = TRY(find_namespaces(state.pid, spec));
  return parts;
}

void name_external_parts(ExternalParts const& parts, CriuMessage& options) {
  for (ExternalDescriptor const& entry : parts.descriptors) {
    // Pipes are known by their number; a socket is "unix[N]" here and "socket:[N]" when it is inherited.
    if (entry.key.starts_with("pipe:")) continue;
    if (entry.key.starts_with("socket:")) {
      options.text(kExternal, "unix" + entry.key.substr(entry.key.find('[')));
    } else {
      options.text(kExternal, entry.key);
    }
  }
  for (ExternalMount const& entry : parts.mounts)
    options.text(kExternal, fmt::format("mnt[{0}]:{0}", entry.mount_point));
  for (ExternalNamespace const& entry : parts.namespaces) {
    options.text(kExternal,
                 fmt::format("{}[{}]:{}", entry.type == "pid" ? "pid" : "net", entry.inode, namespace_key(entry.type)));
  }
}

std::vector<int> Inherited::numbers() const {
  std::vector<int> all;
  for (UniqueFd const& fd : descriptors) all.push_back(fd.get());
  return all;
}

Result<Inherited> supply_external_parts(ExternalParts const& parts, oci::Spec const& spec, std::string const& bundle,
                                        std::array<int, 3> const& stdio, CriuMessage& options) {
  Inherited out;
  std::set<std::string> keys;
  for (ExternalDescriptor const& entry : parts.descriptors) {
    if (!keys.insert(entry.key).second) continue;  // stdout and stderr are one file
    UniqueFd copy = TRY_CTX(sys::duplicate(stdio[static_cast<std::size_t>(entry.number)]), entry.name);
    inherit(out, options, entry.key, std::move(copy));
  }
  for (ExternalMount const& entry : parts.mounts) {
    std::string const source = TRY(mount_source(entry, spec, bundle));
    options.text(kExternal, fmt::format("mnt[{}]:{}", entry.mount_point, source));
  }
  for (ExternalNamespace const& entry : parts.namespaces) {
    auto const now = std::ranges::find(spec.linux->namespaces, entry.type, &oci::Namespace::type);
    if (now == spec.linux->namespaces.end() || now->path.empty()) {
      return Error(Errc::kInvalidArgument,
                   fmt::format("linux.namespaces: no path of a {} namespace, which the checkpoint joined", entry.type));
    }
    UniqueFd fd = TRY_CTX(sys::open(now->path, O_RDONLY), "linux.namespaces: " + entry.type);
    inherit(out, options, namespace_key(entry.type), std::move(fd));
  }
  return out;
}

Result<void> save_external_parts(std::string const& image_path, ExternalParts const& parts) {
  json::Writer out("  ");
  out.begin_object().field("version", kVersion).key("descriptors").begin_array();
  for (ExternalDescriptor const& entry : parts.descriptors) {
    out.begin_object().field("number", entry.number).field("key", entry.key).field("name", entry.name).end_object();
  }
  out.end_array().key("mounts").begin_array();
  for (ExternalMount const& entry : parts.mounts) {
    out.begin_object().field("mountPoint", entry.mount_point).field("destination", entry.destination);
    out.field("below", entry.below).field("source", entry.source).end_object();
  }
  out.end_array().key("namespaces").begin_array();
  for (ExternalNamespace const& entry : parts.namespaces)
    out.begin_object().field("type", entry.type).field("inode", entry.inode).end_object();
  out.end_array().end_object();
  return sys::replace_file_at(AT_FDCWD, image_path + "/" + kFile, out.take() + "\n", 0600, sys::Durability::kNone);
}

Result<ExternalParts> load_external_parts(std::string const& image_path) {
  std::string const file = image_path + "/" + kFile;
  auto const text = sys::read_file(file);
  if (!text && text.error().code() == Errc::kNotFound) {
    return Error(Errc::kNotFound,
                 fmt::format("--image-path: {} holds no complete checkpoint (no {})", image_path, kFile));
  }
  if (!text) return Error(text.error().code(), text.error().to_string(), text.error().error_number());
  json::Document const document = TRY_CTX(json::Document::parse(*text), file);
  json::Field const root = document.root();
  int version = 0;
  TRY_CTX(json::read(root["version"], version), file);
  if (version != kVersion)
    return Error(Errc::kUnimplemented, fmt::format("{}: version {}, not {}", file, version, kVersion));
  ExternalParts parts;
  json::Field const descriptors = root["descriptors"], mounts = root["mounts"], namespaces = root["namespaces"];
  TRY_CTX(read_list(descriptors, parts.descriptors), file);
  TRY_CTX(read_list(mounts, parts.mounts), file);
  TRY_CTX(read_list(namespaces, parts.namespaces), file);
  return parts;
}

}  // namespace davit::runtime
