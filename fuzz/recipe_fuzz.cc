// Recipes as a disk may have damaged them, and tars unpacked for real: into a directory on a tmpfs, then given back by
// their recipe. The first byte chooses.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/unique_fd.h"
#include "codec/compression.h"
#include "snapshot/apply.h"
#include "snapshot/diff.h"
#include "snapshot/recipe.h"
#include "sys/file.h"
#include "sys/tree.h"
#include "tar_checksums.h"

namespace {

using namespace davit;

void require(bool condition) {
  if (!condition) std::abort();
}

// A directory with one sentinel beside the layers. One for the life of the process.
struct Place {
  Place() {
    char path[] = "/dev/shm/davit-fuzz.XXXXXX";
    require(::mkdtemp(path) != nullptr);
    root = path;
    dir = std::move(sys::open(root, O_RDONLY | O_DIRECTORY)).value();
    require(sys::replace_file_at(dir.get(), "sentinel", "untouched", 0644, sys::Durability::kNone).ok());
    before = sys::fstat(sys::open(root + "/sentinel", O_RDONLY).value().get()).value();
  }
  ~Place() { (void)sys::remove_at(AT_FDCWD, root).ok(); }
  // Nothing but the layer may have changed.
  void check() const {
    struct stat now {};
    require(::stat((root + "/sentinel").c_str(), &now) == 0);
    require(now.st_ino == before.st_ino && now.st_nlink == 1 && now.st_size == before.st_size &&
            now.st_mode == before.st_mode && now.st_uid == before.st_uid &&
            now.st_ctim.tv_sec == before.st_ctim.tv_sec && now.st_ctim.tv_nsec == before.st_ctim.tv_nsec);
    require(sys::read_directory(std::move(sys::open(root, O_RDONLY | O_DIRECTORY)).value().get())->size() == 2);
  }
  std::string root;
  UniqueFd dir;
  struct stat before {};
};

UniqueFd new_layer(Place const& place) {
  require(sys::remove_at(place.dir.get(), "layer").ok());
  require(::mkdirat(place.dir.get(), "layer", 0755) == 0);
  return std::move(sys::openat(place.dir.get(), "layer", O_RDONLY | O_DIRECTORY)).value();
}

void fuzz_apply(Place const& place, std::string_view tar) {
  UniqueFd const layer = new_layer(place);
  codec::MemorySource source(tar, 1000);
  codec::StringSink recipe;
  auto const applied = snapshot::apply(
      source, layer.get(),
      {.limits = {.max_entries = 200, .max_sparse_extents = 100}, .max_bytes = 1 << 20, .recipe = &recipe, .stop = {}});
  place.check();
  if (!applied.ok()) return;
  if (applied->recipe_complete) {
    codec::MemorySource bytes(recipe.text());
    auto const again = codec::read_all(*snapshot::rebuild_tar(layer.get(), bytes), 1 << 24);
    require(again.ok() && *again == tar);
  }
  codec::StringSink diff;
  (void)snapshot::diff_upper(layer.get(), diff, {}).ok();  // a tar may hold names that a diff refuses
  require(snapshot::disk_usage(layer.get()).ok());
}

void fuzz_recipe(Place const& place, std::string_view records) {
  UniqueFd const layer = new_layer(place);
  require(sys::replace_file_at(layer.get(), "a", "hello", 0644, sys::Durability::kNone).ok());
  codec::StringSink compressed;
  codec::ZstdSink zstd(compressed, 1);
  require(zstd.write("DVTRCP1\n").ok() && zstd.write(records).ok() && zstd.finish().ok());
  codec::MemorySource bytes(compressed.text());
  (void)codec::read_all(*snapshot::rebuild_tar(layer.get(), bytes), 1 << 20).ok();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  static Place const place;
  std::string_view const input(reinterpret_cast<char const*>(data), size);
  if (input.empty()) return 0;
  if (input.front() == 'r') {
    fuzz_recipe(place, input.substr(1));
  } else {
    fuzz_apply(place, input.substr(1));
  }
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  return davit::fuzz::mutate_tar(data, size, max_size, seed, 1);
}
