# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Drafts: what a month's documents rest on, judged, and kept in the store by their digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Dict, List, Mapping, Optional, Sequence

from .._checks.guard import each
from .._performance.ratios import needed
from .._performance.reading import read
from ..checks import OK, WARNING, Check, judge, unknown
from ..errors import MaintenanceError
from ..storage import client, key, patient, storage_errors
from ..words import plural, printable
from . import costs
from .document import METHOD, NO_REASON, told
from .instruments import Asked, ask
from .month import Month, month, rates_at_end
from .options import checked
from .past import DRAFTED, Known, known

REVIEW = "See what playbooks/weekly.yml --tags review says of it (docs/review.md)."
FOLDER = "stakeholders"
#: % of a strategy's gross result that its instruments may leave unexplained.
UNEXPLAINED = 5


@dataclass
class Drafted:
    """What came out. ``data`` is what all documents are made of; empty when nothing can be told."""

    checks: List[Check] = field(default_factory=list)
    options: Dict[str, Any] = field(default_factory=dict)
    known: Known = field(default_factory=Known)
    data: Dict[str, Any] = field(default_factory=dict)


def draft(given: Dict[str, Any], findings: Sequence[Mapping[str, Any]]) -> Drafted:
    """Reads, computes and judges the month.

    :param findings: of the newest runs, see document.told
    :raises MaintenanceError: an option makes no sense, or database, store or keys do not answer
    """
    needed()
    options = checked(given)
    more = Asked()
    reading = {
        **options,
        "until": options["last"],
        "target": 0.0,
        "trials": [],
        "paths": 100,
        "role": "stakeholder_report",
    }
    past = _known(options)
    found = read(reading, partial(ask, options, more, past.operations))
    if found.lacking:
        return Drafted([unknown("stakeholders.figures", "Figures of the month", *found.lacking)], options)
    result = month(found, more, reading)
    costs.tell(past.operations, more.lasted, rates_at_end(found, result.book.currency, options))
    for event in [*past.operations.incidents, *past.operations.changes]:
        event.told = costs.shown(event, result.book.currency)
    data = told(found, result, more, past, findings, options)
    checks: List[Check] = []
    wanted = bool(options["benchmark"].get("instrument"))
    for judged, title in (
        (lambda: [_figures(result)], ("stakeholders.figures", "Figures of the month")),
        (lambda: [_instruments(result)], ("stakeholders.instruments", "Result explained by instruments")),
        (lambda: [_benchmark(data, wanted)], ("stakeholders.benchmark", "Benchmark")),
        (lambda: [_operations(past)], ("stakeholders.operations", "Maintenance of the month")),
    ):
        checks += each(judged, title)
    return Drafted(checks, options, past, data)


def _known(options: Mapping[str, Any]) -> Known:
    """What the ledger has; that nothing is known of it where it does not answer."""
    try:
        return known(options)
    except MaintenanceError as error:
        found = Known()
        found.operations.problem = error.message
        return found


def _figures(given: Month) -> Check:
    lines = [given.book, *given.accounts, *given.strategies]
    lacking = [line for line in lines if line.doubt]
    id, title = "stakeholders.figures", "Figures of the month"
    if not given.strategies:
        return unknown(id, title, "There is no strategy.", "Define the view maintenance.strategies.")
    if lacking:
        names = [f"{printable(line.name, 40) if line.name else 'the book'}: {line.doubt}" for line in lacking[:3]]
        more = f"; and {len(lacking) - 3} more" if lacking[3:] else ""
        return unknown(id, title, f"No figures of {'; '.join(names)}{more}.", REVIEW)
    text = f"{plural(len(given.strategies), 'strategy', 'strategies')} and {plural(len(given.accounts), 'account')}."
    return Check(id, title, OK, len(given.strategies), message=text)


def _instruments(given: Month) -> Check:
    id, title = "stakeholders.instruments", "Result explained by instruments"
    found = given.attribution
    if given.book.doubt or not given.book.month:
        return unknown(
            id, title, f"The book has no figures: {given.book.doubt or 'it has no day in this month'}.", REVIEW
        )
    if found.doubt:
        return unknown(id, title, f"What made the result is not known: {found.doubt}.", REVIEW)
    if found.instruments.doubts:
        name, why = next(iter(sorted(found.instruments.doubts.items())))
        more = len(found.instruments.doubts) - 1
        text = (
            f"{printable(name, 40) if name else 'a strategy'}: {why.rstrip('.')}{f'; and {more} more' if more else ''}."
        )
        return unknown(id, title, text, "Correct what the views executions, positions, prices and instruments tell.")
    shares = {}
    for name, rest in sorted(found.unexplained.items()):
        if found.capital[name]:
            shares[name] = abs(rest / found.capital[name]) * 100
        elif rest:
            return unknown(id, title, f"{printable(name, 40)} has a result and no capital.", REVIEW)
    if not shares:
        return unknown(id, title, "There is no strategy with equity at the end of the month.", REVIEW)
    name = max(sorted(shares), key=lambda each: shares[each])
    text = f"At most {float(shares[name]):.3g} % of equity is not explained by instruments ({printable(name, 40)})."
    return judge(
        id,
        title,
        round(float(shares[name]), 4),
        warning=UNEXPLAINED,
        critical=None,
        unit="%",
        message=text,
        remedy="Compare the books with executions, positions and prices: something of them is missing or wrong.",
    )


def _benchmark(data: Mapping[str, Any], wanted: bool) -> Check:
    id, title = "stakeholders.benchmark", "Benchmark"
    if data["benchmark"]:
        return Check(id, title, OK, data["benchmark"]["return"] * 100, "%", message=f"{data['benchmark']['name']}.")
    text = f"The report has none: {data['no_benchmark']}."
    if wanted:
        return unknown(id, title, text, "Correct the instrument of stakeholder_report_benchmark, or its prices.")
    if data["no_benchmark"] == NO_REASON:
        remedy = "Set stakeholder_report_benchmark: an instrument, or the reason for having none."
        return Check(id, title, WARNING, "none", message=text, remedy=remedy)
    return Check(id, title, OK, "none", message=text)


def _operations(past: Known) -> Check:
    id, title = "stakeholders.operations", "Maintenance of the month"
    if past.operations.problem:
        remedy = "Find out with scripts/ledger_verify.py (docs/evidence.md); the report says that this is not known."
        return unknown(id, title, past.operations.problem, remedy)
    runs = sum(int(row["runs"]) for row in past.operations.runs.values())
    if not runs:
        return unknown(id, title, "The ledger has no run of this month.", "Set up daily maintenance and its ledger.")
    return Check(id, title, OK, runs, message=f"{plural(runs, 'run')} on record.")


@dataclass
class Document:
    """A document as it lies in the store.

    :param recipients: SHA-256 of the addresses it is for
    """

    name: str
    sha256: str
    key: str
    size: int
    recipients: str


def addresses_digest(addresses: Sequence[str]) -> str:
    """SHA-256 of addresses, in any order."""
    return hashlib.sha256(json.dumps(sorted(addresses)).encode()).hexdigest()


def keep(options: Mapping[str, Any], documents: Sequence[Document], bodies: Mapping[str, bytes]) -> None:
    """Puts documents into the store, each under its digest: what was approved once is never overwritten.

    :param bodies: class -> PDF
    :raises StorageError: the store does not answer or refuses
    """
    storage = options["storage"]
    s3 = client(patient(storage))
    for document in documents:
        with storage_errors(storage, "keeping the document"):
            s3.put_object(
                Bucket=storage["bucket"],
                Key=document.key,
                Body=bodies[document.name],
                ContentType="application/pdf",
                ChecksumAlgorithm="SHA256",
            )


def document_of(options: Mapping[str, Any], each_class: Mapping[str, Any], body: bytes) -> Document:
    """Where a document lies, or would."""
    sha256 = hashlib.sha256(body).hexdigest()
    name = f"{each_class['name']}-{sha256}.pdf"
    place = key(options["storage"], FOLDER, options["environment_name"], f"{options['first']:%Y-%m}", name)
    return Document(each_class["name"], sha256, place, len(body), addresses_digest(each_class["addresses"]))


def content(options: Mapping[str, Any], data: Mapping[str, Any], documents: Sequence[Document]) -> Dict[str, Any]:
    """What the ledger keeps of a draft."""
    figures = {
        "book": data["book"]["month"],
        "accounts": {line["name"]: line["month"] for line in data["accounts"]},
        "strategies": {line["name"]: line["month"] for line in data["strategies"]},
    }
    return {
        "title": DRAFTED,
        "month": f"{options['first']:%Y-%m}",
        "method": METHOD,
        "code_sha256": data["code_sha256"],
        "inputs_sha256": data["inputs_sha256"],
        "definitions": sorted({each["id"] for each in data["definitions"]}),
        "figures": figures,
        "documents": [vars(document) for document in documents],
    }


def recorded(past: Known, documents: Sequence[Document]) -> Optional[int]:
    """The number of the record of just these drafts, if they are the newest; None if there is none."""
    if not past.drafts:
        return None
    newest = past.drafts[0]
    same = [vars(document) for document in documents] == newest.get("documents")
    return int(newest["number"]) if same else None
