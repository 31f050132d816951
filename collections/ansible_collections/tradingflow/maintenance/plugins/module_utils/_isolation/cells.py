# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs programs of others where they see only what they are given: no network, no secrets, nothing to write but memory.

Each is in namespaces of its own (cell.py). Where there are none, it is not run: there is no weaker way.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ..errors import ConfigurationError, MaintenanceError
from . import cell, confine, watch

_NAME = "tradingflow_isolation"


def _source(module: Any) -> str:
    text: str = module.__loader__.get_source(module.__name__)
    return text


#: All parts as one program, which needs nothing of ours on its path.
PROGRAM = f"""
import sys, types
def add(name, text):
    module = types.ModuleType(name)
    module.__package__ = {_NAME!r}
    sys.modules[name] = module
    exec(compile(text, name, "exec"), module.__dict__)
    return module
package = sys.modules[{_NAME!r}] = types.ModuleType({_NAME!r})
package.__path__ = []
package.confine = add({_NAME + ".confine"!r}, {_source(confine)!r})
package.watch = add({_NAME + ".watch"!r}, {_source(watch)!r})
add({_NAME + ".cell"!r}, {_source(cell)!r}).main()
"""

#: Whoever runs as root hands each program to one of these users, who own nothing (systemd's DynamicUser).
NOBODIES = range(61184, 65520)
REMEDY = (
    "Run it as root (CAP_SYS_ADMIN in a container), or as a user where user namespaces and a /proc of their own are"
    " allowed (kernel.unprivileged_userns_clone, user.max_user_namespaces, AppArmor)."
)
#: One thread per library: those that run beside it want the other processors.
THREADS = {
    f"{name}_NUM_THREADS": "1"
    for name in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR", "VECLIB_MAXIMUM", "NUMBA", "POLARS_MAX", "RAYON")
}
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "HOME": cell.TEMPORARY,
    "TMPDIR": cell.TEMPORARY,
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONNOUSERSITE": "1",
    **THREADS,
}


class NoCells(ConfigurationError):
    """Here nothing can be shut off as it must be."""


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    :param seconds: on the clock
    :param cpu: s of a processor, of each process
    :param memory: bytes, of all processes together
    :param scratch: bytes that it may write, all in memory
    :param files: as many files
    :param processes: threads do not count
    :param output: bytes of one output
    """

    seconds: int = 3600
    cpu: int = 3600
    memory: int = 2 << 30
    scratch: int = 256 << 20
    files: int = 10_000
    processes: int = 64
    output: int = 64 << 20
    nice: int = 10


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    :param why: time, memory or processes if it was ended for that, else empty
    :param code: its exit status, negative for a signal; None if it was ended
    :param memory: bytes, the most that was seen
    :param said: the end of what it wrote to standard output and error; may hold anything
    :param lacking: outputs that were not taken, with the reason (missing, no file, too large)
    """

    why: str = ""
    code: Optional[int] = 0
    seconds: float = 0.0
    memory: int = 0
    said: str = ""
    lacking: Dict[str, str] = field(default_factory=dict)


def shown(paths: Sequence[str]) -> Tuple[List[Tuple[str, str]], List[Tuple[str, str]]]:
    """What is to be shown in its own place: binds by real paths, and the symbolic links that lead there."""
    binds: Dict[str, str] = {}
    links: Dict[str, str] = {}
    for path in paths:
        here = "/"
        for part in os.path.abspath(path).strip("/").split("/"):
            place = os.path.join(here, part)
            here = os.path.realpath(place)
            if os.path.islink(place):
                links[place] = here
        if here != "/usr" and not here.startswith("/usr/"):
            binds[here] = here
    # What lies in another one is there with it.
    tops = [path for path in binds if not any(path.startswith(f"{other}/") for other in binds)]
    inside = [place for place in links if any(place.startswith(f"{path}/") for path in (*tops, "/usr"))]
    return [(path, path) for path in sorted(tops)], sorted((links[p], p) for p in links if p not in inside)


class Launcher:
    """Runs programs, one after the other, as a process of its own that has imported all. Of one thread."""

    def __init__(self) -> None:
        self._process: Optional[subprocess.Popen[bytes]] = None

    def __enter__(self) -> Launcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends it, and what it runs."""
        if self._process is not None:
            # What it runs ends with it.
            self._process.kill()
            self._process.communicate()
            self._process = None

    def run(
        self,
        arguments: Sequence[str],
        *,
        binds: Sequence[Tuple[str, str]],
        links: Sequence[Tuple[str, str]] = (),
        environment: Dict[str, str],
        limits: Limits,
        outputs: Sequence[str],
        target: Path,
    ) -> Ended:
        """Runs a program to its end, or to one of its limits.

        :param arguments: the first is the program's absolute path in there
        :param binds: (what, where in there), all read-only; readable for others, as the program has no rights
        :param links: (to what, where in there)
        :param environment: besides what all get; no secret is in either
        :param outputs: names of files that it leaves in its current directory
        :param target: our folder, into which they are taken
        :raises NoCells: it was not run, as it could not be shut off here
        :raises MaintenanceError: it could not be run
        """
        nobody = secrets.choice(NOBODIES)
        with tempfile.TemporaryDirectory(prefix=".root-", dir=target.parent) as root:
            answer = self._asked(
                {
                    "arguments": list(arguments),
                    "binds": [list(pair) for pair in binds],
                    "links": [list(pair) for pair in links],
                    "environment": {**_ENVIRONMENT, **environment},
                    "limits": asdict(limits),
                    "outputs": list(outputs),
                    "target": str(target),
                    "root": os.path.realpath(root),
                    "user": None if os.geteuid() else {"uid": nobody, "gid": nobody},
                },
                arguments[0],
            )
        if "refused" in answer:
            if answer["refused"] in ("unavailable", "doubt"):
                raise NoCells(f"It was not run, as it could not be shut off here: {answer['text']}.", REMEDY)
            raise MaintenanceError(f"{arguments[0]} could not be run: {answer['text']}")
        lacking = {name: why for name, why in answer["outputs"] if why}
        return Ended(answer["why"], answer["code"], answer["seconds"], answer["memory"], answer["said"], lacking)

    def _asked(self, request: Dict[str, Any], name: str) -> Dict[str, Any]:
        try:
            if self._process is None:
                # Without preexec_fn: other threads run meanwhile. It sees to its own end should we die.
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", PROGRAM, str(os.getpid())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env={"PATH": _ENVIRONMENT["PATH"], "LC_ALL": "C.UTF-8"},
                    cwd="/",
                    start_new_session=True,
                )
            into, out = self._process.stdin, self._process.stdout
            if into is None or out is None:
                raise OSError("it has no pipes")
            into.write(json.dumps(request).encode("ascii") + b"\n")
            into.flush()
            answer = json.loads(out.readline())
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            self.close()
            raise MaintenanceError(f"{name} could not be run apart from all else: {error}", REMEDY) from None
        if not isinstance(answer, dict):
            raise MaintenanceError(f"{name} could not be run apart from all else.", REMEDY)
        return answer


def run(arguments: Sequence[str], **how: Any) -> Ended:
    """Runs a single program, see Launcher.run."""
    with Launcher() as launcher:
        return launcher.run(arguments, **how)
