// Tars from outside: the reader however the stream is cut, names and their cleaning, and the way of what was read
// through the writer. recipe_fuzz.cc unpacks them.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "codec/tar.h"
#include "snapshot/entry_name.h"
#include "tar_checksums.h"

namespace {

using namespace davit;
using codec::TarEntry;

void require(bool condition) {
  if (!condition) std::abort();
}

struct Read {
  std::vector<TarEntry> entries;
  std::vector<std::string> data;
  std::string all;
  bool ok = true;
};

Read read(std::string_view archive, std::size_t chunk) {
  codec::MemorySource source(archive, chunk);
  codec::TarReader reader(source, {.max_entries = 1000, .max_sparse_extents = 1000});
  Read found;
  reader.on_raw([&](std::string_view bytes) -> Result<void> {
    found.all += bytes;
    return {};
  });
  TarEntry entry;
  for (;;) {
    auto const more = reader.next(entry);
    found.ok = more.ok();
    if (!more.ok() || !*more) return found;
    found.entries.push_back(entry);
    std::string& data = found.data.emplace_back();
    for (;;) {
      auto const piece = reader.data();
      found.ok = piece.ok();
      if (!piece.ok()) return found;
      if (piece->empty()) break;
      data += *piece;
      found.all += *piece;
    }
  }
}

// A clean path: no empty, "." or ".." component, so that nothing can lead out.
void check_name(std::string_view text) {
  snapshot::EntryName name;
  if (!snapshot::parse_entry_name(text, name).ok()) return;
  std::string_view rest = name.path;
  while (!rest.empty()) {
    std::size_t const slash = std::min(rest.find('/'), rest.size());
    std::string_view const part = rest.substr(0, slash);
    require(!part.empty() && part != "." && part != "..");
    require(slash == rest.size() || slash + 1 < rest.size());
    rest.remove_prefix(std::min(slash + 1, rest.size()));
  }
}

void check_written(Read const& first) {
  codec::StringSink sink;
  codec::TarWriter writer(sink);
  for (std::size_t i = 0; i < first.entries.size(); ++i) {
    require(writer.entry(first.entries[i]).ok());
    require(writer.data(first.data[i]).ok());
  }
  require(writer.finish().ok());
  Read const second = read(sink.text(), SIZE_MAX);
  require(second.ok && second.entries.size() == first.entries.size());
  for (std::size_t i = 0; i < first.entries.size(); ++i) {
    TarEntry const &a = first.entries[i], &b = second.entries[i];
    require(a.type == b.type && a.mode == b.mode && a.uid == b.uid && a.gid == b.gid && a.size == b.size);
    require(a.mtime == b.mtime && first.data[i] == second.data[i] && a.is_sparse == b.is_sparse);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const archive(reinterpret_cast<char const*>(data), size);
  Read const whole = read(archive, SIZE_MAX);
  Read const cut = read(archive, 1 + archive.size() % 700);
  require(whole.ok == cut.ok && whole.entries.size() == cut.entries.size() && whole.data == cut.data);
  require(archive.starts_with(whole.all));
  if (whole.ok) require(whole.all == archive);
  for (TarEntry const& entry : whole.entries) {
    check_name(entry.name);
    check_name(entry.target);
  }
  if (whole.ok) check_written(whole);
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  return davit::fuzz::mutate_tar(data, size, max_size, seed, 0);
}
