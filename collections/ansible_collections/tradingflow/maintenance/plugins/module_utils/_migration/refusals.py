# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What forbids a migration before its SQL is looked at: revisions, heads, the digest, and tables of unknown origin."""

from __future__ import annotations

from typing import Any, Dict, List

from ..words import plural
from .session import Session


def refusals(
    options: Dict[str, Any], result: Dict[str, Any], facts: Dict[str, Any], session: Session
) -> List[Dict[str, str]]:
    found = []

    def refuse(name: str, message: str, remedy: str) -> None:
        found.append({"name": name, "message": message, "remedy": remedy})

    if facts["unknown"]:
        refuse(
            "unknown_revision",
            f"The database is at {', '.join(facts['unknown'])}, which the project does not have.",
            "Use the project that this database was migrated with, or a newer one.",
        )
    if options["target"] == "head" and len(facts["heads"]) > 1:
        refuse(
            "heads",
            f"The project has {len(facts['heads'])} heads: {', '.join(facts['heads'])}.",
            "Merge them (alembic merge), or name the one that is meant (migration_target).",
        )
    if facts["problem"]:
        refuse("target", f"The target cannot be reached: {facts['problem']}", "Correct migration_target.")
    if not result["current"] and not found:
        tables = session.rows(
            "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
            " AND c.relname <> 'alembic_version'"
        )[0][0]
        if tables:
            refuse(
                "no_revision",
                f"The database has {plural(tables, 'table')}, but does not say at which revision it is.",
                "Find out, and record it with alembic stamp.",
            )
    if options["expected_digest"] and options["expected_digest"] != result["digest"]:
        refuse(
            "digest",
            f"What would run now has the digest {result['digest']}, not {options['expected_digest']}.",
            "Look at the plan again: the project or the database has changed since.",
        )
    return found
