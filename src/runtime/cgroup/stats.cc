#include "runtime/cgroup/stats.h"

#include <fcntl.h>

#include <array>

#include "base/text.h"
#include "sys/file.h"

namespace davit::runtime {

std::vector<std::pair<std::string_view, std::uint64_t>> parse_flat_keyed(std::string_view text) {
  std::vector<std::pair<std::string_view, std::uint64_t>> pairs;
  for (std::string_view const line : split(text, '\n')) {
    std::size_t const space = line.find(' ');
    if (space == std::string_view::npos) continue;
    std::optional<std::uint64_t> const value = parse_u64(trim(line.substr(space + 1)));
    if (value) pairs.emplace_back(line.substr(0, space), *value);
  }
  return pairs;
}

std::uint64_t flat_value(std::string_view text, std::string_view key) {
  for (auto const& [name, value] : parse_flat_keyed(text)) {
    if (name == key) return value;
  }
  return 0;
}

Result<std::optional<std::string>> read_knob(int dir, std::string const& file) {
  Result<std::string> text = sys::read_file_at(dir, file);
  if (text) return std::optional<std::string>(std::move(text).value());
  int const number = text.error().error_number();
  // EOPNOTSUPP: the file stands for something that is switched off (memory.kmem.*, *.pressure).
  if (number == ENOENT || number == EOPNOTSUPP) return std::optional<std::string>();
  return std::move(text).take_error();
}

Result<std::uint64_t> read_number(int dir, std::string const& file) {
  std::optional<std::string> const text = TRY(read_knob(dir, file));
  if (!text) return std::uint64_t{0};
  std::string_view const number = trim(*text);
  if (number == "max" || number == "-1") return kNoLimit;
  std::optional<std::uint64_t> const value = parse_u64(number);
  if (!value) return Error(Errc::kInternal, file + ": '" + std::string(number.substr(0, 40)) + "' is not a number");
  return *value;
}

Result<std::vector<std::string>> huge_page_sizes(int dir, std::string_view suffix) {
  std::vector<std::string> sizes;
  UniqueFd const listing = TRY(sys::openat(dir, ".", O_RDONLY | O_DIRECTORY));
  for (std::string const& name : TRY(sys::list_directory(listing.get()))) {
    std::string_view size = name;
    if (!size.starts_with("hugetlb.") || !size.ends_with(suffix)) continue;
    size = size.substr(8, size.size() - 8 - suffix.size());
    if (size.find('.') == std::string_view::npos) sizes.emplace_back(size);
  }
  return sizes;
}

Result<void> read_pids(int dir, CgroupStats& stats) {
  stats.pids_current = TRY(read_number(dir, "pids.current"));
  std::uint64_t const limit = TRY(read_number(dir, "pids.max"));
  stats.pids_limit = limit == kNoLimit ? 0 : limit;
  return {};
}

namespace {
using Reader = Result<void> (*)(int, CgroupStats&);
struct V1Reader {
  std::string_view controller;
  Reader read;
  Reader v2;  // the same on v2, where v1 lacks the controller; null: another row's does it
};
}  // namespace

Result<CgroupStats> Cgroup::stats() const {
  static constexpr std::array<V1Reader, 6> kReaders = {{{"cpuacct", read_cpuacct_v1, read_cpu_v2},
                                                        {"cpu", read_cpu_v1, nullptr},
                                                        {"memory", read_memory_v1, read_memory_v2},
                                                        {"pids", read_pids, read_pids},
                                                        {"blkio", read_blkio_v1, read_io_v2},
                                                        {"hugetlb", read_hugetlb_v1, read_hugetlb_v2}}};
  CgroupStats stats;
  CgroupDirectory const* const v2 = v2_directory();
  for (V1Reader const& reader : kReaders) {
    CgroupDirectory const* const v1 = v1_directory(reader.controller);
    CgroupDirectory const* const from = v1 != nullptr ? v1 : v2;
    Reader const read = v1 != nullptr ? reader.read : reader.v2;
    if (from == nullptr || read == nullptr) continue;
    int const dir = TRY(from->fd());
    TRY_CTX(read(dir, stats), from->path());
  }
  return stats;
}

Result<std::uint64_t> Cgroup::oom_kill_count() const {
  CgroupDirectory const* directory = v1_directory("memory");
  bool const v1 = directory != nullptr;
  if (!v1) directory = v2_directory();
  if (directory == nullptr) return std::uint64_t{0};
  int const dir = TRY(directory->fd());
  std::optional<std::string> const text =
      TRY_CTX(read_knob(dir, v1 ? "memory.oom_control" : "memory.events"), directory->path());
  return text ? flat_value(*text, "oom_kill") : 0;
}

}  // namespace davit::runtime
