#include <algorithm>
#include <cstring>

#include "base/text.h"
#include "codec/tar.h"
#include "codec/tar_block.h"
#include "codec/tar_pax.h"

namespace davit::codec {

using tar::Block;
using tar::Dialect;
using tar::kBlockSize;
using tar::PaxValues;

namespace {
constexpr std::uint64_t kMaxSize = std::uint64_t{1} << 62;
constexpr unsigned kMaxPrefaces = 64;  // extended headers and long names before one entry

bool is_regular(char type) { return type == '0' || type == '\0' || type == '7'; }
// These have no data, whatever their size field says: some tars write a hard link's or a directory's size there.
bool is_header_only(char type) { return type >= '1' && type <= '6'; }
}  // namespace

struct TarReader::Body {
  Body(Source& source_in, TarLimits limits_in) : source(source_in), limits(limits_in) {}

  Source& source;
  TarLimits limits;
  RawListener raw;
  std::string_view chunk;    // what is left of the source's last piece
  std::uint64_t offset = 0;  // of chunk's first byte in the archive
  std::uint64_t entries = 0;
  std::uint64_t data_left = 0, padding_left = 0;  // of the current entry
  bool source_ended = false, finished = false;
  char cut_block[kBlockSize];  // a block that lay across two pieces
  std::string long_name, long_target, extended;
  PaxValues global, local;  // local: what holds for the next entry, global records included
  bool has_local = false;

  Error damaged(std::string_view why) const {
    return Error(Errc::kInvalidArgument, "tar entry " + std::to_string(entries) + " at byte " + std::to_string(offset) +
                                             ": " + std::string(why));
  }
  Error too_much(std::string_view what) const { return Error(Errc::kResourceExhausted, "tar: " + std::string(what)); }
  std::string where() const { return "tar entry " + std::to_string(entries) + " at byte " + std::to_string(offset); }

  // Makes chunk not empty unless the source has ended.
  Result<void> fill() {
    if (!chunk.empty() || source_ended) return {};
    chunk = TRY(source.next());
    source_ended = chunk.empty();
    return {};
  }

  // Takes bytes off chunk, which has as many.
  Result<std::string_view> take_raw(std::size_t size) {
    std::string_view const bytes = chunk.substr(0, size);
    chunk.remove_prefix(size);
    offset += size;
    if (raw && size != 0) TRY(raw(bytes));
    return bytes;
  }

  // Up to size bytes into out; fewer only at the end.
  Result<std::size_t> read(char* out, std::size_t size) {
    std::size_t done = 0;
    while (done < size) {
      TRY(fill());
      if (chunk.empty()) break;
      std::string_view const piece = TRY(take_raw(std::min(chunk.size(), size - done)));
      std::memcpy(out + done, piece.data(), piece.size());
      done += piece.size();
    }
    return done;
  }

  // nullptr at the end of the stream.
  Result<char const*> read_block() {
    TRY(fill());
    if (chunk.size() >= kBlockSize) {
      std::string_view const block = TRY(take_raw(kBlockSize));
      return block.data();
    }
    std::size_t const size = TRY(read(cut_block, kBlockSize));
    if (size == 0) return static_cast<char const*>(nullptr);
    if (size < kBlockSize) return damaged("the archive ends within a header");
    return static_cast<char const*>(cut_block);
  }

  enum class AtEnd { kFine, kDamage };
  Result<void> skip(std::uint64_t size, AtEnd at_end) {
    while (size != 0) {
      TRY(fill());
      if (chunk.empty()) {
        if (at_end == AtEnd::kFine) return {};
        return damaged("the archive ends within an entry's data");
      }
      auto const piece = static_cast<std::size_t>(std::min<std::uint64_t>(chunk.size(), size));
      TRY(take_raw(piece));
      size -= piece;
    }
    return {};
  }

  // The data of an extended header with its padding.
  Result<void> read_extended(std::uint64_t size, std::size_t limit, std::string& out) {
    if (size > limit) return too_much("an extended header of " + std::to_string(size) + " bytes");
    out.resize(static_cast<std::size_t>(size));
    std::size_t const got = TRY(read(out.data(), out.size()));
    if (got < out.size()) return damaged("the archive ends within an extended header");
    return skip(tar::padding(size), AtEnd::kDamage);
  }

  Result<void> read_long_name(std::uint64_t size, std::string& out) {
    TRY(read_extended(size, limits.max_name + kBlockSize, out));
    out.resize(std::min(out.find('\0'), out.size()));
    if (out.size() > limits.max_name) return too_much("a name of " + std::to_string(out.size()) + " bytes");
    return {};
  }

  // One of the headers that speak about the next entry, or about all; false: the block is an entry's own header.
  Result<bool> read_preface(Block block, std::uint64_t size) {
    switch (block.type()) {
      case 'L':
        TRY(read_long_name(size, long_name));
        return true;
      case 'K':
        TRY(read_long_name(size, long_target));
        return true;
      case 'x':
      case 'X':
        TRY(read_extended(size, limits.max_pax_bytes, extended));
        TRY_CTX(tar::parse_pax(extended, limits, local), where());
        has_local = true;
        return true;
      case 'g':
        TRY(read_extended(size, limits.max_pax_bytes, extended));
        TRY_CTX(tar::parse_pax(extended, limits, global), where());
        if (!has_local) local = global;
        return true;
      default:
        return false;
    }
  }

  Result<std::uint64_t> field_number(Block block, tar::FieldPlace place, std::string_view name, std::uint64_t max) {
    std::optional<std::int64_t> const value = block.number(place);
    if (!value || *value < 0 || static_cast<std::uint64_t>(*value) > max) {
      return damaged(std::string(name) + " is not a number within its range");
    }
    return static_cast<std::uint64_t>(*value);
  }

  Result<void> set_names(Block block, Dialect dialect, TarEntry& entry);
  Result<void> set_numbers(Block block, TarEntry& entry);
  Result<void> set_type(char type, TarEntry& entry);
  Result<bool> make_entry(Block block, std::uint64_t header_size, TarEntry& entry);
  Result<void> make_sparse(TarEntry& entry);
  Result<void> read_gnu_sparse(char const* header, TarEntry& entry);
  Result<void> read_sparse_map(TarEntry& entry);
  Result<bool> add_gnu_extents(Block block, tar::FieldPlace place, TarEntry& entry);
  Result<void> check_sparse(TarEntry& entry);
  Result<bool> next(TarEntry& entry);
  Result<bool> end_of_archive();
  // What was said about an entry is not about the next one.
  void forget_preface();
};

Result<void> TarReader::Body::set_names(Block block, Dialect dialect, TarEntry& entry) {
  bool const pax = !local.empty;
  if (!long_name.empty()) {
    entry.name = long_name;
  } else if (pax && local.sparse_name) {
    entry.name = *local.sparse_name;
  } else if (pax && local.path) {
    entry.name = *local.path;
  } else {
    entry.name.clear();
    if (dialect == Dialect::kUstar || dialect == Dialect::kStar) {
      entry.name = block.text(dialect == Dialect::kStar ? tar::kStarPrefix : tar::kPrefix);
      if (!entry.name.empty()) entry.name += '/';
    }
    entry.name += block.text(tar::kName);
  }
  if (!long_target.empty()) {
    entry.target = long_target;
  } else if (pax && local.linkpath) {
    entry.target = *local.linkpath;
  } else {
    entry.target = block.text(tar::kTarget);
  }
  bool const has_owners = dialect != Dialect::kV7;
  entry.user = has_owners ? block.text(tar::kUser) : std::string_view();
  entry.group = has_owners ? block.text(tar::kGroup) : std::string_view();
  if (pax && local.uname) entry.user = *local.uname;
  if (pax && local.gname) entry.group = *local.gname;
  if (entry.name.size() > limits.max_name || entry.target.size() > limits.max_name)
    return too_much("a name is too long");
  return {};
}

Result<void> TarReader::Body::set_numbers(Block block, TarEntry& entry) {
  constexpr std::uint64_t kMaxId = 0xfffffffe;
  bool const pax = !local.empty;
  auto const mode = TRY(field_number(block, tar::kMode, "mode", kMaxSize));
  entry.mode = static_cast<std::uint32_t>(mode & 07777);
  if (pax && local.uid) {
    entry.uid = *local.uid;
  } else {
    auto const uid = TRY(field_number(block, tar::kUid, "uid", kMaxId));
    entry.uid = static_cast<std::uint32_t>(uid);
  }
  if (pax && local.gid) {
    entry.gid = *local.gid;
  } else {
    auto const gid = TRY(field_number(block, tar::kGid, "gid", kMaxId));
    entry.gid = static_cast<std::uint32_t>(gid);
  }
  if (pax && local.mtime) {
    entry.mtime = *local.mtime;
  } else {
    std::optional<std::int64_t> const mtime = block.number(tar::kMtime);
    if (!mtime) return damaged("mtime is not a number");
    entry.mtime = {*mtime, 0};
  }
  entry.device_major = entry.device_minor = 0;
  if (block.type() != '3' && block.type() != '4') return {};
  auto const major = TRY(field_number(block, tar::kMajor, "device major number", kMaxId));
  auto const minor = TRY(field_number(block, tar::kMinor, "device minor number", kMaxId));
  entry.device_major = pax && local.major ? *local.major : static_cast<std::uint32_t>(major);
  entry.device_minor = pax && local.minor ? *local.minor : static_cast<std::uint32_t>(minor);
  return {};
}

Result<void> TarReader::Body::set_type(char type, TarEntry& entry) {
  // Before there was a type for directories their names ended in a slash, and some tars still write both.
  if (is_regular(type) || type == 'S') {
    entry.type = type != 'S' && entry.name.ends_with('/') ? TarType::kDirectory : TarType::kFile;
  } else if (type == 'D') {  // GNU incremental: a directory, its data a list of names
    entry.type = TarType::kDirectory;
  } else if (type == 'M') {
    return damaged("'" + entry.name + "' goes on from another volume");
  } else {
    entry.type = static_cast<TarType>(type);
  }
  if (entry.type == TarType::kDirectory) entry.name.resize(entry.name.find_last_not_of('/') + 1);
  if (entry.type != TarType::kHardLink && entry.type != TarType::kSymlink) entry.target.clear();
  return {};
}

// false: of a type that stands for no file.
Result<bool> TarReader::Body::make_entry(Block block, std::uint64_t header_size, TarEntry& entry) {
  char const type = block.type();
  std::uint64_t const size = !local.empty && local.size ? *local.size : header_size;
  if (size > kMaxSize) return damaged("absurd size");
  data_left = is_header_only(type) ? 0 : size;
  padding_left = tar::padding(data_left);
  if (!is_regular(type) && !is_header_only(type) && type != 'S' && type != 'D' && type != 'M') return false;

  Dialect const dialect = block.dialect();
  TRY(set_names(block, dialect, entry));
  TRY_CTX(set_numbers(block, entry), "'" + entry.name + "'");
  TRY(set_type(type, entry));
  entry.xattrs.clear();
  if (!local.empty) entry.xattrs = local.xattrs;
  entry.sparse.clear();
  entry.is_sparse = false;
  entry.size = entry.type == TarType::kFile ? size : 0;
  if (entry.type != TarType::kFile) return true;
  if (type == 'S' && dialect != Dialect::kGnu)
    return damaged("a sparse file of an unknown dialect: '" + entry.name + "'");
  // read_gnu_sparse takes more blocks off the source: block is gone after it.
  if (type == 'S') {
    TRY_CTX(read_gnu_sparse(block.field({0, kBlockSize}).data(), entry), "'" + entry.name + "'");
  } else if (!local.empty) {
    TRY_CTX(make_sparse(entry), "'" + entry.name + "'");
  }
  return true;
}

Result<void> TarReader::Body::check_sparse(TarEntry& entry) {
  std::erase_if(entry.sparse, [](SparseExtent const& extent) { return extent.size == 0; });
  if (!tar::extents_fit(entry.sparse, entry.size))
    return damaged("extents of a sparse file overlap or lie past its end");
  std::uint64_t stored = 0;
  for (SparseExtent const& extent : entry.sparse) stored += extent.size;
  if (stored != data_left) return damaged("extents of a sparse file do not match its data");
  entry.is_sparse = true;
  return {};
}

// Extents up to the first empty slot; whether the list was full.
Result<bool> TarReader::Body::add_gnu_extents(Block block, tar::FieldPlace place, TarEntry& entry) {
  for (std::size_t at = place.offset; at < place.offset + place.size; at += tar::kSparseExtentSize) {
    if (block.field({at, 1})[0] == '\0') return false;
    if (entry.sparse.size() >= limits.max_sparse_extents) return too_much("a sparse file with too many extents");
    auto const start = TRY(field_number(block, {at, 12}, "extent offset", kMaxSize));
    auto const size = TRY(field_number(block, {at + 12, 12}, "extent size", kMaxSize));
    entry.sparse.push_back({start, size});
  }
  return true;
}

Result<void> TarReader::Body::read_gnu_sparse(char const* header, TarEntry& entry) {
  Block block(header);
  entry.size = TRY(field_number(block, tar::kSparseRealSize, "real size", kMaxSize));
  TRY(add_gnu_extents(block, tar::kSparse, entry));
  bool more = block.field(tar::kSparseMore)[0] != '\0';
  while (more) {
    char const* const bytes = TRY(read_block());
    if (bytes == nullptr) return damaged("the archive ends within a sparse file's extents");
    block = Block(bytes);
    TRY(add_gnu_extents(block, tar::kMoreSparse, entry));
    more = block.field(tar::kMoreSparseMore)[0] != '\0';
  }
  return check_sparse(entry);
}

Result<void> TarReader::Body::make_sparse(TarEntry& entry) {
  bool const in_data = local.sparse_major == 1;
  if (!in_data && !local.sparse_in_header) return {};
  if (in_data && local.sparse_minor.value_or(0) != 0)
    return damaged("sparse format 1." + std::to_string(*local.sparse_minor));
  if (!local.sparse_real_size) return damaged("a sparse file without its real size");
  entry.size = *local.sparse_real_size;
  if (entry.size > kMaxSize) return damaged("absurd size");
  if (in_data) {
    TRY(read_sparse_map(entry));
  } else {
    entry.sparse = local.sparse_extents;
  }
  return check_sparse(entry);
}

// Sparse format 1.0: the data begin with decimal numbers, one a line, in whole blocks: how many extents, then offset
// and size of each.
Result<void> TarReader::Body::read_sparse_map(TarEntry& entry) {
  constexpr std::size_t kMaxDigits = 20;
  std::string digits;
  std::uint64_t numbers_wanted = 1, numbers = 0, start = 0;
  while (numbers < numbers_wanted) {
    if (data_left < kBlockSize) return damaged("a sparse file's map is cut off");
    char const* const bytes = TRY(read_block());
    if (bytes == nullptr) return damaged("the archive ends within a sparse file's map");
    data_left -= kBlockSize;
    for (std::size_t i = 0; i < kBlockSize && numbers < numbers_wanted; ++i) {
      if (bytes[i] != '\n') {
        if (digits.size() >= kMaxDigits) return damaged("a sparse file's map is not numbers");
        digits += bytes[i];
        continue;
      }
      std::optional<std::uint64_t> const number = parse_u64(digits);
      digits.clear();
      if (!number || *number > kMaxSize) return damaged("a sparse file's map is not numbers");
      if (numbers == 0) {
        if (*number > limits.max_sparse_extents) return too_much("a sparse file with too many extents");
        numbers_wanted = 1 + 2 * *number;
      } else if (numbers % 2 == 1) {
        start = *number;
      } else {
        entry.sparse.push_back({start, *number});
      }
      ++numbers;
    }
  }
  return {};
}

// After the first zero block.
Result<bool> TarReader::Body::end_of_archive() {
  finished = true;
  char const* const second = TRY(read_block());
  if (second != nullptr && !Block(second).is_zero()) return damaged("a lone zero block");
  for (;;) {  // what follows is no archive's, but counts for hashes
    TRY(fill());
    if (chunk.empty()) return false;
    TRY(take_raw(chunk.size()));
  }
}

void TarReader::Body::forget_preface() {
  long_name.clear();
  long_target.clear();
  if (has_local || !global.empty) local = global;
  has_local = false;
}

Result<bool> TarReader::Body::next(TarEntry& entry) {
  if (finished) return false;
  forget_preface();
  for (unsigned prefaces = 0;;) {
    TRY(skip(data_left, AtEnd::kDamage));
    // The last entry's padding may be missing, as may the end.
    TRY(skip(padding_left, AtEnd::kFine));
    data_left = padding_left = 0;
    char const* const bytes = TRY(read_block());
    if (bytes == nullptr) {
      finished = true;
      if (prefaces != 0) return damaged("the archive ends after an extended header");
      return false;
    }
    Block const block(bytes);
    if (block.is_zero()) return end_of_archive();
    if (!block.checksum_matches()) return damaged("the header's checksum is wrong");
    auto const size = TRY(field_number(block, tar::kSize, "size", kMaxSize));
    bool const preface = TRY(read_preface(block, size));
    if (preface) {
      if (++prefaces > kMaxPrefaces) return too_much("too many extended headers before one entry");
      continue;
    }
    if (++entries > limits.max_entries) return too_much("more than " + std::to_string(limits.max_entries) + " entries");
    bool const is_file = TRY(make_entry(block, size, entry));
    if (is_file) return true;
    prefaces = 0;
    forget_preface();
  }
}

TarReader::TarReader(Source& source, TarLimits limits) : body_(std::make_unique<Body>(source, limits)) {}
TarReader::~TarReader() = default;

Result<bool> TarReader::next(TarEntry& entry) { return body_->next(entry); }

Result<std::string_view> TarReader::data() {
  Body& body = *body_;
  if (body.data_left == 0) return std::string_view();
  TRY(body.fill());
  if (body.chunk.empty()) return body.damaged("the archive ends within an entry's data");
  auto const size = static_cast<std::size_t>(std::min<std::uint64_t>(body.chunk.size(), body.data_left));
  std::string_view const piece = body.chunk.substr(0, size);
  body.chunk.remove_prefix(size);
  body.offset += size;
  body.data_left -= size;
  return piece;
}

void TarReader::on_raw(RawListener listener) { body_->raw = std::move(listener); }

}  // namespace davit::codec
