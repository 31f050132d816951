# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what was collected to a bundle in the store: sealed, proven, uploaded, chained, recorded, and resumable."""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional

from .. import ledger
from .._ledger.keys import PublicKeys, SigningKey, public_key
from .._ledger.keys import signing_key as load_key
from .._ledger.points import trusted
from .._ledger.record import digest
from .._storage.read import check_head, head
from .._storage.upload import Uploader
from ..errors import ConfigurationError, EvidenceError, LockedError
from ..storage import patient
from . import bundle, checkpoints, staged
from .chain import Chain, Link
from .clean import cleaned, rules_of
from .collected import FAILED, NAME, Collected, Period
from .ledger_once import Ledger
from .locks import kept
from .options import PLATFORM
from .period import period as chosen
from .proof import prove, sources_of
from .stamp import stamped
from .statement import STAMP, STAMP_STATEMENT, STATEMENT, Listed, opened, sealed_stamp

_TRIES = 5
#: What the ledger keeps of each source.
_KEPT = ("host", "place", "name", "kind", "outcome", "reason", "records", "gaps", "command", "redactions")


class Context(NamedTuple):
    """:param run_id: of the run this belongs to"""

    run_id: str
    actor: str
    now: datetime
    check_mode: bool = False


class Work(NamedTuple):
    """:param home: folder of the environment
    :param staging: of what is collected, one folder for each host
    """

    period: Period
    home: Path
    staging: Path


def work_of(options: Dict[str, Any], now: datetime) -> Work:
    """Where the period's bundle is made.

    :raises ConfigurationError: there is no such period, or it is not over
    """
    period = chosen(options["begin"], options["end"], options["month"], options["timezone"], now)
    home = Path(options["directory"]) / options["environment_name"]
    return Work(period, home, home / f".{bundle.name_of(options['environment_name'], period)}")


def prepare(options: Dict[str, Any], context: Context) -> Dict[str, Any]:
    """Period, folder, and what is there already.

    :raises MaintenanceError: nothing can be collected
    """
    work = work_of(options, context.now)
    evidence = options["evidence"]
    # Before anything is collected: a rule that is none, or that could take for ever.
    rules_of(options, load_key(evidence["signing_key"] or evidence["signing_key_file"]))
    chain = Chain(options["storage"], options["environment_name"], trusted(evidence))
    newest = chain.newest(evidence)
    made = chain.of_period(work.period.to_dict(), newest)
    if not context.check_mode:
        with bundle.disk_errors(work.home):
            work.staging.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (work.home, work.staging):
                folder.chmod(0o700)
    measured: Dict[str, List[str]] = {}
    if not made or options["again"]:
        with Ledger({**options, "staging": tempfile.gettempdir()}, work.period) as read:
            measured = checkpoints.measured(read.runs, work.period)
    places = sorted(path.parent.name for path in work.staging.glob(f"*/{NAME}"))
    whole = [place for place in places if staged.complete(work.staging / place, work.period)]
    return {
        "period": work.period.to_dict(),
        "staging": str(work.staging),
        "collected": {place: staged.plan_of(work.staging / place) for place in whole},
        "clocks": measured,
        "made": bool(made) and not options["again"],
        "number": newest.number + 1 if newest else 1,
        "bundle": made.facts["bundle"] if made else None,
    }


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One at a time on this machine; other machines are kept out by the run's lock and the chain."""
    with bundle.disk_errors(home):
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(home / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(
                f"Another bundle of this environment is being made in {home}.", "Wait for it to end, then run again."
            ) from None
        yield
    finally:
        os.close(handle)


def make(options: Dict[str, Any], context: Context) -> Dict[str, Any]:
    """Makes the bundle, or goes on with one that a dead run left.

    :raises MaintenanceError: it is not made; what was collected stays
    """
    work = work_of(options, context.now)
    with _alone(work.home):
        return _Maker(options, context, work).make()


class _Maker:
    def __init__(self, options: Dict[str, Any], context: Context, work: Work) -> None:
        self.options, self.context, self.work = options, context, work
        self.environment = options["environment_name"]
        self.evidence = options["evidence"]
        self.key: SigningKey = load_key(self.evidence["signing_key"] or self.evidence["signing_key_file"])
        self.keys: PublicKeys = trusted(self.evidence)
        self.chain = Chain(patient(options["storage"]), self.environment, self.keys)
        self.rules = rules_of(options, self.key)
        self.notes: List[str] = []
        #: Sources that were collected, and of which nothing could be packed.
        self.refused: List[str] = []

    def make(self) -> Dict[str, Any]:
        for _try in range(_TRIES):
            newest = self.chain.newest(self.evidence)
            made = self.chain.of_period(self.work.period.to_dict(), newest)
            if made and not self.options["again"]:
                return self._made_before(made)
            again = int(made.facts["bundle"].partition("Z--")[2].partition("-")[2] or 1) if made else 0
            name = bundle.name_of(self.environment, self.work.period, again)
            folder = self.work.home / name
            statement = self._sealed(folder, name, newest)
            proof = self._proven(folder)
            archive = self._upload(folder, statement)
            link = self._claim(statement, newest)
            if link is not None:
                self._record(link, archive, sources_of(folder))
                self._tidy(lost=bool(self.refused))
                return self._result(folder, archive["key"], link, proof, newest, sources_of(folder), changed=True)
            # Another collector was first: this one follows on its bundle, unless that is of the same period.
            with bundle.disk_errors(folder):
                bundle.aside(folder)
        raise EvidenceError(
            f"No bundle could be chained in {_TRIES} tries: each number was taken before.",
            "Look for something that makes bundles of this environment without end.",
        )

    def _sealed(self, folder: Path, name: str, newest: Optional[Link]) -> bytes:
        """The statement of the folder, which is made where it is not there or follows on another bundle."""
        facts = {
            "bundle": name,
            "environment": self.environment,
            "number": newest.number + 1 if newest else 1,
            "previous": newest.digest if newest else None,
            "period": self.work.period.to_dict(),
            "retention": {"class": self.options["retention"]["class"], "days": self.options["retention"]["days"]},
            "legal_hold": self.options["legal_hold"],
            "timestamp": bool(self.options["timestamp"]),
        }
        old = _files(folder, (STATEMENT, STAMP, STAMP_STATEMENT))
        with bundle.disk_errors(folder):
            partial = folder.with_name(f".{name}.new")
            bundle.remove(partial)
            partial.mkdir(mode=0o700)
            hosts = self._hosts()
            self.refused = []
            data: List[Listed] = []
            clean = self.work.home / f".{name}.clean"
            bundle.remove(clean)
            for place, collected in hosts.items():
                hosts[place] = cleaned(self.work.staging / place, collected, clean / place, self.rules, self.notes)
                data += bundle.take(clean / place, place, hosts[place], partial)
                kept = {source.name for source in hosts[place].sources if source.files}
                had = [source.name for source in collected.sources if source.files]
                self.refused += [f"{place}/{each}" for each in had if each not in kept]
            # Its files are the bundle's by now.
            bundle.remove(clean)
            if not any(each.size for each in data):
                raise EvidenceError(
                    "Nothing was collected: a bundle without evidence is none.",
                    "Read why above; then run again.",
                )
            statement = bundle.seal(partial, facts, hosts, data, self.key)
            if self.options["timestamp"]:
                # The same inputs give the same bytes: a dead run's stamp is of this very statement.
                stamp = old.get(STAMP) if old.get(STATEMENT) == statement else None
                stamp = stamp or stamped(self.options["timestamp"], statement)
                bundle.put(partial / STAMP, stamp)
                bundle.put(partial / STAMP_STATEMENT, sealed_stamp(stamp, statement, self.key))
            bundle.aside(folder)
            os.rename(partial, folder)
        return statement

    def _hosts(self) -> Dict[str, Collected]:
        """What was collected, by folder. A host of which there is nothing is named as one that failed."""
        period, found = self.work.period, {}
        for place in sorted({*self.options["hosts"], PLATFORM}):
            try:
                collected = staged.read(self.work.staging / place)
                if collected.period != period:
                    raise EvidenceError("what was collected is of another period")
                if staged.plan_of(self.work.staging / place) != self.options["plans"].get(place, ""):
                    raise EvidenceError("nothing was collected by the options of now, only by others in an earlier run")
            except EvidenceError as error:
                collected = bundle.nothing(place, period, error.message)
            found[place] = collected
        needed = sum(file.size for host in found.values() for source in host.sources for file in source.files)
        limit = self.options["scratch_limit"]
        if limit and needed > limit:
            raise EvidenceError(
                f"What was collected has {needed} bytes, more than audit_collection_scratch_limit ({limit}).",
                "Raise the limit, or collect shorter periods.",
            )
        return found

    def _upload(self, folder: Path, statement: bytes) -> Dict[str, Any]:
        """Puts the archive into the store, also where one is: what was not seen being written is not vouched for.

        :returns: key, size, SHA-256, and checksum as the store keeps it
        """
        facts = opened(statement, self.keys, self.environment)
        files = [Listed(each["name"], each["annotations"]["size"], each["digest"]["sha256"]) for each in facts["files"]]
        key = self.chain.archive_key(facts["bundle"], digest(statement))
        lock = self._lock()
        with Uploader(self.chain.s3, self.options["storage"], threads=2, part_size=8 << 20, lock=lock) as uploader:
            stream = uploader.stream(key, "audit")
            try:
                bundle.archive(folder, facts, files, stream.write)
            except (OSError, ValueError) as error:
                raise EvidenceError(f"The bundle changed while it was uploaded: {error}.", "Run again.") from None
            stream.close()
            uploader.settle()
            (archive,) = uploader.objects
        return dict(archive)

    def _lock(self) -> Dict[str, Any]:
        """The arguments by which the store locks the archive, none where it cannot."""
        mode, days = self.evidence["lock_mode"], self.options["retention"]["days"]
        lock: Dict[str, Any] = {"ObjectLockLegalHoldStatus": "ON"} if self.options["legal_hold"] else {}
        if mode != "none":
            if not 1 <= days <= 36500:
                raise ConfigurationError(
                    f"A retention of {days} days makes no sense.", "Set audit_collection_retention.days to 1 or more."
                )
            until = ((self.chain.clock or self.context.now) + timedelta(days=days)).replace(microsecond=0)
            lock.update(ObjectLockMode=mode.upper(), ObjectLockRetainUntilDate=until)
        if lock and self.chain.locks() is False:
            self.notes.append("The bucket has no object lock: whoever may delete objects may delete the bundle.")
            return {}
        return lock

    def _claim(self, statement: bytes, newest: Optional[Link]) -> Optional[Link]:
        """Takes the bundle's number; None when another collector has it."""
        number = newest.number + 1 if newest else 1
        lock = {name: value for name, value in self._lock().items() if name != "ObjectLockLegalHoldStatus"}
        retention = (lock["ObjectLockMode"], lock["ObjectLockRetainUntilDate"]) if lock else None
        self.chain.put(number, statement, retention)
        # What the store keeps is what counts.
        if self.chain.statement(number) != statement:
            return None
        return Link(number, digest(statement), opened(statement, self.keys, self.environment, number))

    def _proven(self, folder: Path) -> Dict[str, Any]:
        keys = [public_key(each) for each in self.evidence["trusted_key_files"]]
        return prove(folder, [self.key.public, *keys], self.options["timestamp"])

    def _tidy(self, lost: bool) -> None:
        """Removes what was collected, unless there is more in it than in the bundle."""
        if not lost:
            return bundle.remove(self.work.staging)
        what = f" ({', '.join(self.refused[:5])})" if self.refused else ""
        self.notes.append(
            f"What is not in the bundle{what} stays in {self.work.staging}, not redacted. Mend what its sources name,"
            " then collect again (audit_collection_again); or remove that folder."
        )
        return None

    def _record(self, link: Link, archive: Dict[str, Any], sources: List[Dict[str, Any]]) -> None:
        record = ledger.append(
            self.options["storage"],
            self.environment,
            "audit",
            actor=self.context.actor,
            run_id=self.context.run_id,
            subjects=[
                {"name": archive["key"], "digest": {"sha256": archive["sha256"]}},
                {"name": self.chain.key(link.number), "digest": {"sha256": link.digest}},
            ],
            content={
                "bundle": link.facts["bundle"],
                "number": link.number,
                "digest": link.digest,
                "archive": {name: archive[name] for name in ("key", "size", "sha256", "checksum", "etag")},
                "period": link.facts["period"],
                "files": len(link.facts["files"]),
                "sources": [{name: each[name] for name in _KEPT} for each in sources],
            },
            signing_key=self.evidence["signing_key"] or self.evidence["signing_key_file"],
            trusted_keys=self.evidence["trusted_key_files"],
            lock_mode=self.evidence["lock_mode"],
            lock_days=self.evidence["lock_days"],
            witness=Path(self.options["witness"]) if self.options["witness"] else None,
        )
        self.notes += [note for note in record["notes"] if note not in self.notes]

    def _made_before(self, made: Link) -> Dict[str, Any]:
        """A bundle of this period that is there: its archive must be as the ledger knows it."""
        key = self.chain.archive_key(made.facts["bundle"], made.digest)
        folder = self.work.home / made.facts["bundle"]
        here = (folder / STATEMENT).is_file() and digest((folder / STATEMENT).read_bytes()) == made.digest
        proof = self._proven(folder) if here else None
        recorded = self.chain.recorded(made, self.evidence)
        sources = sources_of(folder) if here else (recorded or {}).get("sources")
        archive = (recorded or {}).get("archive")
        if here and recorded is None:
            # A run that died just before it. What it uploaded is not known any more.
            archive = self._upload(folder, (folder / STATEMENT).read_bytes())
            self._record(made, archive, sources_of(folder))
        if archive is not None:
            lost = sources is None or any(each["outcome"] == FAILED for each in sources)
            if any(self.work.staging.glob(f"*/{NAME}")) or not lost:
                self._tidy(lost)
        before = self.chain.link(made.number - 1) if made.number > 1 else None
        result = self._result(folder, key, made, proof, before, sources, changed=here and recorded is None)
        return {**result, **self._stored(key, archive)}

    def _stored(self, key: str, archive: Optional[Dict[str, Any]]) -> Dict[str, Any]:
        """What the store says of an archive, against what the ledger's record does."""
        if archive is not None:
            return {"stored": True, "trouble": check_head(self.chain.s3, self.options["storage"], archive)}
        if head(self.chain.s3, self.options["storage"], key) is None:
            return {"trouble": f"{key} is missing"}
        return {"stored": False}

    def _locks(self, link: Link) -> Optional[Dict[str, Any]]:
        """What the store says of the locks of the chain; None where none are asked for."""
        return kept(self.chain, link, self.context.now) if self.evidence["lock_mode"] != "none" else None

    def _result(
        self,
        folder: Path,
        key: str,
        link: Link,
        proof: Optional[Dict[str, Any]],
        before: Optional[Link],
        sources: Optional[List[Dict[str, Any]]],
        changed: bool,
    ) -> Dict[str, Any]:
        return {
            "bundle": link.facts["bundle"],
            "number": link.number,
            "digest": link.digest,
            "period": link.facts["period"],
            "previous_period": before.facts["period"] if before else None,
            "path": str(folder) if proof else None,
            "key": key,
            "sources": sources,
            "verified": proof["verdict"] if proof else None,
            "stamped_at": proof["stamped_at"] if proof else None,
            "timestamp": link.facts["timestamp"],
            "locks": self._locks(link),
            "stored": True,
            "trouble": None,
            "changed": changed,
            "notes": self.notes,
        }


def _files(folder: Path, names: Iterable[str]) -> Dict[str, bytes]:
    """The small files of a folder that are there."""
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def now() -> datetime:
    """Now, in UTC."""
    return datetime.now(timezone.utc)
