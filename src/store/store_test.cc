// Opening, what is asked for, partial downloads.
#include "store/store.h"

#include <sys/stat.h>

#include "store/database.h"
#include "store/testing/sample.h"

namespace davit::store {
namespace {

using namespace testing;

using Opening = StoreTest;

TEST_F(Opening, GivesTheRootToOneAtATime) {
  EXPECT_EQ(code_of(try_open()), Errc::kConflict);
  store_.reset();
  EXPECT_OK(try_open());
}

TEST_F(Opening, RefusesTablesOfANewerVersion) {
  store_.reset();
  {
    Database database = Database::open(dir_ / "content/state.db", Database::Access::kReadWrite).value();
    EXPECT_OK(database.execute("PRAGMA user_version=2"));
  }
  EXPECT_EQ(code_of(try_open()), Errc::kConflict);
}

TEST_F(Opening, FindsEverythingAgain) {
  Batch batch = image_batch(store(), "web", {"one", "two"});
  batch.repo_digests.emplace_back("docker.io/library/web@" + digest_of("m").text(), digest_of("web"));
  batch.forms.push_back({.diff_id = digest_of("one"), .blob = digest_of("gz"), .size = 7, .media_type = "t"});
  batch.sources.emplace_back(digest_of("gz"), "docker.io/library/web");
  batch.images[0].created_ns = -5;
  batch.images[0].labels_json = R"({"a":"b"})";
  EXPECT_OK(store().publish(batch));
  batch = {};
  open();
  std::optional<ImageEntry> const entry = store().find_image(digest_of("web")).value();
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->tags, std::vector{tag_of("web")});
  EXPECT_EQ(entry->repo_digests.size(), 1U);
  EXPECT_EQ(entry->image.layers, (std::vector{layer_of("one"), layer_of("two")}));
  EXPECT_EQ(entry->image.created_ns, -5);
  EXPECT_EQ(entry->image.labels_json, R"({"a":"b"})");
  EXPECT_FALSE(entry->image.manifest);
  EXPECT_EQ(store().read_blob(digest_of("web"), 100).value(), "web");
  std::vector<LayerForm> const forms = store().layer_forms(digest_of("one")).value();
  ASSERT_EQ(forms.size(), 1U);
  EXPECT_EQ(forms[0].blob, digest_of("gz"));
  EXPECT_EQ(store().blob_sources(digest_of("gz")).value(), std::vector<std::string>{"docker.io/library/web"});
  EXPECT_EQ(store().open_report().swept_layers, 0U);
  EXPECT_TRUE(store().open_report().lost_images.empty());
  expect_whole(store());
}

TEST_F(Opening, SweepsWhatHasNoRow) {
  publish_image("web", {"one"});
  std::string const root = store().path();
  store_.reset();
  EXPECT_OK(sys::mkdir_all(root + "/layers/unknown/fs/deep", 0755));
  EXPECT_OK(sys::mkdir_all(root + "/tmp/12/fs", 0755));
  UniqueFd const blobs = sys::open(root + "/blobs/sha256", O_RDONLY | O_DIRECTORY).value();
  { UniqueFd const blob = sys::openat(blobs.get(), "abc", O_WRONLY | O_CREAT, 0600).value(); }
  open();
  EXPECT_EQ(store().open_report().swept_layers, 1U);
  EXPECT_EQ(store().open_report().swept_blobs, 1U);
  EXPECT_TRUE(names_in(store(), "tmp").empty());
  EXPECT_EQ(names_in(store(), "trash").size(), 3U);  // opening does not wait for deletion
  EXPECT_OK(store().empty_trash());
  EXPECT_TRUE(names_in(store(), "trash").empty());
  expect_whole(store());
}

TEST_F(Opening, DropsImagesWhoseFilesAreGone) {
  publish_image("whole", {"base"});
  publish_image("no-layer", {"base", "lost"});
  publish_image("no-blob", {"base"});
  std::string const root = store().path();
  store_.reset();
  EXPECT_OK(sys::remove_tree(root + "/layers/" + layer_of("lost")));
  EXPECT_OK(sys::remove_tree(root + "/blobs/sha256/" + std::string(digest_of("no-blob").hex())));
  open();
  std::vector<std::string> expected{digest_of("no-layer").text(), digest_of("no-blob").text()};
  std::sort(expected.begin(), expected.end());
  std::vector<std::string> lost = store().open_report().lost_images;
  std::sort(lost.begin(), lost.end());
  EXPECT_EQ(lost, expected);
  EXPECT_FALSE(store().image_by_tag(tag_of("no-layer")).value());
  EXPECT_TRUE(store().image_by_tag(tag_of("whole")).value());
  expect_whole(store());
  publish_image("no-layer", {"base", "lost"});  // and is repaired by getting it again
  EXPECT_TRUE(store().find_image(digest_of("no-layer")).value());
  expect_whole(store());
}

TEST_F(Opening, DropsAnImageWhoseLayerHasNoRow) {
  publish_image("web", {"one"});
  store_.reset();
  {
    Database database = Database::open(dir_ / "content/state.db", Database::Access::kReadWrite).value();
    EXPECT_OK(database.execute("DELETE FROM layer"));
  }
  open();
  EXPECT_EQ(store().open_report().lost_images.size(), 1U);
  EXPECT_EQ(store().open_report().swept_layers, 1U);
  expect_whole(store());
}

using Images = StoreTest;

TEST_F(Images, TagsMove) {
  publish_image("one", {"a"});
  publish_image("two", {"b"});
  EXPECT_OK(store().set_tag(tag_of("one"), digest_of("two")));
  EXPECT_EQ(store().image_by_tag(tag_of("one")).value(), digest_of("two"));
  EXPECT_TRUE(store().find_image(digest_of("one")).value()->tags.empty());
  EXPECT_EQ(store().find_image(digest_of("two")).value()->tags, (std::vector{tag_of("one"), tag_of("two")}));
  EXPECT_EQ(code_of(store().set_tag(tag_of("one"), digest_of("none"))), Errc::kNotFound);
  EXPECT_EQ(store().image_by_tag(tag_of("one")).value(), digest_of("two"));
  EXPECT_TRUE(store().remove_tag(tag_of("one")).value());
  EXPECT_FALSE(store().remove_tag(tag_of("one")).value());
}

TEST_F(Images, AreRemovedWithTheirNames) {
  Batch batch = image_batch(store(), "web", {"a"});
  batch.repo_digests.emplace_back("web@x", digest_of("web"));
  EXPECT_OK(store().publish(batch));
  EXPECT_EQ(store().image_by_repo_digest("web@x").value(), digest_of("web"));
  EXPECT_TRUE(store().remove_image(digest_of("web")).value());
  EXPECT_FALSE(store().remove_image(digest_of("web")).value());
  EXPECT_FALSE(store().image_by_tag(tag_of("web")).value());
  EXPECT_FALSE(store().image_by_repo_digest("web@x").value());
  EXPECT_FALSE(store().remove_repo_digest("web@x").value());
  EXPECT_TRUE(store().list_images().value().empty());
}

TEST_F(Images, AreFoundByTheBeginningOfTheirId) {
  std::vector<std::string> ids;
  for (int i = 0; i < 40; ++i) {
    std::string const name = "image" + std::to_string(i);
    publish_image(name, {"base"});
    ids.emplace_back(digest_of(name).hex());
  }
  for (std::string_view const prefix : {"0", "7", "a", "f"}) {
    auto const wanted = std::count_if(ids.begin(), ids.end(), [&](auto const& id) { return id.starts_with(prefix); });
    EXPECT_EQ(store().images_by_prefix(prefix).value().size(), static_cast<std::size_t>(wanted)) << prefix;
  }
  EXPECT_EQ(store().images_by_prefix("").value().size(), 16U);
  EXPECT_EQ(store().images_by_prefix(ids[0]).value(), std::vector{digest_of("image0")});
  EXPECT_EQ(store().list_images().value().size(), 40U);
}

TEST_F(Images, KeepTheirFirstArrivalAndGetWhatIsNew) {
  Batch first = image_batch(store(), "web", {"a"});
  first.images[0].stored_ns = 1;
  EXPECT_OK(store().publish(first));
  Batch second = image_batch(store(), "web", {"a"});
  auto manifest = store().ingest_bytes("manifest").value();
  second.blobs.push_back(manifest);
  second.images[0].manifest = digest_of("manifest");
  second.images[0].blobs.push_back(digest_of("manifest"));
  second.images[0].stored_ns = 2;
  EXPECT_OK(store().publish(second));
  publish_image("web", {"a"});  // by an archive without a manifest
  ImageRecord const image = store().find_image(digest_of("web")).value()->image;
  EXPECT_EQ(image.stored_ns, 1);
  EXPECT_EQ(image.manifest, digest_of("manifest"));
  EXPECT_EQ(image.blobs.size(), 2U);
}

using Ingests = StoreTest;

TEST_F(Ingests, AreResumedAfterAReopen) {
  {
    std::shared_ptr<Ingest> const first = store().ingest(digest_of("hello world")).value();
    EXPECT_OK(first->write("hello "));
  }
  open();
  std::shared_ptr<Ingest> second = store().ingest(digest_of("hello world")).value();
  EXPECT_EQ(second->size(), 6U);
  EXPECT_OK(second->write("world"));
  Batch batch;
  batch.blobs.emplace_back(digest_of("hello world"), std::move(second));
  EXPECT_OK(store().publish(batch));
  EXPECT_EQ(store().read_blob(digest_of("hello world"), 100).value(), "hello world");
  EXPECT_EQ(store().list_blobs().value()[0].size, 11U);
  EXPECT_TRUE(names_in(store(), "ingest").empty());
}

TEST_F(Ingests, AreWrittenByOneAtATime) {
  std::shared_ptr<Ingest> first = store().ingest(digest_of("x")).value();
  EXPECT_EQ(code_of(store().ingest(digest_of("x"))), Errc::kConflict);
  EXPECT_OK(first->write("abc"));
  first.reset();
  first = store().ingest(digest_of("x")).value();
  EXPECT_EQ(first->size(), 3U);
  EXPECT_OK(first->restart());
  EXPECT_EQ(first->size(), 0U);
  EXPECT_OK(first->write("x"));
  Batch batch;
  batch.blobs.emplace_back(digest_of("x"), first);
  EXPECT_OK(store().publish(batch));
  EXPECT_TRUE(store().ingest(digest_of("x")).ok());  // free again, and empty
  EXPECT_EQ(store().ingest(digest_of("x")).value()->size(), 0U);
}

TEST_F(Ingests, LeaveNothingWhenDiscardedEmptyOrNameless) {
  {
    std::shared_ptr<Ingest> const discarded = store().ingest(digest_of("x")).value();
    EXPECT_OK(discarded->write("abc"));
    discarded->discard();
    EXPECT_TRUE(store().ingest(digest_of("x")).ok());
    auto const nameless = store().ingest_bytes("bytes").value();
    EXPECT_EQ(nameless.first, digest_of("bytes"));
    EXPECT_EQ(names_in(store(), "ingest").size(), 1U);
  }
  EXPECT_TRUE(names_in(store(), "ingest").empty());
}

TEST_F(Ingests, RefuseWhatIsNotNamedBySha256) {
  oci::Digest const other = oci::Digest::parse("sha512:" + std::string(128, 'a')).value();
  EXPECT_EQ(code_of(store().ingest(other)), Errc::kUnimplemented);
}

TEST_F(Ingests, AreDroppedWhenNobodyTouchedThemForLong) {
  auto const age = [&](std::string const& content, std::int64_t seconds) {
    EXPECT_OK(store().ingest(digest_of(content)).value()->write("part"));
    struct timespec const times[2] = {{.tv_sec = seconds, .tv_nsec = 0}, {.tv_sec = seconds, .tv_nsec = 0}};
    std::string const path = store().path() + "/ingest/sha256-" + std::string(digest_of(content).hex());
    EXPECT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  };
  age("old", 100);
  age("young", 300);
  age("in use", 100);
  std::shared_ptr<Ingest> const used = store().ingest(digest_of("in use")).value();
  auto const nameless = store().ingest_bytes("x").value();
  { UniqueFd const orphan = sys::open(store().path() + "/ingest/new-1-1", O_WRONLY | O_CREAT, 0600).value(); }
  EXPECT_OK(store().drop_stale_ingests(200'000'000'000));
  EXPECT_EQ(names_in(store(), "ingest").size(), 3U);
  EXPECT_EQ(store().ingest(digest_of("young")).value()->size(), 4U);
  EXPECT_EQ(store().ingest(digest_of("old")).value()->size(), 0U);
  EXPECT_TRUE(names_in(store(), "trash").empty());
}

using Blobs = StoreTest;

TEST_F(Blobs, AreReadUpToALimit) {
  publish_image("web", {});
  EXPECT_TRUE(store().has_blob(digest_of("web")).value());
  EXPECT_EQ(code_of(store().read_blob(digest_of("web"), 2)), Errc::kResourceExhausted);
  EXPECT_EQ(code_of(store().open_blob(digest_of("none"))), Errc::kNotFound);
}

}  // namespace
}  // namespace davit::store
