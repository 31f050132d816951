# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares what runs with what its registry has, by digest, and proposes what is to be released or built anew."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Callable, Dict, List, Optional

from .._advisories.findings import validated
from .._registry.manifest import Forged, Manifest, Missing
from .._registry.reference import DIGEST, Reference, parsed
from .._registry.registry import Stores
from .._work.proposals import written
from ..checks import CRITICAL, OK, UNKNOWN, WARNING
from ..errors import ConfigurationError, ImageError, MaintenanceError
from . import cluster
from .content import Content
from .observed import Observed, Seen, judged, started

_BASE_NAME, _BASE_DIGEST = "org.opencontainers.image.base.name", "org.opencontainers.image.base.digest"
#: What is asked about each image, in this order.
PARTS = ("pinned", "running", "started", "newer", "base", "content")


def examined(options: Dict[str, Any], now: datetime, *, write: bool) -> Dict[str, Any]:
    """What is known about all images, each part of each as a judgement.

    :param write: whether proposals are written
    :raises MaintenanceError: the options make no sense
    """
    names = [image["name"] for image in options["images"]]
    if len(set(names)) < len(names):
        raise ConfigurationError("Two images have the same name.", "Give each of patching_images its own.")
    validated(options["accepted"])
    stores = Stores(options)
    content = Content(options, stores) if options["content"] else None
    observed = Observed(_sources(options), options["ignored"])
    wanted = [part for part in PARTS if (part != "content" or content) and (part != "started" or observed.asked)]
    found: Dict[str, Any] = {"images": [], "changed": False, "scan": content.found if content else None}
    found["observed"] = observed if observed.asked else None
    for image in options["images"]:
        entry: Dict[str, Any] = {"name": image["name"], "reference": image["reference"], "proposal": None}
        entry.update(running=[], containers=[], parts={}, rows=[], content=None)
        found["images"].append(entry)
        try:
            _image(image, stores, entry, content, observed)
        except MaintenanceError as error:
            for part in wanted:
                entry["parts"].setdefault(part, judgement(UNKNOWN, None, error.message, error.remedy))
    if content:
        content.scan(now)
    for entry in found["images"]:
        if content and "content" not in entry["parts"]:
            entry["parts"]["content"] = _complete(content.judged(entry, now), observed, entry)
        if entry["rows"]:
            _propose(entry, options, found, write)
    return found


def judgement(status: str, value: Any, message: str, remedy: str = "") -> Dict[str, Any]:
    return {"status": status, "value": value, "message": message, "remedy": remedy}


def _image(
    image: Dict[str, Any], stores: Stores, entry: Dict[str, Any], content: Optional[Content], observed: Observed
) -> None:
    """Fills in the parts of one image.

    :raises ConfigurationError: its declaration makes no sense
    """
    reference = parsed(image["reference"])
    observed.declare(reference)
    seen = observed.of(reference, image["platform"], stores) if observed.asked else []
    entry["containers"] = [each._asdict() for each in seen]
    declared = [] if observed.asked else image["running"]
    running = list(dict.fromkeys(each.digest for each in seen if each.digest)) or declared
    entry["running"] = running = running or ([reference.digest] if reference.digest else [])
    for digest in running:
        if not DIGEST.fullmatch(digest):
            raise ConfigurationError(f"{digest} is no digest.", "Write sha256: and 64 hexadecimal digits.")
    parts: Dict[str, Callable[[], Optional[Dict[str, Any]]]] = {
        "pinned": lambda: _pinned(reference),
        "running": lambda: _seen(reference, running, stores, seen, observed),
        "newer": lambda: _newer(reference, image["follow"], running, stores, entry["rows"]),
        "base": lambda: _base(reference, image, running, stores, entry["rows"]),
    }
    if observed.asked:
        parts["started"] = lambda: _complete(judgement(*started(seen, reference, stores)), observed)
    for name, part in parts.items():
        said = _answered(reference, part)
        if said:
            entry["parts"][name] = said if name == "pinned" else _complete(said, observed, entry)
    if content:
        reader = content
        said = _answered(reference, lambda: _content(reference, image, running, stores, entry, reader))
        if said:
            entry["parts"]["content"] = said


def _answered(reference: Reference, part: Callable[[], Optional[Dict[str, Any]]]) -> Optional[Dict[str, Any]]:
    """What a part says; whatever goes wrong in one takes no other with it."""
    try:
        return part()
    except Forged as error:
        return judgement(CRITICAL, None, error.message, error.remedy)
    except MaintenanceError as error:
        return judgement(UNKNOWN, None, error.message, error.remedy)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        text = f"{reference}: a manifest is not understood ({type(error).__name__})."
        return judgement(UNKNOWN, None, text, "It must be an OCI or Docker (v2) manifest.")


def _content(
    reference: Reference,
    image: Dict[str, Any],
    running: List[str],
    stores: Stores,
    entry: Dict[str, Any],
    content: Content,
) -> None:
    """Reads all images that run; they are judged when the scanner has seen them."""
    _known(running)
    for digest in running:
        try:
            manifest = _for_platform(reference.of(digest=digest), image["platform"], stores)
            content.read(entry, image["known"], reference.of(digest=manifest.digest), manifest)
        except Forged:
            raise
        except ImageError as error:
            content.doubt(entry, digest, error.message)  # and what is in the others counts all the same


def _pinned(reference: Reference) -> Dict[str, Any]:
    remedy = f"Deploy {reference.name}:VERSION@sha256:..., as the release has it."
    if reference.tag == "latest":
        return judgement(CRITICAL, False, f"{reference} is :latest, which is no version.", remedy)
    if not reference.digest:
        return judgement(CRITICAL, False, f"{reference} has no digest: what it is may change at any time.", remedy)
    return judgement(OK, True, f"{reference}.")


def _known(running: List[str]) -> None:
    if not running:
        raise ImageError("Which digest runs is not known", "Name it: reference with @sha256:..., or running.")


def _seen(
    reference: Reference, running: List[str], stores: Stores, seen: List[Seen], observed: Observed
) -> Dict[str, Any]:
    """Whether the registry has what was seen to run; without anybody who was asked, what was declared."""
    early = judged(seen, observed) if observed.asked else None
    if early:
        return judgement(early[0], False, early[1], early[2])
    return _complete(_running(reference, running, stores), observed)


def _complete(said: Dict[str, Any], observed: Observed, entry: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
    """What is well as far as it was seen is only well when all was seen.

    :param entry: of the image, whose containers may run what no registry has
    """
    why = [f"Not all say what runs: {', '.join(observed.silent)}."] if observed.silent else []
    lost = [each["where"] for each in (entry or {}).get("containers", ()) if each["digest"] is None]
    why += [f"No registry has what these run: {', '.join(lost[:5])}."] if lost else []
    if said["status"] == OK and why:
        text = " ".join([said["message"], *why])
        return judgement(UNKNOWN, None, text, "See the checks of these sources, and images.running.")
    return said


def _sources(options: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Who says what runs: what hosts said before, and the cluster, which is asked here."""
    found = list(options["observed"])
    if options["kubernetes"] is not None:
        for each in cluster.found(options["kubernetes"], options["timeout"]):
            found.append({"source": each["engine"], "problem": each["problem"], "containers": each["containers"]})
    return found


def _running(reference: Reference, running: List[str], stores: Stores) -> Dict[str, Any]:
    """Whether the registry still has what runs, and it is what was declared."""
    _known(running)
    try:
        for digest in running:
            stores.manifest(reference.of(digest=digest))
        declared = stores.manifest(reference.of(digest=reference.digest)) if reference.digest else None
    except Missing as error:
        text = f"What runs cannot be pulled again: {error.message}"
        return judgement(CRITICAL, False, text, "Push it again before a node needs it.")
    if declared:
        other = [digest for digest in running if digest not in (declared.digest, *declared.members)]
        if other:
            text = f"Runs {other[0]}, and {reference.digest} is declared."
            return judgement(CRITICAL, False, text, "Find out who deployed it, and correct one of them.")
    return judgement(OK, True, f"{', '.join(running)}: there, and what its digest says.")


def _newer(
    reference: Reference, follow: Optional[str], running: List[str], stores: Stores, rows: List[Dict[str, Any]]
) -> Dict[str, Any]:
    """Whether the tag that is followed is what runs."""
    _known(running)
    tag = follow or reference.tag
    if not tag or tag == "latest":
        why = "No tag is followed" if not tag else ":latest is no version to follow"
        raise ImageError(f"{reference}: {why}", "Name one: follow in patching_images.")
    tagged = stores.manifest(reference.of(tag=tag))
    current = (tagged.digest, *tagged.members)
    if all(digest in current for digest in running):
        return judgement(OK, tagged.digest, f"{reference.name}:{tag} is what runs.")
    to = f"{reference.name}:{tag}@{tagged.digest}"
    rows.append({"why": "another digest", "from": running, "to": to})
    return judgement(WARNING, tagged.digest, f"{reference.name}:{tag} has another digest than what runs.")


def _base(
    reference: Reference, image: Dict[str, Any], running: List[str], stores: Stores, rows: List[Dict[str, Any]]
) -> Dict[str, Any]:
    """Whether what runs was built on what its base is now: its first layers are those of the base."""
    _known(running)
    mine = [_for_platform(reference.of(digest=digest), image["platform"], stores) for digest in running]
    name = image["base"] or mine[0].annotation(_BASE_NAME)
    if not name:
        text = f"{reference}: on which base it was built is not known"
        raise ImageError(text, f"Build it with the annotation {_BASE_NAME}, or declare base in patching_images.")
    base = parsed(name)
    if not base.tag or base.tag == "latest":
        raise ImageError(f"The base {base} has no tag, or :latest, which no line of versions has", "Name its line.")
    tagged = stores.manifest(base.of(tag=base.tag))
    now = _for_platform(base.of(tag=base.tag), image["platform"], stores)
    built_on = [each.annotation(_BASE_DIGEST) for each in mine]
    if now.layers and all(each.layers[: len(now.layers)] == now.layers for each in mine):
        return judgement(OK, tagged.digest, f"Built on what {base.name}:{base.tag} is now.")
    if any(digest in (tagged.digest, now.digest) for digest in built_on):
        text = f"Its annotation says that it was built on what {base.name}:{base.tag} is now, and its layers do not."
        return judgement(UNKNOWN, None, text, "Build it anew, without squashing layers.")
    to = f"{base.name}:{base.tag}@{tagged.digest}"
    rows.append({"why": "rebuild", "from": running, "base_was": built_on[0], "base": to})
    return judgement(WARNING, tagged.digest, f"{base.name}:{base.tag} is newer than what the image was built on.")


def _for_platform(reference: Reference, platform: str, stores: Stores) -> Manifest:
    found = stores.manifest(reference)
    return stores.manifest(reference.of(digest=found.member(platform))) if found.is_index else found


def _propose(entry: Dict[str, Any], options: Dict[str, Any], found: Dict[str, Any], write: bool) -> None:
    proposal: Dict[str, Any] = {"path": None, "problem": None}
    entry["proposal"] = proposal
    if any(entry["parts"][part]["status"] == CRITICAL for part in ("running", "newer", "base")):
        # What is forged or missing is looked into first; nothing from there is handed on.
        proposal["problem"] = "Nothing is proposed from a registry whose content is not what it says."
        return
    content = json.dumps({"name": entry["name"], "reference": entry["reference"], "proposed": entry["rows"]}, indent=1)
    if not write or not options["proposals_directory"]:
        return
    try:
        path, changed = written(options["proposals_directory"], f"image-{entry['name']}", content.encode(), "json")
        proposal["path"], found["changed"] = path, found["changed"] or changed
    except OSError as error:
        proposal["problem"] = f"The proposal cannot be written: {error.strerror}."
