#include "runtime/cgroup/directory.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "sys/file.h"

namespace davit::runtime {

CgroupDirectory::CgroupDirectory(std::string path, std::vector<std::string> controllers)
    : path_(std::move(path)), controllers_(std::move(controllers)) {}

bool CgroupDirectory::v2() const { return controllers_.size() == 1 && controllers_.front().empty(); }

bool CgroupDirectory::has_controller(std::string_view name) const {
  return std::find(controllers_.begin(), controllers_.end(), name) != controllers_.end();
}

Result<int> CgroupDirectory::fd() const {
  if (!fd_) fd_ = TRY(sys::open(path_, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  return fd_.get();
}

Result<std::string> CgroupDirectory::read(std::string const& file) const {
  int const dir = TRY(fd());
  return TRY_CTX(sys::read_file_at(dir, file), path_);
}

Result<void> CgroupDirectory::write(std::string const& file, std::string_view value) const {
  int const dir = TRY(fd());
  TRY_CTX(sys::write_knob(dir, file, value), path_);
  return {};
}

}  // namespace davit::runtime
