// gzip (RFC 1952) around isa-l's inflate. The members' headers and trailers are read here: so several members, padding
// and garbage are told apart, reserved flags are refused and the error says what is wrong, which isa-l's reader does
// not.
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>

#include <algorithm>
#include <array>

#include "codec/decompress_decoder.h"

namespace davit::codec {
namespace {

// Flags of a member's header, byte 3
enum Flag : std::uint8_t { kHeaderCrc = 2, kExtra = 4, kName = 8, kComment = 16, kReserved = 0xe0 };

constexpr std::size_t kFixedHeader = 10;
// CRC-32 of the data and its size modulo 2^32, little endian
constexpr std::size_t kTrailerSize = 8;

Error damaged(std::string_view what) { return Error(Errc::kInvalidArgument, std::string(what)); }

std::uint32_t crc32(std::uint32_t crc, void const* data, std::size_t size) {
  return crc32_gzip_refl(crc, static_cast<unsigned char const*>(data), size);
}

// Reads a header byte by byte, so that it may be cut anywhere.
class HeaderReader {
 public:
  // True at the last byte.
  Result<bool> add(std::uint8_t byte) {
    if (field_ != Field::kHeaderCrc) crc_ = crc32(crc_, &byte, 1);
    switch (field_) {
      case Field::kFixed:
        TRY(fixed(byte));
        break;
      case Field::kExtraSize:
        size_ |= static_cast<std::uint32_t>(byte << (8 * at_++));
        if (at_ == 2) size_ == 0 ? after(kExtra) : enter(Field::kExtra);
        break;
      case Field::kExtra:
        if (++at_ == size_) after(kExtra);
        break;
      case Field::kName:
        if (byte == 0) after(kName);
        break;
      case Field::kComment:
        if (byte == 0) after(kComment);
        break;
      case Field::kHeaderCrc:
        if (byte != (crc_ >> (8 * at_++) & 0xff)) return damaged("checksum of the header does not match");
        if (at_ == 2) enter(Field::kDone);
        break;
      case Field::kDone:
        break;
    }
    return field_ == Field::kDone;
  }

 private:
  enum class Field : std::uint8_t { kFixed, kExtraSize, kExtra, kName, kComment, kHeaderCrc, kDone };

  Result<void> fixed(std::uint8_t byte) {
    constexpr std::array<std::uint8_t, 3> kMagic = {0x1f, 0x8b, 8};
    if (at_ < kMagic.size() && byte != kMagic[at_]) return damaged("not the header of a gzip member");
    if (at_ == kMagic.size()) {
      if (byte & kReserved) return damaged("reserved flags in the header");
      flags_ = byte;
    }
    if (++at_ == kFixedHeader) after(0);
    return {};
  }
  void enter(Field field) {
    field_ = field;
    at_ = 0;
  }
  // To the next field that the flags announce; fields come in the order name after extra, comment, header CRC.
  void after(std::uint8_t flag) {
    if (flag < kExtra && (flags_ & kExtra)) return enter(Field::kExtraSize);
    if (flag < kName && (flags_ & kName)) return enter(Field::kName);
    if (flag < kComment && (flags_ & kComment)) return enter(Field::kComment);
    enter(flags_ & kHeaderCrc ? Field::kHeaderCrc : Field::kDone);
  }

  Field field_ = Field::kFixed;
  std::uint8_t flags_ = 0;
  std::uint32_t at_ = 0;  // bytes of the field that were read
  std::uint32_t size_ = 0;
  std::uint32_t crc_ = 0;
};

class GzipDecoder : public Decoder {
 public:
  // Not zeroed: 90 KB, of which isal_inflate_init sets what matters.
  GzipDecoder() : state_(std::make_unique_for_overwrite<inflate_state>()) {}

  Result<std::size_t> decode(std::string_view& in, std::span<char> out, Input) override {
    std::size_t size = 0;
    // In the body, isa-l may hold output back that needs no further input.
    while (!in.empty() || stage_ == Stage::kBody) {
      if (stage_ == Stage::kBody) {
        std::size_t const inflated = TRY(inflate(in, out.subspan(size)));
        size += inflated;
        if (stage_ == Stage::kBody) break;
      } else {
        TRY(frame(static_cast<std::uint8_t>(in.front())));
        in.remove_prefix(1);
      }
    }
    return size;
  }

  bool complete() const override { return stage_ == Stage::kBetween || stage_ == Stage::kPadding; }

 private:
  enum class Stage : std::uint8_t { kHeader, kBody, kTrailer, kBetween, kPadding };

  // A byte outside of a body.
  Result<void> frame(std::uint8_t byte) {
    switch (stage_) {
      case Stage::kBody:
        break;
      case Stage::kTrailer:
        return trailer(byte);
      case Stage::kPadding:
        if (byte != 0) return damaged("garbage after the last member");
        break;
      case Stage::kBetween:
        // Archives padded with zeros to a tape's or disk's block exist, and gzip(1) takes them.
        stage_ = byte == 0 ? Stage::kPadding : Stage::kHeader;
        if (stage_ == Stage::kPadding) break;
        header_ = {};
        [[fallthrough]];
      case Stage::kHeader: {
        bool const last = TRY(header_.add(byte));
        if (last) begin_body();
        break;
      }
    }
    return {};
  }

  void begin_body() {
    stage_ = Stage::kBody;
    isal_inflate_init(state_.get());
    crc_ = 0;
    size_ = 0;
  }

  Result<std::size_t> inflate(std::string_view& in, std::span<char> out) {
    constexpr std::size_t kMost = std::size_t{1} << 30;  // isa-l counts in 32 bits
    inflate_state& state = *state_;
    std::string_view const given = in.substr(0, kMost);
    // isa-l does not write to its input; its pointer just is not const.
    state.next_in = reinterpret_cast<std::uint8_t*>(const_cast<char*>(given.data()));
    state.avail_in = static_cast<std::uint32_t>(given.size());
    state.next_out = reinterpret_cast<std::uint8_t*>(out.data());
    state.avail_out = static_cast<std::uint32_t>(std::min(out.size(), kMost));
    std::uint32_t const room = state.avail_out;
    int const result = isal_inflate(&state);
    in.remove_prefix(given.size() - state.avail_in);
    std::size_t const size = room - state.avail_out;
    crc_ = crc32(crc_, out.data(), size);
    size_ += static_cast<std::uint32_t>(size);
    if (result < 0) return damaged(inflate_error(result));
    if (state.block_state == ISAL_BLOCK_FINISH) TRY(end_body());
    return size;
  }

  static std::string_view inflate_error(int code) {
    switch (code) {
      case ISAL_INVALID_BLOCK:
        return "invalid deflate block";
      case ISAL_INVALID_SYMBOL:
        return "invalid deflate symbol";
      case ISAL_INVALID_LOOKBACK:
        return "deflate distance before the start";
      default:
        return "invalid deflate data";
    }
  }

  // The bits that inflate has read ahead are the rest of the last byte and the first bytes of the trailer (at most 8).
  Result<void> end_body() {
    stage_ = Stage::kTrailer;
    trailer_size_ = 0;
    auto const bits = static_cast<unsigned>(std::max(state_->read_in_length, 0));
    std::uint64_t ahead = state_->read_in >> bits % 8;
    for (unsigned i = 0; i < bits / 8; ++i, ahead >>= 8) TRY(frame(static_cast<std::uint8_t>(ahead)));
    return {};
  }

  Result<void> trailer(std::uint8_t byte) {
    std::uint32_t const expected = trailer_size_ < 4 ? crc_ : size_;
    if (byte != (expected >> 8 * (trailer_size_ % 4) & 0xff)) {
      return damaged(trailer_size_ < 4 ? "checksum of the data does not match" : "size of the data does not match");
    }
    if (++trailer_size_ == kTrailerSize) stage_ = Stage::kBetween;
    return {};
  }

  std::unique_ptr<inflate_state> state_;
  HeaderReader header_;
  Stage stage_ = Stage::kHeader;
  std::uint32_t crc_ = 0;   // of the member's data so far
  std::uint32_t size_ = 0;  // modulo 2^32
  std::size_t trailer_size_ = 0;
};

}  // namespace

std::unique_ptr<Decoder> make_gzip_decoder() { return std::make_unique<GzipDecoder>(); }

}  // namespace davit::codec
