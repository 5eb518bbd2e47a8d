#include "image/import.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "image/find.h"
#include "image/testing/image_fixture.h"
#include "image/verify.h"
#include "snapshot/testing/layers.h"

namespace davit::image {
namespace {

using namespace testing;
using Names = std::vector<std::string>;

std::string const kRoot = tar_of({{"bin/", "", ""}, {"bin/sh", "shell", ""}, {"etc/", "", ""}, {"etc/a", "a", ""}});

class Import : public ImageTest {
 protected:
  Result<oci::Digest> import_bytes(std::string const& bytes, ImportOptions const& options = {}) {
    codec::MemorySource source(bytes, 777);
    Context const with = context();
    return import_tar(with, source, options);
  }
  oci::ImageRef ref(std::string const& text) { return oci::ImageRef::parse(text).value(); }
  void expect_whole() {
    std::vector<Damage> const damages = verify(store(), {}).value();
    for (Damage const& damage : damages) ADD_FAILURE() << damage.what << ": " << damage.reason;
    expect_clean();
  }
};

TEST_F(Import, MakesAnImageOfOneLayer) {
  oci::Digest const id =
      import_bytes(kRoot, {.name = ref("imported"), .changes = {"CMD [\"sh\"]", "ENV A=1"}, .message = "m"}).value();
  Found const found = find(store(), "imported:latest").value();
  EXPECT_EQ(found.entry.image.id, id);
  EXPECT_EQ(found.entry.image.size, 6U);
  EXPECT_EQ(file(found.entry.image.layers[0], "bin/sh"), "shell");
  oci::ImageConfig const config = read_config(store(), id).value().config;
  EXPECT_EQ(config.config.cmd, Names{"sh"});
  EXPECT_EQ(config.config.env, Names{"A=1"});
  EXPECT_EQ(config.diff_ids, std::vector<oci::Digest>{digest_of(kRoot)});
  ASSERT_EQ(config.history.size(), 1U);
  EXPECT_EQ(config.history[0].comment, "m");
  EXPECT_FALSE(config.history[0].empty_layer);
  expect_whole();
}

TEST_F(Import, TakesCompressedTarsOfAnyKind) {
  for (std::string const& bytes : {gzip(kRoot), zstd(kRoot), kRoot}) {
    oci::Digest const id = import_bytes(bytes).value();
    EXPECT_EQ(read_config(store(), id).value().config.diff_ids[0], digest_of(kRoot));
  }
  EXPECT_EQ(store().list_layers().value().size(), 1U);
  expect_whole();
}

TEST_F(Import, AFileTwiceGivesAnImageThatCanBeSaved) {
  oci::Digest const id = import_bytes(tar_of({{"a", "first", ""}, {"a", "second", ""}})).value();
  store::ImageEntry const entry = find(store(), id.text()).value().entry;
  EXPECT_EQ(file(entry.image.layers[0], "a"), "second");
  EXPECT_TRUE(store().find_layer(entry.image.layers[0]).value()->has_recipe);
  expect_whole();
}

TEST_F(Import, WithoutDirectoryEntriesIsOfItsOwnChain) {
  oci::Digest const id = import_bytes(tar_of({{"usr/bin/x", "x", ""}})).value();
  store::ImageEntry const entry = find(store(), id.text()).value().entry;
  EXPECT_TRUE(entry.image.layers[0].starts_with("chain-"));
  EXPECT_OK(import_bytes(tar_of({{"usr/bin/x", "x", ""}})));
  EXPECT_EQ(store().list_layers().value().size(), 1U);
  expect_whole();
}

TEST_F(Import, LeavesNothingOfWhatItRefuses) {
  EXPECT_EQ(code_of(import_bytes(std::string(5000, 'x'))), Errc::kInvalidArgument);
  EXPECT_EQ(code_of(import_bytes(kRoot.substr(0, 1000))), Errc::kInvalidArgument);
  EXPECT_EQ(code_of(import_bytes(tar_of({{"../x", "x", ""}}))), Errc::kInvalidArgument);
  EXPECT_EQ(code_of(import_bytes(kRoot, {.changes = {"RUN x"}})), Errc::kInvalidArgument);
  EXPECT_EQ(code_of(import_bytes(kRoot, {.name = ref(repo_digest("x", 'a'))})), Errc::kInvalidArgument);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(code_of(import_bytes(kRoot, {.stop = stop.get_token()})), Errc::kCancelled);
  EXPECT_TRUE(store().list_images().value().empty());
  EXPECT_TRUE(store().list_layers().value().empty());
  expect_whole();
}

class Commit : public Import {
 protected:
  Result<oci::Digest> commit_upper(CommitOptions const& options = {}) {
    UniqueFd const upper = sys::open(upper_, O_RDONLY | O_DIRECTORY).value();
    Context const with = context();
    return commit(with, base_, upper.get(), options);
  }
  void SetUp() override {
    ImageTest::SetUp();
    if (IsSkipped()) return;
    base_ = import_bytes(kRoot, {.changes = {"ENV A=1", "CMD x"}}).value();
    EXPECT_OK(sys::mkdir_all(upper_, 0755));
  }
  oci::Digest base_ = oci::Digest::sha256(std::string(64, '0'));
  std::string upper_ = dir_ / "upper";
};

TEST_F(Commit, AddsALayerOfWhatChanged) {
  EXPECT_OK(sys::mkdir_all(upper_ + "/etc", 0755));
  EXPECT_OK(write_file(upper_ + "/etc/b", "bb", 0640));
  ASSERT_EQ(::mknod((upper_ + "/etc/a").c_str(), S_IFCHR | 0600, makedev(0, 0)), 0);
  oci::Digest const id = commit_upper({.name = ref("committed:1"),
                                       .changes = {"ENV B=$A"},
                                       .message = "why",
                                       .author = "me",
                                       .container = "abc",
                                       .created_by = "sh"})
                             .value();
  store::ImageEntry const entry = find(store(), "committed:1").value().entry;
  EXPECT_EQ(entry.image.id, id);
  ASSERT_EQ(entry.image.layers.size(), 2U);
  EXPECT_EQ(entry.image.size, 8U);
  EXPECT_EQ(snapshot::testing::tree_text(store().layer_path(entry.image.layers[1])),
            "etc d0755 0:0\netc/a whiteout\netc/b -0640 0:0 =bb\n");
  oci::ImageConfig const config = read_config(store(), id).value().config;
  EXPECT_EQ(config.config.env, (Names{"A=1", "B=1"}));
  EXPECT_EQ(config.config.cmd, (Names{"/bin/sh", "-c", "x"}));
  EXPECT_EQ(config.author, "me");
  EXPECT_EQ(config.comment, "why");
  ASSERT_EQ(config.history.size(), 2U);
  EXPECT_EQ(config.history[1].created_by, "sh");
  EXPECT_FALSE(config.history[1].empty_layer);
  expect_whole();
  // The container goes on writing; the image does not change.
  EXPECT_OK(write_file(upper_ + "/etc/b", "xx", 0640));
  EXPECT_EQ(file(entry.image.layers[1], "etc/b"), "bb");
}

TEST_F(Commit, OfNothingAddsNoLayer) {
  oci::Digest const id = commit_upper({.changes = {"CMD y"}}).value();
  EXPECT_NE(id, base_);
  EXPECT_EQ(find(store(), id.text()).value().entry.image.layers,
            find(store(), base_.text()).value().entry.image.layers);
  oci::ImageConfig const config = read_config(store(), id).value().config;
  EXPECT_EQ(config.diff_ids.size(), 1U);
  ASSERT_EQ(config.history.size(), 2U);
  EXPECT_TRUE(config.history[1].empty_layer);
  expect_whole();
}

TEST_F(Commit, GivesTheSameLayerForTheSameFiles) {
  EXPECT_OK(write_file(upper_ + "/new", "n", 0644));
  oci::Digest const first = commit_upper({.message = "1"}).value();
  oci::Digest const second = commit_upper({.message = "2"}).value();
  EXPECT_NE(first, second);
  EXPECT_EQ(store().list_layers().value().size(), 2U);
  expect_whole();
}

TEST_F(Commit, OfAnImageThatIsNotThere) {
  EXPECT_OK(store().remove_image(base_));
  EXPECT_EQ(code_of(commit_upper()), Errc::kNotFound);
  expect_whole();
}

}  // namespace
}  // namespace davit::image
