# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runtimes print when a program dies; no logger is asked, and so there is neither a time nor a level."""

from __future__ import annotations

import re

_BEGINNINGS = (
    # Python
    r"Traceback \(most recent call last\)",
    r"Fatal Python error:",
    r"Exception ignored (?:in|on|while)\b",
    # Rust
    r"thread '.*' (?:\(\d+\) )?(?:panicked at|has overflowed its stack)",
    r"fatal runtime error:",
    r"memory allocation of \d+ bytes failed",
    # C and C++
    r"terminate called ",
    r"libc\+\+abi: ",
    r"(?:libc\+\+abi: )?terminating (?:due to|with) ",
    r"\*\*\* .*(?:detected|Error in|corruption)",
    r"(?:double free|free\(\)|malloc\(\)|realloc\(\)|munmap_chunk\(\)|malloc_consolidate)",
    r"corrupted (?:size|double)",
    r".*\bAssertion [`'\"(].* failed",
    r"Assertion failed",
    r"=+\d+=+ ?ERROR: ",
    r"pure virtual (?:method|function) called",
    # signals, as shells and supervisors tell them
    r"(?:.*: (?:line \d+: )? *\d+ )?(?:Segmentation fault|Bus error|Illegal instruction|Floating point exception"
    r"|Aborted|Killed|Trace/breakpoint trap|Stack fault|Bad system call"
    r"|CPU time limit exceeded|File size limit exceeded)"
    r"(?: *\(core dumped\))?(?:\s.*)?$",
    r"\[?SIG(?:SEGV|ABRT|BUS|ILL|FPE|KILL|TRAP|SYS|QUIT)\b",
    # JVM
    r"Exception in thread ",
    r"Exception: .* thrown from the UncaughtExceptionHandler",
    r"# A fatal error has been detected",
    r"# There is insufficient memory",
    r"[\w.$/]*\.(?:OutOfMemoryError|StackOverflowError|InternalError|NoClassDefFoundError"
    r"|ExceptionInInitializerError"
    r"|UnsatisfiedLinkError|UnknownError|VirtualMachineError)\b",
    r"Terminating due to java\.lang\.",
    r"Error: A JNI error has occurred",
    r"Error occurred during initialization of",
    r"FATAL ERROR in native method",
    # .NET
    r"Unhandled exception\b",
    r"Process terminated\.",
    r"Fatal error\.",
    r"Stack overflow",
    r"Out of memory\.",
    # JavaScript
    r"(?i:(?:possibly )?un(?:handled|caught))(?:[A-Z ]|\b)",
    r"\(node:\d+\) UnhandledPromiseRejection",
    r"\[?UnhandledPromiseRejection",
    r"node:internal/",
    r"<--- (?:Last few GCs|JS stacktrace) --->",
    r"FATAL ERROR: ",
    r"error: Uncaught",
    # Go
    r"panic: ",
    r"panic\(",
    r"fatal error: ",
    r"goroutine \d+ \[",
    r"unexpected fault address",
    r"runtime: (?:out of memory|goroutine stack exceeds)",
    r"WARNING: DATA RACE",
    r"exit status [1-9]",
    r"signal: (?!interrupt|terminated)",
    # Erlang and Elixir
    r"\*\* \((?:EXIT|[A-Z])",
    r"=(?:CRASH|ERROR|SUPERVISOR) REPORT=",
    r"Kernel pid terminated",
    r"Runtime terminating during boot",
    r"\{\"?(?:init terminating|Kernel pid terminated)",
    r"Crash dump is being written",
    # PHP, Ruby, Perl, Lua, shells, and whoever says it as they do
    r"(?:PHP )?(?:Fatal|Parse|Recoverable fatal|Catchable fatal) error:",
    r"\S+:\d+:in [`'].*(?:Error|Exception|Interrupt)\b",
    r"\S+\.rb:\d+: \[BUG\]",
    r".* at \S+ line \d+\.$",
    r"lua\w*: ",
    r"[\w./+-]+: (?:fatal |internal |runtime |unhandled )*(?:error|exception|panic): ",
    r"[\w./+-]+: (?:error while loading shared libraries|symbol lookup error|command not found|not found)",
    # Haskell, OCaml, Zig, Nim, Clojure, Julia, R, Dart, Swift
    r"[\w./+-]+: (?:<<loop>>|internal error|stack overflow|heap (?:overflow|exhausted)|Prelude\.)",
    r"CallStack \(from HasCallStack\)",
    r"thread \d+ panic:",
    r"(?:Execution|Syntax|Unhandled \w+) error\b",
    r"(?:\S+: )?Fatal error\b",
    r"Error: unhandled exception",
    r"Error in .*:$",
    r"Execution halted",
    r"caught (?:signal|SIG)",
    r"(?:[Oo]ut of memory|Cannot allocate memory)\b",
    r"core dumped",
)
_CRASH = re.compile("|".join(_BEGINNINGS))
_NAMED = re.compile(r"(?:[\w$]+[.:/]+)*[\w$]*(?:Error|Exception|Interrupt|Exit|Fault|Panic)(?:\s?\[[\w-]+\])?(?=:|$)")


def crash(text: str) -> bool:
    """Whether a line begins what a runtime prints when a program dies."""
    return _CRASH.match(text) is not None


def named(text: str) -> bool:
    """Whether a line is an exception's name, with or without what it says: of a program that died, or of a logger's
    stack trace."""
    return _NAMED.match(text) is not None
