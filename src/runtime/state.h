// The state directory of one container, <root>/<id>/ (docs/disk/runtime-state.md): state.json, config.json as it was at
// create, and start.sock while the container waits for `start`.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/container.h"

namespace davit::runtime {

// Letters, digits and "_+-.", at most 1024; not "." or "..".
Result<void> check_id(std::string_view id);

class StateDirectory {
 public:
  // kAlreadyExists when the id is taken.
  static Result<StateDirectory> create(std::string const& root, std::string const& id);
  // kNotFound when there is none.
  static Result<StateDirectory> open(std::string const& root, std::string const& id);

  // Before there is a process: what delete --force needs to know should the creator be killed. load() takes it as long
  // as there is nothing better.
  Result<void> save_beginning(State const& state) const;
  Result<void> save(State const& state) const;
  Result<void> save_config(std::string_view json) const;
  Result<State> load() const;
  Result<std::string> load_config() const;

  // The socket on which PID 1 waits for `start`.
  Result<UniqueFd> listen_start() const;
  Result<UniqueFd> connect_start() const;
  bool waits_for_start() const;
  void started() const;  // removes the socket

  // Removes the directory and all in it; gone already is fine.
  Result<void> remove() const;
  std::string const& path() const { return path_; }

 private:
  StateDirectory(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::string path_;
  UniqueFd fd_;
};

}  // namespace davit::runtime
