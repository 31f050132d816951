# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings against the machine, and pools of connections against what the server takes."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Tuple

from .._checks.sql import Row
from ..checks import OK, UNKNOWN, WARNING, Check, judge, limits
from ..words import plural, size
from .indexes import REVIEW, Advice

SETTINGS = ("tuning.settings", "Settings that do not go with the machine")
POOLS = ("tuning.pools", "Connections that all pools may open")

#: In bytes where they have a unit of memory, as the server counts them.
READ = """
SELECT name, setting, pending_restart,
       CASE WHEN unit IN ('B', 'kB', '8kB', 'MB')
            THEN CASE unit WHEN 'B' THEN 1 WHEN 'kB' THEN 1024 WHEN '8kB' THEN 8192 ELSE 1048576 END * setting::numeric
       END AS bytes
FROM pg_settings
WHERE name IN ('shared_buffers', 'effective_cache_size', 'work_mem', 'maintenance_work_mem', 'autovacuum_work_mem',
               'max_connections', 'superuser_reserved_connections', 'reserved_connections', 'autovacuum_max_workers',
               'autovacuum', 'track_counts', 'fsync', 'full_page_writes', 'synchronous_commit')
      OR pending_restart
"""

#: A share of memory outside of which shared_buffers is worth a look: PostgreSQL's manual says a quarter, at most 40 %.
LEAST_BUFFERS, MOST_BUFFERS = 0.1, 0.4
#: Pieces of advice that the message has.
FIRST = 3


def judged(rows: List[Row], options: Row) -> Iterator[Check]:
    """Both checks; pools only where they are declared."""
    known = {row["name"]: row for row in rows}
    memory = options["memory"]
    advice = list(_of_all(known))
    if memory:
        advice += _of_memory(known, memory)
    yield _settings(advice, known, memory, limits(options["thresholds"], "settings"))
    if options["pools"]:
        yield pools(known, options["pools"], limits(options["thresholds"], "pools"))


def _settings(advice: List[Advice], known: Dict[str, Row], memory: int, limit: Dict[str, Any]) -> Check:
    told = [f"{one.table}: {one.reason}" for one in advice[:FIRST]]
    told += [f"and {len(advice) - FIRST} more"] if len(advice) > FIRST else []
    check = judge(
        *SETTINGS,
        len(advice),
        **limit,
        message=f"{'; '.join(told)}." if advice else f"They go with {size(memory)} of memory.",
        remedy="Review each in the details; some take a restart, in a window.",
        source="pg_settings",
        details={
            "memory": memory or None,
            "settings": {name: row["setting"] for name, row in sorted(known.items())},
            "advice": [one.as_data() for one in advice],
        },
    )
    if not memory and check.status in (OK, WARNING):
        check.status, check.value = UNKNOWN, None
        check.message = f"How much memory the machine has is not known. {check.message if advice else ''}".strip()
        check.remedy = "Set database_tuning_memory."
    return check


def _of_all(known: Dict[str, Row]) -> Iterator[Advice]:
    why = {
        "autovacuum": "off: nothing is vacuumed but by hand, until the server stops for wraparound",
        "track_counts": "off: nothing is counted, so that autovacuum does not run",
        "fsync": "off: a crash destroys the database",
        "full_page_writes": "off: a crash can destroy pages",
        "synchronous_commit": "off: what was committed last is lost in a crash",
    }
    for name, reason in why.items():
        if name in known and known[name]["setting"] == "off":
            yield Advice("", name, REVIEW, reason)
    for name, row in sorted(known.items()):
        if row["pending_restart"]:
            yield Advice("", name, REVIEW, "changed in the file, and waits for a restart")


def _of_memory(known: Dict[str, Row], memory: int) -> Iterator[Advice]:
    def number(name: str) -> int:
        row = known[name]
        return int(row["bytes"] if row["bytes"] is not None else row["setting"])

    buffers, cache = number("shared_buffers"), number("effective_cache_size")
    if not LEAST_BUFFERS * memory <= buffers <= MOST_BUFFERS * memory:
        yield Advice("", "shared_buffers", REVIEW, f"{size(buffers)} of {size(memory)}; a quarter is where to begin")
    if cache > memory:
        yield Advice("", "effective_cache_size", REVIEW, f"{size(cache)}, more than the {size(memory)} that there are")
    elif cache < buffers:
        yield Advice("", "effective_cache_size", REVIEW, f"{size(cache)}, less than shared_buffers")
    sorting = number("work_mem") * number("max_connections")
    workers = known["autovacuum_work_mem"]
    # -1 for what maintenance takes.
    each = number("maintenance_work_mem") if workers["setting"] == "-1" else number("autovacuum_work_mem")
    vacuuming = each * number("autovacuum_max_workers")
    if buffers + sorting + vacuuming > memory:
        text = f"sorts of {number('max_connections')} sessions may take {size(sorting)}, vacuum {size(vacuuming)} and "
        yield Advice("", "work_mem", REVIEW, f"{text}buffers {size(buffers)}, of {size(memory)}")


def pools(known: Dict[str, Row], declared: List[Row], limit: Dict[str, Any]) -> Check:
    """What all pools may open together, in % of what the server has for them."""
    reserved = sum(
        int(known[name]["setting"])
        for name in ("superuser_reserved_connections", "reserved_connections")
        if name in known
    )
    most = int(known["max_connections"]["setting"]) - reserved
    parts: List[Tuple[str, int]] = [(pool["name"], pool["size"] * pool["replicas"]) for pool in declared]
    wanted = sum(count for _name, count in parts)
    value: Optional[float] = round(100 * wanted / most, 1) if most > 0 else None
    return judge(
        *POOLS,
        value,
        unit="%",
        **limit,
        message=f"{plural(len(parts), 'pool')} may open {wanted:,} connections, and the server takes {most:,}.",
        remedy="Make pools smaller, or put PgBouncer in between (transaction pooling where sessions keep no state).",
        source="pg_settings",
        details={"pools": dict(parts), "connections": most},
    )
