# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants of this package; values are parameters.

"""Area trading: strategies that no limit holds, and limits that are switched off."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

from ..checks import CRITICAL, Check, judge, limits
from ..words import plural, printable
from .sql import NotMeasured, Probe, Row, Views
from .strategies import AT_REST

UNLIMITED, DISABLED = "Strategies without limits", "Limits switched off"
SOURCE = "views maintenance.strategies, positions and risk_limits"

COVER_SQL = f"""
WITH running AS (
    SELECT strategy, account FROM maintenance.strategies
    WHERE lower(btrim(coalesce(expected_state, ''))) NOT IN ({", ".join(f"'{state}'" for state in sorted(AT_REST))})
          -- What a strategy holds outlives it.
          OR strategy IN (SELECT strategy FROM maintenance.positions WHERE quantity IS DISTINCT FROM 0)
    UNION
    SELECT strategy, NULL FROM maintenance.positions p WHERE quantity IS DISTINCT FROM 0
           AND NOT EXISTS (SELECT FROM maintenance.strategies s WHERE s.strategy = p.strategy)
),
held AS (
    SELECT r.*, EXISTS (SELECT FROM maintenance.risk_limits l WHERE l.active IS NOT FALSE AND l.scope = 'strategy'
                                                               AND l.subject = r.strategy) AS own,
           EXISTS (SELECT FROM maintenance.risk_limits l WHERE l.active IS NOT FALSE AND l.scope = 'account'
                                                         AND l.subject = r.account) AS accounts
    FROM running r
)
SELECT (SELECT count(*) FROM maintenance.strategies) AS strategies, (SELECT count(*) FROM held) AS running,
       (SELECT count(*) FROM held WHERE NOT own) AS without,
       (SELECT count(*) FROM held WHERE NOT own AND NOT accounts) AS bare,
       (SELECT json_agg(strategy) FROM (SELECT strategy FROM held WHERE NOT own
                                        ORDER BY accounts, strategy LIMIT 10) h) AS named,
       (SELECT count(*) FROM maintenance.risk_limits) AS limits,
       (SELECT count(*) FROM maintenance.risk_limits WHERE NOT active) AS disabled,
       (SELECT json_agg(d) FROM (SELECT limit_id::text, scope, subject, metric FROM maintenance.risk_limits
                                 WHERE NOT active ORDER BY scope, subject, metric LIMIT 10) d) AS first
"""


def cover(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """How many strategies have no limit of their own, and how many limits do not count."""
    row = rows[0]
    if not row["strategies"]:
        raise NotMeasured("no strategy is defined.", "Define strategies, or correct the view maintenance.strategies.")
    named = [printable(name, 60) for name in row["named"] or []]
    check = judge(
        "trading.unlimited_strategies",
        UNLIMITED,
        row["without"],
        **limits(thresholds, "unlimited_strategies"),
        message=f"{row['without']} of {plural(row['running'], 'strategy', 'strategies')} that may hold positions "
        f"{'has' if row['without'] == 1 else 'have'} no active limit of {'its' if row['without'] == 1 else 'their'} own"
        + (f", {row['bare']} of them not even by the account: {', '.join(named[:3])}." if row["bare"] else "."),
        remedy="Set limits for each in the platform, or stop it.",
        source=SOURCE,
        details={"running": row["running"], "without_any": row["bare"], "strategies": named},
    )
    if row["bare"]:
        check.status, check.remedy = CRITICAL, "Stop it, or set limits for it in the platform."
    yield check
    if not row["limits"]:
        raise NotMeasured("there is no limit at all.", "Set limits in the platform, or correct the view risk_limits.")
    first = [{key: printable(value, 60) for key, value in one.items()} for one in row["first"] or []]
    yield judge(
        "trading.disabled_limits",
        DISABLED,
        row["disabled"],
        **limits(thresholds, "disabled_limits"),
        message=f"{row['disabled']:,} of {plural(row['limits'], 'limit is', 'limits are')} switched off.",
        remedy="Find out who switched each off and why (the audit log), then have it switched on or removed.",
        source="view maintenance.risk_limits",
        details={"limits": row["limits"], **({"first": first} if first else {})},
    )


VIEWS: Views = {
    "strategies": {"strategy": "text", "account": "text", "expected_state": "text"},
    "positions": {"strategy": "text", "quantity": "exact"},
    "risk_limits": {
        "limit_id": "id",
        "scope": "text",
        "subject": "text",
        "metric": "text",
        "active": "boolean",
    },
}

PROBES: Tuple[Probe, ...] = (
    Probe(
        (("trading.unlimited_strategies", UNLIMITED), ("trading.disabled_limits", DISABLED)),
        SOURCE,
        COVER_SQL,
        cover,
        VIEWS,
    ),
)
