#include "runtime/capabilities.h"

#include <gtest/gtest.h>
#include <linux/capability.h>

#include <cstdio>

namespace davit::runtime {
namespace {

TEST(CapabilityNames, AgreeWithTheKernelHeader) {
  EXPECT_EQ(capability_number("CAP_CHOWN"), CAP_CHOWN);
  EXPECT_EQ(capability_number("CAP_SETPCAP"), CAP_SETPCAP);
  EXPECT_EQ(capability_number("CAP_SYS_ADMIN"), CAP_SYS_ADMIN);
  EXPECT_EQ(capability_number("CAP_MKNOD"), CAP_MKNOD);
  EXPECT_EQ(capability_number("CAP_SYSLOG"), CAP_SYSLOG);
  EXPECT_EQ(capability_number("CAP_CHECKPOINT_RESTORE"), CAP_CHECKPOINT_RESTORE);
  EXPECT_EQ(capability_number("chown"), std::nullopt);
  for (unsigned i = 0; i < capability_names().size(); ++i) EXPECT_EQ(capability_number(capability_name(i)), i);
  EXPECT_EQ(capability_name(41), "");
}

TEST(Capabilities, AListBecomesAMask) {
  auto const mask = parse_capabilities({"CAP_CHOWN", "CAP_CHECKPOINT_RESTORE", "CAP_CHOWN"}, "f");
  ASSERT_TRUE(mask.ok());
  EXPECT_EQ(*mask, (CapabilityMask{1} << 40) | 1);
  EXPECT_EQ(*parse_capabilities({}, "f"), 0u);
}

TEST(Capabilities, AnUnknownNameIsNamedWithItsFieldAndTheNearest) {
  auto const mask = parse_capabilities({"CAP_KILL", "CAP_SYS_ADMIM"}, "process.capabilities.bounding");
  ASSERT_FALSE(mask.ok());
  EXPECT_EQ(mask.error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(mask.error().to_string(),
            "process.capabilities.bounding[1]: unknown capability \"CAP_SYS_ADMIM\", did you mean \"CAP_SYS_ADMIN\"?");
}

TEST(Capabilities, TheKernelsSetHoldsTheDefaultOne) {
  auto const kernel = kernel_capabilities();
  ASSERT_TRUE(kernel.ok()) << kernel.error().to_string();
  EXPECT_EQ(default_capabilities().size(), 14u);
  auto const mask = parse_capabilities(default_capabilities(), "default");
  ASSERT_TRUE(mask.ok());
  EXPECT_EQ(*mask & ~*kernel, 0u);
  EXPECT_EQ(*mask, 0xa80425fbu);  // what a container of Docker's shows in /proc/self/status
}

TEST(Capabilities, ADamagedKernelFileIsAnError) {
  EXPECT_FALSE(kernel_capabilities("/dev/null").ok());
  EXPECT_FALSE(kernel_capabilities("/nonexistent").ok());
}

}  // namespace
}  // namespace davit::runtime
