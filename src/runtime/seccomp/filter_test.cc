#include "runtime/seccomp/filter.h"

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>

#include "runtime/seccomp/bpf_interpreter.h"
#include "runtime/seccomp/words.h"

namespace davit::runtime {
namespace {

using oci::Seccomp;
using oci::SeccompSyscall;

constexpr std::uint32_t kAllow = SECCOMP_RET_ALLOW;
constexpr std::uint32_t kEperm = SECCOMP_RET_ERRNO | EPERM;
constexpr std::uint32_t kEnosys = SECCOMP_RET_ERRNO | ENOSYS;

std::uint32_t ask(SeccompFilter const& filter, std::uint32_t arch, int number, std::uint64_t arg0 = 0,
                  std::uint64_t arg1 = 0) {
  seccomp_data data{};
  data.nr = number;
  data.arch = arch;
  data.args[0] = arg0;
  data.args[1] = arg1;
  return run_bpf(filter.program, data).value_or(0xdead);
}

Seccomp deny_all_but(std::vector<SeccompSyscall> rules) {
  Seccomp profile;
  profile.default_action = "SCMP_ACT_ERRNO";
  profile.syscalls = std::move(rules);
  return profile;
}

#ifdef __x86_64__

struct Call {
  std::string_view name;
  std::vector<std::string> extra_capabilities;
  int number;
  std::uint64_t arg0;
  std::uint32_t action;
  std::uint32_t arch = AUDIT_ARCH_X86_64;
};
class DefaultFilter : public testing::TestWithParam<Call> {};

TEST_P(DefaultFilter, AnswersAsDockers) {
  std::vector<std::string> capabilities = GetParam().extra_capabilities;
  capabilities.push_back("CAP_SYS_CHROOT");
  auto const filter = compile_seccomp(default_seccomp_profile(capabilities), "");
  ASSERT_TRUE(filter.ok()) << filter.error().to_string();
  EXPECT_EQ(ask(*filter, GetParam().arch, GetParam().number, GetParam().arg0), GetParam().action);
}

constexpr int kX32 = 0x40000000;
INSTANTIATE_TEST_SUITE_P(
    Table, DefaultFilter,
    testing::Values(
        Call{"read", {}, SYS_read, 0, kAllow}, Call{"execve", {}, SYS_execve, 0, kAllow},
        Call{"ptrace", {}, SYS_ptrace, 0, kAllow}, Call{"chroot", {}, SYS_chroot, 0, kAllow},
        Call{"mount", {}, SYS_mount, 0, kEperm}, Call{"mount_admin", {"CAP_SYS_ADMIN"}, SYS_mount, 0, kAllow},
        Call{"reboot", {}, SYS_reboot, 0, kEperm}, Call{"keyctl", {}, SYS_keyctl, 0, kEperm},
        Call{"bpf", {}, SYS_bpf, 0, kEperm}, Call{"bpf_with_cap", {"CAP_BPF"}, SYS_bpf, 0, kAllow},
        Call{"io_uring_setup", {}, SYS_io_uring_setup, 0, kEperm}, Call{"userfaultfd", {}, SYS_userfaultfd, 0, kEperm},
        Call{"clone_thread", {}, SYS_clone, CLONE_VM, kAllow},
        Call{"clone_newuser", {}, SYS_clone, CLONE_NEWUSER | 17, kEperm},
        Call{"clone_newcgroup", {}, SYS_clone, CLONE_NEWCGROUP, kEperm},
        Call{"clone_newuser_admin", {"CAP_SYS_ADMIN"}, SYS_clone, CLONE_NEWUSER, kAllow},
        Call{"clone3", {}, SYS_clone3, 0, kEnosys}, Call{"clone3_admin", {"CAP_SYS_ADMIN"}, SYS_clone3, 0, kAllow},
        Call{"personality_0", {}, SYS_personality, 0, kAllow}, Call{"personality_8", {}, SYS_personality, 8, kAllow},
        Call{"personality_uname26", {}, SYS_personality, 0x20000, kAllow},
        Call{"personality_both", {}, SYS_personality, 0x20008, kAllow},
        Call{"personality_query", {}, SYS_personality, 0xffffffff, kAllow},
        Call{"personality_no_randomize", {}, SYS_personality, 0x40000, kEperm},
        Call{"socket_unix", {}, SYS_socket, 1, kAllow}, Call{"socket_37", {}, SYS_socket, 37, kAllow},
        Call{"socket_alg", {}, SYS_socket, 38, kEperm}, Call{"socket_39", {}, SYS_socket, 39, kAllow},
        Call{"socket_vsock", {}, SYS_socket, 40, kEperm}, Call{"socket_41", {}, SYS_socket, 41, kAllow},
        Call{"arch_prctl", {}, SYS_arch_prctl, 0, kAllow}, Call{"modify_ldt", {}, SYS_modify_ldt, 0, kAllow},
        Call{"fchmodat2", {}, 452, 0, kAllow}, Call{"statmount_is_new", {}, 457, 0, kAllow},
        Call{"lsm_list_modules", {}, 461, 0, kEperm}, Call{"lsm_admin", {"CAP_SYS_ADMIN"}, 461, 0, kAllow},
        Call{"unknown_future", {}, 600, 0, kEnosys}, Call{"i386_read", {}, 3, 0, kAllow, AUDIT_ARCH_I386},
        Call{"i386_mount", {}, 21, 0, kEperm, AUDIT_ARCH_I386},
        Call{"i386_fchmodat2", {}, 452, 0, kAllow, AUDIT_ARCH_I386},
        Call{"i386_future", {}, 600, 0, kEnosys, AUDIT_ARCH_I386}, Call{"x32_read", {}, kX32, 0, kAllow},
        Call{"x32_mount", {}, kX32 + 165, 0, kEperm}, Call{"x32_fchmodat2", {}, kX32 + 452, 0, kAllow},
        Call{"x32_future", {}, kX32 + 600, 0, kEnosys},
        Call{"foreign_architecture", {}, 0, 0, SECCOMP_RET_KILL_THREAD, AUDIT_ARCH_AARCH64}),
    [](auto const& row) { return std::string(row.param.name); });

struct Action {
  std::string_view name;
  std::optional<std::uint32_t> errno_ret;
  std::uint32_t value;
};
class SeccompActions : public testing::TestWithParam<Action> {};

TEST_P(SeccompActions, ReachTheProgram) {
  Seccomp profile;
  profile.default_action = GetParam().value == SECCOMP_RET_ALLOW ? "SCMP_ACT_LOG" : "SCMP_ACT_ALLOW";
  profile.listener_path = "/run/listener";
  profile.syscalls.push_back({{"getpid"}, std::string(GetParam().name), GetParam().errno_ret, {}});
  auto const filter = compile_seccomp(profile, "");
  ASSERT_TRUE(filter.ok()) << filter.error().to_string();
  EXPECT_EQ(ask(*filter, AUDIT_ARCH_X86_64, SYS_getpid), GetParam().value);
  bool const notify = GetParam().name == "SCMP_ACT_NOTIFY";
  EXPECT_EQ(filter->notify, notify);
  EXPECT_EQ(filter->flags, kFilterFlagSpecAllow | (notify ? kFilterFlagNewListener : 0));
}

INSTANTIATE_TEST_SUITE_P(
    Table, SeccompActions,
    testing::Values(
        Action{"SCMP_ACT_ALLOW", {}, SECCOMP_RET_ALLOW}, Action{"SCMP_ACT_ERRNO", {}, kEperm},
        Action{"SCMP_ACT_ERRNO", 0, SECCOMP_RET_ERRNO}, Action{"SCMP_ACT_ERRNO", 4094, SECCOMP_RET_ERRNO | 4094},
        Action{"SCMP_ACT_KILL", {}, SECCOMP_RET_KILL_THREAD},
        Action{"SCMP_ACT_KILL_THREAD", {}, SECCOMP_RET_KILL_THREAD},
        Action{"SCMP_ACT_KILL_PROCESS", {}, SECCOMP_RET_KILL_PROCESS}, Action{"SCMP_ACT_LOG", {}, SECCOMP_RET_LOG},
        Action{"SCMP_ACT_NOTIFY", {}, SECCOMP_RET_USER_NOTIF}, Action{"SCMP_ACT_TRACE", 77, SECCOMP_RET_TRACE | 77},
        Action{"SCMP_ACT_TRACE", {}, SECCOMP_RET_TRACE | EPERM}, Action{"SCMP_ACT_TRAP", {}, SECCOMP_RET_TRAP}),
    [](auto const& row) {
      return std::string(row.param.name) + "_" + (row.param.errno_ret ? std::to_string(*row.param.errno_ret) : "none");
    });

struct Compare {
  std::string_view name;
  std::uint64_t value, value_two;
  std::vector<std::uint64_t> matches, others;
};
class SeccompOperators : public testing::TestWithParam<Compare> {};

TEST_P(SeccompOperators, CompareAll64Bits) {
  Compare const& row = GetParam();
  auto const filter = compile_seccomp(
      deny_all_but({{{"dup"}, "SCMP_ACT_ALLOW", {}, {{0, row.value, row.value_two, std::string(row.name)}}}}), "");
  ASSERT_TRUE(filter.ok()) << filter.error().to_string();
  for (auto const value : row.matches) EXPECT_EQ(ask(*filter, AUDIT_ARCH_X86_64, SYS_dup, value), kAllow) << value;
  for (auto const value : row.others) EXPECT_EQ(ask(*filter, AUDIT_ARCH_X86_64, SYS_dup, value), kEperm) << value;
}

constexpr std::uint64_t kBig = std::uint64_t{5} << 32;
INSTANTIATE_TEST_SUITE_P(Table, SeccompOperators,
                         testing::Values(Compare{"SCMP_CMP_EQ", kBig + 1, 0, {kBig + 1}, {1, kBig, 0}},
                                         Compare{"SCMP_CMP_NE", kBig + 1, 0, {1, kBig, 0}, {kBig + 1}},
                                         Compare{"SCMP_CMP_LT", kBig, 0, {0, kBig - 1}, {kBig, kBig + 1}},
                                         Compare{"SCMP_CMP_LE", kBig, 0, {0, kBig}, {kBig + 1}},
                                         Compare{"SCMP_CMP_GE", kBig, 0, {kBig, kBig + 1}, {0, kBig - 1}},
                                         Compare{"SCMP_CMP_GT", kBig, 0, {kBig + 1}, {0, kBig}},
                                         Compare{
                                             "SCMP_CMP_MASKED_EQ", 0xf0, 0x20, {0x2f, kBig + 0x20}, {0x30, 0, kBig}}),
                         [](auto const& row) { return std::string(row.param.name); });

TEST(Seccomp, SeveralArgumentsMustAllMatchButTwoConditionsOnOneAreAlternatives) {
  oci::SeccompArg const first{0, 1, 0, "SCMP_CMP_EQ"};
  oci::SeccompArg const second{1, 2, 0, "SCMP_CMP_EQ"};
  auto const both = compile_seccomp(deny_all_but({{{"dup2"}, "SCMP_ACT_ALLOW", {}, {first, second}}}), "");
  ASSERT_TRUE(both.ok());
  EXPECT_EQ(ask(*both, AUDIT_ARCH_X86_64, SYS_dup2, 1, 2), kAllow);
  EXPECT_EQ(ask(*both, AUDIT_ARCH_X86_64, SYS_dup2, 1, 3), kEperm);
  oci::SeccompArg const other{0, 9, 0, "SCMP_CMP_EQ"};
  auto const either = compile_seccomp(deny_all_but({{{"dup2"}, "SCMP_ACT_ALLOW", {}, {first, other}}}), "");
  ASSERT_TRUE(either.ok());
  EXPECT_EQ(ask(*either, AUDIT_ARCH_X86_64, SYS_dup2, 1), kAllow);
  EXPECT_EQ(ask(*either, AUDIT_ARCH_X86_64, SYS_dup2, 9), kAllow);
  EXPECT_EQ(ask(*either, AUDIT_ARCH_X86_64, SYS_dup2, 5), kEperm);
}

TEST(Seccomp, CallsNewerThanTheProfileAreEnosysOnlyWhereTheDefaultRefuses) {
  auto const filter = compile_seccomp(deny_all_but({{{"read", "dup2"}, "SCMP_ACT_ALLOW", {}, {}}}), "");
  ASSERT_TRUE(filter.ok());
  EXPECT_EQ(ask(*filter, AUDIT_ARCH_X86_64, SYS_read), kAllow);
  EXPECT_EQ(ask(*filter, AUDIT_ARCH_X86_64, SYS_write), kEperm);
  EXPECT_EQ(ask(*filter, AUDIT_ARCH_X86_64, SYS_dup2 + 1), kEnosys);
  EXPECT_EQ(ask(*filter, AUDIT_ARCH_X86_64, kX32), SECCOMP_RET_KILL_THREAD);  // x32 is not in this profile
  Seccomp permissive;
  permissive.default_action = "SCMP_ACT_ALLOW";
  permissive.syscalls.push_back({{"dup2"}, "SCMP_ACT_ERRNO", {}, {}});
  auto const open = compile_seccomp(permissive, "");
  ASSERT_TRUE(open.ok());
  EXPECT_EQ(ask(*open, AUDIT_ARCH_X86_64, 600), kAllow);
}

TEST(Seccomp, TheKernelTakesTheProgramAndObeysIt) {
  auto const filter = compile_seccomp(default_seccomp_profile({}), "");
  ASSERT_TRUE(filter.ok());
  pid_t const child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    sock_fprog const program{static_cast<unsigned short>(filter->program.size()),
                             const_cast<sock_filter*>(filter->program.data())};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) _exit(10);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, filter->flags, &program) != 0) _exit(11);
    if (syscall(SYS_mount, 0, 0, 0, 0, 0) != -1 || errno != EPERM) _exit(12);
    if (syscall(600) != -1 || errno != ENOSYS) _exit(13);
    if (syscall(SYS_getppid) <= 0) _exit(14);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "exit " << WEXITSTATUS(status);
}

#endif  // __x86_64__

TEST(Seccomp, UnknownCallsAreSkippedAndForeignArchitecturesAccepted) {
  Seccomp profile = deny_all_but({{{"read", "no_such_call"}, "SCMP_ACT_ALLOW", {}, {}}});
  for (std::string_view const name : seccomp_architectures()) profile.architectures.emplace_back(name);
  auto const filter = compile_seccomp(profile, "");
  ASSERT_TRUE(filter.ok()) << filter.error().to_string();
}

TEST(Seccomp, FlagsReachTheFilter) {
  Seccomp profile = deny_all_but({{{"read"}, "SCMP_ACT_NOTIFY", {}, {}}});
  profile.listener_path = "/run/listener";
  profile.flags_given = true;
  for (std::string_view const name : seccomp_flags()) profile.flags.emplace_back(name);
  auto const filter = compile_seccomp(profile, "");
  ASSERT_TRUE(filter.ok()) << filter.error().to_string();
  EXPECT_EQ(filter->flags, 0x3fu);
  profile.flags.clear();
  EXPECT_EQ(compile_seccomp(profile, "")->flags, kFilterFlagNewListener);
}

struct Bad {
  std::string_view name;
  void (*spoil)(Seccomp&);
  std::string_view field;
};
class SeccompBad : public testing::TestWithParam<Bad> {};

TEST_P(SeccompBad, NamesTheField) {
  Seccomp profile =
      deny_all_but({{{"read"}, "SCMP_ACT_ALLOW", {}, {}}, {{"dup"}, "SCMP_ACT_ALLOW", {}, {{0, 1, 0, "SCMP_CMP_EQ"}}}});
  GetParam().spoil(profile);
  auto const filter = compile_seccomp(profile, "");
  ASSERT_FALSE(filter.ok());
  EXPECT_EQ(filter.error().code(), Errc::kInvalidArgument);
  EXPECT_TRUE(filter.error().to_string().starts_with(std::string(GetParam().field) + ": "))
      << filter.error().to_string();
}

INSTANTIATE_TEST_SUITE_P(
    Table, SeccompBad,
    testing::Values(
        Bad{"default", [](Seccomp& p) { p.default_action = "ALLOW"; }, "linux.seccomp.defaultAction"},
        Bad{"default_notify", [](Seccomp& p) { p.default_action = "SCMP_ACT_NOTIFY"; }, "linux.seccomp.defaultAction"},
        Bad{"default_errno", [](Seccomp& p) { p.default_errno_ret = 4095; }, "linux.seccomp.defaultErrnoRet"},
        Bad{"action", [](Seccomp& p) { p.syscalls[1].action = "SCMP_ACT_ALOW"; }, "linux.seccomp.syscalls[1].action"},
        Bad{"errno_of_allow", [](Seccomp& p) { p.syscalls[0].errno_ret = 1; }, "linux.seccomp.syscalls[0].errnoRet"},
        Bad{"op", [](Seccomp& p) { p.syscalls[1].args[0].op = "EQ"; }, "linux.seccomp.syscalls[1].args[0].op"},
        Bad{"index", [](Seccomp& p) { p.syscalls[1].args[0].index = 6; }, "linux.seccomp.syscalls[1].args[0].index"},
        Bad{"arch", [](Seccomp& p) { p.architectures = {"x86_64"}; }, "linux.seccomp.architectures[0]"},
        Bad{"flag", [](Seccomp& p) { p.flags = {"TSYNC"}; }, "linux.seccomp.flags[0]"},
        Bad{"killable", [](Seccomp& p) { p.flags = {"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"}; },
            "linux.seccomp.flags[0]"},
        Bad{"no_listener", [](Seccomp& p) { p.syscalls[0].action = "SCMP_ACT_NOTIFY"; }, "linux.seccomp.listenerPath"},
        Bad{"notify_write",
            [](Seccomp& p) {
              p.syscalls[0] = {{"write"}, "SCMP_ACT_NOTIFY", {}, {}};
            },
            "linux.seccomp.syscalls[0].action"}),
    [](auto const& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace davit::runtime
