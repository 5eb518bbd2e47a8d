#include "snapshot/entry_name.h"

namespace davit::snapshot {

namespace {

Result<void> clean(std::string_view name, EntryName& out) {
  out.path.clear();
  for (std::size_t at = 0; at < name.size();) {
    std::size_t const slash = std::min(name.find('/', at), name.size());
    std::string_view const part = name.substr(at, slash - at);
    at = slash + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (out.path.empty()) return Error(Errc::kInvalidArgument, "the name leaves the layer");
      std::size_t const last = out.path.rfind('/');
      out.path.resize(last == std::string::npos ? 0 : last);
      continue;
    }
    if (!out.path.empty()) out.path += '/';
    out.path += part;
  }
  return {};
}

void cut(EntryName& out) {
  std::string_view const path = out.path;
  std::size_t const slash = path.rfind('/');
  out.parent = slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
  out.leaf = slash == std::string_view::npos ? path : path.substr(slash + 1);
  out.kind = path.empty() ? NameKind::kRoot : NameKind::kEntry;
}

bool has_component_with(std::string_view path, std::string_view prefix) {
  for (std::size_t at = path.find(prefix); at != std::string_view::npos; at = path.find(prefix, at + 1)) {
    if (at == 0 || path[at - 1] == '/') return true;
  }
  return false;
}

}  // namespace

Result<void> parse_link_target(std::string_view name, EntryName& out) {
  TRY(clean(name, out));
  cut(out);
  return {};
}

Result<void> parse_entry_name(std::string_view name, EntryName& out) {
  TRY(clean(name, out));
  cut(out);
  if (out.path.find(kWhiteoutPrefix) == std::string::npos) return {};
  if (has_component_with(out.parent, kMetaPrefix)) {
    out.kind = NameKind::kNothing;
  } else if (has_component_with(out.parent, kWhiteoutPrefix)) {
    return Error(Errc::kInvalidArgument, "a whiteout is used as a directory");
  } else if (out.leaf == kOpaqueName) {
    out.kind = NameKind::kOpaque;
  } else if (out.leaf.starts_with(kMetaPrefix)) {
    out.kind = NameKind::kNothing;
  } else if (out.leaf.starts_with(kWhiteoutPrefix)) {
    std::string const hidden(out.leaf.substr(kWhiteoutPrefix.size()));
    if (hidden.empty() || hidden == "." || hidden == "..") {
      return Error(Errc::kInvalidArgument, "a whiteout of '" + hidden + "'");
    }
    std::string path(out.parent);
    if (!path.empty()) path += '/';
    out.path = path + hidden;
    cut(out);
    out.kind = NameKind::kWhiteout;
  }
  return {};
}

}  // namespace davit::snapshot
