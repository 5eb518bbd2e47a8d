#include "monitor/io_scratch.h"

namespace davit::monitor {

namespace {
constexpr std::chrono::seconds kIdleAfter{1};
}

std::span<char> IoScratch::get() {
  used_ = true;
  if (bytes_ == nullptr) {
    bytes_ = std::make_unique_for_overwrite<char[]>(kSize);
    timer_ = loop_.after(kIdleAfter, [this] { check_idle(); });
  }
  return {bytes_.get(), kSize};
}

void IoScratch::check_idle() {
  if (std::exchange(used_, false)) {
    timer_ = loop_.after(kIdleAfter, [this] { check_idle(); });
    return;
  }
  bytes_.reset();
  on_idle_();
}

}  // namespace davit::monitor
