// Tar archives: every dialect met in layers is read (v7, ustar, pax, GNU long names, GNU and pax sparse files, star's
// base-256 numbers, Solaris' X headers), and one is written (ustar with pax records where needed), byte for byte
// reproducibly. Bytes from outside: every length is bounded before memory is taken.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "codec/stream.h"

namespace davit::codec {

enum class TarType : char {
  kFile = '0',
  kHardLink = '1',
  kSymlink = '2',
  kCharDevice = '3',
  kBlockDevice = '4',
  kDirectory = '5',
  kFifo = '6',
};

struct TarTime {
  std::int64_t seconds = 0;
  std::uint32_t nanos = 0;
  bool operator==(TarTime const&) const = default;
};

struct SparseExtent {
  std::uint64_t offset = 0, size = 0;
};

struct TarEntry {
  TarType type = TarType::kFile;
  std::string name = {};    // as in the archive, without a slash at the end for directories
  std::string target = {};  // of links
  std::uint32_t mode = 0;   // permission bits, setuid, setgid, sticky
  std::uint32_t uid = 0, gid = 0;
  std::uint64_t size = 0;  // the file's real size; for sparse files more than the archive's data
  TarTime mtime = {};
  std::uint32_t device_major = 0, device_minor = 0;
  std::map<std::string, std::string> xattrs = {};  // SCHILY.xattr.* and LIBARCHIVE.xattr.*, names without the prefix
  std::string user = {}, group = {};               // names; informative only
  std::vector<SparseExtent> sparse = {};           // data extents in order, when is_sparse
  bool is_sparse = false;
};

struct TarLimits {
  std::uint64_t max_entries = 10'000'000;
  std::size_t max_pax_bytes = std::size_t{1} << 20;  // one extended header
  std::size_t max_name = 4096;
  std::size_t max_sparse_extents = 1'000'000;
};

// Reads entry by entry. Borrows the source. One TarEntry should be used for all calls: its memory is then used again.
// Errors are kInvalidArgument with the entry's number and offset; kResourceExhausted past limits.
class TarReader {
 public:
  explicit TarReader(Source& source, TarLimits limits = {});
  ~TarReader();
  // The next entry; false at the end: two zero blocks, or the end of the stream where a header may begin (a stream of
  // no bytes has no entries). What follows the end is read and thrown away, so that hashes cover the whole stream. Data
  // left of the entry before is skipped. Entry types that carry no file (volume labels, unknown vendor types) are
  // skipped. Records of global pax headers hold for all later entries, as POSIX has it.
  Result<bool> next(TarEntry& entry);
  // The data of the current entry in chunks (of a sparse file: the stored extents one after another); empty at its end.
  // kInvalidArgument when the archive ends before.
  Result<std::string_view> data();
  // For recipes (snapshot/recipe.h): is given every byte of the archive that data() does not return, in order: headers,
  // padding, data that were skipped, the end.
  using RawListener = std::function<Result<void>(std::string_view)>;
  void on_raw(RawListener listener);

 private:
  struct Body;
  std::unique_ptr<Body> body_;
};

class TarWriter {
 public:
  explicit TarWriter(Sink& out);
  ~TarWriter();
  // Writes the header; a file's data follow by data(), exactly entry.size bytes (sparse entries are written with their
  // holes as zeros unless is_sparse, then as pax sparse 1.0 with only the extents' data).
  Result<void> entry(TarEntry const& entry);
  Result<void> data(std::string_view bytes);
  // Two zero blocks. Must be called.
  Result<void> finish();

 private:
  struct Body;
  std::unique_ptr<Body> body_;
};

}  // namespace davit::codec
