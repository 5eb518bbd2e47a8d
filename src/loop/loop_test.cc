#include "loop/loop.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "sys/pipe.h"

namespace davit::loop {
namespace {

using namespace std::chrono_literals;

TEST(Loop, ReportsAReadablePipe) {
  auto loop = Loop::create().value();
  auto pipe = sys::pipe().value();
  int calls = 0;
  Watch watch = loop->watch(pipe.read_end.get(), EPOLLIN, [&](std::uint32_t) { ++calls; }).value();
  loop->run_once(0ms).value();
  EXPECT_EQ(calls, 0);
  ASSERT_EQ(::write(pipe.write_end.get(), "x", 1), 1);
  loop->run_once(1000ms).value();
  EXPECT_EQ(calls, 1);
  watch.set_events(0);
  loop->run_once(0ms).value();
  EXPECT_EQ(calls, 1);
}

TEST(Loop, AHandlerMayDropItselfAndItsNeighbour) {
  auto loop = Loop::create().value();
  auto first = sys::pipe().value();
  auto second = sys::pipe().value();
  int calls = 0;
  Watch watches[2];
  auto drop_both = [&](std::uint32_t) {
    ++calls;
    watches[0].reset();
    watches[1].reset();
  };
  watches[0] = loop->watch(first.read_end.get(), EPOLLIN, drop_both).value();
  watches[1] = loop->watch(second.read_end.get(), EPOLLIN, drop_both).value();
  ASSERT_EQ(::write(first.write_end.get(), "x", 1), 1);
  ASSERT_EQ(::write(second.write_end.get(), "x", 1), 1);
  loop->run_once(1000ms).value();
  EXPECT_EQ(calls, 1);
}

TEST(Loop, AStaleEventDoesNotReachAReusedNumber) {
  auto loop = Loop::create().value();
  auto first = sys::pipe().value();
  auto second = sys::pipe().value();
  ASSERT_EQ(::write(first.write_end.get(), "x", 1), 1);
  ASSERT_EQ(::write(second.write_end.get(), "x", 1), 1);
  int wrong = 0;
  Watch watches[2], again[2];
  int const fds[2] = {first.read_end.get(), second.read_end.get()};
  for (int i = 0; i < 2; ++i) {
    watches[i] = loop->watch(fds[i], EPOLLIN,
                             [&, i](std::uint32_t) {
                               int const other = 1 - i;
                               watches[other].reset();
                               again[other] =
                                   loop->watch(fds[other], EPOLLOUT, [&](std::uint32_t) { ++wrong; }).value();
                               watches[i].set_events(0);
                             })
                     .value();
  }
  loop->run_once(1000ms).value();
  EXPECT_EQ(wrong, 0);
}

TEST(Loop, TimersFireInOrderAndOnce) {
  auto loop = Loop::create().value();
  std::string order;
  Timer late = loop->after(3ms, [&] { order += 'b', loop->stop(); });
  Timer early = loop->after(1ms, [&] { order += 'a'; });
  Timer never = loop->after(2ms, [&] { order += 'x'; });
  never.reset();
  loop->run().value();
  EXPECT_EQ(order, "ab");
  EXPECT_FALSE(early.active());
}

TEST(Loop, AZeroDelayChainDoesNotStarveDescriptors) {
  auto loop = Loop::create().value();
  auto pipe = sys::pipe().value();
  ASSERT_EQ(::write(pipe.write_end.get(), "x", 1), 1);
  bool seen = false;
  Timer timer;
  std::function<void()> again = [&] { timer = loop->after(0ms, again); };
  timer = loop->after(0ms, again);
  Watch watch = loop->watch(pipe.read_end.get(), EPOLLIN, [&](std::uint32_t) { seen = true, loop->stop(); }).value();
  loop->run().value();
  EXPECT_TRUE(seen);
}

}  // namespace
}  // namespace davit::loop
