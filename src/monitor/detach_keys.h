// DetachKeys: finds the key sequence with which an attached user leaves (ctrl-p ctrl-q by default; the control request
// says which). Bytes that may begin it are held back until it is clear that they do not. One thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace davit::monitor {

class DetachKeys {
 public:
  static constexpr std::size_t kMaxSize = 16;

  // The sequence's bytes, at most kMaxSize; empty: none.
  explicit DetachKeys(std::string sequence) : sequence_(std::move(sequence)) {}

  // What may go on to the container is appended to out. True: the sequence is complete, the rest of input is dropped.
  bool feed(std::string_view input, std::string& out);

 private:
  std::string sequence_;
  std::string held_;  // a proper beginning of sequence_
};

}  // namespace davit::monitor
