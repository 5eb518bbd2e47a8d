#include <fmt/format.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <thread>

#include "base/text.h"
#include "codec/json_writer.h"
#include "front/image/commands.h"
#include "sys/file.h"
#include "sys/limits.h"

namespace davit::front {
namespace {

struct ImageCommand {
  std::string_view name;
  ImageResult (*run)(ImageTool&, ImageArguments);
  std::string_view help;
};

constexpr std::array<ImageCommand, 18> kCommands{{
    {"pull", image_pull, "fetch an image from a registry"},
    {"push", image_push, "send an image to a registry"},
    {"load", image_load, "read images from an archive"},
    {"save", image_save, "write images to an archive"},
    {"import", image_import, "make an image of a root file system's tar"},
    {"commit", image_commit, "make an image of another and an overlay upper directory"},
    {"diff", image_diff, "write an overlay upper directory as a layer's tar"},
    {"export", image_export, "write a directory as a tar"},
    {"list", image_list, "list images, as JSON"},
    {"tag", image_tag, "give an image another name"},
    {"rm", image_rm, "remove names and images"},
    {"prune", image_prune, "remove images without names, or (-a) all"},
    {"history", image_history, "list the steps that made an image, as JSON"},
    {"inspect", image_inspect, "print an image's config and what the store knows of it, as JSON"},
    {"df", image_df, "print how much space images take, as JSON"},
    {"gc", image_gc, "delete layers and blobs that nothing uses"},
    {"fsck", image_fsck, "read all content and compare it with its digests"},
    {"mount", image_mount, "print the directories of an image's layers, top first"},
}};

constexpr int kUsageStatus = 2;

std::vector<Flag> global_flags(ImageTool& tool) {
  return {text_flag("root", 0, "DIR", tool.root, "the store's folder (default /var/lib/davit)"),
          switch_flag("json", 0, tool.json, "progress as JSON lines on standard output"),
          switch_flag("quiet", 'q', tool.quiet, "no progress"),
          switch_flag("drop-blobs", 0, tool.drop_blobs, "do not keep the compressed blobs of layers that are unpacked"),
          unsigned_flag("parallel", 0, tool.parallel, "layers fetched or sent at once (default 3)")};
}

std::string usage(std::vector<Flag> const& flags) {
  std::string text = "usage: davit-image [flags] COMMAND [...]\n\ncommands:\n";
  for (ImageCommand const& command : kCommands) text += fmt::format("  {:<10}{}\n", command.name, command.help);
  return text + "\nflags:\n" + flags_help(flags);
}

int fail(Error const& error) {
  // Nothing is left to tell it to when standard error is gone.
  (void)sys::write_all(STDERR_FILENO, fmt::format("davit-image: {}\n", error.to_string())).ok();
  return error.code() == Errc::kInvalidArgument && error.message().starts_with("usage: ") ? kUsageStatus : 1;
}

ImageCommand const* find_command(std::string_view name) {
  for (ImageCommand const& command : kCommands) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

Error unknown_command(std::string_view name) {
  std::vector<std::string_view> names;
  for (ImageCommand const& command : kCommands) names.push_back(command.name);
  auto const near = nearest(name, names);
  return Error(Errc::kInvalidArgument, fmt::format("usage: '{}' is not a command{}; see davit-image --help", name,
                                                   near ? fmt::format(" (did you mean {}?)", *near) : ""));
}

std::string event_json(image::Event const& event) {
  json::Object object;
  if (!event.id.empty()) object.add("id", event.id);
  std::string_view const status = event.text.empty() ? image::phase_text(event.phase) : std::string_view(event.text);
  object.add("status", status);
  if (event.current > 0) {
    json::Object detail;
    detail.add("current", event.current);
    if (event.total > 0) detail.add("total", event.total);
    object.add_raw("progressDetail", detail.text());
  }
  return object.text() + "\n";
}

// SIGINT and SIGTERM ask the running operation to stop, so that it cleans up after itself. To be made before any other
// thread, which inherits that they are blocked.
class SignalWatch {
 public:
  explicit SignalWatch(std::stop_source& stop) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    thread_ = std::jthread([set, &stop](std::stop_token ended) {
      int number = 0;
      while (!ended.stop_requested()) {
        if (sigwait(&set, &number) == 0 && !ended.stop_requested()) stop.request_stop();
      }
    });
  }
  ~SignalWatch() {
    thread_.request_stop();
    // Wakes it. Were its wait one of slices instead, every command would end up to a slice late.
    pthread_kill(thread_.native_handle(), SIGTERM);
  }
  SignalWatch(SignalWatch const&) = delete;

 private:
  std::jthread thread_;
};

}  // namespace

image::Context ImageTool::context() {
  return image::Context{
      .store = *store,
      .works = works,
      .limits = {},
      .keep_blobs = drop_blobs ? image::KeepBlobs::kNo : image::KeepBlobs::kYes,
      .parallel_layers = parallel,
      .now_ns = [] {
        return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
            .count();
      }};
}

image::Progress ImageTool::progress() {
  if (quiet) return {};
  if (json) return [](image::Event const& event) { (void)print_text(event_json(event)).ok(); };
  return [](image::Event const& event) {
    std::string_view const status = event.text.empty() ? image::phase_text(event.phase) : std::string_view(event.text);
    if (event.current > 0) return;  // a person at a terminal uses the CLI; here only what happened is told
    (void)sys::write_all(STDERR_FILENO,
                         event.id.empty() ? fmt::format("{}\n", status) : fmt::format("{}: {}\n", event.id, status))
        .ok();
  };
}

Result<void> print_text(std::string_view text) { return sys::write_all(STDOUT_FILENO, text); }

Result<std::vector<std::string>> parse_words(std::vector<Flag> const& flags, ImageArguments arguments,
                                             std::size_t least, std::size_t most, std::string_view usage) {
  std::vector<std::string> words;
  std::vector<char const*> rest(arguments.begin(), arguments.end());
  while (!rest.empty()) {
    // parse_flags stops at a word; what follows it is parsed again.
    Result<std::vector<std::string>> left = parse_flags(flags, rest);
    if (!left) return Error(Errc::kInvalidArgument, fmt::format("usage: {}: {}", usage, left.error().to_string()));
    if (left->empty()) break;
    words.push_back(left->front());
    rest.assign(rest.end() - static_cast<std::ptrdiff_t>(left->size() - 1), rest.end());
  }
  if (words.size() < least || words.size() > most)
    return Error(Errc::kInvalidArgument, fmt::format("usage: davit-image {}\n{}", usage, flags_help(flags)));
  return words;
}

int image_main(int argc, char** argv) {
  ImageTool tool;
  std::vector<Flag> const flags = global_flags(tool);
  Result<std::vector<std::string>> const rest =
      parse_flags(flags, ImageArguments(argv + 1, static_cast<std::size_t>(argc - 1)));
  if (!rest) return fail(Error(Errc::kInvalidArgument, "usage: " + rest.error().to_string()));
  if (rest->empty() || rest->front() == "help") {
    (void)print_text(usage(flags)).ok();
    return rest->empty() ? kUsageStatus : 0;
  }
  ImageCommand const* const command = find_command(rest->front());
  if (command == nullptr) return fail(unknown_command(rest->front()));
  // A load holds descriptors of every layer of the archive until all become visible at once. Where the limit cannot be
  // raised, an archive of many layers says so itself.
  (void)sys::raise_open_file_limit().ok();
  SignalWatch const signals(tool.stop);
  Result<std::unique_ptr<store::Store>> store = store::Store::open({.root = tool.root, .now_ns = {}});
  if (!store) return fail(store.error());
  tool.store = std::move(*store);
  for (std::string const& lost : tool.store->open_report().lost_images) {
    (void)sys::write_all(
        STDERR_FILENO,
        fmt::format("davit-image: image {} was incomplete on the disk and is gone; pull it again\n", lost))
        .ok();
  }
  std::size_t const words = rest->size() - 1;
  ImageResult const done = command->run(tool, ImageArguments(argv + (static_cast<std::size_t>(argc) - words), words));
  if (!done) return fail(done.error());
  return *done;
}

}  // namespace davit::front
