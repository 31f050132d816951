# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run's own folder on the controller: artifacts/<playbook>/<run id>/.

Every area puts what it found into spool/<area>@<host>.json. The report is built from these files, so that
an area that never answered is seen as missing, and nothing hangs on Ansible's memory of the run.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple, Union
from urllib.parse import quote

from .masking import masked_data


def write_private(path: Path, data: Union[str, bytes]) -> None:
    """Writes a file whole or not at all, mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data.encode() if isinstance(data, str) else data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_spool(
    directory: Path,
    area: str,
    host: str,
    checks: List[Dict[str, Any]],
    actions: List[Dict[str, Any]],
    part: str = "",
) -> None:
    """Hands an area's checks and actions of one host to the report.

    :param directory: the run's folder
    :param checks: contract 1, see checks.py
    :param actions: what was done: id, title, status (ok, failed, skipped, planned), changed, message, started_at,
        finished_at, details
    :param part: keeps what is handed in beside the area's own, instead of in its place
    """
    record = {"area": area, "host": host, "checks": checks, "actions": masked_data(actions)}
    name = f"{quote(area, safe='')}@{quote(host, safe='')}{'@' + quote(part, safe='') if part else ''}.json"
    write_private(directory / "spool" / name, json.dumps(record))


def read_spool(directory: Path) -> Iterator[Dict[str, Any]]:
    """What the areas handed in, in order of their names. A file that cannot be read is skipped: the area is missing."""
    for path in sorted((directory / "spool").glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(record, dict) and {"area", "host", "checks", "actions"} <= record.keys():
            yield record


#: The scope of a run that looked at all of its plan.
WHOLE: Dict[str, Any] = {"partial": False, "tags": [], "skip_tags": [], "limit": None, "left_out": []}


def is_partial(report: Dict[str, Any]) -> bool:
    """Whether a run looked at a part of its plan only (--tags, --limit)."""
    return bool((report.get("scope") or WHOLE)["partial"])


def is_whole(report: Dict[str, Any]) -> bool:
    """Whether the run did all that its procedure does, so that it counts as the daily (weekly ...) having come."""
    return not report["check_mode"] and not is_partial(report)


def standing(history: List[Dict[str, Any]]) -> Dict[Tuple[str, str], List[Dict[str, Any]]]:
    """What is known by area and host: of the last whole run, and where later partial runs looked again, of these.

    :param history: reports, oldest first
    """
    known: Dict[Tuple[str, str], List[Dict[str, Any]]] = {}
    for report in history:
        if is_whole(report):
            known = {}
        places: Dict[Tuple[str, str], List[Dict[str, Any]]] = {}
        for check in report["checks"]:
            # That a partial run measured nothing is no area's state.
            if check["area"] != "report" or is_whole(report):
                places.setdefault((check["area"], check["host"]), []).append(check)
        known.update(places)
    return known
