// The commands of davit-image: the image library by hand, for tests, benchmarks and repair, while davitd is not
// running.
#pragma once

#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "front/flags.h"
#include "image/context.h"

namespace davit::front {

// What all commands share: the store, open, and how to print.
struct ImageTool {
  std::string root = "/var/lib/davit";
  bool json = false;  // progress as JSON lines on standard output
  bool quiet = false;
  bool drop_blobs = false;
  unsigned parallel = 3;
  std::stop_source stop;  // SIGINT and SIGTERM
  std::unique_ptr<store::Store> store;
  image::LayerWorks works;

  image::Context context();
  image::Progress progress();
};

using ImageArguments = std::span<char const* const>;
using ImageResult = Result<int>;

ImageResult image_pull(ImageTool& tool, ImageArguments arguments);
ImageResult image_push(ImageTool& tool, ImageArguments arguments);
ImageResult image_load(ImageTool& tool, ImageArguments arguments);
ImageResult image_save(ImageTool& tool, ImageArguments arguments);
ImageResult image_import(ImageTool& tool, ImageArguments arguments);
ImageResult image_commit(ImageTool& tool, ImageArguments arguments);
ImageResult image_diff(ImageTool& tool, ImageArguments arguments);
ImageResult image_export(ImageTool& tool, ImageArguments arguments);
ImageResult image_list(ImageTool& tool, ImageArguments arguments);
ImageResult image_tag(ImageTool& tool, ImageArguments arguments);
ImageResult image_rm(ImageTool& tool, ImageArguments arguments);
ImageResult image_prune(ImageTool& tool, ImageArguments arguments);
ImageResult image_history(ImageTool& tool, ImageArguments arguments);
ImageResult image_inspect(ImageTool& tool, ImageArguments arguments);
ImageResult image_df(ImageTool& tool, ImageArguments arguments);
ImageResult image_gc(ImageTool& tool, ImageArguments arguments);
ImageResult image_fsck(ImageTool& tool, ImageArguments arguments);
ImageResult image_mount(ImageTool& tool, ImageArguments arguments);

// Flags and words in any order; the words. kInvalidArgument (exit status 2) for unknown flags and when the number of
// words is wrong.
Result<std::vector<std::string>> parse_words(std::vector<Flag> const& flags, ImageArguments arguments,
                                             std::size_t least, std::size_t most, std::string_view usage);
Result<void> print_text(std::string_view text);

int image_main(int argc, char** argv);

}  // namespace davit::front
