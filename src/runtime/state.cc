#include "runtime/state.h"

#include <fmt/format.h>

#include <algorithm>

#include "codec/json.h"
#include "codec/json_writer.h"
#include "sys/file.h"
#include "sys/process.h"
#include "sys/unix_socket.h"

namespace davit::runtime {

namespace {

constexpr char const* kStateFile = "state.json";
constexpr char const* kBeginningFile = "beginning.json";
constexpr char const* kConfigFile = "config.json";
constexpr char const* kStartSocket = "start.sock";

Error does_not_exist(std::string_view id) {
  return Error(Errc::kNotFound, fmt::format("container \"{}\" does not exist", id));
}

void write_hooks(json::Writer& out, std::string_view name, std::vector<oci::Hook> const& hooks) {
  if (hooks.empty()) return;
  out.key(name).begin_array();
  for (oci::Hook const& hook : hooks) {
    out.begin_object().field("path", hook.path).field("args", hook.args).field("env", hook.env);
    if (hook.timeout_seconds) out.field("timeout", *hook.timeout_seconds);
    out.end_object();
  }
  out.end_array();
}

Result<void> read_hooks(json::Field const& list, std::vector<oci::Hook>& out) {
  std::size_t const size = TRY(list.array_size());
  for (std::size_t i = 0; i < size; ++i) {
    json::Field const entry = list.element(i);
    oci::Hook hook;
    TRY(read(entry["path"], hook.path));
    TRY(read(entry["args"], hook.args));
    TRY(read(entry["env"], hook.env));
    TRY(read(entry["timeout"], hook.timeout_seconds));
    out.push_back(std::move(hook));
  }
  return {};
}

std::string state_json(State const& state) {
  json::Writer out;
  out.begin_object();
  out.field("version", 1).field("id", state.id).field("bundle", state.bundle).field("rootfs", state.rootfs);
  out.field("ociVersion", state.oci_version).field("pid", state.pid).field("startTime", state.start_time);
  out.field("created", state.created).field("ownerUid", state.owner_uid).field("namespaces", state.namespaces);
  out.field("ownPidNamespace", state.own_pid_namespace).field("newKeyring", state.new_keyring);
  out.key("annotations").begin_object();
  for (auto const& [key, value] : state.annotations) out.field(key, value);
  out.end_object().key("cgroupPaths").begin_object();
  for (auto const& [key, value] : state.cgroup_paths) out.field(key, value);
  out.end_object().key("hooks").begin_object();
  write_hooks(out, "poststart", state.hooks.poststart);
  write_hooks(out, "poststop", state.hooks.poststop);
  out.end_object().end_object();
  return out.take();
}

Result<State> parse_state(std::string_view text) {
  json::Document const document = TRY(json::Document::parse(text));
  json::Field const root = document.root();
  State state;
  TRY(read(root["id"], state.id));
  TRY(read(root["bundle"], state.bundle));
  TRY(read(root["rootfs"], state.rootfs));
  TRY(read(root["ociVersion"], state.oci_version));
  TRY(read(root["pid"], state.pid));
  TRY(read(root["startTime"], state.start_time));
  TRY(read(root["created"], state.created));
  TRY(read(root["ownerUid"], state.owner_uid));
  TRY(read(root["namespaces"], state.namespaces));
  TRY(read(root["ownPidNamespace"], state.own_pid_namespace));
  TRY(read(root["newKeyring"], state.new_keyring));
  TRY(read(root["annotations"], state.annotations));
  TRY(read(root["cgroupPaths"], state.cgroup_paths));
  json::Field const hooks = root["hooks"];
  json::Field const poststart = hooks["poststart"];
  json::Field const poststop = hooks["poststop"];
  TRY(read_hooks(poststart, state.hooks.poststart));
  TRY(read_hooks(poststop, state.hooks.poststop));
  return state;
}

}  // namespace

Result<void> check_id(std::string_view id) {
  auto const allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '+' ||
           c == '-' || c == '.';
  };
  if (id.empty()) return Error(Errc::kInvalidArgument, "container id: empty");
  if (id.size() > 1024) return Error(Errc::kInvalidArgument, "container id: longer than 1024 characters");
  if (!std::ranges::all_of(id, allowed) || id == "." || id == "..") {
    return Error(Errc::kInvalidArgument,
                 fmt::format("container id \"{}\": only letters, digits and _ + - . are allowed", id));
  }
  return {};
}

Result<StateDirectory> StateDirectory::create(std::string const& root, std::string const& id) {
  TRY(check_id(id));
  std::string path = root + "/" + id;
  Result<void> made = sys::mkdir(path, 0711);
  if (!made && made.error().code() == Errc::kNotFound) {
    TRY_CTX(sys::mkdir_all(root, 0711), "state directory");
    made = sys::mkdir(path, 0711);
  }
  if (!made && made.error().code() == Errc::kAlreadyExists) {
    return Error(Errc::kAlreadyExists, fmt::format("container with id \"{}\" already exists", id));
  }
  if (!made) return std::move(made).take_error().with_context("state directory");
  UniqueFd fd = TRY(sys::open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  return StateDirectory(std::move(path), std::move(fd));
}

Result<StateDirectory> StateDirectory::open(std::string const& root, std::string const& id) {
  TRY(check_id(id));
  std::string path = root + "/" + id;
  auto fd = sys::open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!fd && fd.error().code() == Errc::kNotFound) return does_not_exist(id);
  if (!fd) return std::move(fd).take_error().with_context("state directory");
  return StateDirectory(std::move(path), std::move(*fd));
}

Result<void> StateDirectory::save(State const& state) const {
  return sys::replace_file_at(fd_.get(), kStateFile, state_json(state), 0600, sys::Durability::kNone);
}

// Not state.json, and not renamed over it later: ext4 writes a file to disk before it replaces another.
Result<void> StateDirectory::save_beginning(State const& state) const {
  UniqueFd const file = TRY(sys::openat(fd_.get(), kBeginningFile, O_WRONLY | O_CREAT | O_TRUNC, 0600));
  return sys::write_all(file.get(), state_json(state));
}

Result<void> StateDirectory::save_config(std::string_view json) const {
  UniqueFd const file = TRY(sys::openat(fd_.get(), kConfigFile, O_WRONLY | O_CREAT | O_TRUNC, 0600));
  return sys::write_all(file.get(), json);
}

Result<State> StateDirectory::load() const {
  auto text = sys::read_file_at(fd_.get(), kStateFile);
  if (!text && text.error().code() == Errc::kNotFound) text = sys::read_file_at(fd_.get(), kBeginningFile);
  if (!text && text.error().code() == Errc::kNotFound) {
    return does_not_exist(path_.substr(path_.rfind('/') + 1)).with_context("not created completely");
  }
  if (!text) return std::move(text).take_error();
  return TRY_CTX(parse_state(*text), path_ + "/" + kStateFile);
}

Result<std::string> StateDirectory::load_config() const { return sys::read_file_at(fd_.get(), kConfigFile); }

Result<UniqueFd> StateDirectory::listen_start() const {
  return sys::listen_unix(path_ + "/" + kStartSocket, SOCK_STREAM, 0600, sys::Blocking::kYes);
}

Result<UniqueFd> StateDirectory::connect_start() const {
  // Not blocking: a PID 1 that is frozen takes no connections, and its queue may be full.
  return sys::connect_unix(path_ + "/" + kStartSocket, SOCK_STREAM | SOCK_NONBLOCK);
}

bool StateDirectory::waits_for_start() const {
  if (!sys::exists(path_ + "/" + kStartSocket)) return false;
  // A `start` that was killed after it had said so leaves the file; PID 1 listens no more then. One that does listen
  // takes this connection for a `start` that went away, and goes on waiting.
  auto const connection = connect_start();
  if (connection.ok() || connection.error().error_number() != ECONNREFUSED) return true;
  started();
  return false;
}

void StateDirectory::started() const { (void)sys::unlink_at(fd_.get(), kStartSocket); }

Result<void> StateDirectory::remove() const {
  for (char const* name : {kStateFile, kBeginningFile, kConfigFile}) (void)sys::unlink_at(fd_.get(), name);
  if (sys::rmdir(path_)) return {};
  return sys::remove_tree(path_);
}

std::string_view status_name(Status status) {
  switch (status) {
    case Status::kCreating:
      return "creating";
    case Status::kCreated:
      return "created";
    case Status::kRunning:
      return "running";
    case Status::kPaused:
      return "paused";
    case Status::kStopped:
      return "stopped";
  }
  return "stopped";
}

Result<State> load_state(std::string const& root, std::string const& id) {
  StateDirectory const directory = TRY(StateDirectory::open(root, id));
  return directory.load();
}

Result<oci::Spec> load_config(std::string const& root, std::string const& id) {
  StateDirectory const directory = TRY(StateDirectory::open(root, id));
  std::string const text = TRY(directory.load_config());
  return TRY_CTX(oci::parse_spec(text), "config.json");
}

Cgroup cgroup_of(State const& state) { return Cgroup::from_paths(state.cgroup_paths); }

Status current_status(std::string const& root, State const& state) {
  if (state.pid == 0) return Status::kCreating;
  auto const process = sys::process_stat(state.pid);
  bool const gone =
      !process || process->start_time != state.start_time || process->state == 'Z' || process->state == 'X';
  if (state.pid < 0 || gone) return Status::kStopped;
  auto const directory = StateDirectory::open(root, state.id);
  if (directory.ok() && directory->waits_for_start()) return Status::kCreated;
  return cgroup_of(state).frozen().value_or(false) ? Status::kPaused : Status::kRunning;
}

namespace {
bool is_container(std::string const& path) {
  return sys::exists(path + "/" + kStateFile) || sys::exists(path + "/" + kBeginningFile);
}
}  // namespace

std::vector<std::string> list_ids(std::string const& root) {
  auto const directory = sys::open(root, O_RDONLY | O_DIRECTORY);
  if (!directory) return {};
  auto names = sys::list_directory(directory->get());
  if (!names) return {};
  std::vector<std::string> ids;
  for (std::string& name : *names) {
    if (check_id(name) && is_container(root + "/" + name)) ids.push_back(std::move(name));
  }
  std::ranges::sort(ids);
  return ids;
}

std::string print_state(State const& state, Status status, StateFields fields, std::string_view indent) {
  json::Writer out(indent);
  out.begin_object();
  out.field("ociVersion", state.oci_version).field("id", state.id);
  out.field("pid", status == Status::kStopped ? 0 : state.pid);
  out.field("status", status_name(status)).field("bundle", state.bundle);
  if (fields == StateFields::kFull) {
    out.field("rootfs", state.rootfs)
        .field("created", state.created)
        .field("owner", state.owner_uid == 0 ? "root" : "");
  }
  if (!state.annotations.empty()) {
    out.key("annotations").begin_object();
    for (auto const& [key, value] : state.annotations) out.field(key, value);
    out.end_object();
  }
  out.end_object();
  return out.take();
}

}  // namespace davit::runtime
