# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a tag names: an image by its digest, with what it says of itself."""

from __future__ import annotations

import io
import json
import time
from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Optional, Tuple

from .._registry.manifest import MOST
from .._registry.reference import Reference, parsed
from .._registry.registry import Stores
from ..errors import ImageError
from ..words import printable


@dataclass(frozen=True)
class Target:
    """An image that is to run.

    :param repository: as pods name it, without tag and digest
    :param digest: what the tag named when it was asked for
    :param digests: that and, of an index, those of its images: a runtime may name either
    :param labels: of the image
    """

    repository: str
    tag: str
    digest: str
    digests: Tuple[str, ...]
    labels: Dict[str, str] = field(default_factory=dict)

    @property
    def image(self) -> str:
        """As the pod template names it: the digest counts, the tag is for people."""
        return f"{self.repository}:{self.tag}@{self.digest}" if self.tag else f"{self.repository}@{self.digest}"


def repository_of(image: str) -> str:
    """An image's name without tag and digest, as it was written."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def tag_of(image: str) -> str:
    """An image's tag; empty when it has none."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2]


def resolved(options: Mapping[str, Any], repository: str, tag: str, digest: Optional[str] = None) -> Target:
    """What the registry has under a tag, or under a digest.

    :param options: SPEC's registry. address: where we reach the registry, when pods reach it elsewhere
    :raises ImageError: it is not there, or the registry does not answer as it must
    :raises ConfigurationError: the name is none
    """
    stores = Stores(
        {
            "timeout": options["timeout"],
            "plain_http": options["plain_http"],
            "ca_file": options["ca_file"],
            "auth_file": options["auth_file"],
        }
    )
    named = parsed(f"{repository}:{tag}" if digest is None else f"{repository}@{digest}")
    if options["address"]:
        named = Reference(options["address"], named.repository, named.tag, named.digest)
    manifest = stores.manifest(named)
    digests = (manifest.digest, *manifest.members)
    one = manifest
    if manifest.is_index:
        one = stores.manifest(named.of(digest=manifest.member(options["platform"])))
    return Target(repository, tag, manifest.digest, digests, _labels(stores, named, one.data, options))


def _labels(stores: Stores, named: Reference, manifest: Dict[str, Any], options: Mapping[str, Any]) -> Dict[str, str]:
    config = manifest.get("config") or {}
    size = config.get("size")
    if not isinstance(size, int) or not 0 < size <= MOST:
        raise ImageError(f"{named}: its configuration is not understood", "Build the image anew.")
    into = io.BytesIO()
    stores.blob(named, str(config.get("digest")), size, into, time.monotonic() + options["timeout"])
    try:
        labels = (json.loads(into.getvalue()).get("config") or {}).get("Labels") or {}
        return {str(name): printable(text, 1000) for name, text in labels.items()}
    except (ValueError, AttributeError):
        raise ImageError(f"{named}: its configuration is no JSON", "Build the image anew.") from None


def schemas(target: Target, label: str, declared: Tuple[str, ...] = ()) -> Tuple[str, ...]:
    """Revisions of the database's schema with which the image works, by its label; empty when nobody says."""
    return declared or tuple(filter(None, (each.strip() for each in target.labels.get(label, "").split(","))))
