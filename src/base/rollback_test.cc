#include "base/rollback.h"

#include <gtest/gtest.h>

#include <string>

namespace davit {
namespace {

TEST(Rollback, RunsTheStepsInReverse) {
  std::string order;
  {
    Rollback undo;
    undo.add([&order] { order += 'a'; });
    undo.add([&order] { order += 'b'; });
    EXPECT_EQ(order, "");
  }
  EXPECT_EQ(order, "ba");
}

TEST(Rollback, CommitForgetsTheStepsSoFarOnly) {
  std::string order;
  {
    Rollback undo;
    undo.add([&order] { order += 'a'; });
    undo.commit();
    undo.add([&order] { order += 'b'; });
  }
  EXPECT_EQ(order, "b");
}

}  // namespace
}  // namespace davit
