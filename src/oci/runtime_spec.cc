#include "oci/runtime_spec.h"

#include <fmt/format.h>

#include "base/text.h"
#include "oci/runtime_read.h"

namespace davit::oci {

using json::Document;
using json::Field;

Result<void> check_absolute(Field const& field, std::string const& value) {
  if (value.empty() || value.front() == '/') return {};
  return field.error(fmt::format("expected an absolute path, found \"{}\"", value));
}

Result<void> check_one_of(Field const& field, std::string_view value, std::vector<std::string_view> const& names) {
  for (std::string_view const name : names) {
    if (name == value) return {};
  }
  std::string known;
  for (std::string_view const name : names) {
    if (!known.empty()) known += ", ";
    known += name;
  }
  return field.error(fmt::format("\"{}\" is not one of {}", value, known));
}

static Result<void> read(Field const& field, Root& root) {
  TRY(field.expect_object());
  TRY(read(field["path"], root.path));
  TRY(read(field["readonly"], root.readonly));
  if (root.path.empty()) return field["path"].error("required, but missing");
  return {};
}

static Result<void> read(Field const& field, Mount& mount) {
  TRY(field.expect_object());
  Field const destination = field["destination"];
  TRY(read(destination, mount.destination));
  TRY(read(field["type"], mount.type));
  TRY(read(field["source"], mount.source));
  TRY(read(field["options"], mount.options));
  TRY(read(field["uidMappings"], mount.uid_mappings));
  TRY(read(field["gidMappings"], mount.gid_mappings));
  if (mount.destination.empty()) return destination.error("required, but missing");
  // Before 1.0 destinations could be relative to the root; podman and others still write such.
  if (mount.destination.front() != '/') mount.destination.insert(0, 1, '/');
  return {};
}

static Result<void> read(Field const& field, Hook& hook) {
  TRY(field.expect_object());
  Field const path = field["path"];
  TRY(read(path, hook.path));
  TRY(read(field["args"], hook.args));
  TRY(read(field["env"], hook.env));
  TRY(read(field["timeout"], hook.timeout_seconds));
  if (hook.path.empty()) return path.error("required, but missing");
  TRY(check_absolute(path, hook.path));
  if (hook.timeout_seconds && *hook.timeout_seconds <= 0) {
    return field["timeout"].error(fmt::format("expected more than 0 seconds, found {}", *hook.timeout_seconds));
  }
  return {};
}

static Result<void> read(Field const& field, Hooks& hooks) {
  TRY(field.expect_object());
  TRY(read(field["prestart"], hooks.prestart));
  TRY(read(field["createRuntime"], hooks.create_runtime));
  TRY(read(field["createContainer"], hooks.create_container));
  TRY(read(field["startContainer"], hooks.start_container));
  TRY(read(field["poststart"], hooks.poststart));
  TRY(read(field["poststop"], hooks.poststop));
  return {};
}

// Major version 1 of semver.org, with whatever minor, patch and pre-release: later minors only add fields.
static bool is_version_1(std::string_view version) {
  return version.size() >= 3 && version.starts_with("1.") && version[2] >= '0' && version[2] <= '9';
}

static Result<void> read(Field const& field, Spec& spec) {
  TRY(field.expect_object());
  Field const version = field["ociVersion"];
  Field const root = field["root"];
  TRY(version.expect_present());
  TRY(read(version, spec.oci_version));
  if (!is_version_1(spec.oci_version)) {
    return version.error(fmt::format("expected a version 1.x, found \"{}\"", spec.oci_version));
  }
  TRY(root.expect_present());
  TRY(read(root, spec.root));
  TRY(read(field["process"], spec.process));
  TRY(read(field["hostname"], spec.hostname));
  TRY(read(field["domainname"], spec.domainname));
  TRY(read(field["mounts"], spec.mounts));
  TRY(read(field["hooks"], spec.hooks));
  TRY(read(field["annotations"], spec.annotations));
  TRY(read(field["linux"], spec.linux));
  return {};
}

template <typename T>
static Result<T> parse_object(std::string_view text, std::string_view prefix) {
  Document const document = TRY(Document::parse(text));
  Field const root = document.root(prefix);
  if (!root.present()) return root.error("expected an object, found null");
  T value;
  TRY(read(root, value));
  return value;
}

Result<Spec> parse_spec(std::string_view text) { return parse_object<Spec>(text, ""); }
Result<Process> parse_process(std::string_view text) { return parse_object<Process>(text, "process"); }
Result<Resources> parse_resources(std::string_view text) { return parse_object<Resources>(text, "resources"); }

}  // namespace davit::oci
