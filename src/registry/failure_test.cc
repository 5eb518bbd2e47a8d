#include "registry/failure.h"

#include <gtest/gtest.h>

namespace davit::registry {
namespace {

TEST(Printable, LeavesNothingThatATerminalActsOn) {
  EXPECT_EQ(printable("a\x1b[31mb\r\nc\x7f"), "a [31mb  c");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "31m");
  EXPECT_EQ(printable("\x9b"
                      "31m \xff"),
            "?31m ?");
  EXPECT_EQ(printable("gr\xc3\xbc\xc3\x9f"
                      "e \xe2\x82\xac \xf0\x9f\x90\xb3 \xc2\xa0."),
            "gr\xc3\xbc\xc3\x9f"
            "e \xe2\x82\xac \xf0\x9f\x90\xb3 \xc2\xa0.");
  EXPECT_EQ(printable("ab\xe2\x82\xac", 4), "ab??");  // cut within a character
  EXPECT_EQ(printable("\xc2"), "?");
}

}  // namespace
}  // namespace davit::registry
