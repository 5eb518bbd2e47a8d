// Tars by hand: headers of any dialect, right or wrong, for tests. Tests only.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

#include "codec/tar_block.h"
#include "codec/tar_pax.h"

namespace davit::codec::testing {

// One header block; fields are put where they belong and the checksum at the end.
class RawHeader {
 public:
  RawHeader(std::string_view name, char type, std::uint64_t size = 0) {
    text(tar::kName, name);
    octal(tar::kMode, 0644);
    octal(tar::kUid, 0);
    octal(tar::kGid, 0);
    octal(tar::kSize, size);
    octal(tar::kMtime, 1'600'000'000);
    text(tar::kType, {&type, 1});
    text(tar::kMagic, {"ustar\00000", 8});
  }
  RawHeader& text(tar::FieldPlace place, std::string_view value) {
    std::memset(block_ + place.offset, 0, place.size);
    std::memcpy(block_ + place.offset, value.data(), std::min(value.size(), place.size));
    return *this;
  }
  RawHeader& octal(tar::FieldPlace place, std::uint64_t value) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%0*lo", static_cast<int>(place.size) - 1, static_cast<unsigned long>(value));
    return text(place, digits);
  }
  RawHeader& gnu() { return text(tar::kMagic, {"ustar  \0", 8}); }
  RawHeader& v7() { return text(tar::kMagic, {"\0\0\0\0\0\0\0\0", 8}); }
  std::string block() {
    octal({tar::kChecksum.offset, 7}, tar::unsigned_checksum(block_));
    return {block_, tar::kBlockSize};
  }

 private:
  char block_[tar::kBlockSize] = {};
};

inline std::string padded(std::string data) {
  data.append(static_cast<std::size_t>(tar::padding(data.size())), '\0');
  return data;
}
inline std::string end_of_tar() { return std::string(2 * tar::kBlockSize, '\0'); }
inline std::string file(std::string_view name, std::string const& data, char type = '0') {
  return RawHeader(name, type, data.size()).block() + padded(data);
}
inline std::string link(std::string_view name, char type, std::string_view target) {
  return RawHeader(name, type).text(tar::kTarget, target).block();
}
inline std::string directory(std::string_view name) { return RawHeader(name, '5').octal(tar::kMode, 0755).block(); }
// records: "key=value" pairs
inline std::string pax(std::initializer_list<std::pair<std::string_view, std::string_view>> records, char type = 'x') {
  std::string text;
  for (auto const& [key, value] : records) tar::append_pax(text, key, value);
  return file("PaxHeaders/x", text, type);
}

}  // namespace davit::codec::testing
