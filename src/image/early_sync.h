// EarlySync: while an operation unpacks, what it has written already goes to the disk, so that the one sync that it
// must wait for at its end finds little left. Without it the disk is idle during the first half of a pull and the
// processors during the second.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "codec/stream.h"
#include "store/store.h"

namespace davit::image {

// One per operation; its thread ends with it.
class EarlySync {
 public:
  explicit EarlySync(store::Store const& store);

 private:
  std::jthread thread_;
};

// Counts the bytes that flow through for the EarlySyncs of that store.
class WrittenSource : public codec::Source {
 public:
  WrittenSource(codec::Source& inner, store::Store& store) : inner_(inner), store_(store) {}
  Result<std::string_view> next() override {
    std::string_view const bytes = TRY(inner_.next());
    store_.note_written(bytes.size());
    return bytes;
  }

 private:
  codec::Source& inner_;
  store::Store& store_;
};

}  // namespace davit::image
