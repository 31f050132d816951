# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Expand and contract: what takes something from the old application does not run while that does.

A revision says which it is by a variable of its module, beside revision and down_revision: phase = "contract".
"""

from __future__ import annotations

from typing import Any, Dict, List

from ..checks import OK, Check
from ..words import printable

EXPAND, CONTRACT = "expand", "contract"
PHASES = (EXPAND, CONTRACT)


def refusals(options: Dict[str, Any], pending: List[Dict[str, Any]]) -> List[Dict[str, str]]:
    """What forbids the revisions: a phase that is not known, and a contract while not every replica is new enough.

    :param options: running_version (that all replicas of the application report; None when they do not agree or do
        not answer) and contract_versions (those that do without what the contract takes)
    """
    found = []
    for entry in pending:
        phase = entry.get("phase")
        if phase is not None and phase not in PHASES:
            text = f"Revision {entry['revision']} has the phase {printable(repr(phase), 60)}, which is not known."
            remedy = f"Set phase to one of {', '.join(PHASES)}, or leave it out."
            found.append({"name": "phase", "message": text, "remedy": remedy})
    contracts = [entry["revision"] for entry in pending if entry.get("phase") == CONTRACT]
    if contracts and not _new_enough(options):
        found.append(_too_early(options, contracts))
    return found


def judge(options: Dict[str, Any], result: Dict[str, Any]) -> None:
    """Adds what forbids them to a plan's or a run's refusals, and by what that was judged."""
    result["application"] = {name: options.get(name) for name in ("running_version", "contract_versions")}
    result["refusals"] += refusals(options, result["pending"])


def _new_enough(options: Dict[str, Any]) -> bool:
    running = options.get("running_version")
    return bool(running) and running in (options.get("contract_versions") or [])


def _too_early(options: Dict[str, Any], contracts: List[str]) -> Dict[str, str]:
    running, versions = options.get("running_version"), options.get("contract_versions") or []
    text = f"{', '.join(contracts)} would take away what an old version of the application needs (contract), and "
    if not versions:
        text += "no version is named that does without it."
    elif not running:
        text += "which version runs is not known: not all replicas have said the same one."
    else:
        text += f"{printable(running, 60)} runs; {', '.join(versions)} do without it."
    remedy = "Release the application first, to all replicas, and name its versions in migration_contract_versions; or"
    remedy += " migrate up to the revision before (migration_target)."
    return {"name": "contract", "message": text, "remedy": remedy}


def checks(result: Dict[str, Any]) -> List[Check]:
    """Which revisions are of which phase; nothing where none says so."""
    options, pending = result.get("application") or {}, result["pending"]
    marked = [f"{entry['revision']} ({entry['phase']})" for entry in pending if entry.get("phase") in PHASES]
    if not marked or refusals(options, pending):
        return []
    running = options.get("running_version")
    text = f"{', '.join(marked)}." + (f" The application runs {printable(running, 60)}." if running else "")
    return [Check("migration.phases", "Expand and contract", OK, len(marked), message=text)]
