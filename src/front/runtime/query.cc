// state, list, ps, features, spec.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "base/text.h"
#include "codec/json_writer.h"
#include "front/runtime/commands.h"
#include "front/flags.h"
#include "front/runtime/output.h"
#include "oci/runtime_spec.h"
#include "runtime/capabilities.h"
#include "runtime/container.h"
#include "runtime/mount/options.h"
#include "runtime/names.h"
#include "runtime/seccomp/filter.h"
#include "sys/file.h"

namespace davit::front {

Result<std::string> only_id(std::string_view command, std::vector<std::string> const& arguments) {
  if (arguments.size() == 1) return arguments.front();
  return Error(Errc::kInvalidArgument,
               fmt::format("{} takes exactly one argument, the container's id, not {}", command, arguments.size()));
}

CommandResult state_command(Globals const& globals, Arguments arguments) {
  std::vector<std::string> const rest = TRY(parse_flags({}, arguments));
  std::string const id = TRY(only_id("state", rest));
  runtime::State const state = TRY(runtime::load_state(globals.root, id));
  runtime::Status const status = runtime::current_status(globals.root, state);
  TRY(print(runtime::print_state(state, status, runtime::StateFields::kFull, "  ") + "\n"));
  return 0;
}

CommandResult list_command(Globals const& globals, Arguments arguments) {
  std::string format = "table";
  bool quiet = false;
  std::vector<Flag> const flags{text_flag("format", 'f', "table|json", format, "how to print"),
                                switch_flag("quiet", 'q', quiet, "only ids")};
  TRY(parse_flags(flags, arguments));
  if (format != "table" && format != "json") return Error(Errc::kInvalidArgument, "--format: neither table nor json");
  std::string json = "[";
  std::string table =
      fmt::format("{:<12} {:<10} {:<10} {:<24} {:<32} {}\n", "ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER");
  std::string ids;
  for (std::string const& id : runtime::list_ids(globals.root)) {
    auto const state = runtime::load_state(globals.root, id);
    if (!state) continue;  // deleted meanwhile
    runtime::Status const status = runtime::current_status(globals.root, *state);
    json += (json.size() > 1 ? "," : "") + runtime::print_state(*state, status, runtime::StateFields::kFull);
    table +=
        fmt::format("{:<12} {:<10} {:<10} {:<24} {:<32} {}\n", id, status == runtime::Status::kStopped ? 0 : state->pid,
                    runtime::status_name(status), state->bundle, state->created, state->owner_uid == 0 ? "root" : "");
    ids += id + "\n";
  }
  TRY(print(quiet ? ids : format == "json" ? json + "]\n" : table));
  return 0;
}

namespace {

// ps(1)'s own table, cut to the container's processes by the column headed PID, as runc does.
Result<void> print_ps_table(std::vector<int> const& pids, std::vector<std::string> options) {
  std::string command = "ps";
  if (options.empty()) options.push_back("-ef");
  for (std::string const& option : options) {
    if (option.find('\'') != std::string::npos) return Error(Errc::kInvalidArgument, "ps options: no quotes, please");
    command += " '" + option + "'";
  }
  std::FILE* const pipe = ::popen(command.c_str(), "re");
  if (pipe == nullptr) return Error::from_errno(errno, "run ps");
  std::string text;
  std::array<char, 4096> buffer;
  while (std::size_t const count = std::fread(buffer.data(), 1, buffer.size(), pipe)) text.append(buffer.data(), count);
  if (::pclose(pipe) != 0) return Error(Errc::kNotFound, "ps failed (is procps installed?)");
  std::string out;
  std::size_t column = 0;
  bool header = true;
  for (std::string_view const line : split(text, '\n')) {
    std::vector<std::string_view> fields;
    for (std::string_view const field : split(line, ' ')) {
      if (!field.empty()) fields.push_back(field);
    }
    if (header) {
      column = static_cast<std::size_t>(std::ranges::find(fields, "PID") - fields.begin());
      if (column == fields.size()) return Error(Errc::kInvalidArgument, "ps options: the output has no PID column");
    }
    auto const pid = column < fields.size() ? parse_i64(fields[column]) : std::nullopt;
    if (header || (pid && std::ranges::find(pids, *pid) != pids.end())) out += fmt::format("{}\n", line);
    header = false;
  }
  return print(out);
}

}  // namespace

CommandResult ps_command(Globals const& globals, Arguments arguments) {
  std::string format = "table";
  std::vector<Flag> const flags{text_flag("format", 'f', "table|json", format, "how to print")};
  std::vector<std::string> rest = TRY(parse_flags(flags, arguments));
  if (rest.empty())
    return Error(Errc::kInvalidArgument, "ps takes a container id and, for the table, options of ps(1)");
  if (format != "table" && format != "json") return Error(Errc::kInvalidArgument, "--format: neither table nor json");
  runtime::State const state = TRY(runtime::load_state(globals.root, rest.front()));
  std::vector<int> const pids = TRY(runtime::cgroup_of(state).processes());
  if (format == "json") {
    TRY(print(fmt::format("[{}]\n", fmt::join(pids, ","))));
    return 0;
  }
  rest.erase(rest.begin());
  if (!rest.empty() && rest.front() == "--") rest.erase(rest.begin());
  TRY(print_ps_table(pids, std::move(rest)));
  return 0;
}

CommandResult spec_command(Globals const&, Arguments arguments) {
  std::string bundle = ".";
  bool rootless = false;
  std::vector<Flag> const flags{text_flag("bundle", 'b', "DIR", bundle, "where to write config.json"),
                                switch_flag("rootless", 0, rootless, "for a user without privileges")};
  TRY(parse_flags(flags, arguments));
  std::string const path = bundle + "/config.json";
  if (sys::exists(path)) {
    return Error(Errc::kAlreadyExists, fmt::format("File {} exists. Remove it first", path));
  }
  UniqueFd const file = TRY(sys::open(path, O_WRONLY | O_CREAT | O_EXCL, 0666));
  TRY(sys::write_all(file.get(), oci::default_spec_json(rootless)));
  return 0;
}

CommandResult features_command(Globals const&, Arguments arguments) {
  TRY(parse_flags({}, arguments));
  json::Writer out("\t");
  auto const enabled = [&out](std::string_view name, bool value) {
    out.key(name).begin_object().field("enabled", value).end_object();
  };
  out.begin_object().field("ociVersionMin", "1.0.0").field("ociVersionMax", "1.2.0");
  out.field("hooks", std::vector<std::string_view>{"prestart", "createRuntime", "createContainer", "startContainer",
                                                   "poststart", "poststop"});
  out.field("mountOptions", runtime::mount_option_names());
  out.key("linux").begin_object();
  out.field("namespaces", runtime::namespace_names()).field("capabilities", runtime::capability_names());
  out.key("cgroup").begin_object().field("v1", true).field("v2", true).field("systemd", false);
  out.field("systemdUser", false).field("rdma", true).end_object();
  out.key("seccomp").begin_object().field("enabled", true).field("actions", runtime::seccomp_actions());
  out.field("operators", runtime::seccomp_operators()).field("archs", runtime::seccomp_architectures());
  out.field("knownFlags", runtime::seccomp_flags()).field("supportedFlags", runtime::seccomp_flags()).end_object();
  enabled("apparmor", true);
  enabled("selinux", true);
  enabled("intelRdt", false);
  out.key("mountExtensions").begin_object();
  enabled("idmap", true);
  out.end_object().end_object();
  out.key("annotations").begin_object().field("io.davit.runtime.version", DAVIT_VERSION).end_object();
  out.end_object();
  TRY(print(out.take() + "\n"));
  return 0;
}

}  // namespace davit::front
