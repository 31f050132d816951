# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has pgBackRest delete backups that are named, and the WAL that no backup needs any more.

Each step is rehearsed (--dry-run) and what it says is read before it is done: its exit status says too little.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Set

from ..errors import BackupError, ConfigurationError, LockedError, MaintenanceError
from ..storage import STORAGE_SPEC
from . import info
from .messages import failure
from .options import PGBACKREST_SPEC
from .program import PgBackRest, Said

SPEC: Dict[str, Any] = {
    **{name: PGBACKREST_SPEC[name] for name in ("stanza", "config_file", "program", "run_as", "repository")},
    "backups": {"type": "list", "elements": "str", "required": True},
    "remove_wal": {"type": "bool", "default": True},
}

#: The module's: what proves the deletion is used on the controller only, which keeps the store's keys to itself.
EXPIRE_SPEC: Dict[str, Any] = {
    **SPEC,
    "repository_path": {"type": "str", "required": True},
    "storage": {"type": "dict", "required": True, "options": STORAGE_SPEC},
    "run": {"type": "dict"},
}

_LABEL = re.compile(r"\d{8}-\d{6}F(?:_\d{8}-\d{6}[DI])?")
_REMOVED = re.compile(r"repo\d+: remove expired backup (\S+)")
_WAL = re.compile(r"repo\d+: (\S+) remove archive, start = ([0-9A-F]{24}), stop = ([0-9A-F]{24})")
_PATH = re.compile(r"repo\d+: remove archive path:? (\S+)")
_ERROR = re.compile(r"ERROR: (\[\d+\]: .*)")


@dataclass
class Result:
    """What was done, or would be.

    :param expired: labels that went
    :param refused: label -> why it is still there
    :param wal: what went of the archives: archive, start and stop (names of segments; empty for all of it)
    :param wal_refused: why no WAL went, empty when it may
    :param wal_needed: archive -> first segment that a remaining backup needs
    """

    expired: List[str] = field(default_factory=list)
    refused: Dict[str, str] = field(default_factory=dict)
    wal: List[Dict[str, str]] = field(default_factory=list)
    wal_refused: str = ""
    wal_needed: Dict[str, str] = field(default_factory=dict)

    def as_dict(self, changed: bool) -> Dict[str, Any]:
        """As the module returns it."""
        return {**self.__dict__, "changed": changed}


class Expiry:
    """One repository's.

    :param options: see SPEC
    :param check: rehearse only
    """

    def __init__(self, options: Dict[str, Any], check: bool = False) -> None:
        self.tool = PgBackRest(options)
        self.number: int = options["repository"]
        self.remove_wal: bool = options["remove_wal"]
        self.check = check
        wrong = [label for label in options["backups"] if not _LABEL.fullmatch(label)]
        if wrong:
            raise ConfigurationError(
                f"{wrong[0]!r} is not a backup's label.", "Give labels as pgBackRest's info has them."
            )
        self.wanted: Set[str] = set(options["backups"])

    def run(self) -> Result:
        """Deletes what is wanted and may go.

        :raises MaintenanceError: pgBackRest does not answer, or a backup is under way; what went before stays gone
        """
        result, stanza = Result(), self._stanza()
        allowed = self._allowed(stanza, result)
        # Those that were made from others first.
        for label in sorted(allowed, key=lambda each: (-len(stanza.of(each).requires), each)):  # type: ignore[union-attr]
            if label not in result.expired:
                self._expire(label, allowed, result)
        left = stanza.backups if self.check else self._stanza().backups
        left = [backup for backup in left if not (self.check and backup.label in result.expired)]
        self._wal(left, result)
        return result

    def _stanza(self) -> info.Stanza:
        text = self.tool.checked("info", f"--repo={self.number}", "--output=json")
        stanza = info.parse(text, self.tool.stanza, self.number)
        if stanza.problem or not stanza.exists:
            raise BackupError(
                f"The repository's stanza {self.tool.stanza} cannot be read: {stanza.problem}.",
                "Check the store and the cipher's key, and read pgBackRest's log.",
            )
        if stanza.busy:
            raise LockedError("A backup by pgBackRest is under way.", "Wait for it to end, then run again.")
        return stanza

    def _allowed(self, stanza: info.Stanza, result: Result) -> Set[str]:
        """Those that pgBackRest has and that nothing needs but what goes as well."""
        allowed = {label for label in self.wanted if stanza.of(label)}
        while True:
            needed = {
                label: backup.label
                for backup in stanza.backups
                if backup.label not in allowed
                for label in backup.requires
            }
            stuck = allowed & set(needed)
            if not stuck:
                return allowed
            result.refused.update({label: f"{needed[label]} needs it" for label in stuck})
            allowed -= stuck

    def _expire(self, label: str, allowed: Set[str], result: Result) -> None:
        """Deletes one with all that were made from it."""
        said = self._said(f"--set={label}", dry=True)
        going, problem = set(_REMOVED.findall(said.out)), _problem(said)
        if problem:
            result.refused[label] = problem
        elif label not in going:
            result.refused[label] = "pgBackRest would not delete it"
        elif going - allowed:
            result.refused[label] = f"pgBackRest would delete {min(going - allowed)}, too"
        elif self.check:
            result.expired += sorted(going - set(result.expired))
        else:
            said = self._said(f"--set={label}")
            problem = _problem(said)
            gone = {each for each in going if not self._has(each)}
            result.expired += sorted(gone - set(result.expired))
            if problem or going - gone:
                for each in going if problem else going - gone:
                    result.refused[each] = problem or "pgBackRest still has it"

    def _has(self, label: str) -> bool:
        return self._stanza().of(label) is not None

    def _said(self, *options: str, dry: bool = False) -> Said:
        more = ["--dry-run"] if dry else []
        return self.tool.run(
            "expire",
            f"--repo={self.number}",
            *options,
            *more,
            "--log-level-console=info",
            "--log-level-stderr=off",
            timeout=3600,
        )

    def _wal(self, left: List[info.Backup], result: Result) -> None:
        """Deletes what is older than the oldest backup of its archive needs. pgBackRest counts full backups for it."""
        for backup in left:
            oldest = result.wal_needed.get(backup.archive_id)
            # Of two timelines the older one's number is the lower.
            result.wal_needed[backup.archive_id] = min(filter(None, (oldest, backup.wal_start)))
        fulls = sum(backup.type == "full" for backup in left)
        if not self.remove_wal or not fulls:
            result.wal_refused = "" if not self.remove_wal else "no full backup is left"
            return
        if self.check:
            # What pgBackRest would say now counts what has not gone yet.
            return
        how = (f"--repo{self.number}-retention-archive={fulls}", f"--repo{self.number}-retention-archive-type=full")
        said = self._said(*how, dry=True)
        problem = _problem(said) or _too_much(said.out, result)
        if problem:
            result.wal_refused = problem
            return
        said = self._said(*how)
        result.wal = _wal_of(said.out)
        result.wal_refused = _problem(said) or ""


def _wal_of(text: str) -> List[Dict[str, str]]:
    found = [{"archive": each[0], "start": each[1], "stop": each[2]} for each in _WAL.findall(text)]
    paths = [path.rstrip("/").rsplit("/", 1)[-1] for path in _PATH.findall(text)]
    return found + [{"archive": each, "start": "", "stop": ""} for each in paths]


def _too_much(text: str, result: Result) -> Optional[str]:
    """Why what it would delete must not go."""
    backups = _REMOVED.findall(text)
    if backups:
        return f"with the WAL pgBackRest would delete the backup {backups[0]}"
    for each in _wal_of(text):
        needed = result.wal_needed.get(each["archive"])
        if needed and (not each["stop"] or each["stop"][8:] >= needed[8:]):
            end = each["stop"] or "its end"
            return f"pgBackRest would delete WAL of {each['archive']} up to {end}, {needed} is needed"
    return None


def _problem(said: Said) -> Optional[str]:
    """What went wrong, None for nothing. What it says counts besides how it ended."""
    errors = _ERROR.findall(said.out)
    if errors:
        return " ".join(errors[0].split())[:300]
    if said.code:
        error: MaintenanceError = failure("expire", said.code, said.err or said.out)
        return error.message
    return None if "expire command end: completed successfully" in said.out else "pgBackRest did not say that it ended"
