#include "base/guarded.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace davit {
namespace {

TEST(Guarded, LetsOneThreadAtATimeIn) {
  Guarded<int> counter;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 1000; ++round) counter.with([](int& value) { ++value; });
    });
  }
  threads.clear();
  EXPECT_EQ(counter.with([](int value) { return value; }), 4000);
}

TEST(Guarded, ReturnsWhatTheCallReturns) {
  Guarded<std::map<std::string, int>> const constant(std::map<std::string, int>{{"a", 1}});
  EXPECT_EQ(constant.with([](auto const& map) { return map.at("a"); }), 1);
  Guarded<std::unique_ptr<int>> moved(std::make_unique<int>(5));
  std::unique_ptr<int> const taken = moved.with([](auto& pointer) { return std::move(pointer); });
  EXPECT_EQ(*taken, 5);
  // A copy, even when the call gives a reference: nothing refers into the value without its lock.
  static_assert(std::is_same_v<decltype(moved.with([](auto& pointer) -> auto& { return *pointer; })), int>);
}

TEST(Guarded, UnlocksWhenTheCallThrows) {
  Guarded<int> value(1);
  EXPECT_THROW(value.with([](int&) { throw 1; }), int);
  EXPECT_EQ(value.with([](int& inside) { return inside; }), 1);
}

}  // namespace
}  // namespace davit
