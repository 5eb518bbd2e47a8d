// Mutation of tars: after each change the checksums are put right, else almost every input would end at the first
// header.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>

#include "codec/tar_block.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace davit::fuzz {

// first: where the tar begins in the input.
inline std::size_t mutate_tar(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed,
                              std::size_t first) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 8 == 0) return size;  // wrong sums have to be met too
  for (std::size_t at = first; at + codec::tar::kBlockSize <= size; at += codec::tar::kBlockSize) {
    char* const block = reinterpret_cast<char*>(data + at);
    if (std::memcmp(block + codec::tar::kMagic.offset, "ustar", 5) != 0) continue;
    std::snprintf(block + codec::tar::kChecksum.offset, 7, "%06o", codec::tar::unsigned_checksum(block) & 0777777);
  }
  return size;
}

}  // namespace davit::fuzz
