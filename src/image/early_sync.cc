#include "image/early_sync.h"

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "sys/durable.h"

namespace davit::image {

// A sync of less is not worth a commit of the file system's journal.
constexpr std::uint64_t kWorthSyncing = std::uint64_t{8} << 20;
constexpr std::chrono::milliseconds kLook{10};

EarlySync::EarlySync(store::Store const& store)
    : thread_([&store](std::stop_token stop) {
        std::uint64_t synced = store.bytes_written();
        std::mutex mutex;
        std::condition_variable_any never;  // waits for the stop only, so that the operation does not end a look later
        while (!stop.stop_requested()) {
          std::unique_lock lock(mutex);
          if (never.wait_for(lock, stop, kLook, [&] { return stop.stop_requested(); })) break;
          std::uint64_t const written = store.bytes_written();
          if (written - synced < kWorthSyncing) continue;
          synced = written;
          // An error here comes again at the sync that counts: each open file description is told of it once, so it has
          // to be another one.
          Result<UniqueFd> const root = store.reopen_root();
          if (root) (void)sys::sync_filesystem(root->get()).ok();
        }
      }) {}

}  // namespace davit::image
