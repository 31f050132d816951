# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs one program that sees only what it was given, and ends it with all that it started: see cells.run.

Namespaces of its own: mounts (a root in memory, what it was given read-only, one folder in memory to write in),
processes, network (none), IPC. Three processes: this one watches limits from outside; the first process in there ends
all others when it ends; the program. Standard library only, as it runs apart from the collection. What the program is
told in its environment is all that it gets of ours.
"""

from __future__ import annotations

# What is only looked for when it is needed would not be there any more.
import encodings.ascii  # pylint: disable=unused-import
import encodings.latin_1  # pylint: disable=unused-import
import encodings.utf_8  # noqa: F401  # pylint: disable=unused-import
import json
import os
import resource
import signal
import stat
import sys
import time
from typing import Any, Dict, List, NoReturn, Optional

from . import confine
from .confine import Refused
from .watch import Watch

_NEWUTS, _NEWIPC, _NEWPID, _NEWNET = 0x04000000, 0x08000000, 0x20000000, 0x40000000
_NOSUID, _NODEV, _NOEXEC, _DETACH = 0x2, 0x4, 0x8, 0x2
#: Where the program may write; its outputs are in a folder of it.
SCRATCH, OUT, TEMPORARY = "/scratch", "/scratch/out", "/scratch/tmp"
#: What programs need of the system: no configuration that could have passwords.
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_ZONE = "/etc/localtime"
_SMALL = 1 << 20


def enter() -> None:
    """Namespaces of our own."""
    confine.apart(_NEWUTS | _NEWIPC | _NEWPID | _NEWNET, "no namespaces")


def _make(path: str, directory: bool) -> None:
    os.makedirs(path if directory else os.path.dirname(path), 0o755, exist_ok=True)
    if not directory and not os.path.lexists(path):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o444))


def _bind(source: str, target: str) -> None:
    """Shows something in there, read-only."""
    _make(target, os.path.isdir(source))
    confine._check(
        confine._mount(source, target, None, confine._BIND | confine._REC), f"{source} cannot be shown", "place"
    )
    if not confine._attribute(target, True, True):
        real = os.path.realpath(target)
        for each in confine.mounts():
            place = os.fsdecode(each.place.encode("latin-1"))
            if place == real or place.startswith(f"{real}/"):
                confine._remount(each, True)


def furnish(request: Dict[str, Any]) -> None:
    """The root in memory, with what it is to see."""
    root, limits, user = request["root"], request["limits"], request["user"]
    quiet = _NOSUID | _NODEV
    confine._check(confine._mount("tmpfs", root, "tmpfs", quiet, f"mode=0755,size={_SMALL}"), "no root in memory")
    for path in _SYSTEM:
        if os.path.islink(path):
            os.symlink(os.readlink(path), root + path)
        elif os.path.exists(path):
            _bind(path, root + path)
    if os.path.exists(_ZONE):
        _bind(os.path.realpath(_ZONE), root + _ZONE)
    for name in _DEVICES:
        _bind(f"/dev/{name}", f"{root}/dev/{name}")
    for source, place in request["binds"]:
        _bind(source, root + place)
    for source, place in request["links"]:
        if not os.path.lexists(root + place):
            os.makedirs(os.path.dirname(root + place), 0o755, exist_ok=True)
            os.symlink(source, root + place)
    # One for its outputs and temporary files together: what it can fill is this.
    os.mkdir(root + SCRATCH)
    room = f"mode=0700,size={limits['scratch']},nr_inodes={limits['files']}"
    confine._check(
        confine._mount("tmpfs", root + SCRATCH, "tmpfs", quiet | _NOEXEC, room), "no scratch folder in memory"
    )
    owned = [SCRATCH, OUT, TEMPORARY]
    for path in owned[1:]:
        os.mkdir(root + path, 0o700)
    for path in owned if user else ():
        os.chown(root + path, user["uid"], user["gid"])
    for place in ("/tmp", "/dev/shm"):  # noqa: S108 - in there
        # Not where something that is shown lies in it.
        if not os.path.lexists(root + place):
            os.symlink(TEMPORARY, root + place)
    os.mkdir(f"{root}/proc")


def first(request: Dict[str, Any]) -> NoReturn:
    """The first process in there: makes the root its own, starts the program, and takes all with it when that ends."""
    try:
        root = request["root"]
        confine._libc.prctl(confine._PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # The parent is not in here, so that it has no number; it tells by a pipe that it lived when we were armed.
        os.write(request["ready"], b".")
        if not os.read(request["go"], 1):
            os._exit(1)
        flags = _NOSUID | _NODEV | _NOEXEC | confine._RDONLY
        confine._check(confine._mount("proc", f"{root}/proc", "proc", flags), "no /proc of its own")
        remount = confine._REMOUNT | confine._BIND | confine._RDONLY | _NOSUID | _NODEV
        confine._check(confine._mount("none", root, None, remount), "the root cannot be made read-only")
        os.chdir(root)
        confine._check(confine._libc.pivot_root(b".", b"."), "the root cannot be changed")
        confine._check(confine._libc.umount2(b".", _DETACH), "the old root is still there")
        os.chdir("/")
        os.write(request["ready"], b".")
        os.close(request["ready"])
        program = os.fork()
        if not program:
            become(request)
        os.close(request["report"])
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == program:
                os.write(request["status"], str(status).encode("ascii"))
                os._exit(0)
    except Refused as error:
        _say(request, error.kind, str(error))
    except Exception as error:
        _say(request, "failed", f"{type(error).__name__}: {error}")
    os._exit(1)


def become(request: Dict[str, Any]) -> NoReturn:
    """The program, as a user with no rights, within its limits, who finds out first that the walls are there."""
    try:
        user, limits = request["user"], request["limits"]
        os.setsid()
        for name, value in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_DATA, limits["memory"]),
            (resource.RLIMIT_FSIZE, limits["scratch"]),
            (resource.RLIMIT_NOFILE, 1024),
            (resource.RLIMIT_MEMLOCK, 0),
            # Threads count here. The watch comes too late for what forks as fast as it can.
            (resource.RLIMIT_NPROC, 8 * limits["processes"]),
        ):
            resource.setrlimit(name, (value, value))
        resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu"], limits["cpu"] + 5))
        # This interpreter ignores them, and what is ignored stays so.
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(ignored, signal.SIG_DFL)
        os.nice(limits["nice"])
        if user:
            os.setgroups([])
            os.setresgid(user["gid"], user["gid"], user["gid"])
            os.setresuid(user["uid"], user["uid"], user["uid"])
        confine._check(confine._libc.prctl(confine._PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "rights could be gained", "doubt")
        prove()
        os.umask(0o077)
        os.chdir(OUT)
        for number in (1, 2):
            os.dup2(request["said"], number)
        os.execve(request["arguments"][0], request["arguments"], request["environment"])  # noqa: S606
    except Refused as error:
        _say(request, error.kind, str(error))
    except Exception as error:
        _say(request, "failed", f"{type(error).__name__}: {error}")
    os._exit(127)


def prove() -> None:
    """From within: nobody's rights, no network, nothing to write but the scratch folder."""
    if 0 in os.getresuid():
        raise Refused("doubt", "it would run as root")
    with open("/proc/net/dev", encoding="ascii") as file:
        names = [line.partition(":")[0].strip() for line in file.read().splitlines()[2:]]
    if set(names) - {"lo"}:
        raise Refused("doubt", f"it would see the network: {', '.join(names)}")
    if os.getpid() > 9:
        raise Refused("doubt", "it would see other processes")
    confine._prove_mounts([SCRATCH])
    if not os.access(OUT, os.W_OK):
        raise Refused("failed", f"{OUT} cannot be written")


def _say(request: Dict[str, Any], kind: str, text: str) -> None:
    os.write(request["report"], json.dumps({"kind": kind, "text": text}).encode("ascii"))


def kept(request: Dict[str, Any], source: int, target: int) -> List[List[Any]]:
    """Takes its outputs out, as files and nothing else.

    :returns: name, and what is wrong with it, empty when it was taken
    """
    found: List[List[Any]] = []
    for name in request["outputs"]:
        try:
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=source)
        except FileNotFoundError:
            found.append([name, "missing"])
            continue
        except OSError:
            found.append([name, "no file"])
            continue
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                found.append([name, "no file"])
            elif status.st_size > request["limits"]["output"]:
                found.append([name, "too large"])
            else:
                to = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=target)
                with os.fdopen(to, "wb") as file:
                    while data := os.read(handle, _SMALL):
                        file.write(data)
                found.append([name, ""])
        finally:
            os.close(handle)
    return found


def guarded(request: Dict[str, Any]) -> Dict[str, Any]:
    """How it ended, and what it left."""
    target = os.open(request["target"], os.O_RDONLY | os.O_DIRECTORY)
    enter()
    furnish(request)
    source = os.open(request["root"] + OUT, os.O_RDONLY | os.O_DIRECTORY)
    pipes = {name: os.pipe() for name in ("report", "said", "status", "go", "ready")}
    request.update({name: ends[0] if name == "go" else ends[1] for name, ends in pipes.items()})
    pid = os.fork()
    if not pid:
        for name, ends in pipes.items():
            os.close(ends[1] if name == "go" else ends[0])
        os.close(source)
        os.close(target)
        first(request)
    for name, ends in pipes.items():
        os.close(ends[0] if name == "go" else ends[1])
    began = time.monotonic()
    for _turn in range(2):
        ready = os.read(pipes["ready"][0], 1)
        if ready and not _turn:
            os.write(pipes["go"][1], b".")
    if not ready:
        raise _refusal(pipes["report"][0]) or Refused("failed", "it ended before it began")
    processes = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    watch = Watch(request, pid, processes)
    told = watch.until_over(pipes["said"][0], pipes["status"][0])
    seconds = time.monotonic() - began
    refusal = _refusal(pipes["report"][0])
    if refusal:
        raise refusal
    status: Optional[int] = int(told) if told else None
    if status is None and not watch.why:
        raise Refused("failed", "nobody knows how it ended")
    code = None if status is None or watch.why else os.waitstatus_to_exitcode(status)
    return {
        "why": watch.why,
        "code": code,
        "seconds": round(seconds, 3),
        "memory": watch.peak,
        "said": watch.said,
        "outputs": kept(request, source, target) if code == 0 else [],
    }


def _refusal(pipe: int) -> Optional[Refused]:
    said = os.read(pipe, 65536)
    if not said:
        return None
    told = json.loads(said)
    return Refused(told["kind"], told["text"])


def main() -> None:
    """One program after the other: a request in JSON on a line of standard input, what became of it on one of output.

    Each in a process of its own, which has all that is imported already.
    """
    parent = int(sys.argv[1])
    for line in sys.stdin.buffer:
        # Again each time, as whoever asks may be another thread by now: it ends with that one.
        confine._libc.prctl(confine._PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        reader, writer = os.pipe()
        ours = os.getpid()
        pid = os.fork()
        if not pid:
            os.close(reader)
            # By its own input a program could ask for others, outside its walls.
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.write(writer, json.dumps(_answer(json.loads(line), ours)).encode("ascii"))
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            said = file.read()
        os.waitpid(pid, 0)
        os.write(1, (said or b'{"refused": "failed", "text": "it was killed"}') + b"\n")


def _answer(request: Dict[str, Any], parent: int) -> Dict[str, Any]:
    confine._libc.prctl(confine._PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    try:
        return guarded(request)
    except Refused as error:
        return {"refused": error.kind, "text": str(error)}
    except Exception as error:
        return {"refused": "failed", "text": f"{type(error).__name__}: {error}"}
