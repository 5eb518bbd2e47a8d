#include "sys/memory.h"

#include <malloc.h>

namespace davit::sys {

void keep_heap_small() {
  // Setting them also ends glibc's habit of raising both when a large block is freed.
  ::mallopt(M_MMAP_THRESHOLD, 32 * 1024);
  ::mallopt(M_TRIM_THRESHOLD, 32 * 1024);
  ::mallopt(M_TOP_PAD, 4096);
}

void release_free_memory() { ::malloc_trim(0); }

}  // namespace davit::sys
