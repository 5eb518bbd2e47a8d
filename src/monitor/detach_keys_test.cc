#include "monitor/detach_keys.h"

#include <gtest/gtest.h>

#include "monitor/control_message.h"
#include "monitor/stream_frame.h"

namespace davit::monitor {
namespace {

struct Case {
  char const* name;
  std::string keys, input, passed;
  bool detached;
};
class Keys : public testing::TestWithParam<Case> {};
TEST_P(Keys, AreFoundHoweverTheInputIsCut) {
  auto const& c = GetParam();
  for (std::size_t step = 1; step <= c.input.size(); ++step) {
    DetachKeys keys(c.keys);
    std::string passed;
    bool detached = false;
    for (std::size_t at = 0; at < c.input.size() && !detached; at += step) {
      detached = keys.feed(std::string_view(c.input).substr(at, step), passed);
    }
    EXPECT_EQ(detached, c.detached);
    EXPECT_EQ(passed, c.passed);
  }
}
INSTANTIATE_TEST_SUITE_P(Table, Keys,
                         testing::Values(Case{"none", "", "abc", "abc", false}, Case{"alone", "PQ", "PQ", "", true},
                                         Case{"after_text", "PQ", "abPQcd", "ab", true},
                                         Case{"first_only_is_held", "PQ", "aP", "a", false},
                                         Case{"mismatch_is_passed_on", "PQ", "PxP", "Px", false},
                                         Case{"repeated_beginning", "PQ", "PPQ", "P", true},
                                         Case{"overlap", "aab", "aaab", "a", true},
                                         Case{"single", "e", "xe", "x", true}),
                         [](auto const& info) { return std::string(info.param.name); });

TEST(Frame, HasItsLengthBigEndian) {
  auto const header = frame_header(log::Stream::kStderr, 0x01020304);
  EXPECT_EQ(std::string(header.begin(), header.end()), std::string("\2\0\0\0\1\2\3\4", 8));
}

TEST(ControlMessage, ReadsWhatItWrites) {
  ControlWriter writer(9, 0xfffefdfc);
  EXPECT_TRUE(writer.add(Tag::kExecId, "abc"));
  EXPECT_TRUE(writer.add_number(Tag::kWidth, 70000));
  EXPECT_FALSE(writer.add(Tag::kLeftover, std::string(kMaxControlMessage, 'x')));
  ControlMessage const message = ControlMessage::parse(writer.packet()).value();
  EXPECT_EQ(message.type, 9);
  EXPECT_EQ(message.id, 0xfffefdfc);
  EXPECT_EQ(message.text(Tag::kExecId), "abc");
  EXPECT_EQ(message.number(Tag::kWidth, 0).value(), 70000u);
  EXPECT_EQ(message.number(Tag::kHeight, 5).value(), 5u);
  EXPECT_FALSE(message.number(Tag::kExecId, 0).ok());
  for (std::size_t size = 0; size < writer.packet().size(); ++size) {
    if (size == 8 || size == 15) continue;  // whole messages with fewer fields
    EXPECT_FALSE(ControlMessage::parse(writer.packet().substr(0, size)).ok()) << size;
  }
}

}  // namespace
}  // namespace davit::monitor
