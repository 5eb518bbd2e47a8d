// LayerWorks, SinkPipe, parallel_each: what runs on several threads.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <numeric>
#include <thread>

#include "image/layer_works.h"
#include "image/parallel.h"
#include "image/sink_pipe.h"
#include "store/testing/sample.h"

namespace davit::image {
namespace {

using namespace std::chrono_literals;

TEST(LayerWorksGet, MakesOneLayerOnceForTwoThreads) {
  LayerWorks works;
  std::atomic<int> made{0};
  std::latch both(2);
  auto const make = [&]() -> Result<MadeLayer> {
    ++made;
    std::this_thread::sleep_for(20ms);
    return MadeLayer{};
  };
  std::shared_ptr<MadeLayer> first, second;
  std::thread other([&] {
    both.arrive_and_wait();
    first = works.get("key", {}, make).value();
  });
  both.arrive_and_wait();
  second = works.get("key", {}, make).value();
  other.join();
  EXPECT_EQ(made, 1);
  EXPECT_EQ(first, second);
  EXPECT_EQ(works.size(), 1U);
  first.reset();
  second.reset();
  EXPECT_EQ(works.size(), 0U);
}

TEST(LayerWorksGet, LetsTheOtherTryWhenOneFails) {
  LayerWorks works;
  std::latch started(1);
  std::thread failing([&] {
    auto const result = works.get("key", {}, [&]() -> Result<MadeLayer> {
      started.count_down();
      std::this_thread::sleep_for(20ms);
      return Error(Errc::kUnavailable, "no network");
    });
    EXPECT_FALSE(result.ok());
  });
  started.wait();
  auto const result = works.get("key", {}, []() -> Result<MadeLayer> { return MadeLayer{}; });
  failing.join();
  EXPECT_TRUE(result.ok());
}

TEST(LayerWorksGet, StopsWaitingWhenCancelled) {
  LayerWorks works;
  std::latch started(1), finish(1);
  std::thread making([&] {
    (void)works.get("key", {}, [&]() -> Result<MadeLayer> {
      started.count_down();
      finish.wait();
      return MadeLayer{};
    });
  });
  started.wait();
  std::stop_source stop;
  std::thread stopping([&] {
    std::this_thread::sleep_for(10ms);
    stop.request_stop();
  });
  auto const result = works.get("key", stop.get_token(), []() -> Result<MadeLayer> { return MadeLayer{}; });
  EXPECT_EQ(store::testing::code_of(result), Errc::kCancelled);
  finish.count_down();
  making.join();
  stopping.join();
  EXPECT_EQ(works.size(), 0U);
}

TEST(LayerWorksGet, DoesNotShareALayerOfOneImage) {
  LayerWorks works;
  int made = 0;
  auto const make = [&]() -> Result<MadeLayer> {
    ++made;
    return MadeLayer{.layer = {}, .implied_directories = {"usr"}, .blob = {}, .form = {}};
  };
  auto const first = works.get("key", {}, make);
  auto const second = works.get("key", {}, make);
  EXPECT_EQ(made, 2);
  EXPECT_NE(*first, *second);
}

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  std::iota(text.begin(), text.end(), '\1');
  return text;
}

TEST(SinkPipeNext, GivesSmallAndLargeWritesInOrder) {
  for (std::size_t const piece : {std::size_t{1}, std::size_t{511}, std::size_t{300'000}, std::size_t{2'000'000}}) {
    std::string const bytes = pattern(piece == 1 ? 5000 : 2'000'001);
    SinkPipe pipe([&](codec::Sink& sink) -> Result<void> {
      for (std::size_t at = 0; at < bytes.size(); at += piece) TRY(sink.write(bytes.substr(at, piece)));
      return {};
    });
    EXPECT_EQ(codec::read_all(pipe, bytes.size() + 1).value(), bytes);
    EXPECT_TRUE(pipe.next().value().empty());
  }
}

TEST(SinkPipeNext, IsEmptyWhenNothingIsWritten) {
  SinkPipe pipe([](codec::Sink&) -> Result<void> { return {}; });
  EXPECT_TRUE(pipe.next().value().empty());
}

TEST(SinkPipeNext, EndsWithTheWritersError) {
  SinkPipe pipe([](codec::Sink& sink) -> Result<void> {
    TRY(sink.write(pattern(600'000)));
    return Error(Errc::kNotFound, "gone");
  });
  EXPECT_EQ(store::testing::code_of(codec::read_all(pipe, 1'000'000)), Errc::kNotFound);
}

TEST(SinkPipeDestructor, EndsAWriterThatNobodyReads) {
  std::atomic<bool> failed{false};
  {
    SinkPipe pipe([&](codec::Sink& sink) -> Result<void> {
      for (;;) {
        Result<void> written = sink.write(pattern(300'000));
        if (written) continue;
        failed = true;
        return written;
      }
    });
    EXPECT_FALSE(pipe.next().value().empty());
  }
  EXPECT_TRUE(failed);
}

TEST(ParallelEach, DoesAllOfIt) {
  for (unsigned const threads : {0U, 1U, 3U, 50U}) {
    std::atomic<std::size_t> sum{0};
    EXPECT_OK(parallel_each(20, threads, {}, [&](std::size_t i, std::stop_token) -> Result<void> {
      sum += i;
      return {};
    }));
    EXPECT_EQ(sum, 190U);
  }
  EXPECT_OK(parallel_each(0, 3, {}, [](std::size_t, std::stop_token) -> Result<void> { return {}; }));
}

TEST(ParallelEach, AnswersTheErrorThatStoppedTheOthers) {
  std::atomic<int> begun{0};
  auto const result = parallel_each(1000, 4, {}, [&](std::size_t i, std::stop_token stop) -> Result<void> {
    ++begun;
    if (i == 2) return Error(Errc::kConflict, "this one");
    for (int wait = 0; wait < 2000 && !stop.stop_requested(); ++wait) std::this_thread::sleep_for(1ms);
    return Error(Errc::kCancelled, "stopped");
  });
  EXPECT_EQ(store::testing::code_of(result), Errc::kConflict);
  EXPECT_LE(begun, 8);
}

TEST(ParallelEach, StopsWithItsCaller) {
  std::stop_source stop;
  auto const result = parallel_each(1000, 2, stop.get_token(), [&](std::size_t i, std::stop_token) -> Result<void> {
    if (i == 3) stop.request_stop();
    return {};
  });
  EXPECT_EQ(store::testing::code_of(result), Errc::kCancelled);
}

}  // namespace
}  // namespace davit::image
