#include "monitor/log/gzip_file.h"

#include <fcntl.h>
#include <zlib.h>

#include <array>

#include "base/rollback.h"
#include "sys/file.h"
#include "sys/file_change.h"

namespace davit::monitor::log {

Result<void> gzip_file(int from, std::string const& to) {
  UniqueFd const output = TRY(sys::open(to, O_WRONLY | O_CREAT | O_TRUNC, 0640));
  Rollback undo;
  undo.add([&] { (void)sys::unlink_at(AT_FDCWD, to); });
  z_stream stream{};
  constexpr int kGzip = 16;  // deflateInit2: a gzip header instead of zlib's
  if (::deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, MAX_WBITS + kGzip, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    return Error(Errc::kResourceExhausted, "gzip to '" + to + "': no memory");
  }
  Rollback end;
  end.add([&] { ::deflateEnd(&stream); });
  std::array<char, 16384> in, out;
  int state = Z_OK;
  while (state != Z_STREAM_END) {
    std::size_t const count = TRY_CTX(sys::read(from, in), to);
    stream.next_in = reinterpret_cast<Bytef*>(in.data());
    stream.avail_in = static_cast<uInt>(count);
    do {
      stream.next_out = reinterpret_cast<Bytef*>(out.data());
      stream.avail_out = static_cast<uInt>(out.size());
      state = ::deflate(&stream, count == 0 ? Z_FINISH : Z_NO_FLUSH);
      TRY_CTX(sys::write_all(output.get(), {out.data(), out.size() - stream.avail_out}), to);
    } while (stream.avail_out == 0);
  }
  TRY_CTX(sys::sync(output.get()), to);
  undo.commit();
  return {};
}

}  // namespace davit::monitor::log
