# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Area backups: deletes recovery points that no rule keeps, from the runner."""

from __future__ import annotations

import getpass
import os
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.utils.display import Display

from ..module_utils import ledger
from ..module_utils._retention.decided import Decided, intent
from ..module_utils._retention.engine import carry_out, decide
from ..module_utils._retention.files import Append
from ..module_utils._retention.findings import described, failure, findings, lines
from ..module_utils._retention.options import SPEC
from ..module_utils.checks import utc_now
from ..module_utils.errors import EvidenceError, MaintenanceError, StorageError
from ..module_utils.lock import acquire, release
from ..module_utils.lock_keeper import keep
from ..plugin_utils.area import AreaAction, Findings
from ..plugin_utils.project import within

display = Display()

#: Seconds after which another controller takes over the lock of one that died: nobody renews it any more.
LOCK_TTL = 600
#: Seconds between two lines of progress.
INTERVAL = 5.0
#: Lines of the plan on the screen; the report has them all.
SHOWN = 40


class ActionModule(AreaAction):
    area = "retention"
    spec = SPEC

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        if self.failed_alone(result):
            result.update(failed=True, msg=result["checks"][0]["message"])
        return result

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        started_at, check_mode = utc_now(), bool(self._task.check_mode)
        run = args.get("run") or {}
        run_id = run.get("run_id") or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-retention-{secrets.token_hex(3)}"
        root = (
            Path(run["directory"]).parent.parent if run.get("directory") else within(args["artifacts_dir"], task_vars)
        )
        append = self._append(args, root, run_id, run.get("actor") or _user(), check_mode)
        lock: dict[str, Any] = {}
        try:
            if not check_mode:
                lock = _lock(args, root, run_id)
            decided = decide(args)
            if check_mode:
                _rehearse(args, decided, append)
            done = None if check_mode else carry_out(args, decided, append, _tell())
        except MaintenanceError as error:
            return Findings(*failure(error, started_at))
        finally:
            if lock:
                release(lock, storage=args["storage"])
        plan = described(decided, args)
        extra: dict[str, Any] = {
            "plan": plan,
            "deleted": done.deleted if done else [],
            "refused": done.refused if done else {},
            "records": done.records if done else [],
            "forgotten": done.forgotten if done else [],
            # In check mode, what would be handed over.
            "backups": done.backups if done else list(decided.backups.going),
        }
        if self._task.diff:
            extra["diff"] = _diff(plan)
        if check_mode:
            _show(plan)
        checks, actions = findings(decided, args, done, started_at)
        would = bool(decided.going or decided.files.repositories)
        changed = would if done is None else bool(done.deleted or done.forgotten)
        return Findings(checks, actions, changed=changed, extra=extra)

    def _append(self, args: dict[str, Any], root: Path, run_id: str, actor: str, check_mode: bool) -> Append:
        def append(subjects: list[dict[str, Any]], content: dict[str, Any]) -> int:
            evidence = args["evidence"]
            record = ledger.append(
                args["storage"],
                args["environment_name"],
                "deletion",
                actor=actor,
                run_id=run_id,
                subjects=subjects,
                content=content,
                signing_key=evidence["signing_key"] or evidence["signing_key_file"],
                trusted_keys=evidence["trusted_key_files"],
                lock_mode=evidence["lock_mode"],
                lock_days=evidence["lock_days"],
                witness=root / f"ledger-{args['environment_name']}.jsonl",
                check_mode=check_mode,
            )
            return int(record["number"])

        return append


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _lock(args: dict[str, Any], root: Path, run_id: str) -> dict[str, Any]:
    """Locks retention of this environment in the store, whatever playbook it is part of.

    :raises MaintenanceError: another one is under way, or the store cannot say
    """
    try:
        lock = acquire(
            root,
            args["environment_name"],
            "backup-retention",
            run_id=run_id,
            owner_pid=os.getpid(),
            storage=args["storage"],
            ttl_s=LOCK_TTL,
        )
    except OSError as error:
        raise StorageError(f"{root} cannot be written: {error.strerror}", "Free space there.") from None
    if not lock["remote"]:
        release(lock, storage=args["storage"])
        raise StorageError("; ".join(lock["notes"]), "Without that lock nothing is deleted.")
    keep(lock, storage=args["storage"])
    return lock


def _rehearse(args: dict[str, Any], decided: Decided, append: Append) -> None:
    """Whether the ledger would take the record, told before it matters."""
    if decided.going:
        try:
            append(*intent(args, decided, decided.going[:1]))
        except MaintenanceError as error:
            raise EvidenceError(f"The ledger would not take the record: {error.message}", error.remedy) from None


def _diff(plan: dict[str, Any]) -> dict[str, str]:
    """What there is, and what of it stays."""
    rows = [(line.startswith("keep"), line.split(maxsplit=1)[1]) for line in lines(plan)]
    before, after = "".join(f"{row}\n" for _kept, row in rows), "".join(f"{row}\n" for kept, row in rows if kept)
    return {"before": before, "after": after, "before_header": "in the store", "after_header": "after retention"}


def _tell() -> Callable[[int, int], None]:
    """Shows how far it is, at most a line every few seconds."""
    shown = time.monotonic()

    def tell(place: int, total: int) -> None:
        nonlocal shown
        if time.monotonic() - shown >= INTERVAL:
            shown = time.monotonic()
            display.display(f"PROGRESS retention {place} of {total}")

    return tell


def _show(plan: dict[str, Any]) -> None:
    """The plan on the screen: what goes, then what stays."""
    shown = sorted(lines(plan), key=lambda line: line.startswith("keep"))
    for line in shown[:SHOWN]:
        display.display(f"            {line}")
    if len(shown) > SHOWN:
        display.display(f"            and {len(shown) - SHOWN} more: see the report, or use --diff")
