// LayerWriter: puts one entry after the other into a layer's directory, each in place of what had its name before. The
// calling thread's umask must be 0. One thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <set>
#include <stop_token>
#include <string>

#include "base/result.h"
#include "codec/tar.h"
#include "snapshot/directory_log.h"
#include "snapshot/entry_name.h"
#include "snapshot/layer_tree.h"

namespace davit::snapshot {

class LayerWriter {
 public:
  // layer is borrowed. A request to stop is looked at between pieces of a file's data.
  LayerWriter(int layer, std::stop_token stop);

  // data: where a file's data come from, positioned at them. The entry's xattrs are set as they are.
  Result<void> put(codec::TarEntry const& entry, EntryName const& name, codec::TarReader& data);
  Result<void> hide(EntryName const& name);
  Result<void> hide_below(EntryName const& name);
  // Times of directories and such, once everything is there.
  Result<void> finish();

  // Where the last put() or hide() was: the real path, without links.
  std::string const& path() const { return path_; }
  // Whether a file that an earlier entry had made is gone, or its path.
  bool replaced_something() const { return replaced_something_; }
  std::set<std::string, std::less<>>& implied() { return tree_.implied(); }

 private:
  Result<void> go_to(EntryName const& name);
  Result<void> make_directory(codec::TarEntry const& entry);
  Result<void> change_directory(codec::TarEntry const& entry);
  Result<void> make_file(codec::TarEntry const& entry, codec::TarReader& data);
  Result<void> write_sparse(int fd, codec::TarEntry const& entry, codec::TarReader& data) const;
  Result<void> make_hard_link(codec::TarEntry const& entry);
  Result<void> make_symlink(codec::TarEntry const& entry);
  Result<void> make_node(codec::TarEntry const& entry, mode_t type);
  Result<void> finish_node(codec::TarEntry const& entry);
  // Removes what is there. Whether it was a whiteout.
  Result<bool> clear();
  // The result of `make`, which creates leaf_; when the name is taken it is cleared first.
  template <typename Call>
  Result<long> make_anew(Call const& make);
  bool must_chown(codec::TarEntry const& entry) const { return entry.uid != own_uid_ || entry.gid != own_gid_; }

  std::stop_token stop_;
  LayerTree tree_;
  DirectoryLog log_;
  uid_t own_uid_;
  gid_t own_gid_;
  bool replaced_something_ = false;

  // Of the entry at hand.
  int parent_ = -1;
  std::string leaf_, path_;
  EntryName target_;
};

}  // namespace davit::snapshot
