// The heap's habits, for long-lived processes that must be small. Any thread.
#pragma once

namespace davit::sys {

// From now on large blocks are mappings of their own, which freeing gives back, and the heap's top is given back early.
void keep_heap_small();
// Gives free memory of the heap back to the kernel.
void release_free_memory();

}  // namespace davit::sys
