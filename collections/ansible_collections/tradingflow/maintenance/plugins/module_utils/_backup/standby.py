# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How old the data of a standby are that a dump is made of: its backup is as new as what it has replayed."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from .._postgres.snapshot import Snapshot
from ..checks import CRITICAL, OK, Check, judge, unknown
from ..words import span

#: Seconds behind from which on it is a warning, and critical.
LIMITS: Dict[str, Any] = {"warning": 900, "critical": 3600}

# Of a receiver that we may not look at, the status is null.
_STATE = """
SELECT pg_is_wal_replay_paused(), pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn(),
  (SELECT max(status) FROM pg_stat_wal_receiver),
  extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8"""


def state(snapshot: Snapshot) -> Optional[Dict[str, Any]]:
    """paused, replayed (all that was received), receiving and behind (seconds since the last commit that it replayed)
    of a standby; None on a primary."""
    if not snapshot.value("SELECT pg_is_in_recovery()"):
        return None
    return dict(zip(("paused", "replayed", "receiving", "behind"), snapshot.rows(_STATE)[0]))  # noqa: B905 Python 3.9


def findings(found: Optional[Dict[str, Any]], source: str) -> List[Check]:
    """The check of a backup that was made of a standby."""
    if not found:
        return []
    id, title, behind = "backup.standby", "Standby that was backed up", found["behind"]
    common: Dict[str, Any] = {"source": source, "details": found, "unit": "s"}
    remedy = "Look at its replication, or back up the primary."
    last = f"the last commit that it has is {span(behind)} old" if behind is not None else "it has no commit since"
    if found["paused"]:
        text = f"The backup is of a standby whose replay is paused: {last}."
        remedy = "Let it go on (pg_wal_replay_resume()), or back up the primary."
        return [Check(id, title, CRITICAL, behind, message=text, remedy=remedy, **common)]
    if found["receiving"] == "streaming" and found["replayed"]:
        text = "The backup is of a standby that streams, and had replayed all that it had received."
        return [Check(id, title, OK, 0, message=text, **common)]
    if found["receiving"] == "streaming" and behind is not None:
        text = f"The backup is of a standby that had not replayed all it had received: {last}."
        return [judge(id, title, behind, **LIMITS, message=text, remedy=remedy, **common)]
    if behind is not None and behind < LIMITS["warning"]:
        return [Check(id, title, OK, behind, message=f"The backup is of a standby: {last}.", **common)]
    text = f"The backup is of a standby that is not streaming, so how far it is behind is unknown: {last}."
    return [unknown(id, title, text, remedy, **common)]
