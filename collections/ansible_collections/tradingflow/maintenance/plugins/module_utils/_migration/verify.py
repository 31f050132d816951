# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares production's catalogue with a shadow's, before the revisions (drift) and after, and refreshes statistics."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional, Set

from ..database import connected, quoted
from ..errors import MaintenanceError
from .apart import apart
from .catalogue import FOREIGN, GRANTS, Catalogue, catalogue, differences
from .leftovers import Leftovers
from .session import Session
from .shadow import Shadow, captured, shadow, why
from .timeline import shown
from .tokens import claims

#: What is accepted by name: an object as the finding names it, or that nobody knows whether there is drift.
ACCEPTED, UNKNOWN_ACCEPTED = "drift:", "drift-unknown"
#: Seconds that the statistics of all touched tables may take, at most one statement's at a time.
_ANALYSE = 600.0

_TABLES = """SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm')"""


class Verification:
    """What is compared around one migration.

    :param result: of the engine; gets drift and catalogue, each with unknown (why, or None), differences (see
        catalogue.Difference.told), accepted (names of those that somebody takes upon himself), and statistics
    """

    def __init__(
        self, options: Dict[str, Any], session: Session, result: Dict[str, Any], tick: Callable[[], None]
    ) -> None:
        self._options = options
        self._session = session
        self._result = result
        self._tick = tick
        self._shadow: Optional[Shadow] = None
        self._why = ""
        self._found: Catalogue = {}

    def before(self, stack: ExitStack) -> None:
        """Whether the database is what its revisions make; if not, that is a refusal."""
        try:
            self._shadow = stack.enter_context(shadow(self._options, self._session, self._tick))
            self._shadow.build(self._result["current"])
            self._found = self._production()
            self._result["drift"] = self._judged(differences(self._shadow.catalogue(), self._found))
        except (MaintenanceError, OSError) as error:
            self._shadow = None
            self._why = getattr(error, "message", str(error))
            self._result["drift"] = {"unknown": self._why, "differences": [], "accepted": []}
        self._refuse()

    def capture(self) -> None:
        """Tries the revisions on the empty database, and keeps what they ran: alembic may not be able to write it."""
        pending = self._result["pending"]
        if self._shadow is None:
            return
        try:
            answers = self._shadow.tried([entry["revision"] for entry in pending])
        except MaintenanceError as error:
            self._result["tried"] = {"unknown": error.message, "failed": None}
            return
        found = captured(answers)
        failed = next((entry["revision"] for entry in pending if entry["revision"] not in found), None)
        self._result["tried"] = {"unknown": None, "failed": failed, "why": why(answers)}
        for entry in pending:
            entry["captured"] = found.get(entry["revision"])

    def after(self) -> None:
        """The same once the revisions are done, as far as they are, and statistics of what they touched."""
        result = self._result
        try:
            if self._shadow is None:
                result["catalogue"] = {"unknown": self._why, "differences": [], "accepted": []}
            else:
                self._shadow.build([each["revision"] for each in result["done"]])
                found = self._production()
                result["catalogue"] = self._judged(differences(self._shadow.catalogue(), found))
                result["catalogue"]["not_validated"] = sorted(_not_validated(found) - _not_validated(self._found))
        except Exception as error:
            # What was done must be told all the same.
            text = getattr(error, "message", f"{type(error).__name__}: {error}")
            result["catalogue"] = {"unknown": text, "differences": [], "accepted": []}

    def statistics(self) -> None:
        """ANALYZE of the tables that were touched or made: the planner knows nothing of new columns and indexes."""
        tables = self._result["tables"] or {"touched": [], "made": []}
        wanted = {*tables["touched"], *tables["made"]}
        try:
            wanted |= self._indexed()
            names = [row for row in self._session.rows(_TABLES) if shown(*row) in wanted]
            # As the tables' owner, whatever we are: the server sees to it, and a table in use is left out.
            statements = [f"ANALYZE (SKIP_LOCKED) {quoted(schema)}.{quoted(name)}" for schema, name in names]
            apart(self._options["database"], statements, _ANALYSE, self._tick)
            self._result["statistics"] = {"unknown": None, "tables": sorted(shown(*row) for row in names)}
        except Exception as error:
            text = getattr(error, "message", f"{type(error).__name__}: {error}")
            self._result["statistics"] = {"unknown": text, "tables": []}

    def _indexed(self) -> Set[str]:
        """Tables of new indexes: an expression has statistics of its own, and no rows were touched for it."""
        leftovers = Leftovers(self._session, self._options, self._tick)
        statements = [each["sql"] for done in self._result["done"] for each in done["statements"]]
        made = [each.table for each in claims(statements) if each.kind == "create" and each.table]
        found = [leftovers.resolve(table, "table") for table in made]
        return {shown(*name) for name in found if name is not None}

    def _production(self) -> Catalogue:
        with connected(self._options["database"], pinned=True) as connection:
            return catalogue(connection)

    def _judged(self, found: List[Any]) -> Dict[str, Any]:
        names = [each.name for each in found]
        accepted = [name for name in names if f"{ACCEPTED}{name}" in self._options["accepted"]]
        return {"unknown": None, "differences": [each.told() for each in found], "accepted": accepted}

    def _refuse(self) -> None:
        drift = self._result["drift"]
        if drift["unknown"] is not None and UNKNOWN_ACCEPTED not in self._options["accepted"]:
            self._result["refusals"].append(
                {
                    "name": "drift_unknown",
                    "message": f"Whether the database is what its revisions make is not known: {drift['unknown']}",
                    "remedy": "Make it possible, or accept it with a reason (migration_accepted: drift-unknown), or"
                    " leave the comparison out (migration_verify: none).",
                }
            )
        wrong = grave(drift)
        if wrong:
            self._result["refusals"].append(
                {
                    "name": "drift",
                    "message": f"The database is not what its revisions make: {', '.join(wrong[:5])}"
                    + (f" and {len(wrong) - 5} more." if len(wrong) > 5 else "."),
                    "remedy": "Put it back, or into a revision; or accept each with a reason"
                    f" (migration_accepted: '{ACCEPTED}{wrong[0]}').",
                }
            )


def grave(compared: Dict[str, Any]) -> List[str]:
    """Names of the differences that nobody has accepted, and that are neither somebody else's objects nor grants."""
    return [
        each["name"]
        for each in compared["differences"]
        if each["what"] != FOREIGN
        and not each["name"].startswith(f"{GRANTS} ")
        and each["name"] not in compared["accepted"]
    ]


def _not_validated(found: Catalogue) -> Set[str]:
    return {name for (sort, name), entry in found.items() if sort == "constraint" and entry.text.endswith("NOT VALID")}


@contextmanager
def verification(
    options: Dict[str, Any], session: Session, result: Dict[str, Any], tick: Callable[[], None]
) -> Iterator[Optional[Verification]]:
    """Compares before, and ends the shadow at the end; None where nothing is to be compared.

    :param result: see Verification; a drift is added to its refusals
    """
    result.update(drift=None, catalogue=None, statistics=None)
    with ExitStack() as stack:
        if options.get("verify") != "full" or not result["pending"] or result["refusals"]:
            yield None
            return
        found = Verification(options, session, result, tick)
        found.before(stack)
        yield found
