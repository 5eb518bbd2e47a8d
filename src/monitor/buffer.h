// Buffer: bytes appended at the back, taken from the front, and given back to the kernel as soon as they are not
// needed. An idle monitor must hold next to nothing, so unlike a std::string this never keeps capacity past release().
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

namespace davit::monitor {

class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        capacity_(std::exchange(other.capacity_, 0)),
        begin_(std::exchange(other.begin_, 0)),
        end_(std::exchange(other.end_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(capacity_, other.capacity_);
    std::swap(begin_, other.begin_);
    std::swap(end_, other.end_);
    return *this;
  }
  ~Buffer() { std::free(data_); }

  bool empty() const { return begin_ == end_; }
  std::size_t size() const { return end_ - begin_; }
  std::string_view view() const { return {data_ + begin_, size()}; }

  // Room for size more bytes; what is written there counts after commit().
  char* reserve(std::size_t size) {
    if (capacity_ - end_ < size) make_room(size);
    return data_ + end_;
  }
  void commit(std::size_t size) { end_ += size; }

  void append(std::string_view text) {
    if (text.empty()) return;
    std::memcpy(reserve(text.size()), text.data(), text.size());
    end_ += text.size();
  }
  void consume(std::size_t size) {
    begin_ += size;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  void clear() { begin_ = end_ = 0; }
  // Frees the memory too.
  void release() {
    std::free(data_);
    data_ = nullptr;
    capacity_ = begin_ = end_ = 0;
  }

 private:
  void make_room(std::size_t size) {
    if (begin_ > 0) {
      std::memmove(data_, data_ + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
      if (capacity_ - end_ >= size) return;
    }
    std::size_t wanted = capacity_ == 0 ? 4096 : capacity_;
    while (wanted - end_ < size) wanted *= 2;
    void* const grown = std::realloc(data_, wanted);
    if (grown == nullptr) throw std::bad_alloc();  // ends the process like every other exhausted allocation
    data_ = static_cast<char*>(grown);
    capacity_ = wanted;
  }

  char* data_ = nullptr;
  std::size_t capacity_ = 0, begin_ = 0, end_ = 0;
};

}  // namespace davit::monitor
