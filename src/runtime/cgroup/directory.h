// CgroupDirectory: one directory of one hierarchy. The directory is opened at first use and stays open, so that each
// knob costs one short path walk. One thread at a time.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace davit::runtime {

class CgroupDirectory {
 public:
  // controllers: v1: those of the hierarchy; v2: {""}
  CgroupDirectory(std::string path, std::vector<std::string> controllers);

  std::string const& path() const { return path_; }
  std::vector<std::string> const& controllers() const { return controllers_; }
  bool v2() const;
  bool has_controller(std::string_view name) const;

  // The directory itself (borrowed); kNotFound when it is gone.
  Result<int> fd() const;
  Result<std::string> read(std::string const& file) const;
  Result<void> write(std::string const& file, std::string_view value) const;

 private:
  std::string path_;
  std::vector<std::string> controllers_;
  mutable UniqueFd fd_;
};

}  // namespace davit::runtime
