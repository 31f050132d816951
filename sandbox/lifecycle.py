# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Up, down, start, stop and status of a whole sandbox."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

from . import application, postgres, storage
from .layout import SERVICES, Layout, SandboxError, State, mounts_below, write_private
from .processes import alive, end, marked

MODULES: dict[str, ModuleType] = {"postgres": postgres, "s3": storage, "app": application}
SIZES = ("empty", "small", "default", "large")


def up(layout: Layout, *, size: str | None, seed: int | None, with_app: bool) -> list[str]:
    """Brings the sandbox up, from whatever state it is in.

    :returns: what was done, as lines; empty if all ran already
    :raises SandboxError: something does not start, or another size or seed is up
    """
    with layout.locked():
        state = State(layout)
        if not state.complete:
            from botocore.exceptions import BotoCoreError, ClientError
            from psycopg2 import Error as DatabaseError

            try:
                return _build(state, size or "default", 1 if seed is None else seed, with_app)
            except (BotoCoreError, ClientError, DatabaseError) as error:
                raise SandboxError(f"The sandbox could not be made: {error}") from error
        history = state["history"]
        for name, wanted in (("size", size), ("seed", seed)):
            if wanted is not None and history[name] != wanted:
                raise SandboxError(
                    f"The sandbox that is up has the {name} {history[name]}, not {wanted}. Take it down first."
                )
        return _resume(state, with_app)


def outdated(layout: Layout, hours: float) -> dict[str, Any] | None:
    """The history's section of the state if it ended more than so many hours ago, else None."""
    with layout.locked():
        state = State(layout)
        if not state.complete:
            return None
        history: dict[str, Any] = state["history"]
        age = datetime.now(UTC) - datetime.fromisoformat(history["anchor"])
        return history if age > timedelta(hours=hours) else None


def _services(state: State) -> list[str]:
    return [name for name in SERVICES if name != "app" or state.get("with_app")]


def _resume(state: State, with_app: bool) -> list[str]:
    lines = []
    (state.layout.root / "scratch").mkdir(mode=0o700, exist_ok=True)
    if state.get("mounts"):  # they do not outlive a restart of the machine
        there = mounts_below(state.layout.root)
        state.update(mounts=[mount for mount in state["mounts"] if Path(mount["path"]) in there])
    if with_app and not state.get("with_app"):
        state.update(with_app=True)
    purpose = {
        service: name for name, record in state.get("troubles", {}).items() for service in record.get("keeps_down", ())
    }
    for name in _services(state):
        if name in purpose:
            if MODULES[name].problem(state[name]):
                lines.append(f"{name} is left as it is: trouble on purpose ({purpose[name]}). make heal ends it.")
        elif MODULES[name].problem(state[name]):
            MODULES[name].stop(state)
            MODULES[name].start(state)
            lines.append(f"{name} restarted: {address(state[name])}")
    return lines


def _build(state: State, size: str, seed: int, with_app: bool) -> list[str]:
    """Everything from nothing; what an unfinished start left is thrown away, its ports are kept."""
    layout = state.layout
    _end_hosts(state)
    end(marked(layout.root), signal.SIGKILL, 10)
    layout.prepare_root()
    (layout.root / "log").mkdir(mode=0o700)
    (layout.root / "scratch").mkdir(mode=0o700)
    keys = layout.root / "keys"
    keys.mkdir(mode=0o700)
    kept = {
        name: {key: value for key, value in state.get(name, {}).items() if key in ("port", "ports")}
        for name in SERVICES
    }
    state.data = {}
    state.update(schema=1, complete=False, with_app=with_app, data_root=str(layout.root), **kept)

    with ThreadPoolExecutor(2) as pool:
        # Processor time is scarce and these mostly wait: S3 alongside the database, which is alongside the history.
        store = pool.submit(storage.create, state)
        database = pool.submit(_build_database, state)
        from .certificates import write_signing_key
        from .history import History

        state.update("evidence", **write_signing_key(keys))
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        history = History(seed=seed, anchor=now, size=size)
        database.result()
        counts = history.load(state["postgres"])
        postgres.stop(state)
        # What was logged while it was made is nobody's trouble.
        log_file = Path(state["postgres"]["log_file"])
        log_file.rename(log_file.with_name("postgres.build.log"))
        postgres.start(state)
        application.create(state)
        history.write_files(Path(state["app"]["data_dir"]))
        if with_app:
            application.start(state)
        store.result()
    if state["postgres"]["pgbackrest"]:
        # The server's user, who speaks to the store then, may not enter the store's folder.
        write_private(
            Path(state["postgres"]["pgbackrest_dir"]) / "ca.crt",
            Path(state["s3"]["ca_file"]).read_text(encoding="utf-8"),
            0o644,
        )
    state.update(
        history={"size": size, "seed": seed, "anchor": now.isoformat(), "digest": history.digest, "rows": counts}
    )
    state.update(complete=True)
    total = sum(counts.values())
    return [
        *(f"{name}: {address(state[name])}" for name in _services(state)),
        f"history: {total:,} rows, size {size}, seed {seed}",
        f"state: {layout.state_file}",
    ]


def _build_database(state: State) -> None:
    postgres.create(state)
    application.migrate(state)


def address(section: dict[str, Any]) -> str:
    """Where a service is, for people."""
    return str(section.get("url") or section.get("endpoint") or f"{section['host']}:{section['port']}")


def down(layout: Layout) -> list[str]:
    """Stops everything and deletes everything."""
    if not layout.state_file.exists() and not layout.root.exists() and not layout.lock_file.exists():
        return []
    with layout.locked():
        state = State(layout)
        # A state file may be of another root than the environment's.
        if state.get("data_root"):
            layout.root = Path(state["data_root"])
        _end_hosts(state)
        recorded = [state.data[name]["pid"] for name in SERVICES if alive(state.get(name, {}))]
        # Only SIGQUIT lets PostgreSQL free its shared memory; the others need not be asked.
        postgres.stop(state, fast=True)
        end({*recorded, *marked(layout.root)}, signal.SIGKILL, 10)
        storage.stop(state)
        layout.remove_root()
        layout.state_file.unlink(missing_ok=True)
        layout.lock_file.unlink(missing_ok=True)
    with suppress(OSError):
        layout.state_file.parent.rmdir()
    return ["The sandbox is gone."]


def _end_hosts(state: State) -> None:
    if state.get("cluster"):
        from .cluster import cluster

        cluster.stop(state)
    if state.get("hosts"):
        from .hosts import fleet  # hardly anybody has any

        fleet.stop(state)


def start(layout: Layout, name: str) -> None:
    """Starts one service on its old data and port, unless it runs."""
    with layout.locked():
        state = existing(layout)
        if name == "app":
            state.update(with_app=True)
        if MODULES[name].problem(state[name]):
            MODULES[name].stop(state)
            MODULES[name].start(state)


def stop(layout: Layout, name: str) -> None:
    """Stops one service; its data stays."""
    with layout.locked():
        MODULES[name].stop(existing(layout))


def restart(layout: Layout, name: str) -> None:
    """Stops and starts one service."""
    with layout.locked():
        state = existing(layout)
        MODULES[name].stop(state)
        MODULES[name].start(state)


def existing(layout: Layout) -> State:
    """The state of a sandbox that is there.

    :raises SandboxError: there is none
    """
    state = State(layout)
    if not state.complete:
        raise SandboxError("There is no sandbox. Run: python -m sandbox up")
    return state


def status(layout: Layout) -> dict[str, Any]:
    """What is where.

    :returns: healthy, state_file, data_root, size (bytes), history, troubles (on purpose), cluster (status, address;
        None for none), services: by name status (up|down), problem, pid, address, version, data_dir, log_file, size
        (bytes)
    """
    state = State(layout)
    if not state.data:
        return {"healthy": False, "state_file": str(layout.state_file), "services": {}}
    services = {}
    wanted = _services(state)
    for name in wanted:
        section = state.get(name, {})
        if not section.get("data_dir"):
            continue
        problem = MODULES[name].problem(section)
        services[name] = {
            "status": "down" if problem else "up",
            "problem": problem,
            "pid": section.get("pid") if alive(section) else None,
            "address": address(section),
            "version": section.get("version"),
            "data_dir": section["data_dir"],
            "log_file": section["log_file"],
            "size": _size(Path(section["data_dir"])),
        }
    healthy = state.complete and len(services) == len(wanted) and all(s["status"] == "up" for s in services.values())
    return {
        "healthy": healthy,
        "complete": state.complete,
        "state_file": str(layout.state_file),
        "data_root": state.get("data_root"),
        "size": _size(Path(state["data_root"])),
        "history": state.get("history"),
        "troubles": list(state.get("troubles", ())),
        "services": services,
        "cluster": _cluster(state),
    }


def _cluster(state: State) -> dict[str, Any] | None:
    """Whether the cluster's node is there, and where it is; None if there is none. Services do without."""
    section = state.get("cluster")
    if not section:
        return None
    up = bool(section.get("disposable")) or alive(section)
    return {"status": "up" if up and section.get("complete") else "down", "address": section["server"]}


def _size(folder: Path) -> int:
    """Bytes on disk of a folder."""
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_blocks * 512
    return total
