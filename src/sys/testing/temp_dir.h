// TempDir: an empty directory for one test, removed with everything in it at the end. Tests only.
#pragma once

#include <cstdlib>
#include <string>

#include "base/result.h"
#include "sys/file.h"

namespace davit::sys::testing {

class TempDir {
 public:
  explicit TempDir(std::string const& parent = "/tmp") : path_(parent + "/davit-test.XXXXXX") {
    DAVIT_CHECK(::mkdtemp(path_.data()) != nullptr);
  }
  TempDir(TempDir const&) = delete;
  TempDir& operator=(TempDir const&) = delete;
  ~TempDir() { (void)remove_tree(path_).ok(); }

  std::string const& path() const { return path_; }
  std::string operator/(std::string const& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace davit::sys::testing
