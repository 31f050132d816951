"""Tests in namespaces of their own for mounts and processes: what they see is theirs, and ends with them.

Of some machines' processes even root may not ask everything, such as of the first one of a micro-VM.
"""

from __future__ import annotations

import ctypes
import os
import traceback
from collections.abc import Callable
from typing import Any

import pytest

_NEWNS, _NEWPID = 0x00020000, 0x20000000
_PRIVATE = 1 << 18 | 1 << 14  # MS_PRIVATE | MS_REC
_PASSED, _SKIPPED, _FAILED = range(3)


def _entered() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEWNS | _NEWPID):
        raise OSError(ctypes.get_errno(), "no namespaces")
    if libc.mount(b"none", b"/", None, _PRIVATE, None):
        raise OSError(ctypes.get_errno(), "mounts cannot be made private")


def _proc() -> None:
    if ctypes.CDLL(None, use_errno=True).mount(b"proc", b"/proc", b"proc", 0, None):
        raise OSError(ctypes.get_errno(), "/proc cannot be mounted")


def alone(function: Callable[..., Any], arguments: dict[str, Any]) -> None:
    """Calls a test in namespaces of its own; what comes of it comes of the caller. Needs root."""
    reading, writing = os.pipe()
    if not (outer := os.fork()):
        status = _FAILED
        try:
            _entered()
            if not (inner := os.fork()):
                os._exit(_called(function, arguments, writing))
            status = os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1])
        finally:
            os._exit(status if status in (_PASSED, _SKIPPED) else _FAILED)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8", errors="replace") as stream:
        told = stream.read()
    status = os.waitstatus_to_exitcode(os.waitpid(outer, 0)[1])
    if status == _SKIPPED:
        pytest.skip(told)
    if status != _PASSED:
        pytest.fail(told or f"It ended with {status}.", pytrace=False)


def _called(function: Callable[..., Any], arguments: dict[str, Any], writing: int) -> int:
    try:
        _proc()
        function(**arguments)
        return _PASSED
    except pytest.skip.Exception as reason:
        os.write(writing, str(reason).encode())
        return _SKIPPED
    except BaseException as error:
        shown = error if isinstance(error, AssertionError) else None
        text = "".join(traceback.format_exception(error)) + (f"\n{shown}" if shown else "")
        os.write(writing, text.encode(errors="replace")[-60000:])
        return _FAILED
