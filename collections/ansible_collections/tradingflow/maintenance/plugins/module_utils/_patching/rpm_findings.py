# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a plan on a host with RPM means for the report. It is put in place by hand: that stays a warning."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, as_action
from ..words import plural, size

SOURCE = "dnf's solver on the host"
#: Rows that details keep.
_KEPT = 500
_JUDGE = "Read the vendor's notes and put them in place with dnf, or set patching_scope: all."


def planned(plan: Dict[str, Any], started_at: str) -> Tuple[List[Check], List[Dict[str, Any]]]:
    """Checks and the action."""
    rows, held = plan["packages"], [row for row in plan["kept"] if row["reason"] in ("hold", "unsolvable")]
    details = {"packages": rows[:_KEPT], "kept": plan["kept"][:_KEPT], "digest": plan["digest"]}
    named = [f"{row['package']} {row['from'] or 'new'} -> {row['to']}" for row in rows[:10]]
    more = f" and {len(rows) - 10} more" if len(rows) > 10 else ""
    text = f"{', '.join(named)}{more}, {size(plan['download'])} to download. The plan is {plan['digest']}."
    remedy = "Hosts with RPM are only planned here: put it in place with dnf, these versions, in a window."
    unjudged = [row for row in plan["kept"] if row["reason"] == "no advisories"]
    none = "Nothing that is known to be a security update." if unjudged else "Nothing newer."
    checks = [
        Check(
            "patching.packages",
            "Packages to patch",
            WARNING if rows else UNKNOWN if unjudged else OK,
            len(rows),
            message=text if rows else none,
            remedy=remedy if rows else _JUDGE if unjudged else "",
            source=SOURCE,
            details=details,
        )
    ]
    checks.append(_kept(plan, held, unjudged))
    checks += [
        Check(
            f"patching.refused:{each['name']}",
            "Patching refused",
            CRITICAL,
            False,
            message=each["message"],
            remedy=each["remedy"],
        )
        for each in plan["refusals"]
    ]
    status = "failed" if plan["refusals"] else "planned" if rows else "ok"
    said = plan["refusals"][0]["message"] if plan["refusals"] else f"Would put in place {text}" if rows else "Nothing."
    return checks, [as_action("patching.plan", "Patches", status, False, said, started_at, details)]


def _kept(plan: Dict[str, Any], held: List[Dict[str, Any]], unjudged: List[Dict[str, Any]]) -> Check:
    """What stays. Held back though an advisory says that it is about security: a warning with its name.

    :param unjudged: of repositories that do not say what is about security
    """
    id, title = "patching.kept", "Packages kept"
    bad = [row for row in held if row["security"] or row["reason"] == "unsolvable"]
    if bad:
        named = [
            f"{row['package']} ({row['reason']}{', ' + row['security'][0] if row['security'] else ''})" for row in bad
        ]
        text = f"{plural(len(bad), 'package')} stay though there is something newer: {', '.join(named[:5])}."
        remedy = "Release the hold (versionlock, excludepkgs), or keep it with a reason."
    if unjudged:
        named = [f"{row['package']} ({row['repository']})" for row in unjudged]
        told = (
            f"Whether these are security updates is not known, as their repository gives no advisories (updateinfo): "
            f"{', '.join(named[:5])}{f' and {len(named) - 5} more' if len(named) > 5 else ''}."
        )
        text, remedy = (f"{told} {text}", f"{_JUDGE} {remedy}") if bad else (told, _JUDGE)
        return Check(id, title, UNKNOWN, len(unjudged), message=text, remedy=remedy, source=SOURCE)
    if bad:
        return Check(id, title, WARNING, len(bad), message=text, remedy=remedy, source=SOURCE)
    count = len(plan["kept"])
    return Check(id, title, OK, count, message=f"{plural(count, 'package')} with something newer stay.", source=SOURCE)
