// What is kept and what is collected; collections beside everything else; kill -9.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>
#include <thread>

#include "store/testing/sample.h"

namespace davit::store {
namespace {

using namespace testing;

class Collect : public StoreTest {
 protected:
  // Contents of the layers that a collection takes.
  void expect_collected(std::vector<std::string> const& layer_contents, std::vector<std::string> const& blobs) {
    Result<Collected> const collected = store().collect();
    ASSERT_TRUE(collected.ok()) << collected.error().to_string();
    EXPECT_EQ(texts(collected->layers), digests_of(layer_contents));
    EXPECT_EQ(texts(collected->blobs), digests_of(blobs));
    EXPECT_TRUE(names_in(store(), "trash").empty());
    expect_whole(store());
  }

 private:
  static std::set<std::string> texts(std::vector<oci::Digest> const& digests) {
    std::set<std::string> all;
    for (oci::Digest const& digest : digests) all.insert(digest.text());
    return all;
  }
  static std::set<std::string> digests_of(std::vector<std::string> const& contents) {
    std::set<std::string> all;
    for (std::string const& content : contents) all.insert(digest_of(content).text());
    return all;
  }
};

TEST_F(Collect, TakesWhatNoImageUses) {
  publish_image("one", {"base", "only one"});
  publish_image("two", {"base", "only two"});
  expect_collected({}, {});
  EXPECT_TRUE(store().remove_image(digest_of("one")).value());
  Collected const collected = store().collect().value();
  EXPECT_EQ(collected.layers, std::vector{digest_of("only one")});
  EXPECT_EQ(collected.blobs, std::vector{digest_of("one")});
  EXPECT_EQ(collected.freed_bytes, 4096U + 3U);
  EXPECT_TRUE(store().remove_image(digest_of("two")).value());
  expect_collected({"base", "only two"}, {"two"});
  publish_image("two", {"base", "only two"});  // again
  expect_collected({}, {});
}

TEST_F(Collect, ForgetsWhatItKnewOfTheContent) {
  Batch batch = image_batch(store(), "web", {"one"});
  batch.forms.push_back({.diff_id = digest_of("one"), .blob = digest_of("gz"), .size = 7, .media_type = "t"});
  batch.sources.emplace_back(digest_of("gz"), "docker.io/library/web");
  batch.sources.emplace_back(digest_of("web"), "docker.io/library/web");
  EXPECT_OK(store().publish(batch));
  batch = {};
  EXPECT_EQ(store().blob_sources(digest_of("gz")).value().size(), 1U);
  EXPECT_TRUE(store().remove_image(digest_of("web")).value());
  expect_collected({"one"}, {"web"});
  EXPECT_TRUE(store().layer_forms(digest_of("one")).value().empty());
  EXPECT_TRUE(store().blob_sources(digest_of("gz")).value().empty());
  EXPECT_TRUE(store().blob_sources(digest_of("web")).value().empty());
}

TEST_F(Collect, TakesTreesOfAnyDepth) {
  Batch batch = image_batch(store(), "web", {"deep"});
  UniqueFd below = sys::openat(batch.layers[0]->fs(), ".", O_RDONLY | O_DIRECTORY).value();
  for (int depth = 0; depth < 3000; ++depth) {
    ASSERT_EQ(::mkdirat(below.get(), "d", 0755), 0);
    below = sys::openat(below.get(), "d", O_RDONLY | O_DIRECTORY).value();
  }
  EXPECT_OK(store().publish(batch));
  batch = {};
  EXPECT_TRUE(store().remove_image(digest_of("web")).value());
  expect_collected({"deep"}, {"web"});
}

TEST_F(Collect, LeavesWhatIsPinned) {
  publish_image("web", {"one", "two"});
  {
    auto layer = store().pin_layer(layer_of("one")).value();
    auto again = store().pin_layer(layer_of("one")).value();
    auto blob = store().pin_blob(digest_of("web")).value();
    ASSERT_TRUE(layer && again && blob);
    EXPECT_EQ(layer->first.diff_id, digest_of("one"));
    EXPECT_TRUE(store().remove_image(digest_of("web")).value());
    expect_collected({"two"}, {});
    again.reset();
    Pin moved = std::move(layer->second);
    layer.reset();
    expect_collected({}, {});
    moved = Pin();
    expect_collected({"one"}, {});
  }
  expect_collected({}, {"web"});
  EXPECT_FALSE(store().pin_layer(layer_of("one")).value());
  EXPECT_FALSE(store().pin_blob(digest_of("web")).value());
}

TEST_F(Collect, LeavesWhatIsLeasedUntilTheLeaseExpires) {
  publish_image("web", {"one", "two"});
  EXPECT_OK(store().add_lease("for ever", {layer_of("one")}, {}));
  EXPECT_OK(store().add_lease("build", {layer_of("two")}, {digest_of("web")}, now_ + 10));
  EXPECT_EQ(code_of(store().add_lease("x", {layer_of("none")}, {})), Errc::kNotFound);
  EXPECT_EQ(code_of(store().add_lease("x", {}, {digest_of("none")})), Errc::kNotFound);
  EXPECT_TRUE(store().remove_image(digest_of("web")).value());
  expect_collected({}, {});
  open();  // leases are rows
  now_ += 9;
  expect_collected({}, {});
  now_ += 1;
  expect_collected({"two"}, {"web"});
  EXPECT_OK(store().remove_lease("for ever"));
  EXPECT_OK(store().remove_lease("never was"));
  expect_collected({"one"}, {});
}

TEST_F(Collect, LeavesWhatAnInterruptedPullBroughtForAWhile) {
  Batch batch;
  batch.layers = {stage(store(), "one")};
  batch.blobs.push_back(store().ingest_bytes("blob").value());
  batch.keep_unused = std::chrono::seconds(10);
  EXPECT_OK(store().publish(batch));
  batch = {};
  Batch forever;
  forever.layers = {stage(store(), "kept")};
  forever.keep_unused = std::chrono::seconds::max();
  EXPECT_OK(store().publish(forever));
  forever = {};
  expect_collected({}, {});
  now_ += 9'999'999'999;
  expect_collected({}, {});
  now_ += 1;
  expect_collected({"one"}, {"blob"});
}

TEST_F(Collect, LeavesWhatABatchInHandBrought) {
  Batch batch = image_batch(store(), "web", {"one"});
  EXPECT_OK(store().publish(batch));
  EXPECT_TRUE(store().remove_image(digest_of("web")).value());
  expect_collected({}, {});
  batch = {};
  expect_collected({"one"}, {"web"});
}

// Two threads collect, others publish and remove the same images, and pin: what is pinned stays as it is.
TEST_F(Collect, RunsBesideEverythingElse) {
  std::atomic<bool> done = false;
  std::atomic<int> pinned = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      while (!done) EXPECT_OK(store().collect());
    });
    threads.emplace_back([&] {
      while (!done) {
        auto const pin = store().pin_layer(layer_of("base")).value();
        if (!pin) continue;
        ++pinned;
        for (int look = 0; look < 5; ++look) {
          EXPECT_TRUE(sys::exists(store().layer_path(layer_of("base")) + "/file"));
          EXPECT_TRUE(store().find_layer(layer_of("base")).value());
        }
      }
    });
  }
  {
    std::vector<std::jthread> publishers;
    for (int thread = 0; thread < 2; ++thread) {
      publishers.emplace_back([&, thread] {
        for (int round = 0; round < 60; ++round) {
          std::string const name = "image" + std::to_string(thread);
          publish_image(name, {"base", name + " layer"});
          EXPECT_TRUE(store().find_image(digest_of(name)).value());
          EXPECT_TRUE(store().remove_image(digest_of(name)).value());
        }
      });
    }
  }
  done = true;
  threads.clear();
  EXPECT_GT(pinned, 0);
  EXPECT_OK(store().collect());
  EXPECT_TRUE(store().list_layers().value().empty());
  EXPECT_TRUE(names_in(store(), "tmp").empty());
  EXPECT_TRUE(names_in(store(), "ingest").empty());
  expect_whole(store());
}

// What the process that is killed does, until it is.
[[noreturn]] void live(std::string const& root, unsigned seed) {
  std::unique_ptr<Store> const store = Store::open({.root = root, .now_ns = {}}).value();
  std::mt19937 random(seed);
  for (;;) {
    std::string const name = "image" + std::to_string(random() % 6);
    switch (random() % 6) {
      case 0:
      case 1:
      case 2:
        (void)store->publish(image_batch(*store, name, {"base", "layer" + std::to_string(random() % 4), name + " own"}))
            .ok();
        break;
      case 3:
        (void)store->remove_image(digest_of(name)).ok();
        break;
      case 4:
        (void)store->collect().ok();
        break;
      default:
        if (Result<std::shared_ptr<Ingest>> part = store->ingest(digest_of(name))) {
          (void)(*part)->write(std::string(5000, 'x')).ok();
        }
    }
    if (::testing::Test::HasFailure()) ::_exit(1);
  }
}

TEST(Kill, AtAnyMomentLeavesEveryImageWhole) {
  sys::testing::TempDir const dir(temp_parent());
  std::mt19937 random(1);
  std::size_t images = 0, swept = 0;
  for (unsigned round = 0; round < 50; ++round) {
    pid_t const child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) live(dir / "content", round);
    ::usleep(2000 + random() % 20000);
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the process ended by itself: " << status;
    Result<std::unique_ptr<Store>> opened = Store::open({.root = dir / "content", .now_ns = {}});
    ASSERT_TRUE(opened.ok()) << opened.error().to_string();
    Store& store = **opened;
    EXPECT_TRUE(store.open_report().lost_images.empty());
    swept += store.open_report().swept_layers + store.open_report().swept_blobs;
    expect_whole(store);
    EXPECT_OK(store.collect());
    EXPECT_OK(store.drop_stale_ingests(INT64_MAX));
    for (char const* const folder : {"tmp", "trash", "ingest"}) EXPECT_TRUE(names_in(store, folder).empty()) << folder;
    expect_whole(store);
    std::set<std::string> used;
    std::vector<ImageEntry> const entries = store.list_images().value();
    for (ImageEntry const& image : entries) {
      EXPECT_EQ(image.tags.size(), 1U);
      used.insert(image.image.layers.begin(), image.image.layers.end());
      ++images;
    }
    EXPECT_EQ(names_in(store, "layers").size(), used.size());
    ASSERT_FALSE(HasFailure()) << "round " << round;
  }
  EXPECT_GT(images, 0U);
  RecordProperty("swept", std::to_string(swept));
}

}  // namespace
}  // namespace davit::store
