#include "registry/parallel_source.h"

#include <algorithm>
#include <cstring>
#include <functional>

namespace davit::registry {

namespace {

// Above this one connection is left alone: no network needs several to reach it, and copying begins to count.
constexpr double kFastBytesPerSecond = 200e6;
// The share of time spent waiting for bytes from which the network is what limits.
constexpr double kWaitingShare = 0.6;

}  // namespace

WindowsSource::WindowsSource(OpenRange open, BlobSource::Plan plan, unsigned connections, std::uint64_t window)
    : open_(std::move(open)),
      plan_(std::move(plan)),
      window_(window),
      slots_(std::max(1U, connections)),
      position_(plan_.begin),
      chained_(plan_.stop, [this] { stop_.request_stop(); }) {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    threads_.emplace_back([this, i] { fetch_all(i, stop_.get_token()); });
  }
}

WindowsSource::~WindowsSource() { stop_.request_stop(); }

// Windows i, i+N, i+2N, ... of N slots.
void WindowsSource::fetch_all(std::size_t slot_index, std::stop_token const& stop) {
  Slot& slot = slots_[slot_index];
  for (std::uint64_t begin = plan_.begin + slot_index * window_; begin < plan_.end; begin += slots_.size() * window_) {
    std::uint64_t const end = std::min(begin + window_, plan_.end);
    {
      std::unique_lock lock(mutex_);
      if (!changed_.wait(lock, stop, [&] { return slot.free; })) return;
      slot.free = false;
      slot.size = end - begin;
      slot.filled = slot.taken = 0;
    }
    // Not before the first window is needed, and never larger than what will be put in.
    if (slot.bytes == nullptr) slot.bytes = std::make_unique_for_overwrite<char[]>(end - begin);
    auto fetched = fetch(slot, begin, end, stop);
    if (fetched.ok()) continue;
    std::lock_guard const lock(mutex_);
    slot.error = std::move(fetched).take_error();
    changed_.notify_all();
    return;
  }
}

Result<void> WindowsSource::fetch(Slot& slot, std::uint64_t begin, std::uint64_t end, std::stop_token const& stop) {
  BlobSource source(open_, {begin, end, plan_.total, plan_.policy, stop});
  std::uint64_t filled = 0;
  for (;;) {
    std::string_view const bytes = TRY(source.next());
    if (source.range_ignored()) {
      return Error(Errc::kUnavailable, "the registry took ranges of this blob first and does not any more");
    }
    if (bytes.empty()) return {};
    std::memcpy(slot.bytes.get() + filled, bytes.data(), bytes.size());
    filled += bytes.size();
    std::lock_guard const lock(mutex_);
    slot.filled = filled;
    changed_.notify_all();
  }
}

// What the last next() gave out has been used by now.
void WindowsSource::release_lent(Slot& slot) {
  slot.taken += lent_;
  position_ += lent_;
  lent_ = 0;
  if (slot.taken < slot.size) return;
  slot.free = true;
  changed_.notify_all();
}

Result<std::string_view> WindowsSource::next() {
  std::unique_lock lock(mutex_);
  if (lent_ > 0) release_lent(slot_at(position_));
  if (position_ == plan_.end) return std::string_view();
  Slot& slot = slot_at(position_);
  auto const ready = [&] { return !slot.free && (slot.filled > slot.taken || slot.error.has_value()); };
  if (!changed_.wait(lock, plan_.stop, ready)) return cancelled();
  if (slot.filled == slot.taken) return std::move(*slot.error);
  lent_ = slot.filled - slot.taken;
  return std::string_view(slot.bytes.get() + slot.taken, lent_);
}

AdaptiveSource::AdaptiveSource(OpenRange open, BlobSource::Plan plan, unsigned connections, Choice choice,
                               std::uint64_t window)
    : open_(std::move(open)), plan_(std::move(plan)), connections_(connections), choice_(choice), window_(window) {
  BlobSource::Plan first = plan_;
  first.end = std::min(plan_.begin + window_, plan_.end);
  first_ = std::make_unique<BlobSource>(open_, std::move(first));
}

bool AdaptiveSource::network_limits() const {
  if (choice_ == Choice::kAlwaysParallel) return true;
  std::chrono::duration<double> const elapsed = std::chrono::steady_clock::now() - begin_, waited = waited_;
  double const bytes = static_cast<double>(first_->end() - plan_.begin);
  return waited > elapsed * kWaitingShare && bytes < kFastBytesPerSecond * waited.count();
}

void AdaptiveSource::go_on() {
  BlobSource::Plan rest = plan_;
  rest.begin = first_->end();
  if (network_limits()) {
    rest_ = std::make_unique<WindowsSource>(open_, std::move(rest), connections_, window_);
  } else {
    rest_ = std::make_unique<BlobSource>(open_, std::move(rest));
  }
  first_.reset();
}

Result<std::string_view> AdaptiveSource::next() {
  if (rest_ != nullptr) return rest_->next();
  auto const before = std::chrono::steady_clock::now();
  if (begin_ == decltype(begin_){}) begin_ = before;
  std::string_view const bytes = TRY(first_->next());
  waited_ += std::chrono::steady_clock::now() - before;
  if (!bytes.empty() || first_->end() == plan_.end) return bytes;
  go_on();
  return rest_->next();
}

}  // namespace davit::registry
