// All of a batch becomes visible at once or nothing of it; several batches with the same content; full disks.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <barrier>
#include <thread>

#include "store/testing/sample.h"

namespace davit::store {
namespace {

using namespace testing;

using Publish = StoreTest;

TEST_F(Publish, MakesAllOfABatchVisibleAtOnce) {
  std::atomic<bool> done = false;
  std::jthread const watcher([&] {
    while (!done) {
      // The tag is the last of the rows: where it is, everything is.
      bool const seen = store().image_by_tag(tag_of("web49")).value().has_value();
      std::vector<ImageEntry> const images = store().list_images().value();
      EXPECT_TRUE(!seen || images.size() == 50);
      EXPECT_TRUE(images.empty() || images.size() == 50) << images.size();
      for (ImageEntry const& image : images) EXPECT_EQ(image.tags.size(), 1U);
    }
  });
  Batch all;
  for (int i = 0; i < 50; ++i) {
    Batch one = image_batch(store(), "web" + std::to_string(i), {"layer" + std::to_string(i)});
    all.layers.insert(all.layers.end(), one.layers.begin(), one.layers.end());
    all.blobs.insert(all.blobs.end(), one.blobs.begin(), one.blobs.end());
    all.images.insert(all.images.end(), one.images.begin(), one.images.end());
    all.tags.insert(all.tags.end(), one.tags.begin(), one.tags.end());
  }
  EXPECT_TRUE(store().list_layers().value().empty());
  EXPECT_OK(store().publish(all));
  EXPECT_EQ(store().list_images().value().size(), 50U);
  done = true;
  expect_whole(store());
}

TEST_F(Publish, DeletesAStagedLayerThatWasNotPublished) {
  std::shared_ptr<StagedLayer> layer = stage(store(), "one");
  EXPECT_EQ(names_in(store(), "tmp").size(), 1U);
  layer.reset();
  EXPECT_TRUE(names_in(store(), "tmp").empty());
  EXPECT_TRUE(names_in(store(), "layers").empty());
}

// Each breaks a batch that would be good otherwise.
struct BadBatch {
  std::string_view name;
  void (*spoil)(Store& store, Batch& batch);
  Errc code;
};
class FailedPublish : public StoreTest, public ::testing::WithParamInterface<BadBatch> {};

TEST_P(FailedPublish, LeavesNothingAndCanBeRepeated) {
  publish_image("before", {"base"});
  Batch good = image_batch(store(), "web", {"one", "two"});
  auto const partial = store().ingest(digest_of("big")).value();
  EXPECT_OK(partial->write("big"));
  good.blobs.emplace_back(digest_of("big"), partial);
  Batch bad = good;
  GetParam().spoil(store(), bad);
  EXPECT_EQ(code_of(store().publish(bad)), GetParam().code);
  bad = {};
  EXPECT_EQ(store().list_images().value().size(), 1U);
  EXPECT_EQ(store().list_layers().value().size(), 1U);
  EXPECT_EQ(store().list_blobs().value().size(), 1U);
  expect_whole(store());
  EXPECT_EQ(code_of(store().ingest(digest_of("big"))), Errc::kConflict);  // still being written by this test
  EXPECT_OK(store().publish(good));
  EXPECT_EQ(store().list_images().value().size(), 2U);
  EXPECT_EQ(store().read_blob(digest_of("big"), 10).value(), "big");
  good = {};
  EXPECT_TRUE(names_in(store(), "tmp").empty());
  expect_whole(store());
}

void lose(Store& store, Batch& batch) {
  batch.layers.push_back(stage(store, "vanishing"));
  for (std::string const& name : names_in(store, "tmp")) {
    if (sys::read_file(store.path() + "/tmp/" + name + "/fs/file").value() == "vanishing") {
      EXPECT_OK(sys::remove_tree(store.path() + "/tmp/" + name));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Table, FailedPublish,
    ::testing::Values(
        BadBatch{"image_without_its_layer", [](Store&, Batch& b) { b.images[0].layers.push_back(layer_of("none")); },
                 Errc::kConflict},
        BadBatch{"image_without_its_blob", [](Store&, Batch& b) { b.images[0].blobs.push_back(digest_of("none")); },
                 Errc::kConflict},
        BadBatch{"tag_without_image", [](Store&, Batch& b) { b.tags.emplace_back("x:y", digest_of("none")); },
                 Errc::kNotFound},
        BadBatch{"name_without_image", [](Store&, Batch& b) { b.repo_digests.emplace_back("x@y", digest_of("none")); },
                 Errc::kNotFound},
        BadBatch{"staged_files_gone", lose, Errc::kNotFound},
        BadBatch{"discarded_blob",
                 [](Store& s, Batch& b) {
                   auto blob = s.ingest_bytes("gone").value();
                   blob.second->discard();
                   b.blobs.push_back(blob);
                 },
                 Errc::kConflict}),
    [](auto const& info) { return std::string(info.param.name); });

TEST_F(Publish, TakesOneStagedLayerFromTwoBatches) {
  Batch first = image_batch(store(), "first", {"shared"});
  Batch second = image_batch(store(), "second", {});
  second.layers = first.layers;
  second.images = {image_record("second", {"shared"})};
  EXPECT_OK(store().publish(first));
  // The image that came first goes, and a collection runs, before the second comes.
  EXPECT_TRUE(store().remove_image(digest_of("first")).value());
  EXPECT_OK(store().collect());
  EXPECT_OK(store().publish(second));
  EXPECT_TRUE(store().find_layer(layer_of("shared")).value());
  expect_whole(store());
  first = second = {};
  EXPECT_TRUE(names_in(store(), "tmp").empty());
  EXPECT_TRUE(store().remove_image(digest_of("second")).value());
  EXPECT_EQ(store().collect().value().layers, std::vector{digest_of("shared")});
}

TEST_F(Publish, TakesALayerThatWasStagedTwice) {
  Batch first = image_batch(store(), "first", {"same", "same"});  // in one batch
  Batch second = image_batch(store(), "second", {"same"});        // and in another
  EXPECT_OK(store().publish(first));
  EXPECT_OK(store().publish(second));
  EXPECT_EQ(names_in(store(), "tmp").size(), 2U);
  first = second = {};
  EXPECT_TRUE(names_in(store(), "tmp").empty());
  EXPECT_EQ(store().list_layers().value().size(), 1U);
  expect_whole(store());
}

TEST_F(Publish, PutsALayerWhereAnUnknownOneLies) {
  EXPECT_OK(sys::mkdir_all(store().path() + "/layers/" + layer_of("one") + "/fs", 0755));
  publish_image("web", {"one"});
  expect_whole(store());
}

// Each round brings new content, by two publishes that succeed and two that fail: no undo takes away what another one
// made visible, and no row stands for what was undone.
TEST_F(Publish, WorksFromManyThreadsWithTheSameContent) {
  constexpr int kThreads = 4, kRounds = 50;
  std::barrier together(kThreads);
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([this, &together, thread] {
      for (int round = 0; round < kRounds; ++round) {
        std::string const name = "image" + std::to_string(round);
        Batch batch = image_batch(store(), name, {"base", name + " layer"});
        bool const bad = thread % 2 == 1;
        if (bad) batch.tags.emplace_back("none", digest_of("none"));
        together.arrive_and_wait();
        EXPECT_EQ(store().publish(batch).ok(), !bad);
      }
    });
  }
  threads.clear();
  EXPECT_EQ(store().list_images().value().size(), 1U * kRounds);
  EXPECT_EQ(store().list_layers().value().size(), 1U + kRounds);
  EXPECT_TRUE(names_in(store(), "tmp").empty());
  EXPECT_TRUE(names_in(store(), "ingest").empty());
  expect_whole(store());
}

// Runs a part of a test in a process of its own that has a tmpfs of this size on `path`.
void on_small_disk(std::string const& path, std::string const& size, std::function<void()> const& part) {
  pid_t const child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    bool const mounted = ::unshare(CLONE_NEWNS) == 0 &&
                         ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                         ::mount("tmpfs", path.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
    if (!mounted) ::_exit(77);
    part();
    ::_exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "may not mount a tmpfs (needs root)";
  EXPECT_EQ(status, 0);
}

// Leaves no byte free.
UniqueFd fill(std::string const& path) {
  UniqueFd file = sys::open(path, O_WRONLY | O_CREAT, 0600).value();
  for (std::string const& piece : {std::string(1 << 16, 'x'), std::string(1, 'x')}) {
    while (sys::write_all(file.get(), piece).ok()) {
    }
  }
  return file;
}

class FullDisk : public StoreTest {
 protected:
  void SetUp() override {}  // in the child
};

TEST_F(FullDisk, RefusesClearlyAndWorksAgainWhenThereIsSpace) {
  on_small_disk(dir_.path(), "6m", [this] {
    open();
    publish_image("before", {"base"});
    Batch batch = image_batch(store(), "web", {"one"});
    std::shared_ptr<Ingest> blob = store().ingest(digest_of("big")).value();
    EXPECT_OK(blob->write(std::string(10000, 'x')));
    { UniqueFd const filler = fill(dir_ / "filler"); }
    EXPECT_EQ(code_of(blob->write(std::string(1 << 20, 'x'))), Errc::kResourceExhausted);
    blob.reset();
    EXPECT_EQ(names_in(store(), "ingest").size(), 1U);  // the config of the batch
    { UniqueFd const filler = fill(dir_ / "filler2"); }
    Result<void> result;
    // The log has some room that was taken before.
    for (int i = 0; i < 2000 && result; ++i) {
      Batch tags;
      tags.tags.emplace_back("tag" + std::to_string(i) + std::string(3000, 'x'), digest_of("before"));
      result = store().publish(tags);
    }
    EXPECT_EQ(code_of(result), Errc::kResourceExhausted);
    EXPECT_EQ(code_of(store().publish(batch)), Errc::kResourceExhausted);
    EXPECT_EQ(names_in(store(), "layers").size(), 1U);
    EXPECT_FALSE(store().find_image(digest_of("web")).value());
    EXPECT_OK(sys::remove_tree(dir_ / "filler"));
    EXPECT_OK(store().publish(batch));
    batch = {};
    expect_whole(store());
    open();
    expect_whole(store());
    EXPECT_EQ(store().list_images().value().size(), 2U);
    store_.reset();
  });
}

TEST_F(FullDisk, IsFreedByDeletingImages) {
  on_small_disk(dir_.path(), "6m", [this] {
    open();
    publish_image("web", {std::string(2 << 20, 'x')});
    { UniqueFd const filler = fill(dir_ / "filler"); }
    Result<void> result;
    for (int i = 0; i < 2000 && result; ++i) {
      result = store().set_tag("tag" + std::to_string(i) + std::string(3000, 'x'), digest_of("web"));
    }
    EXPECT_EQ(code_of(result), Errc::kResourceExhausted);
    EXPECT_TRUE(store().remove_image(digest_of("web")).value());
    Result<Collected> const collected = store().collect();
    ASSERT_TRUE(collected.ok()) << collected.error().to_string();
    EXPECT_EQ(collected->layers.size(), 1U);
    EXPECT_TRUE(sys::exists(store().path() + "/reserve"));  // again
    publish_image("next", {"small"});
    expect_whole(store());
    store_.reset();
  });
}

}  // namespace
}  // namespace davit::store
