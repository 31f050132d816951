# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Contract 3, evidence: each run appends one signed record to its environment's ledger in the S3 store.

Records are numbered from 1, carry the digest of the one before, and are written only where none is, so that two
writers cannot fork the chain. scripts/ledger_verify.py proves a ledger without Ansible; docs/evidence.md tells of keys.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Iterable, Optional, Union

from ._ledger import witness as witnesses
from ._ledger.folder import LAST
from ._ledger.keys import PublicKeys, SigningKey, public_key
from ._ledger.keys import signing_key as load_key
from ._ledger.places import Store
from ._ledger.record import KINDS, BadRecord, Record, digest, open_record, parse_time, seal, statement
from ._ledger.spec import KEYS_SPEC
from .checks import plain, utc_now
from .errors import EvidenceError, StorageError
from .storage import patient

__all__ = ["KINDS", "SIGNING_SPEC", "append"]

#: Argument spec of how records are signed, trusted and locked.
SIGNING_SPEC: dict[str, Any] = {
    **KEYS_SPEC,
    "lock_mode": {"type": "str", "default": "governance", "choices": ["none", "governance", "compliance"]},
    "lock_days": {"type": "int", "default": 2557},
}

#: Every failed try means that another writer got on; this many in a row means that something else is wrong.
_TRIES = 100
_LARGEST = 1024 * 1024
#: Seconds the controller's clock may be off the store's before somebody should look.
_CLOCK_TOLERANCE = 300
_HELP = "Find out with scripts/ledger_verify.py, and go on as docs/evidence.md says (A damaged ledger)."


def append(
    storage: dict[str, Any],
    environment: str,
    kind: str,
    *,
    actor: str,
    run_id: str,
    subjects: list[dict[str, Any]],
    content: dict[str, Any],
    signing_key: Union[str, Path, None],
    trusted_keys: Iterable[Union[str, Path]] = (),
    lock_mode: Optional[str] = None,
    lock_days: Optional[int] = None,
    witness: Optional[Path] = None,
    check_mode: bool = False,
) -> dict[str, Any]:
    """Appends one record. The newest record is proven first: nothing is ever chained onto what does not verify.

    :param storage: see storage.STORAGE_SPEC
    :param kind: one of KINDS
    :param subjects: what the record is about, [{name, digest: {sha256}}]; empty: its own content
    :param content: JSON data of the kind, no secrets
    :param signing_key: Ed25519 private key: PEM text, or a file of mode 0600
    :param trusted_keys: public keys whose records count, files or PEM text; empty: only the signing key's own
    :param lock_mode: governance or compliance where the bucket can lock objects; none or None: no lock
    :param lock_days: how long the store shall refuse to delete the record
    :param witness: the local file that remembers the ledger's records
    :param check_mode: prove everything, write nothing; digest is then None
    :returns: number, key, digest (SHA-256 of the envelope), keyid, recorded_at, notes (what the operator should know)
    :raises EvidenceError: keys, options or the ledger itself are not in order
    :raises StorageError: the store is unreachable or refuses
    """
    own = load_key(signing_key)
    trusted = _trusted(own, list(trusted_keys))
    statement({"kind": kind, "content": plain(content)}, subjects)
    store = Store(patient(storage), environment)
    notes: list[str] = []
    seen = _witnessed(witness, trusted, notes)
    number = store.head(seen["number"] if seen else 0)
    head = _prove_head(store, environment, number, trusted, seen)
    retention = _retention(store, lock_mode, lock_days, notes)
    identity = str(uuid.uuid4())
    for _try in range(_TRIES):
        number += 1
        if number > LAST:
            raise EvidenceError("The ledger is full.", "Begin another one, see docs/evidence.md.")
        recorded_at = utc_now()
        predicate = {
            "id": identity,
            "number": number,
            "previous": head.digest if head else None,
            "environment": environment,
            "kind": kind,
            "recorded_at": recorded_at,
            "store_time": store.clock.strftime("%Y-%m-%dT%H:%M:%SZ") if store.clock else None,
            "actor": actor,
            "run_id": run_id,
            "retention": retention and {"mode": retention[0].lower(), "until": _text(retention[1])},
            "content": plain(content),
        }
        data = _sealed(statement(predicate, subjects), own, number, environment)
        result = {"number": number, "key": store.key(number), "digest": digest(data), "keyid": own.keyid}
        if check_mode:
            return {**result, "digest": None, "recorded_at": recorded_at, "notes": notes}
        other = _put(store, number, data, retention)
        if other is None:
            notes += _clock_notes(head, store.clock, recorded_at)
            _witness(witness, {**result, "recorded_at": recorded_at}, notes)
            return {**result, "recorded_at": recorded_at, "notes": notes}
        # Another writer was first: chain onto its record.
        head = _proven(other, number, environment, trusted, head)
    raise EvidenceError(
        f"No record could be appended in {_TRIES} tries: every number was taken before.",
        "Look for something that writes to this ledger without end.",
    )


def _sealed(content: dict[str, Any], own: SigningKey, number: int, environment: str) -> bytes:
    """The envelope, proven as others will prove it: a bad record would stop the ledger for good."""
    data = seal(content, own)
    if len(data) > _LARGEST:
        raise EvidenceError(
            f"The record would have {len(data)} bytes; at most {_LARGEST} are accepted.",
            "Put the content into an object of its own and name it as a subject.",
        )
    try:
        open_record(data, PublicKeys([own.public]), number=number, environment=environment)
    except BadRecord as error:
        raise EvidenceError(f"The record would not verify: {error}.", "Correct what was handed in.") from None
    return data


def _trusted(own: SigningKey, given: list[Union[str, Path]]) -> PublicKeys:
    trusted = PublicKeys([public_key(each) for each in given] or [own.public])
    if own.keyid not in trusted:
        raise EvidenceError(
            f"The signing key {own.keyid} is not among the trusted keys: its records would not be accepted.",
            "Add its public key to trusted_key_files (openssl pkey -in KEY -pubout), or use the right signing key.",
        )
    return trusted


def _witnessed(path: Optional[Path], trusted: PublicKeys, notes: list[str]) -> Optional[dict[str, Any]]:
    """The newest record this controller knows of."""
    if not path:
        return None
    try:
        return witnesses.newest(path, trusted)
    except OSError as error:
        notes.append(f"The witness {path} cannot be read ({error.strerror}): removed records would go unseen.")
        return None


def _prove_head(
    store: Store, environment: str, number: int, trusted: PublicKeys, seen: Optional[dict[str, Any]]
) -> Optional[Record]:
    """The newest record, proven, or None for an empty ledger; it must be no older than what the witness saw."""
    if seen and seen["number"] > number:
        raise EvidenceError(
            f"The ledger {store.prefix} ends at record {number}, but this controller wrote record {seen['number']} at "
            f"{seen.get('recorded_at')}: the newest records are gone.",
            _HELP,
        )
    stored = store.read(number) if number else None
    if seen:
        ours = stored if seen["number"] == number else store.read(seen["number"])
        if ours is None or digest(ours.data) != seen["digest"]:
            what = "gone" if ours is None else "not the one this controller wrote"
            raise EvidenceError(f"Record {seen['number']} of the ledger {store.prefix} is {what}.", _HELP)
    if not number:
        return None
    if stored is None:
        raise EvidenceError(f"Record {number} of the ledger {store.prefix} went away while it was read.", _HELP)
    return _proven(stored.data, number, environment, trusted, None)


def _proven(data: bytes, number: int, environment: str, trusted: PublicKeys, before: Optional[Record]) -> Record:
    """A record of somebody else's onto which ours may be chained."""
    try:
        record = open_record(data, trusted, number=number, environment=environment)
        if before and record.predicate["previous"] != before.digest:
            raise BadRecord(f"it does not follow on record {number - 1}")
        if (record.predicate["previous"] is None) != (number == 1):
            raise BadRecord("it does not follow on any record" if number > 1 else "it follows on another one")
    except BadRecord as error:
        raise EvidenceError(
            f"Record {number}, the newest of the ledger of {environment}, does not verify: {error}. "
            "Nothing was appended to it.",
            f"If its key was rotated, keep the old public key in trusted_key_files. {_HELP}",
        ) from None
    return record


def _retention(
    store: Store, mode: Optional[str], days: Optional[int], notes: list[str]
) -> Optional[tuple[str, datetime]]:
    """Mode and end of the store's lock on the new record; None when there is none to be had."""
    wanted = (mode or "none").upper()
    if wanted == "NONE":
        return None
    if wanted not in ("GOVERNANCE", "COMPLIANCE") or not isinstance(days, int) or not 1 <= days <= 36500:
        raise EvidenceError(
            f"A lock of mode {mode!r} for {days!r} days makes no sense.",
            "Set lock_mode to none, governance or compliance, and lock_days to 1 or more.",
        )
    if store.locks() is False:
        notes.append(
            "The bucket has no object lock: whoever may delete objects may delete evidence. "
            "Use a bucket made with object lock, or set lock_mode to none."
        )
        return None
    # By the store's clock, which judges it. Whole seconds: stores cut the rest.
    now = store.clock or datetime.now(timezone.utc)
    return wanted, (now + timedelta(days=days)).replace(microsecond=0)


def _put(store: Store, number: int, data: bytes, retention: Optional[tuple[str, datetime]]) -> Optional[bytes]:
    """Puts our record. None when it is there; else the record that is there in its place."""
    failure: Optional[StorageError] = None
    taken = False
    for _try in range(3):
        try:
            taken = store.put(number, data, retention)
            failure = None
        except StorageError as error:
            failure = error
        # Also after success: what the store keeps is what counts. After a failure the answer may have been lost.
        try:
            stored = store.read(number)
        except StorageError as error:
            raise EvidenceError(
                f"It is not known whether record {number} was taken: {(failure or error).message}",
                "Nothing is lost either way: the next run goes on from what is there. " + error.remedy,
            ) from None
        if stored is not None:
            if stored.data != data and taken:
                raise EvidenceError(
                    f"The store confirmed record {number} and holds another in its place: it does not honour "
                    "If-None-Match.",
                    "Use a store that knows conditional writes.",
                )
            return None if stored.data == data else stored.data
        if failure:
            raise failure
    raise EvidenceError(
        f"The store says both that record {number} exists and that it does not.",
        "Check the store's health; in a versioned bucket, look for delete markers.",
    )


def _clock_notes(head: Optional[Record], store_clock: Optional[datetime], recorded_at: str) -> list[str]:
    now, result = parse_time(recorded_at), []
    if store_clock and abs((now - store_clock).total_seconds()) > _CLOCK_TOLERANCE:
        result.append(
            f"The controller's clock says {recorded_at}, the store's {_text(store_clock)}: set the wrong one."
        )
    if head and parse_time(head.predicate["recorded_at"]) > now:
        result.append(
            f"The record before is of {head.predicate['recorded_at']}, this one of {recorded_at}: a clock is wrong."
        )
    return result


def _witness(path: Optional[Path], line: dict[str, Any], notes: list[str]) -> None:
    """Remembers the record. It is in the ledger already, so failing here is no failure of the record."""
    if not path:
        return
    try:
        witnesses.add(path, {name: line[name] for name in ("number", "digest", "keyid", "recorded_at")})
    except OSError as error:
        notes.append(f"The witness {path} cannot be written ({error.strerror}): free space or correct its folder.")


def _text(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
