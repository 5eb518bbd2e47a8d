// A source that makes its bytes rather than holding them, so it can make them where its reader wants them; for
// ThreadedSource, which would copy them otherwise (7 % of inflating). One thread at a time.
#pragma once

#include <cstddef>
#include <span>

#include "codec/stream.h"

namespace davit::codec {

class FillableSource : public Source {
 public:
  // What next() would give, written to the front of out (not empty); the count, 0 at the end. A source is read by one
  // of the two only.
  virtual Result<std::size_t> fill(std::span<char> out) = 0;
};

}  // namespace davit::codec
