# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was seen to run, by image: which digests, whether a registry has them, and what nobody declared."""

from __future__ import annotations

import fnmatch
import re
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from .._registry.reference import DIGEST, Reference, parsed
from .._registry.registry import Stores
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, unknown
from ..errors import ImageError, MaintenanceError
from ..words import plural, printable

_NAMED = 5


class Seen(NamedTuple):
    """A container that runs one of the declared images.

    :param digest: what it runs; None when no registry has a digest of it
    """

    where: str
    image: str
    id: str
    digest: Optional[str]


class Observed:
    """All that engines and clusters said.

    :param sources: {source, problem, containers: [{name, image, id, digests}]}
    """

    def __init__(self, sources: List[Dict[str, Any]], ignored: List[str]) -> None:
        self.sources, self._ignored = sources, ignored
        self._declared: List[Reference] = []

    @property
    def asked(self) -> bool:
        return bool(self.sources)

    @property
    def silent(self) -> List[str]:
        """Sources that did not say what runs."""
        return [each["source"] for each in self.sources if each["problem"]]

    def declare(self, reference: Reference) -> None:
        self._declared.append(reference)

    def of(self, reference: Reference, platform: str, stores: Stores) -> List[Seen]:
        """The containers that run an image."""
        found = []
        for where, each in self._all():
            if not _same(each, reference):
                continue
            digests = list(dict.fromkeys(digest for name, digest in _digests(each) if name in (None, reference.name)))
            found.append(Seen(where, each["image"], each["id"], _which(digests, each, reference, platform, stores)))
        return found

    def _all(self) -> Iterator[Tuple[str, Dict[str, Any]]]:
        for source in self.sources:
            for each in source["containers"]:
                yield f"{each['name']} ({source['source']})", each

    def checks(self) -> List[Check]:
        """About the sources, and about what runs and nobody declared."""
        found = []
        for each in self.sources:
            id, title = f"images.source:{printable(each['source'])}", f"What runs: {each['source']}"
            if each["problem"]:
                remedy = "Nothing is known about what runs there until it answers."
                found.append(
                    unknown(id, title, f"It does not say what runs: {printable(each['problem'], 400)}.", remedy)
                )
                continue
            text = f"{plural(len(each['containers']), 'container')}."
            found.append(Check(id, title, OK, len(each["containers"]), message=text))
        others: Dict[str, List[str]] = {}
        for where, each in self._all():
            if any(_same(each, reference) for reference in self._declared):
                continue
            if not any(fnmatch.fnmatchcase(_name(each["image"]), pattern) for pattern in self._ignored):
                others.setdefault(each["image"], []).append(where)
        id, title = "images.undeclared", "Images that nobody declared"
        details = {"images": {name: where[:20] for name, where in sorted(others.items())[:200]}}
        if others:
            names = [f"{printable(name, 120)} in {printable(others[name][0], 120)}" for name in sorted(others)[:_NAMED]]
            more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
            text = f"{plural(len(others), 'image')} that nobody declared: {', '.join(names)}{more}."
            remedy = "Declare them in patching_images, or in patching_images_ignored."
            found.append(Check(id, title, WARNING, len(others), message=text, remedy=remedy, details=details))
        elif self.silent:
            found.append(unknown(id, title, f"Not all say what runs: {', '.join(self.silent)}.", "See above."))
        else:
            found.append(Check(id, title, OK, 0, message="All that runs is declared.", details=details))
        return found


def _name(text: str) -> str:
    try:
        return parsed(text).name
    except MaintenanceError:
        return text


def _digests(each: Dict[str, Any]) -> Iterator[Tuple[Optional[str], str]]:
    """(name of the image, digest) of what an engine says; None for the name where it says none."""
    for text in each["digests"]:
        name, at, digest = text.rpartition("@")
        if DIGEST.fullmatch(digest):
            yield (_name(name) if at else None), digest


def _same(each: Dict[str, Any], reference: Reference) -> bool:
    """Whether a container runs a declared image, in whatever version."""
    names = {_name(each["image"]), *(name for name, _digest in _digests(each))}
    digests = {digest for _name, digest in _digests(each)}
    return reference.name in names or (reference.digest is not None and reference.digest in digests)


def _which(
    digests: List[str], each: Dict[str, Any], reference: Reference, platform: str, stores: Stores
) -> Optional[str]:
    """The one digest to be spoken of: engines know an image by that of its index and by its own."""
    if reference.digest in digests:
        return reference.digest
    if not reference.digest:
        return digests[0] if digests else None
    try:
        declared = stores.manifest(reference.of(digest=reference.digest))
        mine = [digest for digest in digests if digest in declared.members]
        if mine or digests:
            return (mine or digests)[0]
        own = declared.digest
        if declared.is_index:
            own = declared.member(platform)
            declared = stores.manifest(reference.of(digest=own))
        # Loaded from a file: its configuration proves that it is the same.
        return own if declared.data["config"]["digest"] == each["id"] else None
    except (MaintenanceError, KeyError, TypeError):
        return digests[0] if digests else None


def judged(seen: List[Seen], observed: Observed) -> Optional[Tuple[str, str, str]]:
    """Status, text and remedy of what was seen, before any digest is looked at; None when there is nothing to say.

    :raises ImageError: none was seen
    """
    lost = [each for each in seen if each.digest is None]
    if lost:
        names = ", ".join(f"{each.where} runs {each.id}" for each in lost[:_NAMED])
        text = f"No registry has what runs: {printable(names, 600)}."
        return CRITICAL, text, "It was built or loaded there by hand. Deploy what the release has, by its digest."
    if not seen:
        where = ", ".join(each["source"] for each in observed.sources)
        raise ImageError(f"No container of it was seen: {where}", "Deploy it, or declare it no longer.")
    return None


def _by_id(each: Seen) -> bool:
    """Whether it was started by the id of its image, which is its content."""
    text = each.image[7:] if each.image.startswith("sha256:") else each.image
    return re.fullmatch("[0-9a-f]{12,64}", text) is not None and each.id.rpartition(":")[2].startswith(text)


def started(seen: List[Seen], reference: Reference, stores: Stores) -> Tuple[str, Any, str, str]:
    """Whether containers were started by digest: status, value, text, remedy.

    A tag that has moved since is what the next start runs.

    :raises ImageError: none was seen
    """
    if not seen:
        raise ImageError("No container of it was seen", "See what runs, by source.")
    tagged: Dict[str, List[Seen]] = {}
    other: List[Seen] = []
    moved: List[Seen] = []
    doubts: List[str] = []
    for each in seen:
        if _by_id(each):
            continue
        try:
            name = parsed(each.image)
        except MaintenanceError:
            other.append(each)
            continue
        if name.digest:
            continue
        if name.name == reference.name:
            # Without a tag it is :latest.
            tagged.setdefault(name.tag or "latest", []).append(each)
        else:
            other.append(each)
    if other:
        names = ", ".join(f"{each.where} as {each.image}" for each in other[:_NAMED])
        doubts.append(f"Started by another name, what that is at the next start is not known: {printable(names, 400)}.")
    if not tagged and not other:
        return OK, 0, f"{plural(len(seen), 'container')}, none by a tag alone.", ""
    for tag, containers in sorted(tagged.items()):
        try:
            now = stores.manifest(reference.of(tag=tag))
        except MaintenanceError as error:
            doubts.append(error.message)
            continue
        moved += [each for each in containers if each.digest not in (now.digest, *now.members)]
    count = sum(map(len, tagged.values())) + len(other)
    remedy = f"Start them as {reference.name}@sha256:..., as the release has it."
    if moved:
        names = ", ".join(each.where for each in moved[:_NAMED])
        text = f"Started by a tag that is something else by now: {printable(names, 400)}. The next start runs that."
        return CRITICAL, count, text, remedy
    text = f"{plural(count, 'container')} started by a tag alone: the next start may run something else."
    return (UNKNOWN if doubts else WARNING), count, " ".join([text, *doubts]), remedy
