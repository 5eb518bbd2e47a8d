// RotatingFile: a log file that is appended to and, once it has reached its size, becomes FILE.1 (or FILE.1.gz) while
// older ones move up, as Docker's logger does it. Compressing is slow, so somebody else does it in another process:
// this class says which file is next and puts the result in place. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "monitor/log/log_options.h"

namespace davit::monitor::log {

class RotatingFile {
 public:
  // Creates the file with mode 0640 or continues it.
  static Result<RotatingFile> open(LogOptions const& options);

  int fd() const { return file_.get(); }
  std::uint64_t size() const { return size_; }
  // Bytes that may still come before rotate() is due; a large number when there is no limit.
  std::uint64_t room() const;

  // All of data or, where the disk does not take it, nothing of it. Never blocks longer than write(2) to a file.
  Result<void> append(std::string_view data);
  // Gives back disk space that was taken ahead of the data.
  void release_reserve();
  // Cuts what a crash left half-written at the end.
  Result<void> cut_to(std::uint64_t size);
  // Goes on as well as it can: whatever fails, there is a file to append to afterwards.
  Result<void> rotate();
  // Opens the path again: somebody (kubelet) has renamed the file.
  Result<void> reopen();

  // A rotated file that should be compressed and the name to write to. The file is open already: by the time that
  // another process gets to it, its name may be another file's.
  struct Compression {
    UniqueFd from;
    std::string name, to;
  };
  // Nullopt when there is none or one is being worked on. Must be answered with finish_compression.
  std::optional<Compression> start_compression();
  void finish_compression(bool succeeded);

 private:
  RotatingFile(LogOptions const& options, UniqueFd file, std::uint64_t size)
      : path_(options.path),
        max_size_(options.max_size),
        max_files_(options.max_files),
        compress_(options.compress),
        file_(std::move(file)),
        size_(size) {}
  void reserve(std::size_t coming);
  std::string rotated_name(unsigned index) const { return path_ + "." + std::to_string(index); }
  std::string temporary_name() const { return path_ + ".gz.tmp"; }

  std::string path_;
  std::uint64_t max_size_;
  unsigned max_files_;
  bool compress_;
  UniqueFd file_;
  std::uint64_t size_;
  bool reserves_ = false;       // the file system gains by space taken ahead
  std::uint64_t reserved_ = 0;  // where the space ends that was taken ahead, or asked for in vain; 0: none
  // Number of the file that is being compressed; it grows when files rotate meanwhile. 0: none.
  unsigned compressing_ = 0;
  bool compression_failed_ = false;  // not tried again for the same file before the next rotation
};

}  // namespace davit::monitor::log
