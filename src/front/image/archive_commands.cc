#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "codec/json_writer.h"
#include "front/image/commands.h"
#include "image/find.h"
#include "image/import.h"
#include "image/load.h"
#include "image/save.h"
#include "loop/fd_stream.h"
#include "snapshot/diff.h"
#include "sys/durable.h"
#include "sys/file.h"
#include "sys/file_change.h"

namespace davit::front {
namespace {

// "-" and "" are the standard descriptors.
Result<UniqueFd> open_input(std::string const& path) {
  if (path.empty() || path == "-") return sys::open("/proc/self/fd/0", O_RDONLY);
  return sys::open(path, O_RDONLY);
}

// A regular file is written beside and takes its name only when it is whole; a device, pipe or socket is written to as
// it is.
class Output {
 public:
  static Result<Output> open(std::string path) {
    if (path.empty() || path == "-") return standard_output();
    std::optional<sys::EntryInfo> const info = TRY(sys::entry_info(AT_FDCWD, path));
    bool const beside = !info || S_ISREG(info->mode);
    UniqueFd file =
        TRY(beside ? sys::open(path + ".part", O_WRONLY | O_CREAT | O_TRUNC, 0600) : sys::open(path, O_WRONLY));
    return Output(std::move(path), std::move(file), beside);
  }
  int fd() const { return file_.get(); }
  Result<void> finish(Result<void> written) {
    if (!beside_) return written;
    std::string const part = path_ + ".part";
    if (written) return sys::rename(part, path_);
    (void)sys::unlink_at(AT_FDCWD, part).ok();
    return written;
  }

 private:
  static Result<Output> standard_output() {
    UniqueFd file = TRY(sys::open("/proc/self/fd/1", O_WRONLY));
    return Output({}, std::move(file), false);
  }
  Output(std::string path, UniqueFd file, bool beside)
      : path_(std::move(path)), file_(std::move(file)), beside_(beside) {}
  std::string path_;
  UniqueFd file_;
  bool beside_;
};

bool is_directory(std::string const& path) {
  Result<std::optional<sys::EntryInfo>> const info = sys::entry_info(AT_FDCWD, path);
  return info && *info && S_ISDIR((*info)->mode);
}

}  // namespace

ImageResult image_load(ImageTool& tool, ImageArguments arguments) {
  std::string input, platform;
  std::vector<Flag> const flags = {
      text_flag("input", 'i', "FILE", input, "the archive, or the folder of a layout (default: standard input)"),
      text_flag("platform", 0, "OS/ARCH", platform, "of an archive with several")};
  TRY(parse_words(flags, arguments, 0, 0, "load [-i FILE]"));
  image::LoadOptions options{.platform = std::nullopt, .progress = tool.progress(), .stop = tool.stop.get_token()};
  if (!platform.empty()) options.platform = TRY(oci::parse_platform(platform, oci::host_platform()));
  image::Context const context = tool.context();
  auto const load = [&]() -> Result<std::vector<image::LoadedImage>> {
    UniqueFd const file = TRY(open_input(input));
    if (is_directory(input)) return image::load_layout(context, file.get(), options);
    loop::FdSource source(file.get());
    return image::load(context, source, options);
  };
  std::vector<image::LoadedImage> const loaded = TRY(load());
  for (image::LoadedImage const& image : loaded) {
    TRY(print_text(json::Object().add("id", image.id.text()).add("tags", image.tags).text() + "\n"));
  }
  return 0;
}

ImageResult image_save(ImageTool& tool, ImageArguments arguments) {
  std::string output, format = "docker";
  std::vector<Flag> const flags = {
      text_flag("output", 'o', "FILE", output,
                "the archive, or an empty folder for a layout (default: standard output)"),
      text_flag("format", 0, "docker|oci", format, "with manifest.json (default) or the OCI layout only")};
  std::vector<std::string> const words = TRY(parse_words(flags, arguments, 1, 1000, "save [-o FILE] IMAGE..."));
  if (format != "docker" && format != "oci")
    return Error(Errc::kInvalidArgument, fmt::format("usage: --format: '{}' is neither docker nor oci", format));
  image::Context const context = tool.context();
  image::SaveOptions const options{
      .format = format == "oci" ? image::ArchiveFormat::kOci : image::ArchiveFormat::kDocker,
      .progress = tool.progress(),
      .stop = tool.stop.get_token()};
  if (is_directory(output)) {
    UniqueFd const folder = TRY(sys::open(output, O_RDONLY | O_DIRECTORY));
    TRY(image::save_layout(context, words, folder.get(), options));
    return 0;
  }
  Output out = TRY(Output::open(output));
  loop::FdSink sink(out.fd());
  TRY(out.finish(image::save(context, words, sink, options)));
  return 0;
}

ImageResult image_import(ImageTool& tool, ImageArguments arguments) {
  image::ImportOptions options;
  std::string platform;
  std::vector<Flag> const flags = {list_flag("change", 'c', "INSTRUCTION", options.changes, "a Dockerfile instruction"),
                                   text_flag("message", 'm', "TEXT", options.message, "the commit message"),
                                   text_flag("platform", 0, "OS/ARCH", platform, "what the image is for")};
  std::vector<std::string> const words = TRY(parse_words(flags, arguments, 1, 2, "import FILE|- [NAME[:TAG]]"));
  if (words.size() > 1) options.name = TRY(oci::ImageRef::parse(words[1]));
  if (!platform.empty()) options.platform = TRY(oci::parse_platform(platform, oci::host_platform()));
  // Docker's words.
  if (options.message.empty()) options.message = "Imported from " + words[0];
  options.progress = tool.progress();
  options.stop = tool.stop.get_token();
  UniqueFd const file = TRY(open_input(words[0]));
  loop::FdSource source(file.get());
  image::Context const context = tool.context();
  oci::Digest const id = TRY(image::import_tar(context, source, options));
  TRY(print_text(json::Object().add("id", id.text()).text() + "\n"));
  return 0;
}

ImageResult image_commit(ImageTool& tool, ImageArguments arguments) {
  image::CommitOptions options;
  std::vector<Flag> const flags = {list_flag("change", 'c', "INSTRUCTION", options.changes, "a Dockerfile instruction"),
                                   text_flag("message", 'm', "TEXT", options.message, "the commit message"),
                                   text_flag("author", 'a', "NAME", options.author, "who made it")};
  std::vector<std::string> const words =
      TRY(parse_words(flags, arguments, 2, 3, "commit IMAGE UPPER-DIRECTORY [NAME[:TAG]]"));
  if (words.size() > 2) options.name = TRY(oci::ImageRef::parse(words[2]));
  options.stop = tool.stop.get_token();
  image::Found const base = TRY(image::find(*tool.store, words[0]));
  UniqueFd const upper = TRY(sys::open(words[1], O_RDONLY | O_DIRECTORY));
  image::Context const context = tool.context();
  oci::Digest const id = TRY(image::commit(context, base.entry.image.id, upper.get(), options));
  TRY(print_text(json::Object().add("id", id.text()).text() + "\n"));
  return 0;
}

ImageResult image_diff(ImageTool& tool, ImageArguments arguments) {
  std::string output;
  std::vector<Flag> const flags = {text_flag("output", 'o', "FILE", output, "the tar (default: standard output)")};
  std::vector<std::string> const words = TRY(parse_words(flags, arguments, 1, 1, "diff UPPER-DIRECTORY [-o FILE]"));
  UniqueFd const upper = TRY(sys::open(words[0], O_RDONLY | O_DIRECTORY));
  Output out = TRY(Output::open(output));
  loop::FdSink sink(out.fd());
  TRY(out.finish(snapshot::diff_upper(upper.get(), sink,
                                      {.clamp_mtime = std::nullopt, .parents = true, .stop = tool.stop.get_token()})));
  return 0;
}

ImageResult image_export(ImageTool& tool, ImageArguments arguments) {
  std::string output;
  std::vector<Flag> const flags = {text_flag("output", 'o', "FILE", output, "the tar (default: standard output)")};
  std::vector<std::string> const words = TRY(parse_words(flags, arguments, 1, 1, "export DIRECTORY [-o FILE]"));
  UniqueFd const root = TRY(sys::open(words[0], O_RDONLY | O_DIRECTORY));
  Output out = TRY(Output::open(output));
  loop::FdSink sink(out.fd());
  TRY(out.finish(snapshot::export_tree(root.get(), sink,
                                       {.clamp_mtime = std::nullopt, .parents = true, .stop = tool.stop.get_token()})));
  return 0;
}

}  // namespace davit::front
