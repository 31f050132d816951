# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory of models: who owns one, when it was last validated, and when that is due again."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Dict, List, Mapping, Sequence, Set, Tuple

from ..checks import CRITICAL, OK, Check, judge, limits, unknown
from ..words import plural, printable

Row = Mapping[str, Any]
Model = Tuple[str, str]

SOURCE = "view maintenance.risk_models"
LISTED = ("validation.inventory", "Models in use are in the inventory")


def inventory(
    rows: Sequence[Row], used: Set[Model], today: date, options: Mapping[str, Any], lacking: "Tuple[str, str] | None"
) -> List[Check]:
    """Whether each model that forecasts is listed, and each that is listed was validated in time.

    :param rows: model, version, owner, validated_on, next_due_on
    :param used: models and versions that forecast
    :param lacking: why there are no rows, None when there could be
    """
    id, title = LISTED
    if lacking and not rows:
        remedy = f"{lacking[1]} Or list models in model_validation_inventory."
        return [unknown(id, title, f"{title}: {lacking[0]}", remedy, source=SOURCE)]
    if not rows:
        return [unknown(id, title, "The inventory has no model.", "List all models that are used.", source=SOURCE)]
    known: Dict[Model, List[Row]] = {}
    for row in rows:
        known.setdefault((row["model"] or "", row["version"] or ""), []).append(row)
    found = [_listed(known, used)]
    for (model, version), mine in sorted(known.items()):
        found.append(_model(model, version, mine, today, options))
    return found


def _listed(known: Mapping[Model, Any], used: Set[Model]) -> Check:
    id, title = LISTED
    strange = sorted(used - known.keys())
    text = f"{plural(len(known), 'model')} in the inventory, {len(used)} in use by forecasts."
    details: Dict[str, Any] = {"used": [" ".join(map(printable, model)) for model in sorted(used)][:40]}
    if not strange:
        return Check(id, title, OK, 0, critical=1, message=text, source=SOURCE, details=details)
    shown = ", ".join(f"{printable(model, 40)} {printable(version, 20)}" for model, version in strange[:3])
    text += f" {plural(len(strange), 'forecasts and is', 'forecast and are')} not in the inventory: {shown}."
    remedy = "Have it validated and list it, or take it out of use."
    return Check(
        id, title, CRITICAL, len(strange), critical=1, message=text, remedy=remedy, source=SOURCE, details=details
    )


def _model(model: str, version: str, rows: Sequence[Row], today: date, options: Mapping[str, Any]) -> Check:
    shown = f"{printable(model, 60)} {printable(version, 20)}"
    id, title = f"validation.model:{shown}", f"Validation of {shown}"
    row = rows[0]
    done, due = row["validated_on"], row["next_due_on"]
    doubt = ""
    if len(rows) > 1:
        doubt = f"the inventory has it {len(rows)} times"
    elif not model or not version:
        doubt = "it has no name, or no version"
    elif not row["owner"]:
        doubt = "it has no owner"
    elif done and done > today:
        doubt = f"it was validated on {done}, which is to come"
    elif done and due and due < done:
        doubt = f"it is due on {due}, before it was validated ({done})"
    if doubt:
        return unknown(id, title, f"{title}: {doubt}.", "Correct the inventory.", source=SOURCE)
    owner = printable(row["owner"], 60)
    limit = limits(options["thresholds"], "overdue")
    remedy = f"Have it validated: {owner} owns it. Then enter the day."
    details = {"owner": owner, "validated_on": str(done) if done else None}
    common: Dict[str, Any] = {"source": SOURCE, "details": details, "unit": "days"}
    if not done:
        text = f"It has never been validated. Its owner is {owner}."
        return Check(id, title, CRITICAL, None, message=text, remedy=remedy, **limit, **common)
    due = due or done + timedelta(days=options["validation_days"])
    details["next_due_on"] = str(due)
    late = max(0, (today - due).days)
    text = f"Validated on {done}, due again on {due}. Its owner is {owner}."
    if late:
        text += f" Overdue by {plural(late, 'day')}."
    return judge(id, title, late, **limit, message=text, remedy=remedy, **common)
