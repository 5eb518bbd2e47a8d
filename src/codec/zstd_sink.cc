#include <zstd.h>

#include <string>

#include "codec/compression.h"

namespace davit::codec {

struct ZstdSink::Body {
  Body(Sink& sink, int level) : out(sink), context(ZSTD_createCCtx()), buffer(ZSTD_CStreamOutSize(), '\0') {
    DAVIT_CHECK(context != nullptr);
    // The library takes any level, the nearest one it has.
    DAVIT_CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level)));
    DAVIT_CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)));
  }
  Body(Body const&) = delete;
  Body& operator=(Body const&) = delete;
  ~Body() { ZSTD_freeCCtx(context); }

  Result<void> step(std::string_view bytes, ZSTD_EndDirective directive) {
    ZSTD_inBuffer input{bytes.data(), bytes.size(), 0};
    for (;;) {
      ZSTD_outBuffer output{buffer.data(), buffer.size(), 0};
      std::size_t const left = ZSTD_compressStream2(context, &output, &input, directive);
      // Compressing fails for want of memory or wrong use only.
      DAVIT_CHECK(!ZSTD_isError(left));
      if (output.pos > 0) TRY(out.write({buffer.data(), output.pos}));
      if (directive == ZSTD_e_end ? left == 0 : input.pos == input.size) return {};
    }
  }

  Sink& out;
  ZSTD_CCtx* context;
  std::string buffer;
  bool finished = false;
};

ZstdSink::ZstdSink(Sink& out, int level) : body_(std::make_unique<Body>(out, level)) {}
ZstdSink::~ZstdSink() = default;

Result<void> ZstdSink::write(std::string_view bytes) {
  DAVIT_CHECK(!body_->finished);
  return body_->step(bytes, ZSTD_e_continue);
}

Result<void> ZstdSink::finish() {
  if (body_->finished) return {};
  body_->finished = true;
  return body_->step({}, ZSTD_e_end);
}

}  // namespace davit::codec
