# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recovery time, its forecast, and loss of data, as a drill measured them, against the objectives."""

from __future__ import annotations

from typing import Any, Dict

from ..checks import OK, Check, judge, unknown
from ..words import human, span

#: Phases that take longer the larger the database is.
GROWING = ("fetch", "files", "restore", "prove")
#: Seconds by which a heartbeat may be ahead of the clock.
CLOCK_TOLERANCE = 300
RTO_REMEDY = "Restore with more jobs or on a faster machine, or change the objective (restore_drill_rto)."
RPO_REMEDY = {
    "logical": "A logical backup loses everything since its snapshot: archive the write-ahead log continuously, back up"
    " as often as the objective says, or change the objective (restore_drill_rpo).",
    "pgbackrest": "Find out why newer WAL is not in the repository (pg_stat_archiver, archive_timeout, the check"
    " drill.wal), or change the objective (restore_drill_rpo).",
}


def rto(result: Dict[str, Any], options: Dict[str, Any]) -> Check:
    """By the clock, proof included; how much of it the proof was is said."""
    id, title, seconds = "drill.rto", "Recovery time (RTO)", result["rto_seconds"]
    limit: Dict[str, Any] = {"warning": None, "critical": options["rto"]}
    if seconds is None:
        text = "The recovery time was not measured: the drill did not come to its end."
        return unknown(id, title, text, "See what the drill says, fix it, and drill again.", unit="s", **limit)
    until = "a healthy application" if result["with_application"] else "a proven database; no application was started"
    proof = f", {span(result['phases'].get('prove', 0.0))} of it the proof"
    text = f"{span(seconds)} from the start to {until}{proof}; the objective is {span(options['rto'])}."
    return judge(id, title, seconds, unit="s", **limit, message=text, remedy=RTO_REMEDY)


def forecast(result: Dict[str, Any], options: Dict[str, Any]) -> Check:
    """The same for the source's size today. How much WAL is to be replayed does not follow from the size."""
    id, title = "drill.rto_forecast", "Recovery time forecast for today's size"
    limit: Dict[str, Any] = {"warning": None, "critical": options["rto"]}
    source, recorded = result["source"], result["recovery_point"]["database_bytes"]
    if result["rto_seconds"] is None:
        text = "There is no forecast: the drill did not come to its end."
        return unknown(id, title, text, "See what the drill says, fix it, and drill again.", unit="s", **limit)
    if source["error"]:
        text = f"There is no forecast, as the source's size today is not known: {source['error']}"
        remedy = "Check the database; in a disaster, take the recovery time as measured."
        return unknown(id, title, text, remedy, unit="s", **limit)
    today = recorded if source["bytes"] is None else source["bytes"]
    ratio = today / recorded if recorded else 1.0
    growing = sum(result["phases"].get(name, 0.0) for name in GROWING)
    seconds = round(max(result["rto_seconds"] - growing, 0.0) + growing * ratio, 3)
    speed = recorded / growing if growing else 0.0
    of = "the source today" if source["bytes"] is not None else "the recovery point, as no source is named"
    over = ", ".join(name for name in GROWING if name in result["phases"])
    text = f"{span(seconds)} for {human(today)}, the size of {of}, at {human(speed)}/s over {over}."
    details = {"database_bytes": today, "drilled_bytes": recorded, "bytes_per_s": round(speed)}
    return judge(id, title, seconds, unit="s", **limit, message=text, remedy=RTO_REMEDY, details=details)


def of_today(result: Dict[str, Any], options: Dict[str, Any]) -> bool:
    """Whether what would be lost says anything of today: an older dump does not, WAL leads to today from anywhere."""
    return bool(options["recovery_point"] == "newest" or result["recovery_point"]["engine"] != "logical")


def rpo(result: Dict[str, Any], options: Dict[str, Any]) -> Check:
    """What would be lost if the disaster were now."""
    id, title, seconds = "drill.rpo", "Data loss if the disaster were now (RPO)", result["rpo_seconds"]
    limit: Dict[str, Any] = {"warning": None, "critical": options["rpo"]}
    if seconds is None:
        text = "The loss of data was not measured: the restored copy has no heartbeat."
        remedy = "Define the view maintenance.heartbeat (docs/sandbox.md), and see what the drill says."
        return unknown(id, title, text, remedy, unit="s", **limit)
    at = result["heartbeat_at"]
    if seconds < -CLOCK_TOLERANCE:
        text = f"The newest heartbeat in the restored copy, {at}, is {span(-seconds)} in the future: a clock is wrong."
        return unknown(id, title, text, "Synchronise the clocks of database and drill.", unit="s", **limit)
    seconds = max(seconds, 0.0)
    if not of_today(result, options):
        text = (
            f"The newest heartbeat in the restored copy is of {at}. Not judged: another than the newest was asked for."
        )
        return Check(id, title, OK, seconds, "s", message=text, details={"heartbeat_at": at})
    text = f"The newest heartbeat in the restored copy is of {at}: {span(seconds)} would be lost;"
    text += f" the objective is {span(options['rpo'])}."
    remedy = RPO_REMEDY[result["recovery_point"]["engine"]]
    return judge(id, title, seconds, unit="s", **limit, message=text, remedy=remedy, details={"heartbeat_at": at})
