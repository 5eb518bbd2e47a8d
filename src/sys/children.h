// A supervisor's view of processes: forking helpers, reaping whatever ends, signal dispositions. Single-threaded
// callers.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <optional>
#include <string>

#include "base/result.h"
#include "sys/process.h"

namespace davit::sys {

// fork(2): 0 in the child.
Result<pid_t> fork();
// The next child that has ended, reaped; nullopt when none has (or there is none at all).
std::optional<Exited> reap_any();
// Orphaned descendants become the caller's children (PR_SET_CHILD_SUBREAPER, prctl(2)).
Result<void> become_subreaper();
Result<void> new_session();
// Opens path as descriptors 0, 1 and 2.
Result<void> redirect_standard_streams(std::string const& path);
void ignore_signal(int signal);
// Undoes ignore_signal for every signal and unblocks all: what a program that is executed expects to find.
void restore_signals();
// 19 is the politest.
void lower_priority(int nice);
uid_t effective_uid();
// Ends the process without running anything that the parent registered.
[[noreturn]] void exit_now(int code);

}  // namespace davit::sys
