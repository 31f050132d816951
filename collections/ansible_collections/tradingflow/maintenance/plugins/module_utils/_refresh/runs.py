# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of a strategy: what it is asked, by what it is known, and how it is carried out."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from .._isolation import cells
from .._work.asked import asked
from ..errors import MaintenanceError
from ..masking import masked
from ..words import printable, size, span
from . import outputs
from .options import Settings, Strategy
from .snapshot import Slice, sha256
from .store import Code, Store

#: Of request.json, and of what a run is known by.
SCHEMA = 1
#: A strategy ends with it when another try would end in the same way.
NO_RETRY = 42
#: What a Python has in it, by which its engine is known.
_ASK = """
import importlib.metadata, json, sys
found = sorted({(str(one.metadata["Name"]), one.version) for one in importlib.metadata.distributions()})
json.dump([sys.version, found], open("engine.json", "w"))
"""
_PREFIXES = "import json, sys; print(json.dumps([sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]))"


@dataclass(frozen=True)
class Engine:
    """What runs a strategy's code.

    :param digest: SHA-256 of version, distributions, lock files, and the state of what it has besides
    :param python: absolute path of its interpreter, empty for a program of its own
    """

    digest: str
    python: str
    binds: Tuple[Tuple[str, str], ...]
    links: Tuple[Tuple[str, str], ...]


@dataclass(frozen=True)
class Run:
    """What is run.

    :param purpose: for people, such as "cut at 2026-03-31"
    :param request: what the strategy gets as request.json
    :param repeat: another run of the same has another number
    """

    strategy: str
    purpose: str
    command: Tuple[str, ...]
    code: Code
    engine: Engine
    data: Slice
    request: Dict[str, Any]
    repeat: int = 0

    @property
    def key(self) -> str:
        """By what it is known: the same of all of this has the same outcome, or is not deterministic."""
        told = {
            "schema": SCHEMA,
            "command": self.command,
            "code": self.code.digest,
            "engine": self.engine.digest,
            "data": self.data.digest,
            "request": self.request,
            "repeat": self.repeat,
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@dataclass
class Outcome:
    """What came of a run.

    :param outputs: None if there are none that count
    :param why: why there are none, beginning in lower case
    :param reused: whether an earlier refresh, or one that was killed, had done it
    """

    run: Run
    outputs: Optional[outputs.Outputs] = None
    why: str = ""
    reused: bool = False
    seconds: float = 0.0
    memory: int = 0
    tries: int = 0
    shut: bool = True
    digests: Dict[str, str] = field(default_factory=dict)


def request_of(strategy: Strategy, data: Slice, last: date, **more: Any) -> Dict[str, Any]:
    """request.json.

    :param more: costs, delay_bars, warm_up_days instead of the strategy's own
    """
    return {
        "schema": SCHEMA,
        "strategy": strategy.name,
        "parameters": strategy.parameters,
        "window": {"from": str(strategy.first), "to": str(last)},
        "warm_up_days": more.get("warm_up_days", strategy.warm_up),
        "capital": f"{strategy.capital:f}",
        "currency": strategy.currency,
        "costs": more.get("costs", strategy.costs),
        "execution": {"delay_bars": more.get("delay_bars", 0)},
        "seed": strategy.seed,
        "snapshot": {"sha256": data.digest, "manifest": "manifest.json"},
    }


def doubled(costs: Dict[str, Any]) -> Dict[str, Any]:
    """All costs twice, in the type that they had."""
    return {name: f"{2 * Decimal(value):f}" if isinstance(value, str) else 2 * value for name, value in costs.items()}


def engine(strategy: Strategy, work: Path, limits: cells.Limits) -> Engine:
    """What runs a strategy's code, as it is on this machine now.

    :raises MaintenanceError: it cannot be told
    """
    told: List[Any] = []
    paths = list(strategy.paths)
    for path in (strategy.python, *strategy.paths, *strategy.lock):
        if path and not os.path.exists(path):
            raise MaintenanceError(f"{path} is not there.", "Correct the strategy's engine.")
    uses_python = any("{python}" in part for part in strategy.command)
    if uses_python:
        paths += _prefixes(strategy.python)
    binds, links = cells.shown(paths)
    for path in strategy.lock:
        told.append([os.path.basename(path), sha256(Path(path))])
    told += [_state(path) for path in strategy.paths]
    if uses_python:
        folder = Path(tempfile.mkdtemp(dir=work))
        how = replace(limits, seconds=300, cpu=300)
        done = cells.run(
            [strategy.python, "-B", "-c", _ASK],
            binds=binds,
            links=links,
            environment={},
            limits=how,
            outputs=["engine.json"],
            target=folder,
        )
        try:
            told.append(json.loads((folder / "engine.json").read_text(encoding="utf-8")))
        except (OSError, ValueError):
            raise MaintenanceError(
                f"{strategy.python} does not run: {last_words(done.said)}", "Correct the strategy's engine."
            ) from None
    program = strategy.command[0]
    if not uses_python and os.path.isfile(program):
        told.append([os.path.basename(program), sha256(Path(program))])
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    return Engine(digest, strategy.python if uses_python else "", tuple(binds), tuple(links))


def _state(path: str) -> str:
    """Of what an engine has besides: names, sizes and times of its files, as it may be large."""
    found = hashlib.sha256()
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            status = os.lstat(os.path.join(folder, name))
            found.update(f"{folder}/{name}:{status.st_size}:{status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    if os.path.isfile(path):
        found.update(sha256(Path(path)).encode())
    return found.hexdigest()


def _prefixes(python: str) -> List[str]:
    """Where an interpreter has its parts; itself too, as it may lie elsewhere."""
    try:
        said = asked([python, "-I", "-S", "-c", _PREFIXES], {"LC_ALL": "C.UTF-8"}, 60)
        found = json.loads(said.output)
    except (OSError, ValueError, TimeoutError) as error:
        raise MaintenanceError(f"{python} does not run: {error}", "Correct the strategy's engine.") from None
    # An interpreter of its own environment is found by what lies beside it.
    home = os.path.dirname(os.path.dirname(python))
    if os.path.exists(os.path.join(home, "pyvenv.cfg")):
        found.append(home)
    kept = [path for path in found if path not in ("/", "/usr")]
    return [*kept, *([] if any(python.startswith(f"{path}/") for path in [*kept, "/usr"]) else [python])]


class Pool:
    """Carries runs out, so many at a time; what is done is not done again."""

    def __init__(self, store: Store, work: Path, settings: Settings) -> None:
        self._store = store
        self._work = work
        self._settings = settings
        self._local = threading.local()
        #: By key: several runs of one refresh may be the same.
        self._turns: Dict[str, threading.Lock] = {}
        #: After each run: how many are done.
        self.tell: Callable[[Outcome], None] = lambda outcome: None

    def all(self, runs: Sequence[Run]) -> List[Outcome]:
        """Outcomes in the order of the runs."""
        launchers: List[cells.Launcher] = []

        def begin() -> None:
            self._local.launcher = cells.Launcher()
            launchers.append(self._local.launcher)

        try:
            with ThreadPoolExecutor(self._settings.workers, "backtest", begin) as pool:
                return list(pool.map(self._one, runs))
        finally:
            for launcher in launchers:
                launcher.close()

    def _one(self, run: Run) -> Outcome:
        try:
            with self._turns.setdefault(run.key, threading.Lock()):
                outcome = self._done(run) or self._carried_out(run)
        except cells.NoCells as error:
            outcome = Outcome(run, why=error.message, shut=False)
        except MaintenanceError as error:
            outcome = Outcome(run, why=error.message)
        except Exception as error:
            outcome = Outcome(run, why=f"{type(error).__name__}: {error}")
        self.tell(outcome)
        return outcome

    def _done(self, run: Run) -> Optional[Outcome]:
        known = self._store.run(run.key)
        if not known:
            return None
        return _judged(run, known[0], known[1], reused=True)

    def _carried_out(self, run: Run) -> Outcome:
        outcome = Outcome(run)
        for turn in range(1 + self._settings.retries):
            folder = Path(tempfile.mkdtemp(dir=self._work))
            (folder / "out").mkdir(mode=0o700)
            request = folder / "request.json"
            request.write_text(json.dumps(run.request, ensure_ascii=False), encoding="utf-8")
            request.chmod(0o444)
            ended = self._ended(run, folder, request)
            result: Dict[str, Any] = {
                "code": ended.code,
                "seconds": ended.seconds,
                "memory": ended.memory,
                "lacking": ended.lacking,
            }
            why = _why(ended, self._settings.limits)
            if not why or ended.code == NO_RETRY:
                result["why"] = why
                place = self._store.keep_run(run.key, folder / "out", result)
                outcome = _judged(run, place, result, reused=False)
                outcome.tries = turn + 1
                return outcome
            outcome = Outcome(run, None, why, False, ended.seconds, ended.memory, turn + 1)
            if ended.why == "time":
                break  # once more would take as long
        return outcome

    def _ended(self, run: Run, folder: Path, request: Path) -> cells.Ended:
        values = {"{python}": run.engine.python, "{code}": "/code"}
        arguments = [re.sub(r"\{(python|code)\}", lambda m: values[m[0]], part) for part in run.command]
        data = run.data.folder
        launcher: cells.Launcher = self._local.launcher
        return launcher.run(
            arguments,
            binds=[
                *run.engine.binds,
                (str(run.code.place), "/code"),
                (str(request), "/in/request.json"),
                *((str(data / name), f"/in/{name}") for name in ("manifest.json", "universe.csv", "prices")),
            ],
            links=run.engine.links,
            environment={"BACKTEST_REQUEST": "/in/request.json"},
            limits=self._settings.limits,
            outputs=outputs.NAMES,
            target=folder / "out",
        )


def _judged(run: Run, folder: Path, result: Dict[str, Any], *, reused: bool) -> Outcome:
    """What a run left, read by its grammar. A refusal is an outcome, too."""
    outcome = Outcome(run, None, result.get("why") or "", reused, result["seconds"], result["memory"])
    outcome.digests = result["digests"]
    if outcome.why:
        return outcome
    try:
        window = run.request["window"]
        first, last = (date.fromisoformat(window[key]) for key in ("from", "to"))
        outcome.outputs = outputs.parse(folder, first, last, set(run.data.files))
    except outputs.BadOutput as error:
        outcome.why = str(error)
    return outcome


def _why(ended: cells.Ended, limits: cells.Limits) -> str:
    """Why a run gave nothing, empty if it did; what it said is others' and masked."""
    said = f": {last_words(ended.said)}" if ended.said.strip() else ", and said nothing"
    if ended.why == "time":
        return f"it ran for longer than {span(limits.seconds)} and was ended"
    if ended.why == "memory":
        return f"it took more memory than {size(limits.memory)} and was ended"
    if ended.why == "processes":
        return f"it started more than {limits.processes} processes and was ended"
    if ended.code is not None and ended.code < 0:
        return f"it was killed by signal {-ended.code}{said}"
    if ended.code == NO_RETRY:
        return f"it says that it need not be tried again (exit status {NO_RETRY}){said}"
    if ended.code:
        return f"it failed with exit status {ended.code}{said}"
    if ended.lacking:
        name, why = sorted(ended.lacking.items())[0]
        return f"its {name} is {why}"
    return ""


def last_words(said: str, limit: int = 200) -> str:
    """The end of what a program said, on one line, without what looks like a secret."""
    text = " ".join(masked(said).split())
    return printable(text if len(text) <= limit else f"... {text[-limit:]}", limit + 8)
