# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Temporary files: which entries of a declared directory may go, and how they go. See docs/housekeeping.md."""

from __future__ import annotations

import base64
import calendar
import fnmatch
import hashlib
import os
import pwd
import time
from contextlib import ExitStack, suppress
from typing import Any, Callable, Collection, Dict, FrozenSet, Iterator, List, NamedTuple, Optional, Tuple

from ..errors import ConfigurationError, HousekeepingError
from ..words import printable
from .aside import STAMP, astray, checked, moving, own, parsed, shown
from .done import Done
from .holders import Blind, Holders, scan
from .pace import Pace
from .place import QUARANTINE, Full, Place, held, place, quarantine, spared
from .tree import Budget, Rules, Seen, Stays, look, put_back, remove, single

#: Of the system, whatever is declared: places of services and sockets that are looked for by name.
KEPT = [
    "systemd-private-*",
    "snap-private-tmp",
    ".X11-unix",
    ".ICE-unix",
    ".XIM-unix",
    ".font-unix",
    ".Test-unix",
    ".X*-lock",
    ".s.PGSQL.*",
    "lost+found",
    "aquota.user",
    "aquota.group",
]
#: Names of what stays that are told, for each reason.
_SAMPLES = 20
_DAY = 86400.0
#: Files that go from their own place at most, to make room for the quarantine.
_FIRST = 16


class Item(NamedTuple):
    """An entry that may go.

    :param aside: whether it lies in quarantine already
    """

    name: bytes
    seen: Seen
    aside: bool
    token: str

    @property
    def own(self) -> bytes:
        """Its name in the directory."""
        return own(self.name) if self.aside else self.name


class Looked(NamedTuple):
    """What there is in a declared directory.

    :param kept: reason to the names of what stays
    :param young: entries that are not old enough
    :param later: entries that may go, beyond the most of one run
    :param strays: what an earlier run moved into quarantine and did not look at again, and why it belongs back
    """

    items: List[Item]
    kept: Dict[str, List[bytes]]
    young: List[bytes]
    later: List[bytes]
    strays: List[Tuple[bytes, str]]


class Cleaner:
    """One declared directory.

    :param options: see options.DIRECTORY
    :param maximum: entries that go in one run at most
    :param pace: is told how far it is
    :raises ConfigurationError: an owner is not known here
    """

    def __init__(
        self,
        options: Dict[str, Any],
        maximum: int,
        look_at: int,
        now: Callable[[], float] = time.time,
        pace: Optional[Pace] = None,
    ):
        self.pace = pace or Pace()
        self.path = str(options["path"])
        self.options = options
        self.maximum = maximum
        self.look_at = look_at
        self.now = now
        self.owners = _users(options["owners"])
        if options["days"] <= 0 or options["quarantine_days"] < 0:
            raise ConfigurationError(
                f"{printable(self.path)}: days must be above 0, and quarantine_days not below.",
                "Correct housekeeping_temporary.",
            )

    def plan(self) -> Dict[str, Any]:
        """What would go, as JSON data. Nothing is changed."""
        with place(self.path) as where:
            holders = _scanned()
            aside = quarantine(where, make=False)
            try:
                looked = self._looked(where, aside, holders)
            finally:
                if aside is not None:
                    os.close(aside)
            return self._planned(looked)

    def apply(self, tokens: Collection[str]) -> Dict[str, Any]:
        """Takes away what was planned and is still the same; nothing else.

        :param tokens: of what was planned
        :returns: the plan as it is now, with {"done": {"removed", "quarantined", "kept", "failed": rows of name and
            why; "restored": rows of what an earlier run had left in quarantine and has its place again;
            "freed": bytes; "missing": how many of the planned are no more as they were}}
        """
        done = Done()
        with place(self.path) as where, ExitStack() as stack:
            aside = held(stack, quarantine(where, make=False))
            looked = self._looked(where, aside, _scanned())
            for name, why in looked.strays:
                if aside is not None:
                    self._back(where, aside, None, name, why, done)
            items = rest = [item for item in looked.items if item.token in tokens]
            if items and aside is None:
                aside, rest = self._made(stack, where, items, done)
            if aside is not None:
                self._apply(where, aside, rest, done)
        found = {item.token for item in items}
        # What became of the strays is among what was done.
        looked = looked._replace(strays=[])
        return {**self._planned(looked), "done": {**done.data(), "missing": len(set(tokens) - found)}}

    def _made(self, stack: ExitStack, where: Place, items: List[Item], done: Done) -> Tuple[Optional[int], List[Item]]:
        """Makes the quarantine. Where inodes are used up, plain files of the plan go first, each from its own place.

        :returns: its descriptor, None when it could not be made and that was told; the items that are left
        :raises HousekeepingError: it cannot be made, and nothing was removed
        """
        rest = list(items)
        # Who declared days in quarantine does not want them to go at once.
        most = 0 if self.options["quarantine_days"] > 0 else _FIRST
        while True:
            try:
                return held(stack, quarantine(where, make=True)), rest
            except HousekeepingError as error:
                first = None
                if isinstance(error, Full) and len(items) - len(rest) < most:
                    first = next((item for item in rest if single(where.descriptor, item.name)), None)
                if first is not None:
                    rest.remove(first)
                    self._at_once(where, first, done)
                elif done.removed:
                    done.failed += [(item.own, error.message) for item in rest]
                    return None, []
                else:
                    raise

    def _at_once(self, where: Place, item: Item, done: Done) -> None:
        """Removes a plain file from its place, if it is what it was by a look at all processes just now."""
        with done.told(item.own):
            try:
                holders = scan()
            except Blind:
                raise Stays("not known whether it is in use") from None
            covered = holders.sources.covered(os.fsencode(self.path))
            if item.name in covered:
                raise Stays(covered[item.name])
            rules = self._rules(holders, False)
            if look(where.descriptor, item.name, where.mount, rules, Budget(1)) != item.seen:
                raise Stays("changed meanwhile")
            os.unlink(item.name, dir_fd=where.descriptor)
            done.removed.append((item.own, item.seen.bytes))

    def _apply(self, where: Place, aside: int, items: List[Item], done: Done) -> None:
        later = self.options["quarantine_days"] > 0
        moved: List[Tuple[Item, bytes]] = []
        for item in items:
            if item.aside:
                moved.append((item, item.name))
                continue
            with done.told(item.own):
                moved.append((item, self._set_aside(where, aside, item)))
        # By path nobody reaches them any more. Who has opened one before that is seen now.
        holders: Optional[Holders] = None
        with suppress(Blind):
            holders = scan()
        covered = holders.sources.covered(os.path.join(os.fsencode(self.path), QUARANTINE)) if holders else {}
        self.pace.begin("looked at again and removed", sum(item.seen.files for item, _name in moved))
        for item, name in moved:
            if holders is None:
                self._back(where, aside, item, name, "not known whether it is in use", done)
                continue
            try:
                if name in covered:
                    raise Stays(covered[name])
                rules = self._rules(holders, item.aside)
                seen = look(aside, name, where.mount, rules, Budget(self.look_at), moved=True)
                same = seen.identity[:2] == item.seen.identity[:2] and seen.files == item.seen.files
                if not same or seen.newest > item.seen.newest:
                    raise Stays("changed meanwhile")
            except Stays as reason:
                self._back(where, aside, item, name, str(reason), done)
                continue
            except OSError as error:
                self._back(where, aside, item, name, f"cannot be looked at: {error.strerror}", done)
                continue
            with done.told(item.own):
                # A run that ends in the midst of the removal leaves half a tree, and that belongs nowhere.
                sure = checked(name)
                if name != sure:
                    os.rename(name, sure, src_dir_fd=aside, dst_dir_fd=aside)
                    if later:
                        done.quarantined.append((item.own, seen.bytes))
                        continue
                done.removed.append((item.own, remove(aside, sure, where.mount, tick=self.pace.tick)))

    def _set_aside(self, where: Place, aside: int, item: Item) -> bytes:
        """Moves an entry into quarantine, if it is what it was.

        :raises Stays: it is not
        :raises OSError: it cannot be moved
        """
        status = os.stat(item.name, dir_fd=where.descriptor, follow_symlinks=False)
        if (status.st_dev, status.st_ino, status.st_ctime_ns) != item.seen.identity:
            raise Stays("changed meanwhile")
        name = moving(item.name, self.now())
        os.rename(item.name, name, src_dir_fd=where.descriptor, dst_dir_fd=aside)
        return name

    def _back(self, where: Place, aside: int, item: Optional[Item], name: bytes, why: str, done: Done) -> None:
        """Gives an entry its place back.

        :param item: None for what an earlier run has left
        """
        found = parsed(name)
        wanted = item.own if item else own(name)
        try:
            if wanted == own(name) and found and not found.whole:
                raise OSError("its own name was too long to be kept")
            put_back(aside, name, where.descriptor, wanted)
            (done.restored if item is None else done.kept).append((wanted, why))
        except FileNotFoundError:
            done.failed.append((wanted, f"{why}; somebody else took it out of the quarantine"))
        except OSError as error:
            # By this name every run tries again, and tells.
            with suppress(OSError):
                os.rename(name, astray(name), src_dir_fd=aside, dst_dir_fd=aside)
                name = astray(name)
            done.failed.append((wanted, f"{why}; it stays in quarantine as {shown(name)}: {error.strerror or error}"))

    def _limit(self) -> float:
        return self.now() - float(self.options["days"]) * _DAY

    def _rules(self, holders: Holders, aside: bool) -> Rules:
        owners = None if aside else self.owners
        return Rules(lambda identity: holders.identities.get(identity, ""), owners, bool(self.options["reads"]))

    def _looked(self, where: Place, aside: Optional[int], holders: Holders) -> Looked:
        looked = Looked([], {}, [], [], [])
        self.pace.begin("looked at")
        budget = Budget(self.look_at, self.pace.tick)
        path = os.fsencode(self.path)
        covered = {where.descriptor: holders.sources.covered(path)}
        if aside is not None:
            covered[aside] = holders.sources.covered(os.path.join(path, QUARANTINE))
        for folder, name, why in self._candidates(where, aside):
            if why:
                if why != "quarantine":
                    looked.kept.setdefault(why, []).append(name)
                continue
            found = parsed(name) if folder == aside else None
            stray = bool(found and found.stray)
            try:
                if name in covered[folder]:
                    raise Stays(covered[folder][name])
                # The ctime of a stray is that of its move. All else in it was old then.
                rules = self._rules(holders, folder == aside)
                seen = look(folder, name, where.mount, rules, budget, moved=stray)
                if stray and seen.newest > self._limit():
                    raise Stays("changed meanwhile")
            except (Stays, OSError) as error:
                reason = str(error) if isinstance(error, Stays) else f"cannot be looked at: {error.strerror}"
                if stray:
                    looked.strays.append((name, reason))
                elif isinstance(error, FileNotFoundError):
                    # Gone meanwhile, or a part of it: it is in use.
                    looked.young.append(name)
                else:
                    looked.kept.setdefault(reason, []).append(name)
                continue
            if folder != aside and seen.newest > self._limit():
                looked.young.append(name)
            elif len(looked.items) >= self.maximum:
                looked.later.append(name)
            else:
                mark = token(self.path, name, seen, folder == aside)
                looked.items.append(Item(name, seen, folder == aside, mark))
        return looked

    def _candidates(self, where: Place, aside: Optional[int]) -> Iterator[Tuple[int, bytes, str]]:
        """All entries: the descriptor of their folder, their name, and why they stay as far as the name says."""
        if aside is not None:
            for name in sorted(map(os.fsencode, os.listdir(aside))):
                found = parsed(name)
                if not found:
                    yield aside, name, "in quarantine under a strange name"
                elif found.stray or self._due(found.since):
                    yield aside, name, ""
                else:
                    yield aside, name, "quarantine"
        for name in sorted(map(os.fsencode, os.listdir(where.descriptor))):
            if name == QUARANTINE:
                continue
            text = os.fsdecode(name)
            if any(fnmatch.fnmatchcase(text, each) for each in KEPT):
                why = "kept for the system"
            else:
                why = spared(text, self.options)
            yield where.descriptor, name, why

    def _due(self, stamp: bytes) -> bool:
        """Whether the time in quarantine is over. By the name: it has no other date that we made."""
        try:
            since = calendar.timegm(time.strptime(stamp.decode(), STAMP))
        except (OverflowError, ValueError):
            return False
        return self.now() - since >= float(self.options["quarantine_days"]) * _DAY

    def _planned(self, looked: Looked) -> Dict[str, Any]:
        return {
            "items": [self._described(item) for item in looked.items],
            "kept": {
                reason: {"count": len(names), "names": [shown(name) for name in names[:_SAMPLES]]}
                for reason, names in sorted(looked.kept.items())
            },
            "young": len(looked.young),
            "later": len(looked.later),
            "strays": [{"name": shown(own(name)), "why": why} for name, why in looked.strays],
        }

    def _described(self, item: Item) -> Dict[str, Any]:
        row = {
            "name": shown(item.own),
            "bytes": item.seen.bytes,
            "files": item.seen.files,
            "newest": int(item.seen.newest),
            "owner": item.seen.owner,
            "quarantined": item.aside,
            "token": item.token,
        }
        if shown(item.name) != os.fsdecode(item.name):
            row["name_base64"] = base64.b64encode(item.own).decode()
        return row


def _scanned() -> Holders:
    try:
        return scan()
    except Blind as why:
        raise HousekeepingError(
            f"It is not known what is in use: {why}.", "Run it as root (become: true). Nothing was changed."
        ) from None


def _users(names: List[str]) -> Optional[FrozenSet[int]]:
    """The ids of users; None for all."""
    found = set()
    for name in names:
        try:
            found.add(int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid)
        except KeyError:
            raise ConfigurationError(
                f"There is no user {printable(name)} on this host.", "Correct owners in housekeeping_temporary."
            ) from None
    return frozenset(found) if names else None


def token(path: str, name: bytes, seen: Seen, aside: bool) -> str:
    """What stands for an entry in a plan: another one, or the same one changed, has another."""
    parts = [os.fsencode(path), name, repr((seen.identity, seen.newest, seen.files, aside)).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]
