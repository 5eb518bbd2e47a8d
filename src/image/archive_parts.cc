#include "image/archive_parts.h"

#include <fmt/format.h>

#include "codec/compression.h"
#include "codec/hash.h"
#include "image/unpack.h"
#include "oci/image_spec.h"
#include "sys/file.h"

namespace davit::image {
namespace {

constexpr std::size_t kMaxDocument = std::size_t{8} << 20;
constexpr std::size_t kMaxDocuments = std::size_t{32} << 20;
constexpr std::size_t kMaxParts = 100'000;
constexpr std::size_t kTarBlock = 512;
constexpr std::size_t kShownPaths = 3;
constexpr int kMaxLinks = 8;

// The data of an entry, of which the beginning was looked at already.
class EntryData : public codec::Source {
 public:
  explicit EntryData(codec::TarReader& reader) : reader_(reader) {}

  // At least kTarBlock bytes, unless the entry is shorter.
  Result<std::string_view> peek() {
    while (head_.size() < kTarBlock) {
      std::string_view const bytes = TRY(read());
      if (bytes.empty()) break;
      head_.append(bytes);
    }
    return std::string_view(head_);
  }
  Result<std::string_view> next() override {
    if (!given_ && !head_.empty()) {
      given_ = true;
      return std::string_view(head_);
    }
    return read();
  }
  // The archive itself could not be read on; otherwise what fails is about this part only.
  bool archive_failed() const { return archive_failed_; }

 private:
  Result<std::string_view> read() {
    Result<std::string_view> bytes = reader_.data();
    if (!bytes) archive_failed_ = true;
    return bytes;
  }

  codec::TarReader& reader_;
  bool archive_failed_ = false;
  std::string head_;
  bool given_ = false;
};

class Tee : public codec::Source {
 public:
  Tee(codec::Source& inner, codec::Sink& copy) : inner_(inner), copy_(copy) {}
  Result<std::string_view> next() override {
    std::string_view const bytes = TRY(inner_.next());
    if (!bytes.empty()) TRY(copy_.write(bytes));
    return bytes;
  }

 private:
  codec::Source& inner_;
  codec::Sink& copy_;
};

class IngestSink : public codec::Sink {
 public:
  explicit IngestSink(store::Ingest* file) : file_(file) {}  // null: nothing is written
  Result<void> write(std::string_view bytes) override {
    return file_ == nullptr ? Result<void>() : file_->write(bytes);
  }

 private:
  store::Ingest* file_;
};

class CountingSource : public codec::Source {
 public:
  CountingSource(codec::Source& inner, Reporter& reporter, std::string id, std::uint64_t total)
      : inner_(inner), reporter_(reporter), id_(std::move(id)), total_(total) {}
  Result<std::string_view> next() override {
    std::string_view const bytes = TRY(inner_.next());
    done_ += bytes.size();
    reporter_.bytes(Phase::kLoading, id_, done_, total_);
    return bytes;
  }

 private:
  codec::Source& inner_;
  Reporter& reporter_;
  std::string id_;
  std::uint64_t total_, done_ = 0;
};

bool looks_like_tar(std::string_view head) {
  if (head.size() < kTarBlock) return false;
  if (head.substr(257, 5) == "ustar") return true;
  // An empty layer: nothing but zeros.
  return head.substr(0, kTarBlock).find_first_not_of('\0') == std::string_view::npos;
}

bool is_layer(std::string_view path, std::string_view head) {
  if (path.ends_with(".tar") || path.ends_with(".tar.gz")) return true;
  if (path.ends_with(".json")) return false;
  return codec::detect_compression(head) != codec::Compression::kNone || looks_like_tar(head);
}

// An object or a list; documents of images are nothing else.
bool looks_like_json(std::string_view head) {
  std::size_t const first = head.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && (head[first] == '{' || head[first] == '[');
}

// For the progress: 12 digits of "<hex>/layer.tar", "blobs/sha256/<hex>", "<hex>.tar".
std::string shown_name(std::string_view path) {
  if (path.ends_with("/layer.tar")) path.remove_suffix(10);
  if (auto const slash = path.rfind('/'); slash != std::string_view::npos) path.remove_prefix(slash + 1);
  return std::string(path.substr(0, 12));
}

std::string_view media_type_of(codec::Compression compression) {
  switch (compression) {
    case codec::Compression::kGzip:
      return oci::kOciLayerGzip;
    case codec::Compression::kZstd:
      return oci::kOciLayerZstd;
    default:
      return "";
  }
}

Result<void> drain(codec::Source& source) {
  for (;;) {
    std::string_view const bytes = TRY(source.next());
    if (bytes.empty()) return {};
  }
}

// A part of a layout is named by its digest, and must have it. Other archives' names promise nothing.
Result<void> check_named(std::string_view path, oci::Digest const& found) {
  if (!path.starts_with("blobs/sha256/") || path.substr(path.rfind('/') + 1) == found.hex()) return {};
  return Error(Errc::kInvalidArgument, fmt::format("its content is {}: the archive is damaged", found.text()));
}

// "sha256" and the hex of "blobs/sha256/<hex>", "<hex>.tar"
std::optional<oci::Digest> digest_in_name(std::string_view path) {
  if (path.ends_with(".tar")) path.remove_suffix(4);
  if (auto const slash = path.rfind('/'); slash != std::string_view::npos) path.remove_prefix(slash + 1);
  Result<oci::Digest> digest = oci::Digest::parse(fmt::format("sha256:{}", path));
  if (!digest) return std::nullopt;
  return std::move(*digest);
}

}  // namespace

std::string ArchiveParts::follow(std::string_view path) const {
  std::string current = sys::clean_path("/" + std::string(path)).substr(1);
  for (int i = 0; i < kMaxLinks; ++i) {
    auto const link = links_.find(current);
    if (link == links_.end()) break;
    current = link->second;
  }
  return current;
}

std::string const* ArchiveParts::document(std::string_view path) const {
  auto const found = documents_.find(follow(path));
  return found == documents_.end() ? nullptr : &found->second;
}

ArchiveLayer* ArchiveParts::layer(std::string_view path) {
  auto const found = layers_.find(follow(path));
  return found == layers_.end() ? nullptr : &found->second;
}

PartFailure const* ArchiveParts::failure(std::string_view path) const {
  auto const found = failures_.find(follow(path));
  return found == failures_.end() ? nullptr : &found->second;
}

Result<void> ArchiveParts::read(codec::Source& in) {
  codec::Detected outer = TRY(codec::decompress_any(in, context_.limits.decompress));
  codec::TarReader reader(*outer.source, context_.limits.tar);
  codec::TarEntry entry;
  for (;;) {
    if (stop_.stop_requested()) return Error(Errc::kCancelled, "cancelled");
    bool const more = TRY(reader.next(entry));
    if (!more) return {};
    std::string const path = sys::clean_path("/" + entry.name).substr(1);
    if (first_paths_.size() < kShownPaths) first_paths_.push_back(entry.name);
    if (documents_.size() + layers_.size() + links_.size() + failures_.size() > kMaxParts) {
      return Error(Errc::kResourceExhausted,
                   fmt::format("the archive has more than {} parts: is it one of images?", kMaxParts));
    }
    if (entry.type == codec::TarType::kSymlink) {
      std::string const folder = path.substr(0, path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
      links_[path] = sys::clean_path("/" + folder + "/" + entry.target).substr(1);
    } else if (entry.type == codec::TarType::kHardLink) {
      links_[path] = sys::clean_path("/" + entry.target).substr(1);
    } else if (entry.type == codec::TarType::kFile) {
      TRY_CTX(take(reader, entry, path), path);
    }
  }
}

Result<void> ArchiveParts::take(codec::TarReader& reader, codec::TarEntry const& entry, std::string const& path) {
  EntryData data(reader);
  std::string_view const head = TRY(data.peek());
  if (!is_layer(path, head)) {
    if (!looks_like_json(head)) return {};  // the reader skips its data
    return take_document(data, path, entry.size);
  }
  // A later part of the same name takes the place of an earlier one, as when the archive is unpacked by `tar`.
  layers_.erase(path);
  failures_.erase(path);
  Result<void> taken = take_layer(data, path, entry.size, codec::detect_compression(head));
  if (taken || data.archive_failed() || taken.error().code() != Errc::kInvalidArgument) return taken;
  // A part that looks like a layer and is none (a root file system's gzip file) matters only to an image that has it.
  failures_.insert_or_assign(path, PartFailure{.reason = taken.error().to_string()});
  return {};
}

Result<void> ArchiveParts::take_document(codec::Source& bytes, std::string const& path, std::uint64_t size) {
  // A large part that is no layer: an image that needs it will say that it is missing.
  if (size > kMaxDocument) return {};
  document_bytes_ += size;
  if (document_bytes_ > kMaxDocuments) {
    return Error(Errc::kResourceExhausted, fmt::format("the archive's documents are more than {} bytes together: is it "
                                                       "one of images?",
                                                       kMaxDocuments));
  }
  documents_[path] = TRY(codec::read_all(bytes, kMaxDocument));
  return {};
}

// The store may have it: a layer by its diff-id, or a blob whose layer is known.
Result<bool> ArchiveParts::find_known(std::string const& path) {
  std::optional<oci::Digest> const digest = digest_in_name(path);
  if (!digest) return false;
  auto layer = TRY(context_.store.pin_layer(store::layer_id(*digest)));
  if (layer) {
    ArchiveLayer known{.diff_id = *digest, .made = nullptr, .form = std::nullopt, .pins = {}};
    known.pins.push_back(std::move(layer->second));
    layers_.insert_or_assign(path, std::move(known));
    return true;
  }
  std::optional<store::LayerForm> form = TRY(context_.store.form_of_blob(*digest));
  std::optional<store::Pin> blob = TRY(context_.store.pin_blob(*digest));
  if (!form || !blob) return false;
  layer = TRY(context_.store.pin_layer(store::layer_id(form->diff_id)));
  if (!layer) return false;
  ArchiveLayer known{.diff_id = form->diff_id, .made = nullptr, .form = form, .pins = {}};
  known.pins.push_back(std::move(layer->second));
  known.pins.push_back(std::move(*blob));
  layers_.insert_or_assign(path, std::move(known));
  return true;
}

// Its digest as it is in the archive, and a copy of it when that is kept.
class BlobCopy {
 public:
  BlobCopy(codec::Source& in, std::shared_ptr<store::Ingest> file)
      : file_(std::move(file)),
        sink_(file_.get()),
        tee_(in, sink_),
        hashed_(file_ ? static_cast<codec::Source&>(tee_) : in) {}
  codec::Source& source() { return hashed_; }
  store::LayerForm form(oci::Digest diff_id, std::string_view media_type) {
    return {.diff_id = std::move(diff_id),
            .blob = oci::Digest::sha256(hashed_.finish_hex()),
            .size = hashed_.size(),
            .media_type = std::string(media_type)};
  }
  std::shared_ptr<store::Ingest> const& file() const { return file_; }

 private:
  std::shared_ptr<store::Ingest> file_;
  IngestSink sink_;
  Tee tee_;
  codec::HashingSource hashed_;
};

Result<void> ArchiveParts::take_layer(codec::Source& bytes, std::string const& path, std::uint64_t size,
                                      codec::Compression compression) {
  bool const known = TRY(find_known(path));
  if (known) return {};  // the reader skips its data
  std::string const shown = shown_name(path);
  CountingSource counted(bytes, reporter_, shown, size);
  // Only what a manifest can name; a layer in another compression (or none) is kept unpacked only.
  std::string_view const media_type = media_type_of(compression);
  if (media_type.empty()) {
    UnpackedLayer unpacked =
        TRY(unpack(context_, counted, {.diff_id = std::nullopt, .compression = compression, .stop = stop_}));
    TRY(drain(counted));
    oci::Digest const diff_id = unpacked.made.layer->record.diff_id;
    // Of another compression the digest is not known here; the content's is compared with the image's config.
    if (compression == codec::Compression::kNone) TRY(check_named(path, diff_id));
    layers_.insert_or_assign(
        path,
        ArchiveLayer{
            .diff_id = diff_id, .made = std::make_shared<MadeLayer>(std::move(unpacked.made)), .form = {}, .pins = {}});
    return {};
  }
  std::shared_ptr<store::Ingest> file;
  if (context_.keep_blobs == KeepBlobs::kYes) file = TRY(context_.store.ingest_unnamed());
  BlobCopy copy(counted, std::move(file));
  UnpackedLayer unpacked =
      TRY(unpack(context_, copy.source(), {.diff_id = std::nullopt, .compression = compression, .stop = stop_}));
  TRY(drain(copy.source()));
  oci::Digest const diff_id = unpacked.made.layer->record.diff_id;
  store::LayerForm form = copy.form(diff_id, media_type);
  TRY(check_named(path, form.blob));
  unpacked.made.form = form;
  if (copy.file()) unpacked.made.blob.emplace(form.blob, copy.file());
  layers_.insert_or_assign(path, ArchiveLayer{.diff_id = diff_id,
                                              .made = std::make_shared<MadeLayer>(std::move(unpacked.made)),
                                              .form = std::move(form),
                                              .pins = {}});
  return {};
}

}  // namespace davit::image
