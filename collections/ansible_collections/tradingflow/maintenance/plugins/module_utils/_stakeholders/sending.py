# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Approved documents on their way: only what was drafted last, unchanged, to whom it was drafted for."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Callable, Dict, List, Mapping, Optional

from .._ledger.record import parse_time
from .._storage.read import fetch
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check
from ..errors import ConfigurationError, EvidenceError, MaintenanceError
from ..storage import client, patient, storage_errors
from ..words import plural, printable
from .engine import addresses_digest
from .mail import Mailer, MailError, connected, message, message_id
from .options import ADDRESS, classes, month_of
from .past import APPROVED, SENDING, SENT, Known, known, of_mail

#: No document of ours is larger.
LARGEST = 30 * 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")
DRAFT = "Draft it: playbooks/monthly.yml --tags stakeholders."

Record = Callable[[Dict[str, Any], str, str], None]


@dataclass
class Outcome:
    """What came out.

    :param sent: mails that the server took in this run
    """

    checks: List[Check] = field(default_factory=list)
    sent: int = 0
    steps: List[str] = field(default_factory=list)


def send(given: Dict[str, Any], record: Record, *, asking: bool = False) -> Outcome:
    """Sends what is approved and has not been sent.

    :param given: options of the action
    :param record: appends to the ledger: content, name and SHA-256 of what it is about
    :param asking: say only what would be done
    :raises MaintenanceError: an option makes no sense, or store, ledger or mail server cannot be used
    """
    options = checked(given)
    past = known(options)
    if past.operations.problem:
        # A draft, or that a mail was sent, may be in a record that cannot be read.
        raise EvidenceError(past.operations.problem, "Find out with scripts/ledger_verify.py (docs/evidence.md).")
    outcome = Outcome()
    if not past.drafts:
        text = f"The ledger has no draft of {options['first']:%Y-%m}."
        outcome.checks.append(Check("stakeholders.draft", "Draft", UNKNOWN, message=text, remedy=DRAFT))
        return outcome
    newest = {document["name"]: document for document in past.drafts[0]["documents"]}
    older = {document["sha256"] for draft in past.drafts[1:] for document in draft["documents"]}
    for sha256 in options["approved"]:
        if sha256 not in {document["sha256"] for document in newest.values()}:
            text = (
                f"{sha256} is of an earlier draft, which is void"
                if sha256 in older
                else f"nothing drafted has {sha256}"
            )
            remedy = "Read the newest draft, and approve what it has."
            id = f"stakeholders.approved:{sha256[:12]}"
            outcome.checks.append(Check(id, "Approval", CRITICAL, False, message=f"{text}.", remedy=remedy))
    names = {each["name"] for each in options["recipients"]}
    for document in newest.values():
        if document["sha256"] in options["approved"] and document["name"] not in names:
            text = f"It is approved, and {printable(document['name'], 60)} is no class of recipients any more."
            id = f"stakeholders.approved:{document['sha256'][:12]}"
            outcome.checks.append(Check(id, "Approval", CRITICAL, False, message=text, remedy=DRAFT))
    ready = []
    for each_class in options["recipients"]:
        document = newest.get(each_class["name"])
        check = _ready(each_class, document, options["approved"], past)
        if check:
            outcome.checks.append(check)
        else:
            ready.append((each_class, document))
    if not ready:
        return outcome
    if asking:
        for each_class, document in ready:
            waiting = _waiting(each_class, document or {}, options, past)
            outcome.steps.append(f"{each_class['name']}: {plural(len(waiting), 'mail')} to send")
        return outcome
    try:
        _deliver(ready, options, past, record, outcome)
    except MaintenanceError as error:
        # What was found and sent before it is told all the same.
        failed = Check("stakeholders.delivery", "Delivery", CRITICAL, False, message=error.message)
        failed.remedy = error.remedy
        outcome.checks.append(failed)
    return outcome


def checked(given: Dict[str, Any]) -> Dict[str, Any]:
    """Options that the argument spec cannot judge.

    :raises ConfigurationError: they make no sense
    """
    for sha256 in given["approved"]:
        if not _SHA256.fullmatch(sha256):
            raise ConfigurationError(
                f"What is approved is no SHA-256: {printable(sha256, 80)}.",
                "Give stakeholder_report_approved the digests that the draft's checks name.",
            )
    for name in ("sender", "reply_to"):
        address = given["mail"].get(name)
        if address and not ADDRESS.fullmatch(address):
            raise ConfigurationError(
                f"{name} of stakeholder_report_mail is no mail address.", "Write it as name@example.com."
            )
    first, last = month_of(given["month"])
    return {**given, "first": first, "last": last, "recipients": classes(given["recipients"])}


def _ready(
    each_class: Mapping[str, Any], document: Optional[Mapping[str, Any]], approved: List[str], past: Known
) -> Optional[Check]:
    """Why a class gets nothing; None when it does."""
    name = each_class["name"]
    id, title = f"stakeholders.sent:{name}", f"Report to {name}"
    if document is None:
        return Check(id, title, UNKNOWN, message="The newest draft has nothing for these recipients.", remedy=DRAFT)
    if document["recipients"] != addresses_digest(each_class["addresses"]):
        text = "The addresses are not those that it was drafted for."
        return Check(id, title, CRITICAL, False, message=text, remedy=f"{DRAFT} Then approve that.")
    if document["sha256"] not in approved and document["sha256"] not in past.approved:
        text = f"It waits for approval: {document['sha256']}."
        remedy = "Read it, and run playbooks/stakeholders.yml with its digest in stakeholder_report_approved."
        return Check(id, title, WARNING, "waiting", message=text, remedy=remedy)
    return None


def _waiting(
    each_class: Mapping[str, Any], document: Mapping[str, Any], options: Mapping[str, Any], past: Known
) -> List[str]:
    sender = options["mail"]["sender"]
    return [
        address
        for address in each_class["addresses"]
        if of_mail(message_id(document["sha256"], address, sender)) not in past.sent
    ]


def _deliver(ready: List[Any], options: Mapping[str, Any], past: Known, record: Record, outcome: Outcome) -> None:
    s3 = client(patient(options["storage"]))
    left: List[Any] = []
    for each_class, document in ready:
        waiting = _waiting(each_class, document, options, past)
        count = len(each_class["addresses"])
        id, title = f"stakeholders.sent:{each_class['name']}", f"Report to {each_class['name']}"
        if not waiting:
            text = f"Sent to {plural(count, 'address', 'addresses')} before."
            outcome.checks.append(Check(id, title, OK, count, message=text))
            continue
        body = fetched(s3, options["storage"], document)
        if body is None:
            text = f"{document['key']} is gone, or is not what was drafted."
            outcome.checks.append(Check(id, title, CRITICAL, False, message=text, remedy=f"{DRAFT} Then approve that."))
            continue
        left.append((each_class, document, waiting, body))
    if not left:
        return
    with connected(options["mail"]) as mailer:
        for each_class, document, waiting, body in left:
            outcome.checks.append(_class(each_class, document, waiting, body, options, past, record, mailer, outcome))


def fetched(s3: Any, storage: Dict[str, Any], document: Mapping[str, Any]) -> Optional[bytes]:
    """A document from the store; None if it is gone or another.

    :raises StorageError: the store does not answer
    """
    with storage_errors(storage, "reading the document"):
        stream = fetch(s3, storage, document["key"])
        if stream is None:
            return None
        body: bytes = stream.read(LARGEST + 1)
    return body if hashlib.sha256(body).hexdigest() == document["sha256"] else None


def _class(
    each_class: Mapping[str, Any],
    document: Mapping[str, Any],
    waiting: List[str],
    body: bytes,
    options: Mapping[str, Any],
    past: Known,
    record: Record,
    mailer: Mailer,
    outcome: Outcome,
) -> Check:
    """Sends one document to those who have not got it."""
    name, sha256, month = each_class["name"], document["sha256"], f"{options['first']:%Y-%m}"
    about = f"{name}-{month}.pdf"
    common = {"month": month, "class": name, "sha256": sha256}
    if sha256 not in past.approved:
        record({"title": APPROVED, **common}, about, sha256)
        past.approved[sha256] = "now"
    when = datetime.now(timezone.utc)
    failed: List[str] = []
    taken = 0
    mail = options["mail"]
    given = {
        "title": options["title"],
        "environment": options["environment_name"],
        "month": month,
        "sha256": sha256,
        "sender": mail["sender"],
        "reply_to": mail.get("reply_to"),
    }
    for address in waiting:
        id = message_id(sha256, address, mail["sender"])
        begun = past.sending.get(of_mail(id))
        if begun is None:
            record({"title": SENDING, **common, "message_id": id}, about, sha256)
        try:
            mailer.send(message(body, about, given, address, parse_time(begun) if begun else when))
        except MailError as error:
            failed.append(error.message)
            if error.unsure:
                break
            continue
        taken += 1
        outcome.sent += 1
        record({"title": SENT, **common, "message_id": id}, about, sha256)
    count = len(each_class["addresses"])
    id, title = f"stakeholders.sent:{name}", f"Report to {name}"
    if failed:
        done = count - len(waiting) + taken
        text = f"Not all got it: {failed[0]}" + (f" And {len(failed) - 1} more." if failed[1:] else "")
        return Check(
            id, title, CRITICAL, done, message=text, remedy="Correct the address or the server, and run again."
        )
    return Check(
        id, title, OK, count, message=f"Sent to {plural(len(waiting), 'address', 'addresses')}, {sha256[:12]}."
    )
