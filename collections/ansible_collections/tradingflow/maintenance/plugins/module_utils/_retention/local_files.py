# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deletes old files of other backups from folders of this host: by name and age, following no link."""

from __future__ import annotations

import os
import stat
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from ..checks import OK, WARNING, Check, as_action, unknown
from ..errors import ConfigurationError, MaintenanceError
from ..words import plural, size

ID, TITLE = "backup.local_files", "Old local backups"

SPEC: Dict[str, Any] = {
    "directories": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "path": {"type": "path", "required": True},
            "patterns": {"type": "list", "elements": "str", "required": True},
            "days": {"type": "int", "default": 30},
        },
    },
}


def clean(options: Dict[str, Any], *, check: bool = False, now: Optional[float] = None) -> Dict[str, Any]:
    """Deletes what is old.

    :param options: see SPEC
    :param check: only find it
    :returns: deleted (paths), freed_bytes, problems (path -> why)
    :raises ConfigurationError: a directory, pattern or age makes no sense
    """
    for each in options["directories"]:
        _sensible(each)
    deleted: List[str] = []
    problems: Dict[str, str] = {}
    freed = 0
    for each in options["directories"]:
        before = (time.time() if now is None else now) - each["days"] * 86400
        try:
            # Whoever may write above the folder must not be able to turn it into another one.
            folder = os.open(each["path"], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        except OSError as error:
            problems[each["path"]] = error.strerror or str(error)
            continue
        try:
            for name, found in _old(folder, each["patterns"], before):
                path = f"{each['path'].rstrip('/')}/{name}"
                try:
                    if not check:
                        os.unlink(name, dir_fd=folder)
                except OSError as error:
                    problems[path] = error.strerror or str(error)
                    continue
                deleted.append(path)
                freed += found.st_size if found.st_nlink == 1 else 0
        finally:
            os.close(folder)
    return {"deleted": deleted, "freed_bytes": freed, "problems": problems, "changed": bool(deleted)}


def _sensible(directory: Dict[str, Any]) -> None:
    path, days, patterns = directory["path"], directory["days"], directory["patterns"]
    if not path.startswith("/") or len(Path(path).parts) < 3 or ".." in Path(path).parts:
        raise ConfigurationError(
            f"{path} is not a folder of backups.", "Give an absolute path two levels deep or more, without any '..'."
        )
    if days < 1:
        raise ConfigurationError(f"{days} days is too young to delete a backup.", "Set days to 1 or more.")
    # A pattern that fits everything says nothing about what a file is.
    wrong = [each for each in patterns if "/" in each or len(each.replace("*", "").replace("?", "")) < 3]
    if wrong or not patterns:
        raise ConfigurationError(
            f"{wrong[0] if wrong else 'No pattern'!r} does not tell backups from other files.",
            "Give patterns of names such as db_*.sql.gz, with three characters or more of their own.",
        )


def _old(folder: int, patterns: List[str], before: float) -> List[Tuple[str, os.stat_result]]:
    """Regular files of the folder itself that fit and were last changed before a time, oldest first."""
    result = []
    for name in os.listdir(folder):
        if not any(fnmatchcase(name, pattern) for pattern in patterns):
            continue
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISREG(found.st_mode) and found.st_mtime < before:
            result.append((name, found))
    return sorted(result, key=lambda each: (each[1].st_mtime, each[0]))


def findings(said: Dict[str, Any], check: bool, started_at: str) -> Tuple[List[Check], List[Dict[str, Any]]]:
    """The check and the action.

    :param said: what clean returned
    """
    count, problems = len(said["deleted"]), said["problems"]
    what = f"{plural(count, 'old file')} ({size(said['freed_bytes'])})"
    text = f"{'Would delete' if check else 'Deleted'} {what}."
    details = {"deleted": said["deleted"][:200], "problems": dict(list(problems.items())[:20])}
    checks = []
    if problems:
        path, why = min(problems.items())
        wrong = f"{plural(len(problems), 'path')} could not be cleaned: {path}: {why}."
        remedy = "Fix what the message names (backup_local_directories)."
        checks.append(Check(ID, TITLE, WARNING, count, message=wrong, remedy=remedy, details=details))
    elif not check:
        checks.append(Check(ID, TITLE, OK, count, message=text, details=details))
    state = "planned" if check else "failed" if problems else "ok" if count else "skipped"
    return checks, [_action(state, text, bool(count and not check), details, started_at)]


def failure(error: MaintenanceError, started_at: str) -> Tuple[List[Check], List[Dict[str, Any]]]:
    """Check and action when nothing could be done."""
    text = f"{error.message} {error.remedy}".rstrip()
    return [unknown(ID, TITLE, error.message, error.remedy)], [_action("failed", text, False, {}, started_at)]


def _action(status: str, text: str, changed: bool, details: Dict[str, Any], started_at: str) -> Dict[str, Any]:
    return as_action(ID, TITLE, status, changed, text, started_at, details)
