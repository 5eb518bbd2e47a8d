#include <algorithm>
#include <cstring>

#include "codec/tar.h"
#include "codec/tar_block.h"
#include "codec/tar_pax.h"

namespace davit::codec {

using tar::FieldPlace;
using tar::kBlockSize;

namespace {

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

void put_text(char* block, FieldPlace place, std::string_view text) {
  std::memcpy(block + place.offset, text.data(), std::min(text.size(), place.size));
}

// Octal with a NUL at the end; false when it does not fit (the field is then all sevens' worth of zeros: pax says it).
bool put_number(char* block, FieldPlace place, std::uint64_t value) {
  std::size_t const digits = place.size - 1;
  bool const fits = value >> (digits * 3) == 0;
  if (!fits) value = 0;
  for (std::size_t i = digits; i-- > 0; value >>= 3) block[place.offset + i] = static_cast<char>('0' + (value & 7));
  return fits;
}

// Where to cut a name that is too long for its field into prefix and rest; npos: nowhere.
std::size_t prefix_length(std::string_view name) {
  for (std::size_t i = std::min(name.size(), tar::kPrefix.size + 1); i-- > 1;) {
    if (name[i] == '/' && i + 1 < name.size() && name.size() - i - 1 <= tar::kName.size) return i;
  }
  return std::string_view::npos;
}

// The last component, for the headers that only old tars would unpack as files.
std::string base_name(std::string_view name) {
  while (name.ends_with('/')) name.remove_suffix(1);
  name.remove_prefix(name.rfind('/') + 1);
  return std::string(name.substr(0, 80));
}

}  // namespace

struct TarWriter::Body {
  explicit Body(Sink& out_in) : out(out_in) {}

  Sink& out;
  std::uint64_t data_left = 0, padding_left = 0;

  Result<void> write_zeros(std::uint64_t size) {
    static constexpr char kZeros[kBlockSize * 2] = {};
    DAVIT_CHECK(size <= sizeof kZeros);
    return out.write({kZeros, static_cast<std::size_t>(size)});
  }

  Result<void> end_data() {
    DAVIT_CHECK(data_left == 0);  // the caller announced a size and must keep to it
    if (padding_left == 0) return {};
    return write_zeros(std::exchange(padding_left, 0));
  }

  Result<void> write_header(char* block) {
    std::memcpy(block + tar::kMagic.offset, "ustar\00000", 8);
    std::uint32_t const sum = tar::unsigned_checksum(block);
    (void)put_number(block, {tar::kChecksum.offset, 7}, sum);  // six digits, NUL, space
    block[tar::kChecksum.offset + 7] = ' ';
    return out.write({block, kBlockSize});
  }

  Result<void> write_pax(std::string_view name, std::string const& records) {
    char block[kBlockSize] = {};
    put_text(block, tar::kName, "PaxHeaders.0/" + base_name(name));
    (void)put_number(block, tar::kMode, 0644);
    (void)put_number(block, tar::kUid, 0);
    (void)put_number(block, tar::kGid, 0);
    (void)put_number(block, tar::kSize, records.size());
    (void)put_number(block, tar::kMtime, 0);
    block[tar::kType.offset] = 'x';
    TRY(write_header(block));
    TRY(out.write(records));
    return write_zeros(tar::padding(records.size()));
  }
};

namespace {

struct Header {
  char block[kBlockSize] = {};
  std::map<std::string, std::string> records;  // sorted: the same entry is always the same bytes
};

void put_name(Header& header, TarEntry const& entry, std::string_view name) {
  if (entry.is_sparse) {
    header.records["GNU.sparse.name"] = name;
    put_text(header.block, tar::kName, "GNUSparseFile.0/" + base_name(name));
    return;
  }
  std::size_t const cut = name.size() <= tar::kName.size ? 0 : prefix_length(name);
  if (!is_ascii(name) || cut == std::string_view::npos) {
    header.records["path"] = name;
    put_text(header.block, tar::kName, base_name(name));
  } else if (cut == 0) {
    put_text(header.block, tar::kName, name);
  } else {
    put_text(header.block, tar::kPrefix, name.substr(0, cut));
    put_text(header.block, tar::kName, name.substr(cut + 1));
  }
}

void put_time(Header& header, TarTime time) {
  bool const fits =
      time.seconds >= 0 && put_number(header.block, tar::kMtime, static_cast<std::uint64_t>(time.seconds));
  if (time.seconds < 0) (void)put_number(header.block, tar::kMtime, 0);
  if (!fits || time.nanos != 0) header.records["mtime"] = tar::pax_time(time);
}

void put_owner(Header& header, FieldPlace place, std::string_view key, std::string_view value) {
  if (!is_ascii(value) || value.size() >= place.size) {
    header.records[std::string(key)] = value;
  } else {
    put_text(header.block, place, value);
  }
}

std::string sparse_map(std::vector<SparseExtent> const& extents) {
  std::string map = std::to_string(extents.size()) + "\n";
  for (SparseExtent const& extent : extents) {
    map += std::to_string(extent.offset) + "\n" + std::to_string(extent.size) + "\n";
  }
  map.append(static_cast<std::size_t>(tar::padding(map.size())), '\0');
  return map;
}

Header make_header(TarEntry const& entry, std::uint64_t stored_size) {
  Header header;
  std::string name = entry.name;
  if (entry.type == TarType::kDirectory && !name.ends_with('/')) name += '/';
  put_name(header, entry, name);
  if (!is_ascii(entry.target) || entry.target.size() > tar::kTarget.size) header.records["linkpath"] = entry.target;
  put_text(header.block, tar::kTarget, is_ascii(entry.target) ? entry.target : std::string());
  (void)put_number(header.block, tar::kMode, entry.mode & 07777);
  if (!put_number(header.block, tar::kUid, entry.uid)) header.records["uid"] = std::to_string(entry.uid);
  if (!put_number(header.block, tar::kGid, entry.gid)) header.records["gid"] = std::to_string(entry.gid);
  if (!put_number(header.block, tar::kSize, stored_size)) header.records["size"] = std::to_string(stored_size);
  put_time(header, entry.mtime);
  put_owner(header, tar::kUser, "uname", entry.user);
  put_owner(header, tar::kGroup, "gname", entry.group);
  if (!put_number(header.block, tar::kMajor, entry.device_major)) {
    header.records["SCHILY.devmajor"] = std::to_string(entry.device_major);
  }
  if (!put_number(header.block, tar::kMinor, entry.device_minor)) {
    header.records["SCHILY.devminor"] = std::to_string(entry.device_minor);
  }
  header.block[tar::kType.offset] = static_cast<char>(entry.type);
  for (auto const& [key, value] : entry.xattrs) header.records["SCHILY.xattr." + key] = value;
  if (entry.is_sparse) {
    header.records["GNU.sparse.major"] = "1";
    header.records["GNU.sparse.minor"] = "0";
    header.records["GNU.sparse.realsize"] = std::to_string(entry.size);
  }
  return header;
}

}  // namespace

TarWriter::TarWriter(Sink& out) : body_(std::make_unique<Body>(out)) {}
TarWriter::~TarWriter() = default;

Result<void> TarWriter::entry(TarEntry const& entry) {
  TRY(body_->end_data());
  std::uint64_t stored = entry.type == TarType::kFile ? entry.size : 0;
  std::string map;
  if (entry.is_sparse) {
    stored = 0;
    for (SparseExtent const& extent : entry.sparse) stored += extent.size;
    map = sparse_map(entry.sparse);
  }
  body_->data_left = stored;
  body_->padding_left = tar::padding(stored);
  Header header = make_header(entry, stored + map.size());
  if (!header.records.empty()) {
    std::string records;
    for (auto const& [key, value] : header.records) tar::append_pax(records, key, value);
    TRY(body_->write_pax(entry.name, records));
  }
  TRY(body_->write_header(header.block));
  return body_->out.write(map);
}

Result<void> TarWriter::data(std::string_view bytes) {
  DAVIT_CHECK(bytes.size() <= body_->data_left);
  body_->data_left -= bytes.size();
  return body_->out.write(bytes);
}

Result<void> TarWriter::finish() {
  TRY(body_->end_data());
  return body_->write_zeros(2 * kBlockSize);
}

}  // namespace davit::codec
