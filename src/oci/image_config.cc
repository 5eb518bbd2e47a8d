// The image's config: OCI's config.md with Docker's additions, as dockerd, podman, buildkit, kaniko and others write
// it.
#include <fmt/format.h>

#include <algorithm>

#include "codec/json_writer.h"
#include "oci/image_read.h"
#include "oci/image_spec.h"

namespace davit::oci {

using json::Field;

namespace {

constexpr std::size_t kMaxConfigBytes = std::size_t{8} << 20;

// Docker's StrSlice: a list, or one string in place of a list of one.
Result<void> read_words(Field const& field, std::vector<std::string>& out) {
  if (!field.present()) return {};
  Result<std::string_view> const word = field.string_view();
  if (!word.ok()) return json::read(field, out);
  out.assign(1, std::string(*word));
  return {};
}

// Go's map[string]struct{}: the names count, whatever the values are.
Result<void> read_set(Field const& field, std::vector<std::string>& out) {
  auto const names = TRY(field.member_names());
  out.assign(names.begin(), names.end());
  return {};
}

Result<void> read(Field const& field, HealthCheck& out) {
  TRY(field.expect_object());
  TRY(json::read(field["Test"], out.test));
  TRY(json::read(field["Interval"], out.interval_ns));
  TRY(json::read(field["Timeout"], out.timeout_ns));
  TRY(json::read(field["StartPeriod"], out.start_period_ns));
  TRY(json::read(field["StartInterval"], out.start_interval_ns));
  return json::read(field["Retries"], out.retries);
}

Result<void> read(Field const& field, ContainerConfig& out) {
  TRY(field.expect_object());
  Field const healthcheck = field["Healthcheck"];
  TRY(json::read(field["User"], out.user));
  TRY(json::read(field["WorkingDir"], out.working_dir));
  TRY(json::read(field["StopSignal"], out.stop_signal));
  TRY(json::read(field["Env"], out.env));
  TRY(read_words(field["Cmd"], out.cmd));
  TRY(read_words(field["Entrypoint"], out.entrypoint));
  TRY(read_set(field["Volumes"], out.volumes));
  TRY(read_set(field["ExposedPorts"], out.exposed_ports));
  TRY(json::read(field["OnBuild"], out.on_build));
  TRY(read_words(field["Shell"], out.shell));
  TRY(json::read(field["Labels"], out.labels));
  TRY(json::read(field["ArgsEscaped"], out.args_escaped));
  if (!healthcheck.present()) return {};
  return read(healthcheck, out.healthcheck.emplace());
}

Result<void> read(Field const& field, HistoryEntry& out) {
  TRY(field.expect_object());
  TRY(json::read(field["created"], out.created));
  TRY(json::read(field["created_by"], out.created_by));
  TRY(json::read(field["author"], out.author));
  TRY(json::read(field["comment"], out.comment));
  return json::read(field["empty_layer"], out.empty_layer);
}

Result<std::vector<Digest>> read_diff_ids(Field const& rootfs) {
  TRY(rootfs.expect_object());
  Field const type = rootfs["type"];
  Field const list = rootfs["diff_ids"];
  std::string_view const kind = TRY(type.string_view());
  if (type.present() && kind != "layers") {
    return type.error(fmt::format("expected \"layers\", found \"{}\"", kind.substr(0, 100)));
  }
  std::size_t const count = TRY(list.array_size());
  std::vector<Digest> digests;
  digests.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    Digest digest = TRY(read_digest(list.element(i)));
    digests.push_back(std::move(digest));
  }
  return digests;
}

Result<std::vector<HistoryEntry>> read_history(Field const& field, std::size_t layers) {
  std::size_t const count = TRY(field.array_size());
  std::vector<HistoryEntry> history(count);
  for (std::size_t i = 0; i < count; ++i) TRY(read(field.element(i), history[i]));
  auto const filled = std::ranges::count(history, false, &HistoryEntry::empty_layer);
  if (static_cast<std::size_t>(filled) != layers) history.clear();
  return history;
}

void write_text(json::Writer& writer, std::string_view name, std::string_view text) {
  if (!text.empty()) writer.field(name, text);
}

void write_words(json::Writer& writer, std::string_view name, std::vector<std::string> const& words) {
  if (!words.empty()) writer.field(name, words);
}

void write_set(json::Writer& writer, std::string_view name, std::vector<std::string> const& names) {
  if (names.empty()) return;
  writer.key(name).begin_object();
  for (std::string const& each : names) writer.key(each).begin_object().end_object();
  writer.end_object();
}

void write_number(json::Writer& writer, std::string_view name, std::int64_t number) {
  if (number != 0) writer.field(name, number);
}

void write(json::Writer& writer, HealthCheck const& check) {
  writer.key("Healthcheck").begin_object();
  write_words(writer, "Test", check.test);
  write_number(writer, "Interval", check.interval_ns);
  write_number(writer, "Timeout", check.timeout_ns);
  write_number(writer, "StartPeriod", check.start_period_ns);
  write_number(writer, "StartInterval", check.start_interval_ns);
  write_number(writer, "Retries", check.retries);
  writer.end_object();
}

void write(json::Writer& writer, ContainerConfig const& config) {
  writer.key("config").begin_object();
  write_text(writer, "User", config.user);
  write_set(writer, "ExposedPorts", config.exposed_ports);
  write_words(writer, "Env", config.env);
  write_words(writer, "Entrypoint", config.entrypoint);
  write_words(writer, "Cmd", config.cmd);
  if (config.healthcheck) write(writer, *config.healthcheck);
  write_set(writer, "Volumes", config.volumes);
  write_text(writer, "WorkingDir", config.working_dir);
  if (!config.labels.empty()) {
    writer.key("Labels").begin_object();
    for (auto const& [name, value] : config.labels) writer.field(name, value);
    writer.end_object();
  }
  write_text(writer, "StopSignal", config.stop_signal);
  if (config.args_escaped) writer.field("ArgsEscaped", true);
  write_words(writer, "OnBuild", config.on_build);
  write_words(writer, "Shell", config.shell);
  writer.end_object();
}

void write(json::Writer& writer, HistoryEntry const& entry) {
  writer.begin_object();
  write_text(writer, "created", entry.created);
  write_text(writer, "created_by", entry.created_by);
  write_text(writer, "author", entry.author);
  write_text(writer, "comment", entry.comment);
  if (entry.empty_layer) writer.field("empty_layer", true);
  writer.end_object();
}

void write_platform(json::Writer& writer, Platform const& platform) {
  writer.field("architecture", platform.architecture).field("os", platform.os);
  write_text(writer, "os.version", platform.os_version);
  write_words(writer, "os.features", platform.os_features);
  write_text(writer, "variant", platform.variant);
}

}  // namespace

Result<ImageConfig> parse_image_config(std::string_view bytes) {
  json::Document const document = TRY(json::Document::parse(bytes, {.max_bytes = kMaxConfigBytes}));
  Field const root = document.root();
  if (!root.present()) return root.error("expected an object, found null");
  ImageConfig out;
  TRY(read_platform(root, out.platform));
  TRY(json::read(root["created"], out.created));
  TRY(json::read(root["author"], out.author));
  TRY(json::read(root["comment"], out.comment));
  TRY(json::read(root["docker_version"], out.docker_version));
  TRY(json::read(root["container"], out.container));
  TRY(read(root["config"], out.config));
  out.diff_ids = TRY(read_diff_ids(root["rootfs"]));
  out.history = TRY(read_history(root["history"], out.diff_ids.size()));
  return out;
}

std::string to_json(ImageConfig const& config) {
  json::Writer writer;
  writer.begin_object();
  write_text(writer, "created", config.created);
  write_text(writer, "author", config.author);
  write_platform(writer, config.platform);
  write_text(writer, "comment", config.comment);
  write_text(writer, "container", config.container);
  write_text(writer, "docker_version", config.docker_version);
  write(writer, config.config);
  writer.key("rootfs").begin_object().field("type", "layers");
  writer.key("diff_ids").begin_array();
  for (Digest const& digest : config.diff_ids) writer.value(digest.text());
  writer.end_array().end_object();
  if (!config.history.empty()) {
    writer.key("history").begin_array();
    for (HistoryEntry const& entry : config.history) write(writer, entry);
    writer.end_array();
  }
  return writer.end_object().take();
}

}  // namespace davit::oci
