// ArchiveParts: the parts of an image archive as they come by: layers are unpacked at once, documents kept in memory.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "codec/stream.h"
#include "codec/tar.h"
#include "image/context.h"
#include "image/reporter.h"

namespace davit::image {

// A layer of the archive: unpacked now, or found in the store by its name.
struct ArchiveLayer {
  oci::Digest diff_id;
  std::shared_ptr<MadeLayer> made;       // null when the store has it
  std::optional<store::LayerForm> form;  // how it is compressed in the archive; empty for a plain tar
  std::vector<store::Pin> pins;
};

struct PartFailure {
  std::string reason;
};

class ArchiveParts {
 public:
  ArchiveParts(Context const& context, Reporter& reporter, std::stop_token stop)
      : context_(context), reporter_(reporter), stop_(std::move(stop)) {}

  // The whole archive, to its end.
  Result<void> read(codec::Source& in);

  // A document by its path; nullptr when the archive has none.
  std::string const* document(std::string_view path) const;
  // A layer by its path, links followed; nullptr when the archive has none.
  ArchiveLayer* layer(std::string_view path);
  // Why the part of that path, which looked like a layer, is none; nullptr when it is one or there is no such part.
  PartFailure const* failure(std::string_view path) const;
  // Of the first few entries, to say what kind of archive it is.
  std::vector<std::string> const& first_paths() const { return first_paths_; }

 private:
  Result<void> take(codec::TarReader& reader, codec::TarEntry const& entry, std::string const& path);
  Result<void> take_layer(codec::Source& bytes, std::string const& path, std::uint64_t size,
                          codec::Compression compression);
  Result<bool> find_known(std::string const& path);
  Result<void> take_document(codec::Source& bytes, std::string const& path, std::uint64_t size);
  std::string follow(std::string_view path) const;

  Context const& context_;
  Reporter& reporter_;
  std::stop_token stop_;
  std::map<std::string, std::string, std::less<>> documents_;
  std::map<std::string, ArchiveLayer, std::less<>> layers_;
  std::map<std::string, std::string, std::less<>> links_;
  std::map<std::string, PartFailure, std::less<>> failures_;
  std::vector<std::string> first_paths_;
  std::size_t document_bytes_ = 0;
};

}  // namespace davit::image
