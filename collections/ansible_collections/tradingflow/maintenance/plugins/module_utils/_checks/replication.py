# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area database: replicas, what is written to WAL's archive, and whether it can be written to at all."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

from ..checks import CRITICAL, OK, WARNING, Check, judge, limits, unknown
from ..words import plural, printable, span
from .earlier import Earlier
from .sql import NotMeasured, Probe, Row

READ = "Grant the role the right to read statistics: GRANT pg_monitor TO the maintenance user."
LAG, LAG_TITLE = "database.replication_lag", "Replication lag"
ARCHIVE, ARCHIVE_TITLE = "database.archive", "Archive of WAL"
WAITING, WAITING_TITLE = "database.archive_waiting", "WAL waiting to be archived"
AGE, AGE_TITLE = "database.archive_age", "Age of the oldest WAL waiting to be archived"
WRITABLE, WRITABLE_TITLE = "database.writable", "Database can be written to"

#: Seconds without a word of the primary from which on the connection is held to be dead: it says something every 30 s.
SILENT = 60


def expected(earlier: Earlier, wanted: int) -> int:
    """How many replicas there should be: as the operator says, else as many as when all was well last."""
    if wanted >= 0:
        return wanted
    for check in reversed(earlier(LAG)):
        count = check.get("details", {}).get("replicas")
        if check.get("status") in (OK, WARNING) and isinstance(count, int):
            return count
    return 0


def lag(rows: List[Row], thresholds: Dict[str, Any], earlier: Earlier, options: Row) -> Iterator[Check]:
    """Delay of replay: of a standby its own, else that of the slowest replica. What is cut off is critical."""
    row = rows[0]
    if row["hidden"] or (row["standby"] and (row["streams"] is None or (row["receivers"] and not row["receiving"]))):
        raise NotMeasured("the state of the replicas is hidden from this role.", READ)
    if row["standby"]:
        yield _standby(row, thresholds)
        return
    wanted = expected(earlier, options["replicas"])
    replicas = row["replicas"]
    value = round(row["seconds"] or 0, 1)
    check = judge(
        LAG,
        LAG_TITLE,
        value,
        unit="s",
        **limits(thresholds, "replication_lag"),
        message=f"{plural(replicas, 'replica')}, the slowest {value:g} s behind."
        if replicas
        else "No replica is connected, and none is expected.",
        remedy="Check the replica, the network to it and long queries on it.",
        source="pg_stat_replication",
        details={"replicas": replicas, "expected": wanted, "standby": False},
    )
    if replicas < wanted:
        check.status = CRITICAL
        connected = plural(replicas, "replica is", "replicas are") if replicas else "No replica is"
        check.message = f"{connected} connected, {wanted} expected."
        check.remedy = (
            "Get the replica and the network to it running; when it is gone for good, set "
            "health_check_database_replicas to what is left."
        )
    yield check


def _standby(row: Row, thresholds: Dict[str, Any]) -> Check:
    old = "nothing was replayed yet" if row["replayed"] is None else f"the last change is {span(row['replayed'])} old"
    common: Dict[str, Any] = {
        "unit": "s",
        **limits(thresholds, "replication_lag"),
        "source": "pg_stat_wal_receiver",
        "details": {"standby": True, "connected": bool(row["receivers"])},
    }
    remedy = "Check the primary, the network to it, and the standby's log."
    if row["streams"] and not row["receivers"]:
        text = f"This standby is not connected to its primary: {old}."
        return Check(LAG, LAG_TITLE, CRITICAL, None, message=text, remedy=remedy, **common)
    if row["receivers"]:
        behind = row["behind"]
        if row["silent"] is None or row["silent"] > SILENT:
            ago = "ever" if row["silent"] is None else f"for {span(row['silent'])}"
            text = f"The primary has said nothing {ago}: {old}."
            return Check(LAG, LAG_TITLE, CRITICAL, None, message=text, remedy=remedy, **common)
    else:
        # Fed from an archive: only the age of what it has replayed is known.
        behind = row["replayed"]
    if behind is None:
        return unknown(LAG, LAG_TITLE, f"{LAG_TITLE}: {old}.", "Run again once it has replayed something.", **common)
    value = round(max(behind, 0), 1)
    return judge(
        LAG,
        LAG_TITLE,
        value,
        message=f"This standby is {value:g} s behind.",
        remedy="Check long queries on it.",
        **common,
    )


def archive(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Whether the archiving of WAL fails. Critical while its last try failed, or nothing would be tried."""
    row = rows[0]
    common: Dict[str, Any] = {"source": "pg_stat_archiver", "details": {"failed": row["failed_count"]}}
    remedy = "Read the server's log for what archive_command says; until it works WAL fills the disk."
    if row["mode"] == "off":
        yield Check(ARCHIVE, ARCHIVE_TITLE, OK, "off", message="WAL is not archived (archive_mode is off).", **common)
    elif row["mode"] == "on" and row["standby"]:
        text = "A standby leaves archiving to its primary."
        yield Check(ARCHIVE, ARCHIVE_TITLE, OK, "on the primary", message=text, **common)
    elif row["command"] in ("", "(disabled)") and not row["library"]:
        text = "WAL archiving is on, but archive_command is empty: nothing is archived."
        yield Check(ARCHIVE, ARCHIVE_TITLE, CRITICAL, "nothing to archive with", message=text, remedy=remedy, **common)
    elif row["failing"]:
        text = f"WAL cannot be archived: {printable(row['last_failed_wal'])} failed."
        yield Check(ARCHIVE, ARCHIVE_TITLE, CRITICAL, "failing", message=text, remedy=remedy, **common)
    elif row["last_archived_wal"] is None:
        raise NotMeasured(
            "WAL archiving is on, but nothing has been archived yet.", "Force one: SELECT pg_switch_wal()."
        )
    elif row["command"] is None:
        raise NotMeasured("archive_command is hidden from this role.", READ)
    else:
        text = f"WAL is archived, last {printable(row['last_archived_wal'])}."
        yield Check(ARCHIVE, ARCHIVE_TITLE, OK, "works", message=text, **common)


def waiting(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """How much WAL waits to be archived, and for how long: a command that hangs never fails."""
    row = rows[0]
    count, age = row["waiting"], max(0, round(row["seconds"] or 0))
    oldest = f", the oldest for {span(age)}" if count else ""
    common: Dict[str, Any] = {
        "message": f"{plural(count, 'file waits', 'files wait')} to be archived{oldest}."
        if count
        else "No file waits.",
        "remedy": "See whether archive_command hangs (ps, the server's log); until it goes on WAL fills the disk and "
        "backups are not complete.",
        "source": "pg_ls_archive_statusdir",
    }
    yield judge(WAITING, WAITING_TITLE, count, **limits(thresholds, "archive_waiting"), **common)
    yield judge(AGE, AGE_TITLE, age, unit="s", **limits(thresholds, "archive_age"), **common)


def writable(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Whether transactions may write by default: for the server, this database, or a role that owns tables in it; and
    whether their commits wait for a standby that is not there."""
    row = rows[0]
    common: Dict[str, Any] = {
        "source": "pg_settings and pg_db_role_setting",
        "details": {"roles": [printable(role, 63) for role in row["roles"][:20]]},
    }
    remedy = "Find who set it and why, then set default_transaction_read_only to off again."
    if row["standby"]:
        yield Check(WRITABLE, WRITABLE_TITLE, OK, "standby", message="A standby only reads.", **common)
    elif row["synchronous"] and not row["in_step"]:
        text = "Commits wait for a synchronous standby (synchronous_standby_names), and none is connected."
        remedy = "Get the standby running, or take it from synchronous_standby_names and reload."
        yield Check(WRITABLE, WRITABLE_TITLE, CRITICAL, "waits", message=text, remedy=remedy, **common)
    elif row["database"] or (row["default"] == "on" and not row["own"]):
        where = "this database" if row["database"] else "the server"
        text = f"default_transaction_read_only is on for {where}: what the application writes is refused."
        yield Check(WRITABLE, WRITABLE_TITLE, CRITICAL, "read only", message=text, remedy=remedy, **common)
    elif row["roles"]:
        names = ", ".join(printable(role, 63) for role in row["roles"][:5])
        text = f"default_transaction_read_only is on for roles that own tables here: {names}."
        yield Check(WRITABLE, WRITABLE_TITLE, WARNING, "read only", message=text, remedy=remedy, **common)
    elif row["own"]:
        raise NotMeasured(
            "default_transaction_read_only is set for this role, so that the server's own value cannot be seen.",
            "Take it from the maintenance role: its sessions only read as it is (ALTER ROLE ... RESET).",
        )
    else:
        yield Check(WRITABLE, WRITABLE_TITLE, OK, "writable", message="Transactions may write by default.", **common)


REPLICATION: Tuple[Probe, ...] = (
    Probe(
        ((LAG, LAG_TITLE),),
        "pg_stat_replication",
        """
        SELECT pg_is_in_recovery() AS standby,
               count(pid) FILTER (WHERE state IS DISTINCT FROM 'backup')::int AS replicas,
               count(pid) FILTER (WHERE state IS NULL)::int AS hidden,
               coalesce(max(extract(epoch FROM replay_lag)), 0)::float8 AS seconds,
               (SELECT setting <> '' FROM pg_settings WHERE name = 'primary_conninfo') AS streams,
               (SELECT count(*)::int FROM pg_stat_wal_receiver) AS receivers,
               (SELECT max(status) FROM pg_stat_wal_receiver) AS receiving,
               (SELECT extract(epoch FROM clock_timestamp() - max(last_msg_receipt_time))::float8
                FROM pg_stat_wal_receiver) AS silent,
               extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 AS replayed,
               CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
                    ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END::float8 AS behind
        FROM pg_stat_replication
        """,
        lag,
        compares=True,
        context=True,
    ),
    Probe(
        ((ARCHIVE, ARCHIVE_TITLE),),
        "pg_stat_archiver",
        """
        SELECT current_setting('archive_mode') AS mode, pg_is_in_recovery() AS standby, failed_count,
               last_archived_wal, last_failed_wal,
               (SELECT setting FROM pg_settings WHERE name = 'archive_command') AS command,
               (SELECT setting FROM pg_settings WHERE name = 'archive_library') AS library,
               coalesce(last_failed_time > last_archived_time, last_failed_time IS NOT NULL) AS failing
        FROM pg_stat_archiver
        """,
        archive,
    ),
    Probe(
        ((WAITING, WAITING_TITLE), (AGE, AGE_TITLE)),
        "pg_ls_archive_statusdir",
        """
        SELECT count(*)::int AS waiting, extract(epoch FROM clock_timestamp() - min(modification))::float8 AS seconds
        FROM pg_ls_archive_statusdir()
        WHERE right(name, 6) = '.ready' AND current_setting('archive_mode') <> 'off'
              AND (current_setting('archive_mode') = 'always' OR NOT pg_is_in_recovery())
        """,
        waiting,
    ),
    Probe(
        ((WRITABLE, WRITABLE_TITLE),),
        "pg_settings",
        """
        WITH set_on AS (
            SELECT s.setdatabase, s.setrole
            FROM pg_db_role_setting s, unnest(s.setconfig) AS c(entry)
            WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                  AND lower(split_part(c.entry, '=', 1)) = 'default_transaction_read_only'
                  AND lower(split_part(c.entry, '=', 2)) IN ('on', 'true', 'yes', '1', 't', 'y', 'tr', 'tru', 'ye')
        )
        SELECT pg_is_in_recovery() AS standby,
               current_setting('synchronous_standby_names') <> ''
               AND current_setting('synchronous_commit') NOT IN ('off', 'local') AS synchronous,
               EXISTS (SELECT FROM pg_stat_replication
                       WHERE sync_state IN ('sync', 'quorum') OR sync_state IS NULL) AS in_step,
               (SELECT reset_val FROM pg_settings WHERE name = 'default_transaction_read_only') AS default,
               EXISTS (SELECT FROM set_on WHERE setrole = 0) AS database,
               EXISTS (SELECT FROM set_on
                       WHERE setrole = (SELECT oid FROM pg_roles WHERE rolname = current_user)) AS own,
               ARRAY(SELECT DISTINCT r.rolname::text FROM set_on s JOIN pg_roles r ON r.oid = s.setrole
                     WHERE EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid AND c.relkind IN ('r', 'p'))
                     ORDER BY 1) AS roles
        """,
        writable,
    ),
)
