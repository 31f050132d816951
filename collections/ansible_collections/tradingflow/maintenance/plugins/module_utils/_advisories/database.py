# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Seeded databases of advisories: OSV's archives, all.zip of each ecosystem, with what they are before and after."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Dict, Optional

from ..words import printable, size


def archive(database: str, ecosystem: str) -> Path:
    return Path(database) / ecosystem / "all.zip"


def state(path: Path) -> Dict[str, Any]:
    """What an archive is now: place, size, digest, how many advisories, and when the newest of them was changed.

    The file's own time says when it was copied; that of the newest advisory cannot be renewed by a copy.
    """
    found: Dict[str, Any] = {"path": str(path), "size": None, "sha256": None, "problem": None}
    found.update(file=None, records=0, newest=None)
    try:
        found.update(identity(path))
        with zipfile.ZipFile(path) as opened:
            newest = None
            for info in opened.infolist():
                if not info.filename.endswith(".json"):
                    continue
                record = json.loads(opened.read(info))
                changed = moment(record["modified"])
                if changed is None or not record["id"]:
                    raise ValueError(f"{info.filename} is no advisory")
                found["records"] += 1
                newest = max(newest or changed, changed)
            found["newest"] = newest.isoformat() if newest else None
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        found["problem"] = f"{type(error).__name__}: {printable(error, 200)}"
    return found


def identity(path: Path) -> Dict[str, Any]:
    """What tells an archive from another one.

    :raises OSError: it cannot be read
    """
    digest = hashlib.sha256()
    with path.open("rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
        now = os.fstat(opened.fileno())
    return {"size": now.st_size, "sha256": digest.hexdigest(), "file": f"{now.st_dev}:{now.st_ino}:{now.st_mtime_ns}"}


def moment(text: Any) -> Optional[datetime]:
    """A time of RFC 3339 as advisories have it; None when it is none."""
    if not isinstance(text, str):
        return None
    try:
        # Fractions come with up to nine digits, of which Python takes six.
        head, dot, rest = text.replace("Z", "+00:00").partition(".")
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        found = datetime.fromisoformat(f"{head}{dot}{digits[:6].ljust(6, '0')}{rest[len(digits) :]}" if dot else head)
    except ValueError:
        return None
    return found if found.tzinfo else None


def problem(before: Dict[str, Any], after: Optional[Dict[str, Any]], most_days: int, now: datetime) -> Optional[str]:
    """Why an archive proves nothing; None when it is well.

    :param after: what identity() said after the scan; None when the archive was gone
    """
    if before["problem"]:
        return f"it cannot be read ({before['problem']})"
    if not before["records"]:
        return f"it is empty: {size(before['size'])} without an advisory"
    newest = moment(before["newest"])
    if newest is None or newest > now + timedelta(days=1):
        return f"its newest advisory is of {before['newest']}, which cannot be"
    if now - newest > timedelta(days=most_days):
        return f"its newest advisory is of {newest:%Y-%m-%d}, more than {most_days} days ago"
    if after is None or any(after[key] != before[key] for key in after):
        return "it was changed during the scan"
    return None


def now() -> datetime:
    return datetime.now(timezone.utc)
