#include "image/load.h"

#include <algorithm>

#include "codec/compression.h"
#include "image/find.h"
#include "image/local.h"
#include "image/save.h"
#include "image/testing/image_fixture.h"
#include "image/verify.h"
#include "snapshot/testing/layers.h"

namespace davit::image {
namespace {

using namespace testing;
using Names = std::vector<std::string>;

std::string const kA = tar_of({{"etc/", "", ""}, {"etc/a", "from a", ""}});
std::string const kB = tar_of({{"etc/", "", ""}, {"etc/b", "from b", ""}});
// The directory has no entry of its own.
std::string const kImplied = tar_of({{"etc/sub/c", "from c", ""}});

class LoadTest : public ImageTest {
 protected:
  // What a container of the image would find in a file, from the top layer that has it; "" when none has.
  std::string content(std::string const& image, std::string const& path) {
    store::ImageEntry const entry = find(store(), image).value().entry;
    for (auto layer = entry.image.layers.rbegin(); layer != entry.image.layers.rend(); ++layer) {
      std::string const full = store().layer_path(*layer) + "/" + path;
      if (sys::exists(full)) return sys::read_file(full, 1 << 20).value();
    }
    return "";
  }
  void expect_whole(KeepBlobs keep = KeepBlobs::kYes) {
    (void)keep;
    std::vector<Damage> const damages = verify(store(), {}).value();
    for (Damage const& damage : damages) ADD_FAILURE() << damage.what << ": " << damage.reason;
    expect_clean();
  }
  std::string save_bytes(Names const& words, ArchiveFormat format = ArchiveFormat::kDocker) {
    codec::StringSink sink;
    Context const with = context();
    EXPECT_OK(save(with, words, sink, {.format = format}));
    return sink.take();
  }
};

struct ArchiveCase {
  std::string name;
  std::string archive;
  Names tags;
};

class LoadGood : public LoadTest, public ::testing::WithParamInterface<ArchiveCase> {};

// Every archive holds one image of kA below kB.
TEST_P(LoadGood, MakesTheImageUsable) {
  Result<std::vector<LoadedImage>> const loaded = load_bytes(GetParam().archive);
  ASSERT_OK_RESULT(loaded);
  ASSERT_EQ(loaded->size(), 1U);
  EXPECT_EQ(loaded->front().tags, GetParam().tags);
  std::string const id = loaded->front().id.text();
  EXPECT_EQ(content(id, "etc/a"), "from a");
  EXPECT_EQ(content(id, "etc/b"), "from b");
  EXPECT_EQ(find(store(), id).value().entry.image.size, 12U);
  expect_whole();
  // Once more changes nothing, also after a restart.
  std::size_t const blobs = store().list_blobs().value().size();
  reopen();
  EXPECT_OK(load_bytes(GetParam().archive));
  EXPECT_EQ(store().list_blobs().value().size(), blobs);
  EXPECT_EQ(store().list_layers().value().size(), 2U);
  expect_whole();
}

std::string old_layout() {
  return tar_of({{"aaa/", "", ""},
                 {"aaa/VERSION", "1.0", ""},
                 {"aaa/json", R"({"id":"aaa"})", ""},
                 {"aaa/layer.tar", kA, ""},
                 {"bbb/", "", ""},
                 {"bbb/VERSION", "1.0", ""},
                 {"bbb/json", R"({"id":"bbb"})", ""},
                 {"bbb/layer.tar", kB, ""},
                 {"ccc/", "", ""},
                 {"ccc/layer.tar", "", "../bbb/layer.tar"},
                 {"0123.json", config_of({kA, kB}), ""},
                 {"manifest.json",
                  "[" + manifest_item("0123.json", {"old:1", "old:2"}, {"aaa/layer.tar", "ccc/layer.tar"}) + "]", ""},
                 {"repositories", R"({"old":{"1":"ccc"}})", ""}});
}

// manifest.json first: nothing may depend on the order.
std::string manifest_first() {
  return tar_of({{"manifest.json", "[" + manifest_item("c.json", {}, {"a.tar", "b.tar"}) + "]", ""},
                 {"c.json", config_of({kA, kB}), ""},
                 {"a.tar", kA, ""},
                 {"b.tar", kB, ""}});
}

std::string new_layout() {
  LayoutImage const image = layout_image({kA, kB});
  std::vector<Entry> parts = layout_parts(image, "docker.io/library/new:1");
  parts.push_back(
      {"manifest.json",
       "[" + manifest_item(blob_name(image.config), {"new:1"}, {blob_name(image.blobs[0]), blob_name(image.blobs[1])}) +
           "]",
       ""});
  return tar_of(parts);
}

std::string with_layers(std::string const& first, std::string const& second) {
  return tar_of({{"one", first, ""},
                 {"two", second, ""},
                 {"config.json", config_of({kA, kB}), ""},
                 {"manifest.json", "[" + manifest_item("config.json", {"some:1"}, {"one", "./two"}) + "]", ""}});
}

// By a program, where it is installed; "" where not.
std::string compressed_by(std::string const& program, std::string const& bytes) {
  sys::testing::TempDir const dir(store::testing::temp_parent());
  std::string const path = dir / "x";
  DAVIT_CHECK(write_file(path, bytes, 0600).ok());
  if (::system((program + " -c < " + path + " > " + path + ".out 2>/dev/null").c_str()) != 0) return "";
  return sys::read_file(path + ".out", 1 << 20).value();
}

INSTANTIATE_TEST_SUITE_P(
    Table, LoadGood,
    ::testing::Values(
        ArchiveCase{"old_docker", old_layout(), {"old:1", "old:2"}},
        ArchiveCase{"manifest_first", manifest_first(), {}}, ArchiveCase{"docker_25", new_layout(), {"new:1"}},
        ArchiveCase{
            "layout_only", tar_of(layout_parts(layout_image({kA, kB}), "docker.io/library/layout:1")), {"layout:1"}},
        ArchiveCase{"layers_gzip", with_layers(gzip(kA), gzip(kB)), {"some:1"}},
        ArchiveCase{"layers_zstd_and_plain", with_layers(zstd(kA), kB), {"some:1"}},
        ArchiveCase{
            "layers_xz_and_bzip2", with_layers(compressed_by("xz", kA), compressed_by("bzip2", kB)), {"some:1"}},
        ArchiveCase{"whole_gzip", gzip(old_layout()), {"old:1", "old:2"}},
        ArchiveCase{"whole_zstd", zstd(new_layout()), {"new:1"}},
        ArchiveCase{"whole_xz", compressed_by("xz", new_layout()), {"new:1"}}),
    [](auto const& info) { return info.param.name; });

struct BadCase {
  std::string name;
  std::string archive;
  Errc code = Errc::kInvalidArgument;
};

class LoadBad : public LoadTest, public ::testing::WithParamInterface<BadCase> {};

TEST_P(LoadBad, LeavesNothing) {
  EXPECT_EQ(code_of(load_bytes(GetParam().archive)), GetParam().code);
  EXPECT_TRUE(store().list_images().value().empty());
  EXPECT_TRUE(store().list_layers().value().empty());
  EXPECT_TRUE(store().list_blobs().value().empty());
  expect_clean();
}

std::string layout_with(LayoutImage const& image, std::size_t part, std::string const& content) {
  std::vector<Entry> parts = layout_parts(image, "docker.io/library/x:1");
  parts[part].content = content;
  return tar_of(parts);
}

LayoutImage const kLayout = layout_image({kA, kB});

INSTANTIATE_TEST_SUITE_P(
    Table, LoadBad,
    ::testing::Values(
        BadCase{"nothing", ""}, BadCase{"empty_tar", tar_of({})}, BadCase{"no_tar", std::string(2000, 'x')},
        BadCase{"root_file_system", tar_of({{"bin/", "", ""},
                                            {"bin/sh",
                                             "\x7f"
                                             "ELF",
                                             ""},
                                            {"usr/share/man/sh.1.gz", gzip("a page"), ""},
                                            {"etc/x.json", "{}", ""}})},
        BadCase{"truncated", old_layout().substr(0, 5000)},
        BadCase{"truncated_in_a_layer", gzip(new_layout()).substr(0, 400)},
        BadCase{"no_images", tar_of({{"manifest.json", "[]", ""}})},
        BadCase{"manifest_no_json", tar_of({{"manifest.json", "[{", ""}})},
        BadCase{"config_missing",
                tar_of({{"a.tar", kA, ""}, {"manifest.json", "[" + manifest_item("c.json", {}, {"a.tar"}) + "]", ""}})},
        BadCase{"layer_missing",
                tar_of({{"a.tar", kA, ""},
                        {"c.json", config_of({kA, kB}), ""},
                        {"manifest.json", "[" + manifest_item("c.json", {}, {"a.tar", "b.tar"}) + "]", ""}})},
        BadCase{"layers_exchanged", with_layers(kB, kA)}, BadCase{"layer_is_no_tar", with_layers(gzip("no tar"), kB)},
        BadCase{"layer_damaged", with_layers(gzip(kA).substr(0, 60), kB)},
        BadCase{"other_number_of_layers",
                tar_of({{"a.tar", kA, ""},
                        {"c.json", config_of({kA, kB}), ""},
                        {"manifest.json", "[" + manifest_item("c.json", {}, {"a.tar"}) + "]", ""}})},
        BadCase{"tag_is_none", docker_archive({kA}, {"UPPER:1"})},
        BadCase{"hostile_layer", docker_archive({tar_of({{"../../etc/x", "x", ""}})}, {"x:1"})},
        BadCase{"blob_of_other_bytes", layout_with(kLayout, 0, gzip(kA + std::string(512, '\0')))},
        BadCase{"config_of_other_bytes", layout_with(kLayout, 2, config_of({kA, kB}, "other"))},
        BadCase{"manifest_of_other_bytes", layout_with(kLayout, 3, kLayout.manifest + " ")},
        BadCase{"link_loop", tar_of({{"a.tar", "", "b.tar"},
                                     {"b.tar", "", "a.tar"},
                                     {"c.json", config_of({kA}), ""},
                                     {"manifest.json", "[" + manifest_item("c.json", {}, {"a.tar"}) + "]", ""}})}),
    [](auto const& info) { return info.param.name; });

class Load : public LoadTest {};

TEST_F(Load, OtherPlatformThanAskedForIsNotLoaded) {
  LoadOptions const options{.platform = oci::Platform{.os = "linux", .architecture = "s390x"}};
  EXPECT_EQ(code_of(load_bytes(docker_archive({kA}, {"a:1"}), options)), Errc::kNotFound);
  expect_clean();
}

TEST_F(Load, StopsWhenAsked) {
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(code_of(load_bytes(docker_archive({kA}, {"a:1"}), {.stop = stop.get_token()})), Errc::kCancelled);
  expect_clean();
}

TEST_F(Load, SeveralImagesShareTheirLayers) {
  std::string const archive = tar_of({{"a.tar", gzip(kA), ""},
                                      {"b.tar", kB, ""},
                                      {"again/b.tar", kB, ""},  // the same under another path
                                      {"1.json", config_of({kA}, "1"), ""},
                                      {"2.json", config_of({kA, kB}, "2"), ""},
                                      {"3.json", config_of({kB, kB}, "3"), ""},
                                      {"manifest.json",
                                       "[" + manifest_item("1.json", {"one:1"}, {"a.tar"}) + "," +
                                           manifest_item("2.json", {"two:1"}, {"a.tar", "b.tar"}) + "," +
                                           manifest_item("3.json", {"three:1"}, {"b.tar", "again/b.tar"}) + "]",
                                       ""}});
  EXPECT_EQ(load_bytes(archive).value().size(), 3U);
  EXPECT_EQ(store().list_layers().value().size(), 2U);
  EXPECT_EQ(content("two:1", "etc/a"), "from a");
  EXPECT_EQ(content("three:1", "etc/b"), "from b");
  expect_whole();
}

TEST_F(Load, GetsTheBlobsOfLayersThatAreHereWithoutThem) {
  // Two images, so that both want the blob of the layer that is here.
  EXPECT_OK(load_bytes(docker_archive({kA}, {"plain:1"})));
  std::size_t const before = store().list_blobs().value().size();
  LayoutImage const one = layout_image({kA}, "1");
  LayoutImage const two = layout_image({kA, kB}, "2");
  std::vector<Entry> parts = layout_parts(one, "docker.io/library/one:1");
  for (Entry const& part : layout_parts(two, "docker.io/library/two:1")) parts.push_back(part);
  parts.push_back(
      {"manifest.json",
       "[" + manifest_item(blob_name(one.config), {"one:1"}, {blob_name(one.blobs[0])}) + "," +
           manifest_item(blob_name(two.config), {"two:1"}, {blob_name(two.blobs[0]), blob_name(two.blobs[1])}) + "]",
       ""});
  EXPECT_OK(load_bytes(tar_of(parts)));
  EXPECT_EQ(store().list_layers().value().size(), 2U);
  EXPECT_TRUE(store().has_blob(digest_of(one.blobs[0])).value());
  EXPECT_GT(store().list_blobs().value().size(), before);
  expect_whole();
}

TEST_F(Load, KeepsTheManifestOfALayout) {
  LayoutImage const image = layout_image({kA, kB});
  EXPECT_OK(load_bytes(tar_of(layout_parts(image, "docker.io/library/x:1"))));
  EXPECT_EQ(find(store(), "x").ok(), false);
  EXPECT_EQ(find(store(), "x:1").value().entry.image.manifest, digest_of(image.manifest));
}

TEST_F(Load, WithoutKeepingBlobsHasOnlyLayers) {
  LayoutImage const image = layout_image({kA, kB});
  EXPECT_OK(load_bytes(tar_of(layout_parts(image, "docker.io/library/x:1")), {}, KeepBlobs::kNo));
  EXPECT_FALSE(store().has_blob(digest_of(image.blobs[0])).value());
  EXPECT_EQ(content("x:1", "etc/a"), "from a");
  expect_whole(KeepBlobs::kNo);
  // Saved as plain tars, and read again.
  std::string const archive = save_bytes({"x:1"});
  EXPECT_OK(remove(store(), "x:1", {}));
  EXPECT_TRUE(store().list_layers().value().empty());
  EXPECT_OK(load_bytes(archive));
  EXPECT_EQ(content("x:1", "etc/b"), "from b");
}

TEST_F(Load, ALayerWithImpliedDirectoriesIsOfOneImage) {
  std::string const strict = tar_of({{"etc/", "", ""}, {"etc/a", "", ""}});
  std::string const archive = tar_of({{"a.tar", kA, ""},
                                      {"b.tar", kB, ""},
                                      {"i.tar", kImplied, ""},
                                      {"1.json", config_of({kA, kImplied}, "1"), ""},
                                      {"2.json", config_of({kB, kImplied}, "2"), ""},
                                      {"manifest.json",
                                       "[" + manifest_item("1.json", {"one:1"}, {"a.tar", "i.tar"}) + "," +
                                           manifest_item("2.json", {"two:1"}, {"b.tar", "i.tar"}) + "]",
                                       ""}});
  EXPECT_OK(load_bytes(archive));
  EXPECT_EQ(store().list_layers().value().size(), 4U);
  EXPECT_EQ(content("one:1", "etc/sub/c"), "from c");
  EXPECT_EQ(content("two:1", "etc/sub/c"), "from c");
  EXPECT_NE(find(store(), "one:1").value().entry.image.layers[1], find(store(), "two:1").value().entry.image.layers[1]);
  expect_whole();
  EXPECT_OK(load_bytes(archive));
  EXPECT_EQ(store().list_layers().value().size(), 4U);
  expect_whole();
}

TEST_F(Load, AFileTwiceInALayerIsUsableAndItsBlobIsKept) {
  std::string const twice = tar_of({{"a", "first", ""}, {"a", "second", ""}});
  std::string const archive = tar_of({{"l.tar", gzip(twice), ""},
                                      {"c.json", config_of({twice}), ""},
                                      {"manifest.json", "[" + manifest_item("c.json", {"x:1"}, {"l.tar"}) + "]", ""}});
  EXPECT_OK(load_bytes(archive));
  EXPECT_EQ(content("x:1", "a"), "second");
  expect_whole();
  EXPECT_FALSE(save_bytes({"x:1"}).empty());
}

TEST_F(Load, ReadsFromADirectoryToo) {
  LayoutImage const image = layout_image({kA, kB});
  std::string const folder = dir_ / "layout";
  snapshot::testing::apply_tar(tar_of(layout_parts(image, "docker.io/library/x:1")), folder).value();
  UniqueFd const directory = sys::open(folder, O_RDONLY | O_DIRECTORY).value();
  Context const with = context();
  EXPECT_OK(load_layout(with, directory.get(), {}));
  EXPECT_EQ(content("x:1", "etc/a"), "from a");
}

class Save : public LoadTest {};

TEST_F(Save, TheSameImageGivesTheSameBytes) {
  EXPECT_OK(load_bytes(new_layout()));
  EXPECT_OK(load_bytes(docker_archive({kA, kImplied}, {"plain:1", "plain:2"}, "p")));
  for (ArchiveFormat const format : {ArchiveFormat::kDocker, ArchiveFormat::kOci}) {
    EXPECT_EQ(save_bytes({"new:1", "plain"}, format), save_bytes({"new:1", "plain"}, format));
  }
}

TEST_F(Save, LoadGivesTheSameImageAgain) {
  EXPECT_OK(load_bytes(new_layout()));
  EXPECT_OK(load_bytes(docker_archive({kA, kImplied}, {"plain:1", "plain:2"}, "p")));
  std::vector<store::ImageEntry> const before = store().list_images().value();
  for (ArchiveFormat const format : {ArchiveFormat::kDocker, ArchiveFormat::kOci}) {
    std::string const archive = save_bytes({"new:1", "plain"}, format);
    store_.reset();
    EXPECT_OK(sys::remove_tree(dir_ / "root"));
    reopen();
    EXPECT_OK(load_bytes(archive));
    std::vector<store::ImageEntry> const again = store().list_images().value();
    ASSERT_EQ(again.size(), before.size());
    for (store::ImageEntry const& entry : before) {
      store::ImageEntry const found = find(store(), entry.image.id.text()).value().entry;
      EXPECT_EQ(found.tags, entry.tags);
      EXPECT_EQ(found.image.layers, entry.image.layers);
      if (entry.image.manifest) {
        EXPECT_EQ(found.image.manifest, entry.image.manifest);
      }
    }
    expect_whole();
    EXPECT_EQ(save_bytes({"new:1", "plain"}, format), archive);
  }
}

TEST_F(Save, NamesAndIds) {
  EXPECT_OK(load_bytes(docker_archive({kA}, {"plain:1", "plain:2"}, "p")));
  oci::Digest const id = find(store(), "plain:1").value().entry.image.id;
  auto const tags_in = [&](Names const& words) {
    std::string const archive = save_bytes(words);
    Names tags;
    for (char const* const tag : {"plain:1", "plain:2"}) {
      if (archive.find('"' + std::string(tag) + '"') != std::string::npos) tags.emplace_back(tag);
    }
    return tags;
  };
  EXPECT_EQ(tags_in({"plain"}), (Names{"plain:1", "plain:2"}));
  EXPECT_EQ(tags_in({"plain:2"}), Names{"plain:2"});
  EXPECT_EQ(tags_in({id.text()}), Names{});
  codec::StringSink sink;
  Context const with = context();
  EXPECT_EQ(code_of(save(with, {"nosuch"}, sink, {})), Errc::kNotFound);
  EXPECT_EQ(code_of(save(with, {}, sink, {})), Errc::kInvalidArgument);
}

TEST_F(Save, AFailingReaderEndsIt) {
  class FullSink : public codec::Sink {
   public:
    Result<void> write(std::string_view) override { return Error(Errc::kResourceExhausted, "full"); }
  } sink;
  EXPECT_OK(load_bytes(new_layout()));
  Context const with = context();
  EXPECT_EQ(code_of(save(with, {"new:1"}, sink, {})), Errc::kResourceExhausted);
}

TEST_F(Save, TheFormThatTheManifestNamesGoes) {
  // The layer is here in two forms; each image goes with its own.
  LayoutImage const image = layout_image({kA});
  EXPECT_OK(load_bytes(tar_of({{"l.tar", zstd(kA), ""},
                               {"c.json", config_of({kA}, "zstd"), ""},
                               {"manifest.json", "[" + manifest_item("c.json", {"z:1"}, {"l.tar"}) + "]", ""}})));
  EXPECT_OK(load_bytes(tar_of(layout_parts(image, "docker.io/library/x:1"))));
  std::string const archive = save_bytes({"x:1"});
  EXPECT_NE(archive.find(digest_of(image.manifest).text()), std::string::npos);
}

class Verify : public LoadTest {};

TEST_F(Verify, FindsAFlippedByteInABlob) {
  LayoutImage const image = layout_image({kA});
  EXPECT_OK(load_bytes(tar_of(layout_parts(image, "docker.io/library/x:1"))));
  std::string bytes = image.blobs[0];
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  EXPECT_OK(write_file(dir_ / ("root/" + blob_name(image.blobs[0])), bytes, 0600));
  std::vector<Damage> const damages = verify(store(), {}).value();
  ASSERT_EQ(damages.size(), 1U);
  EXPECT_EQ(damages[0].what, "blob " + digest_of(image.blobs[0]).text());
  EXPECT_EQ(damages[0].images, std::vector<oci::Digest>{find(store(), "x:1").value().entry.image.id});
}

TEST_F(Verify, FindsAChangedFileOfALayer) {
  EXPECT_OK(load_bytes(docker_archive({kA, kB}, {"x:1"})));
  store::ImageEntry const entry = find(store(), "x:1").value().entry;
  std::string const path = store().layer_path(entry.image.layers[0]) + "/etc/a";
  for (std::string const& content : {std::string("from A"), std::string("from a and more"), std::string()}) {
    EXPECT_OK(write_file(path, content, 0644));
    std::vector<Damage> const damages = verify(store(), {}).value();
    ASSERT_EQ(damages.size(), 1U) << content;
    EXPECT_EQ(damages[0].what, "layer " + entry.image.layers[0]);
    // Nor does it leave the machine.
    codec::StringSink sink;
    Context const with = context();
    EXPECT_EQ(code_of(save(with, {"x:1"}, sink, {})), Errc::kInternal);
  }
  EXPECT_OK(write_file(path, "from a", 0644));
  EXPECT_TRUE(verify(store(), {}).value().empty());
}

TEST_F(Verify, FindsAFileThatIsGone) {
  EXPECT_OK(load_bytes(docker_archive({kA}, {"x:1"})));
  store::ImageEntry const entry = find(store(), "x:1").value().entry;
  EXPECT_OK(sys::unlink_at(AT_FDCWD, store().layer_path(entry.image.layers[0]) + "/etc/a"));
  EXPECT_EQ(verify(store(), {}).value().size(), 1U);
}

}  // namespace
}  // namespace davit::image
