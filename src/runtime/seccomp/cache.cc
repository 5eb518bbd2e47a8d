#include "runtime/seccomp/cache.h"

#include <fmt/format.h>
#include <seccomp.h>
#include <unistd.h>

#include <cstring>
#include <type_traits>

#include "sys/file.h"

namespace davit::runtime {

namespace {

// docs/disk/seccomp-cache.md. Raised whenever build_seccomp() would give another program for the same profile.
constexpr std::uint32_t kFormatVersion = 1;
constexpr char kMagic[8] = {'D', 'V', 'T', 'S', 'E', 'C', 'C', '\n'};
constexpr std::size_t kMaxFileSize = std::size_t{4} << 20;

struct Header {
  char magic[8];
  std::uint64_t checksum;  // of all that follows it
  std::uint32_t flags;
  std::uint32_t notify;
  std::uint64_t key_size;
  std::uint64_t program_size;  // instructions
};
static_assert(sizeof(Header) == 40 && std::is_trivially_copyable_v<Header>);
constexpr std::size_t kChecksumEnd = offsetof(Header, flags);

// Against torn and flipped bytes and for file names, not against an attacker: only root can write there, and the whole
// key is compared. Eight bytes at a time (splitmix64's mixing), since this is on the path of every start.
std::uint64_t mix(std::string_view bytes) {
  std::uint64_t hash = 0x9e3779b97f4a7c15u ^ bytes.size();
  while (!bytes.empty()) {
    std::uint64_t word = 0;
    std::size_t const count = std::min<std::size_t>(bytes.size(), 8);
    std::memcpy(&word, bytes.data(), count);
    bytes.remove_prefix(count);
    hash = (hash ^ word) * 0xbf58476d1ce4e5b9u;
    hash ^= hash >> 29;
  }
  hash *= 0x94d049bb133111ebu;
  return hash ^ (hash >> 31);
}

template <typename T>
void put(std::string& out, T number) {
  char bytes[sizeof number];
  std::memcpy(bytes, &number, sizeof number);
  out.append(bytes, sizeof bytes);
}
void put(std::string& out, std::string const& text) {
  put(out, static_cast<std::uint32_t>(text.size()));
  out += text;
}
void put(std::string& out, oci::Strings const& texts) {
  put(out, static_cast<std::uint32_t>(texts.size()));
  for (std::string const& text : texts) put(out, text);
}
void put(std::string& out, std::optional<std::uint32_t> number) {
  put(out, static_cast<std::uint8_t>(number.has_value()));
  put(out, number.value_or(0));
}

std::string file_name(std::string_view key) { return fmt::format("{:016x}.bpf", mix(key)); }

// Whether only this user can have written it.
bool is_ours(int fd) {
  auto const info = sys::fstat(fd);
  return info.ok() && info->st_uid == ::geteuid() && (info->st_mode & 022) == 0;
}

// The directory, if it can be trusted; made when missing and wanted.
std::optional<UniqueFd> open_directory(std::string const& path) {
  auto directory = sys::open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  if (!directory.ok() || !is_ours(directory->get())) return std::nullopt;
  return std::move(directory).value();
}

// The key and the program out of a file's bytes, if they are whole.
std::optional<SeccompFilter> parse_file(std::string_view bytes, std::string_view key) {
  Header header{};
  if (bytes.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) return std::nullopt;
  if (header.key_size != key.size() || header.program_size > BPF_MAXINSNS || header.program_size == 0)
    return std::nullopt;
  std::size_t const program_bytes = header.program_size * sizeof(sock_filter);
  if (bytes.size() != sizeof header + key.size() + program_bytes) return std::nullopt;
  if (bytes.substr(sizeof header, key.size()) != key) return std::nullopt;
  if (header.checksum != mix(bytes.substr(kChecksumEnd))) return std::nullopt;
  SeccompFilter filter;
  filter.flags = header.flags;
  filter.notify = header.notify != 0;
  filter.program.resize(header.program_size);
  std::memcpy(filter.program.data(), bytes.data() + sizeof header + key.size(), program_bytes);
  return filter;
}

}  // namespace

std::string seccomp_cache_key(oci::Seccomp const& profile) {
  std::string key;
  key.reserve(8192);
  scmp_version const* library = seccomp_version();
  put(key, kFormatVersion);
  put(key, library->major);
  put(key, library->minor);
  put(key, library->micro);
  put(key, seccomp_arch_native());
  put(key, seccomp_api_get());  // what the kernel can do decides what the library emits
  put(key, profile.default_action);
  put(key, profile.default_errno_ret);
  put(key, profile.architectures);
  put(key, profile.flags);
  put(key, static_cast<std::uint8_t>(profile.flags_given));
  // Of the listener only whether there is one: the path differs per container and is no part of the program.
  put(key, static_cast<std::uint8_t>(profile.listener_path.empty()));
  put(key, static_cast<std::uint32_t>(profile.syscalls.size()));
  for (oci::SeccompSyscall const& rule : profile.syscalls) {
    put(key, rule.names);
    put(key, rule.action);
    put(key, rule.errno_ret);
    put(key, static_cast<std::uint32_t>(rule.args.size()));
    for (oci::SeccompArg const& arg : rule.args) {
      put(key, arg.index);
      put(key, arg.value);
      put(key, arg.value_two);
      put(key, arg.op);
    }
  }
  return key;
}

std::optional<SeccompFilter> load_cached_seccomp(std::string const& cache_dir, std::string_view key) {
  auto const directory = open_directory(cache_dir);
  if (!directory) return std::nullopt;
  auto const file = sys::openat(directory->get(), file_name(key), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!file.ok() || !is_ours(file->get())) return std::nullopt;
  auto const bytes = sys::read_all(file->get(), kMaxFileSize);
  if (!bytes.ok()) return std::nullopt;
  return parse_file(*bytes, key);
}

void store_cached_seccomp(std::string const& cache_dir, std::string_view key, SeccompFilter const& filter) {
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.flags = filter.flags;
  header.notify = filter.notify ? 1 : 0;
  header.key_size = key.size();
  header.program_size = filter.program.size();
  std::string bytes(sizeof header, '\0');
  bytes += key;
  bytes.append(reinterpret_cast<char const*>(filter.program.data()), filter.program.size() * sizeof(sock_filter));
  if (bytes.size() > kMaxFileSize) return;
  std::memcpy(bytes.data(), &header, sizeof header);
  header.checksum = mix(std::string_view(bytes).substr(kChecksumEnd));
  std::memcpy(bytes.data(), &header, sizeof header);
  if (!sys::mkdir_all(cache_dir, 0700).ok()) return;
  auto const directory = open_directory(cache_dir);
  if (!directory) return;
  // Not synced: a file that a crash tears fails its checksum and is written anew. A failure to write costs time only.
  (void)sys::replace_file_at(directory->get(), file_name(key), bytes, 0600, sys::Durability::kNone).ok();
}

}  // namespace davit::runtime
