# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the ledger has of some days, and where earlier compliance reports saw the ends of the chains."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Dict, Optional, Sequence

from .._ledger.places import Store
from .._ledger.points import trusted
from .._ledger.record import parse_time
from .._ledger.walk import backwards
from ..checks import OK

MOST = 20_000
#: Titles of records of kind review: the compliance report's own, and one by hand that the end of a chain is what it is.
REPORT = "Compliance report"
ACCEPTED = "End of the audit trail accepted"
#: How titles of what was told to stakeholders begin, which is no review of anything.
TOLD = "Performance report "
#: How methods of what programs review begin: requirements ask for what people did.
COMPUTED = ("strategy-review-", "backtest-refresh-", "model-validation-")


@dataclass
class Told:
    """What the ledger tells.

    :param records: kind -> records since a time, and "kind:failed" -> those that do not tell success; None where one
        that should count does not verify
    :param heads: view of a chain -> entry_id and hash of its end in the newest report that has it
    :param accepted: since when the ends of chains begin anew
    :param reported: whether there is an earlier report
    :param whole: whether all was read that could have an end
    """

    records: Optional[Dict[str, int]] = field(default_factory=dict)
    heads: Dict[str, Dict[str, Any]] = field(default_factory=dict)
    accepted: Optional[datetime] = None
    reported: bool = False
    whole: bool = True


def told(
    storage: Optional[Dict[str, Any]],
    evidence: Optional[Dict[str, Any]],
    environment: str,
    since: datetime,
    chains: Sequence[str],
) -> Optional[Told]:
    """What the ledger tells; None without a ledger.

    :param chains: views whose ends are looked for, however old the report is that has them
    :raises MaintenanceError: store or keys cannot be read
    """
    given = {key: value for key, value in (evidence or {}).items() if value}
    if not storage or not (given.get("trusted_key_files") or given.get("signing_key") or given.get("signing_key_file")):
        return None
    found: Told = Told()
    counts: Dict[str, int] = {}
    looked_at, counting = 0, True
    for _number, record in backwards(Store(storage, environment, pool=16), trusted(given), environment, MOST):
        looked_at += 1
        if record is None:
            found.records, found.whole = None if counting else counts, False
            return found
        at, kind, content = (record.predicate[key] for key in ("recorded_at", "kind", "content"))
        moment, content = parse_time(at), content if isinstance(content, dict) else {}
        counting = counting and moment >= since
        if counting and (name := counts_as(kind, content)):
            counts[name] = counts.get(name, 0) + 1
        _learn(found, kind, content, moment)
        if not counting and (found.accepted or all(view in found.heads for view in chains)):
            break
    whole = looked_at < MOST
    found.records, found.whole = counts if whole or not counting else None, whole
    return found


def counts_as(kind: str, content: Dict[str, Any]) -> str:
    """What a record is counted as: its kind, "kind:failed", or nothing."""
    if kind == "review" and (content.get("title") in (REPORT, ACCEPTED) or str(content.get("title")).startswith(TOLD)):
        return ""  # a report is no evidence for itself
    if kind == "review" and str(content.get("method")).startswith(COMPUTED):
        return ""  # nobody has read it
    if content.get("state") == "begun":
        return ""  # how it ended is another record
    if kind == "patch" and content.get("state") != "ended":
        return ""  # a scan, which patches nothing
    sources = content.get("sources")
    done = {
        "audit": isinstance(sources, list)
        and bool(sources)
        and all(isinstance(each, dict) and each.get("outcome") == "complete" for each in sources),
        "backup": content.get("verified") is True,
        "drill": content.get("worst_status") == OK,
        "patch": content.get("well") is True,
    }
    return kind if done.get(kind, True) else f"{kind}:failed"


def _learn(found: Told, kind: str, content: Dict[str, Any], moment: datetime) -> None:
    if kind != "review" or found.accepted:
        return
    if content.get("title") == ACCEPTED:
        found.accepted = moment
    elif content.get("title") == REPORT:
        found.reported = True
        heads = content.get("heads")
        for view, head in (heads if isinstance(heads, dict) else {}).items():
            if sound(head):
                found.heads.setdefault(view, head)


def sound(head: Any) -> bool:
    """Whether this is an end of a chain."""
    if not isinstance(head, dict):
        return False
    number = head.get("entry_id")
    return isinstance(number, int) and not isinstance(number, bool) and isinstance(head.get("hash"), str)
