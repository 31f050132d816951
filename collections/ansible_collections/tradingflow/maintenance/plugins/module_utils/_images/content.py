# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is in the images that run, scanned for known vulnerabilities, with a canary of each ecosystem that was found."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, List, Tuple
from urllib.parse import quote

from .._advisories.answers import Answer
from .._advisories.findings import named, row, scan_doubts, states
from .._advisories.scanner import canaries_of, canary, identity, osv, watched
from .._registry.manifest import MOST, Forged, Manifest
from .._registry.reference import Reference
from .._registry.registry import Stores
from ..checks import OK, UNKNOWN, worst
from ..errors import ImageError, MaintenanceError
from ..words import plural
from . import layers
from .layers import Tree
from .packages import Inventory, Package, inventory, summary
from .tar import Budget, Plain, Tar

_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
#: Media types of layers -> how they are packed.
_PACKED = {
    "application/vnd.oci.image.layer.v1.tar": "",
    "application/vnd.oci.image.layer.v1.tar+gzip": "gzip",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
    "application/vnd.docker.image.rootfs.diff.tar": "",
}
#: Ecosystems that the scanner compares from a list -> type and namespace of package URLs. RPM's are none of them.
_PURLS: Dict[str, Tuple[str, ...]] = {
    "PyPI": ("pypi",),
    "npm": ("npm",),
    "Debian": ("deb", "debian"),
    "Ubuntu": ("deb", "ubuntu"),
}
_PURLS.update(Alpine=("apk", "alpine"), Wolfi=("apk", "wolfi"), Chainguard=("apk", "chainguard"))
_MOST_ENTRIES = 3_000_000
#: Bytes that stay free where layers are copied to.
_SPARE = 256 << 20
_KEPT = 200


class Content:
    """The images of one run: read one after the other, scanned together."""

    def __init__(self, options: Dict[str, Any], stores: Stores) -> None:
        self._options, self._stores = options, stores
        self.found: Dict[str, Any] = {"scanner": None, "problem": None, "databases": {}, "canaries": {}}
        self._known: Dict[Tuple[str, Tuple[str, ...]], Any] = {}
        self._wanted: List[Tuple[Dict[str, Any], str, Inventory]] = []
        self._answer = Answer({}, {})
        self._problems: Dict[str, str] = {}

    def read(self, entry: Dict[str, Any], known: List[str], image: Reference, manifest: Manifest) -> None:
        """Reads what is in an image; what it means is judged once all are scanned.

        :param known: patterns of paths that somebody vouches for
        :raises Forged: something is not what its digest says
        :raises ImageError: it is not to be had, or not understood
        """
        key = (manifest.digest, tuple(known))
        if key not in self._known:
            try:
                self._known[key] = self._inventory(image, manifest, known)
            except ImageError as error:
                self._known[key] = error
        if isinstance(self._known[key], ImageError):
            raise self._known[key]
        self._wanted.append((entry, manifest.digest, self._known[key]))

    def doubt(self, entry: Dict[str, Any], digest: str, why: str) -> None:
        """Of one that runs nothing is known."""
        self._wanted.append((entry, digest, Inventory(doubts=[why])))

    def _inventory(self, image: Reference, manifest: Manifest, known: List[str]) -> Inventory:
        options, scratch = self._options, self._options["scratch_directory"]
        deadline = time.monotonic() + options["content_timeout"]
        parts = _layers(manifest)
        names = self._names_of_layers(image, manifest, deadline)
        if len(names) != len(parts):
            raise ImageError(f"{image}: its configuration has not as many layers as its manifest", "Build it anew.")
        largest = max((size for _digest, size, _packed in parts), default=0)
        budget = Budget(options["content_limit"], _MOST_ENTRIES, deadline)
        tree = Tree()
        try:
            with tempfile.TemporaryDirectory(
                prefix="tradingflow-images-", dir=options["scratch_directory"] or None
            ) as place:
                free = shutil.disk_usage(place).free
                if largest > options["content_limit"] or largest + _SPARE > free:
                    text = f"{image}: a layer of {largest} bytes is too much for {scratch}"
                    raise ImageError(text, "Free space there, or raise patching_images_content_limit.")
                for number, ((digest, size, packed), name) in enumerate(zip(parts, names, strict=True)):
                    copy = Path(place) / "layer"
                    with copy.open("wb") as into:
                        self._stores.blob(image, digest, size, into, deadline)
                    _read(tree, copy, packed, budget, number, name)
                    copy.unlink()
                return inventory(tree, known, Path(place))
        except OSError as error:
            raise ImageError(f"{image}: its layers cannot be copied: {error.strerror}", "Check the folder.") from None

    def _names_of_layers(self, image: Reference, manifest: Manifest, deadline: float) -> List[str]:
        """Digests of the layers, unpacked, as the configuration says."""
        config = manifest.data["config"]
        if config.get("mediaType") not in _CONFIGS:
            raise ImageError(f"{image} is no image of a container", "Name an image in patching_images.")
        if not isinstance(config["size"], int) or config["size"] > MOST:
            raise ImageError(f"{image}: its configuration is too large", "Build it anew.")
        said = io.BytesIO()
        self._stores.blob(image, config["digest"], config["size"], said, deadline)
        data = json.loads(said.getvalue())
        if data["rootfs"]["type"] != "layers":
            raise ImageError(f"{image}: its configuration is not understood", "Build it anew.")
        return [str(each) for each in data["rootfs"]["diff_ids"]]

    def scan(self, now: datetime) -> None:
        """Has all that was read scanned; what is known then is in self.found and for each of the images in judged()."""
        ecosystems = sorted({each.ecosystem for _entry, _digest, found in self._wanted for each in found.packages})
        if not self._wanted:
            return
        try:
            self.found["scanner"] = identity(self._options["program"] or "osv-scanner", "osv-scanner")
            if not self._options["database"]:
                raise ImageError("There is no database of advisories", "Set patching_dependencies_database.")
        except MaintenanceError as error:
            self.found["problem"] = {"message": error.message, "remedy": error.remedy}
            return
        for base in sorted({name.partition(":")[0] for name in ecosystems}):
            mine = [name for name in ecosystems if name.partition(":")[0] == base]
            if base not in _PURLS:
                why = f"Packages of {base} are listed, and not compared with advisories."
                self._problems.update(dict.fromkeys(mine, why))
                continue
            try:
                # Each by itself: where the database of one is missing, the scanner says nothing about any.
                answer = self._scanned(base, mine, now)
            except (MaintenanceError, OSError) as error:
                why = getattr(error, "message", "") or f"It could not be scanned: {error}."
                self._problems.update(dict.fromkeys(mine, why))
                continue
            self._answer.seen.update(answer.seen)
            self._answer.found.update(answer.found)
        for name in ecosystems:
            if name.partition(":")[0] not in _PURLS:
                continue
            self.found["canaries"][name] = canary(name, self._options["canaries"], self._answer)

    def _scanned(self, base: str, ecosystems: List[str], now: datetime) -> Answer:
        files: Dict[str, List[Package]] = {}
        for _entry, digest, found in self._wanted:
            for each in found.packages:
                if each.ecosystem in ecosystems:
                    files.setdefault(_key(digest, each.ecosystem), []).append(each)
        for name in ecosystems:
            mine = canaries_of(name, self._options["canaries"])
            files[f"canary:{name}"] = [Package(name, each["name"], each["version"]) for each in mine]

        def scan() -> Answer:
            with tempfile.TemporaryDirectory(prefix="tradingflow-images-") as place:
                paths: Dict[str, Tuple[str, str]] = {}
                for number, (key, packages) in enumerate(files.items()):
                    folder = Path(place) / str(number)
                    folder.mkdir()
                    path = folder / "bom.cdx.json"
                    path.write_text(_listed(sorted(set(packages))), encoding="utf-8")
                    paths[str(path)] = ("", key)  # by the file's name
                return osv(self._options, self.found["scanner"]["program"], paths, Path(place))

        return watched(self._options, [base], self.found["databases"], now, scan)

    def judged(self, entry: Dict[str, Any], today: datetime) -> Dict[str, Any]:
        """What is known about the content of one image, of all digests of it that run."""
        mine = [(digest, found) for other, digest, found in self._wanted if other is entry]
        problem = self.found["problem"]
        why: List[str] = [problem["message"]] if problem else []
        rows: List[Dict[str, Any]] = []
        count = 0
        for digest, found in mine:
            count += len(found.packages)
            why += found.doubts
            for name in sorted({each.ecosystem for each in found.packages}):
                if problem:
                    continue
                why += scan_doubts(name, self.found) if name in self.found["canaries"] else []
                if name in self._problems:
                    why.append(self._problems[name])
                    continue
                key = _key(digest, name)
                wanted = {(each.name, each.version) for each in found.packages if each.ecosystem == name}
                missed = sorted(f"{package} {version}" for package, version in wanted - self._answer.seen[key])
                if missed:
                    why.append(f"{plural(len(missed), 'package')} not looked at: {', '.join(missed[:5])}.")
                vulnerable = self._answer.found[key]
                rows += [
                    {**row(each, each.package, self._options["accepted"], today.date()), "ecosystem": name}
                    for each in vulnerable
                ]
        if not count and not why:
            why.append("No package was found in it.")
        why = list(dict.fromkeys(why))
        entry["content"] = {"systems": [summary(found) for _digest, found in mine], "found": rows[:_KEPT]}
        entry["content"].update(vulnerable=len(rows), doubts=why)
        return _judgement(rows, why, count, mine)


def _judgement(rows: List[Dict[str, Any]], why: List[str], count: int, mine: List[Any]) -> Dict[str, Any]:
    found, said = states(rows), named(rows)
    systems = ", ".join(dict.fromkeys(each.system for _digest, each in mine if each.system))
    if not found and not why:
        text = f"None known in {plural(count, 'package')} of {systems}. {said}".strip()
        return {"status": OK, "value": 0, "message": text, "remedy": ""}
    unfixed = len([each for each in rows if not each["fixed"] and not each["accepted"]])
    more = f" {unfixed} of them without a fix yet." if unfixed else ""
    remedy = "Build it anew on a newer base, with newer packages, and release it." if found else "See why above."
    value = len(found) if found or not why else None
    status = worst([*found, *[UNKNOWN] * bool(why)])
    return {"status": status, "value": value, "message": " ".join([*why, said]).strip() + more, "remedy": remedy}


def _key(digest: str, ecosystem: str) -> str:
    return f"{digest} {ecosystem}"


def _listed(packages: List[Package]) -> str:
    """A list of packages as CycloneDX, which is all that the scanner takes of distributions beside a file system."""
    components = [
        {"type": "library", "name": each.name, "version": each.version, "purl": _purl(each)} for each in packages
    ]
    return json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components})


def _purl(package: Package) -> str:
    """Its package URL, which says the ecosystem with its release."""
    base, _colon, release = package.ecosystem.partition(":")
    kind, *names = _PURLS[base]
    names += package.name.split("/") if base == "npm" else [package.name]
    text = "/".join(quote(name, safe="") for name in (kind, *names))
    distribution = f"?distro={quote(f'{names[0]}-{release}', safe='')}" if release else ""
    return f"pkg:{text}@{quote(package.version, safe='')}{distribution}"


def _layers(manifest: Manifest) -> List[Tuple[str, int, str]]:
    """Digest, size and packing of the layers, the lowest first.

    :raises ImageError: one is of a kind that is not read
    """
    found = []
    for each in manifest.data["layers"]:
        kind, size = each.get("mediaType"), each.get("size")
        if kind not in _PACKED or not isinstance(size, int) or size < 0:
            text = f"A layer of the kind {kind} is not read"
            raise ImageError(text, "Scan the image where it is built, or push it with layers packed by gzip.")
        found.append((str(each["digest"]), size, _PACKED[kind]))
    return found


def _read(tree: Tree, copy: Path, packed: str, budget: Budget, number: int, name: str) -> None:
    """Puts one layer upon the tree.

    :param name: digest of what is in it, unpacked
    """
    waiting: Dict[str, str] = {}
    for turn in (1, 2):
        digest = hashlib.sha256()
        with copy.open("rb") as opened:
            tar = Tar(Plain(opened, packed, budget, digest), budget)
            if turn == 1:
                waiting = layers.add(tree, tar, number)
            else:
                layers.resolve(tree, tar, waiting, number)
        if f"sha256:{digest.hexdigest()}" != name:
            text = f"A layer hashes to sha256:{digest.hexdigest()}, not to {name}, as the configuration has it"
            raise Forged(text, "Deploy nothing from there, and find out who changed it.")
        if not waiting:
            break
