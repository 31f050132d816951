# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trouble on purpose, and its end: what tests and exercises need. docs/exercises.md has a page of each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from .. import postgres
from ..layout import Layout, SandboxError, State
from ..lifecycle import existing
from ..processes import alive
from . import backups, books, machine, sessions
from .contract import Memory, Trouble, in_trouble

__all__ = ["TROUBLES", "Trouble", "begin", "heal", "in_trouble", "listed"]

TROUBLES: dict[str, Trouble] = {
    trouble.name: trouble for trouble in (*books.TROUBLES, *sessions.TROUBLES, *machine.TROUBLES, *backups.TROUBLES)
}


def begin(layout: Layout, name: str) -> str:
    """Brings the sandbox into trouble.

    :returns: what was done, as a sentence
    :raises SandboxError: there is no sandbox or no such trouble, or it is not possible here
    """
    trouble = TROUBLES.get(name)
    if trouble is None:
        raise SandboxError(f"There is no trouble {name!r}, only: {', '.join(TROUBLES)}.")
    with layout.locked():
        state = existing(layout)
        memory = Memory(state, name)
        if memory.get("complete"):
            return f"{name} is there already, since {memory.get('since')}."
        with _errors(name):
            if memory.get("since"):
                trouble.undo(memory)  # it was killed half-way
                memory.forget()
            memory.keep(since=datetime.now(UTC).isoformat(timespec="seconds"), complete=False)
            try:
                trouble.do(memory)
            except BaseException:
                # What could not begin leaves nothing behind; where that fails too, heal goes on.
                trouble.undo(memory)
                memory.forget()
                raise
            memory.keep(complete=True)
    return f"{name}: {trouble.does}"


def heal(layout: Layout) -> list[str]:
    """Ends all troubles, the last one first.

    :returns: what was done, as lines; empty if there was none
    :raises SandboxError: something could not be taken back; the other troubles are over, and it may be tried again
    """
    if not layout.state_file.exists():
        return []
    lines, problems = [], []
    with layout.locked():
        state = State(layout)
        if not state.complete:
            return []
        active = list(reversed(state.get("troubles", {})))
        # Services first: the others need them.
        active.sort(key=lambda name: not Memory(state, name).get("keeps_down"))
        for name in active:
            memory = Memory(state, name)
            try:
                with _errors(name):
                    TROUBLES[name].undo(memory)
            except SandboxError as error:
                problems.append(str(error))
            else:
                memory.forget()
                lines.append(f"{name}: {TROUBLES[name].undone}")
        if not problems and (back := came_back(state, active)):
            # Their rows are in the database with what they were; their own memory is of another time.
            for name in back:
                try:
                    with _errors(name):
                        TROUBLES[name].undo(Memory(state, name))
                    lines.append(f"{name}, which came back with a restored backup: {TROUBLES[name].undone}")
                except SandboxError as error:
                    problems.append(str(error))
            active += back
        if not problems and active:
            with _errors("heal"):
                books.clean_up(state)
                _wait_for_heartbeats(state)
    if problems:
        raise SandboxError("\n".join([*problems, "Fix that and run heal again, or end it all: make sandbox-down."]))
    return lines


def came_back(state: State, active: list[str]) -> list[str]:
    """Troubles of rows that the database has and nobody has begun: a backup that was made during one had it inside."""
    from psycopg2 import OperationalError

    try:
        found = books.kept(state)
    except OperationalError:
        # A database that is down has nothing to be taken back; whoever begun that is told of otherwise.
        return []
    return [name for name in found if name not in active and name in TROUBLES]


def listed(layout: Layout) -> list[str]:
    """All troubles as lines, those that are there with since when."""
    active = State(layout).get("troubles", {})
    lines = []
    for name, trouble in TROUBLES.items():
        since = f" [since {active[name]['since']}]" if name in active else ""
        lines.append(f"{name}{since}: {trouble.does}")
        lines += [f"    {id}: {status}" for id, status in trouble.turns.items()]
    return lines


@contextmanager
def _errors(name: str) -> Iterator[None]:
    """Errors of database, store and files as SandboxError."""
    from botocore.exceptions import BotoCoreError, ClientError
    from psycopg2 import Error as DatabaseError

    try:
        yield
    except (BotoCoreError, ClientError, DatabaseError, OSError) as error:
        raise SandboxError(f"{name}: {' '.join(str(error).split())}") from error


def _wait_for_heartbeats(state: State, seconds: float = 20) -> None:
    """Until the application, if it runs, writes signs of life again: only what is measured is green."""
    if not alive(state.get("app", {})):
        return
    deadline = time.monotonic() + seconds
    with postgres.cursor(state["postgres"]) as cursor:
        while True:
            cursor.execute(
                "SELECT min(beat_at) > clock_timestamp() - interval '4 seconds'"
                " FROM (SELECT max(beat_at) AS beat_at FROM heartbeat"
                " UNION ALL SELECT beat_at FROM strategy_heartbeats) b"
            )
            if cursor.fetchone()[0]:
                return
            if time.monotonic() > deadline:
                raise SandboxError(f"The application writes no heartbeats; see {state['app']['log_file']}.")
            time.sleep(0.1)
