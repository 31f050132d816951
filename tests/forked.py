"""A Python that has libraries imported: what is started with it is forked from there, and costs a tenth of a start.

``python()`` gives a program that is called like ``python -c CODE``, or like ``python`` with the code on standard
input, and does what that does. It asks a server, which hands the code a process with the caller's streams, environment
and folder; the process is killed when the program is, and the program ends as the process does. Whoever tests how
Python starts or dies takes ``sys.executable``.
"""

from __future__ import annotations

import array
import atexit
import ctypes
import gc
import importlib
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

#: What is imported: by a project's migrations, and by Ansible's modules, whose own libraries come with each of them.
MIGRATIONS = (
    *("alembic.autogenerate", "alembic.command", "alembic.context", "alembic.op", "alembic.ddl.postgresql"),
    *("alembic.runtime.environment", "alembic.script", "psycopg2", "sqlalchemy.dialects.postgresql.psycopg2"),
    *("logging.config", "sqlalchemy.pool"),
)
MODULES = (
    *("boto3", "botocore.session", "botocore.handlers", "s3transfer.manager", "psycopg2.extras", "yaml"),
    *("cryptography.x509", "cryptography.hazmat.primitives.asymmetric.ed25519", "base64", "zipfile", "tempfile"),
    *("ast", "asyncio", "concurrent.futures.thread", "contextlib", "csv", "dataclasses", "datetime", "decimal"),
    *("difflib", "email.message", "fnmatch", "getpass", "glob", "grp", "gzip", "hashlib", "html", "http.client"),
    *("ipaddress", "json", "locale", "logging", "logging.handlers", "multiprocessing", "platform", "pwd", "queue"),
    *("resource", "runpy", "secrets", "selectors", "shlex", "ssl", "statistics", "subprocess", "syslog", "tarfile"),
    *("traceback", "typing", "unicodedata", "urllib.request", "uuid", "xml.etree.ElementTree", "zoneinfo"),
)
_SIZE = 1 << 20
_PR_SET_PDEATHSIG = 1


@cache
def python(modules: tuple[str, ...] = MIGRATIONS) -> str:
    """The program, of this process; its server ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="forked-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    listener.listen(64)
    server = subprocess.Popen(
        [sys.executable, __file__, str(listener.fileno()), *modules],
        pass_fds=[listener.fileno()],
        env={**os.environ, "LANG": "C.UTF-8"},
        stdin=subprocess.PIPE,
    )
    assert server.stdin
    atexit.register(server.stdin.close)
    listener.close()
    program = folder / "python"
    program.write_text(f"#!{sys.executable} -ISE\n{_CALLER.format(socket=str(folder / 'socket'))}", encoding="utf-8")
    program.chmod(0o755)
    _programs.append(program)
    return str(program)


_programs: list[Path] = []


def spent() -> float:
    """Processor seconds of what has ended since this was asked last."""
    total = 0.0
    for program in _programs:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(program.with_name("socket")))
            asking.sendall(b"spent\n")
            total += float(asking.recv(100))
    return total


_CALLER = """
import _socket, array, posix, sys
asking = _socket.socket(_socket.AF_UNIX)
asking.connect({socket!r})
parts = [posix.getcwdb(), *(sys.argv[1:] or ["", ""]), *(name + b"=" + value for name, value in posix.environ.items())]
parts = [part if isinstance(part, bytes) else part.encode("utf-8", "surrogateescape") for part in parts]
streams = array.array("i", [0, 1, 2]).tobytes()
asking.sendmsg([b"run\\n"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
message = b"\\0".join(parts)
asking.sendall(len(message).to_bytes(8, "big") + message)
status = int(asking.recv(100) or 137)
if status < 0:
    posix.kill(posix.getpid(), -status)
posix._exit(status)
"""


class _Ends(Exception):
    """Nobody is left to ask."""


class _Server:
    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._selector.register(0, selectors.EVENT_READ, self._end)
        self._running: dict[int, tuple[socket.socket, int]] = {}
        self._spent = 0.0

    def serve(self) -> dict[str, Any] | None:
        """Serves until nobody is left to ask: None. In a forked process: what to run."""
        try:
            while True:
                for key, _ in self._selector.select():
                    asked: dict[str, Any] | None = key.data()
                    if asked:
                        return asked
        except _Ends:
            for pid in self._running:
                os.kill(pid, signal.SIGKILL)
            return None

    def _end(self) -> None:
        if not os.read(0, 1):
            raise _Ends

    def _accept(self) -> dict[str, Any] | None:
        asking, _ = self._listener.accept()
        word, rights, _, _ = asking.recvmsg(6, socket.CMSG_SPACE(3 * 4))
        if word == b"spent\n":
            asking.sendall(str(self._spent).encode())
            asking.close()
            self._spent = 0.0
            return None
        streams = array.array("i")
        for _, _, data in rights:
            streams.frombytes(data)
        rest = word.removeprefix(b"run\n")
        while len(rest) < 8 or len(rest) < 8 + int.from_bytes(rest[:8], "big"):
            more = asking.recv(_SIZE)
            if not more:
                break
            rest += more
        folder, *words = rest[8:].split(b"\0")
        if not (pid := os.fork()):
            return self._own(asking, streams, folder, words)
        for stream in streams:
            os.close(stream)
        watched = os.pidfd_open(pid)
        self._running[pid] = asking, watched
        self._selector.register(asking, selectors.EVENT_READ, lambda: self._gone(pid))
        self._selector.register(watched, selectors.EVENT_READ, lambda: self._ended(pid))
        return None

    def _own(
        self, asking: socket.socket, streams: array.array[int], folder: bytes, words: list[bytes]
    ) -> dict[str, Any]:
        """Of a forked process: nothing of the server's is left in it."""
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        for stream in streams:
            os.close(stream)
        # Before the code opens something: what is left would be closed by its number later.
        self._selector.close()
        for connection, watched in (*self._running.values(), (self._listener, None), (asking, None)):
            connection.close()
            if watched is not None:
                os.close(watched)
        os.setpgid(0, 0)
        # Should the server be killed.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.chdir(folder)
        return {"code": words[1], "arguments": words[:1], "environment": words[2:]}

    def _gone(self, pid: int) -> None:
        """The program was killed."""
        if pid in self._running:
            os.kill(pid, signal.SIGKILL)
            self._selector.unregister(self._running[pid][0])

    def _ended(self, pid: int) -> None:
        asking, watched = self._running.pop(pid)
        _, status, used = os.wait4(pid, 0)
        self._spent += used.ru_utime + used.ru_stime
        with suppress(OSError):
            asking.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        with suppress(KeyError):
            self._selector.unregister(asking)
        self._selector.unregister(watched)
        asking.close()
        os.close(watched)


def main() -> None:
    """Serves; ends the interpreter in the forked ones as ``python -c`` does."""
    sys.path[0] = ""
    for name in sys.argv[2:]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    asked = _Server(socket.socket(fileno=int(sys.argv[1]))).serve()
    if not asked:
        return
    os.environ.clear()
    for each in asked["environment"]:
        name, _, value = os.fsdecode(each).partition("=")
        os.environ[name] = value
    time.tzset()
    sys.argv[:] = [os.fsdecode(each) for each in asked["arguments"]]
    own = sys.modules["__main__"].__dict__
    said = sys.argv[0] == "-c"
    source, file = (asked["code"], "<string>") if said else (sys.stdin.buffer.read(), "<stdin>")
    code = compile(source, file, "exec", dont_inherit=True)
    for name in [name for name in own if not name.startswith("__")]:
        del own[name]
    own["__doc__"] = None
    for word in ("__file__", "__cached__"):
        del own[word]
    if not said:
        own.update(__file__=file, __cached__=None)
    exec(code, own)


if __name__ == "__main__":
    main()
