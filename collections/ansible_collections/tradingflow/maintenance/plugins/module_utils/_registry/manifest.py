# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Manifests: what an image or an index is, proven by its digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from ..errors import ImageError
from ..words import printable
from .reference import DIGEST

#: What is understood, and asked for.
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
#: The specification's own limit.
MOST = 4 << 20


class Forged(ImageError):
    """Content that does not hash to its digest."""


class Missing(ImageError):
    """The store says that it does not have this."""


@dataclass
class Manifest:
    """What was read, and hashes to its digest."""

    digest: str
    media_type: str
    data: Dict[str, Any]

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEXES

    @property
    def layers(self) -> List[str]:
        return [str(layer["digest"]) for layer in self.data["layers"]]

    @property
    def members(self) -> List[str]:
        """Digests of what an index has."""
        return [str(each["digest"]) for each in self.data["manifests"]] if self.is_index else []

    def annotation(self, name: str) -> Optional[str]:
        found = (self.data.get("annotations") or {}).get(name)
        return found if isinstance(found, str) and found else None

    def member(self, platform: str) -> str:
        """The digest of an index's manifest for a platform.

        :raises Missing: it has none
        """
        for each in self.data["manifests"]:
            found = each.get("platform") or {}
            names = [found.get("os"), found.get("architecture"), found.get("variant")]
            text = "/".join(str(name) for name in names if name)
            if platform in (text, "/".join(text.split("/")[:2])):
                return str(each["digest"])
        raise Missing(f"It has no image for {platform}", "Correct the platform, or build the image for it.")


def read(content: bytes, media_type: str, where: str, *digests: Optional[str]) -> Manifest:
    """A manifest from its bytes.

    :param where: for messages
    :param digests: what it must hash to; None for none
    :raises Forged: it does not
    :raises ImageError: it is not understood
    """
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    for wanted in digests:
        if wanted is not None and wanted != digest:
            text = f"{where}: the content hashes to {digest}, not to {printable(wanted, 80)}"
            raise Forged(text, "Deploy nothing from there, and find out who changed it.")
    wrong = ImageError(f"{where}: what is there is not understood", "It must be an OCI or Docker (v2) manifest.")
    kind = media_type.partition(";")[0].strip().lower()
    try:
        data = json.loads(content)
        if kind not in (*MANIFESTS, *INDEXES) or data.get("schemaVersion") != 2:
            raise wrong
        if data.get("mediaType", kind) != kind:
            raise wrong
        parts = data["manifests"] if kind in INDEXES else data["layers"]
        if not all(DIGEST.fullmatch(part["digest"]) for part in parts):
            raise wrong
    except (ValueError, KeyError, TypeError, AttributeError):
        raise wrong from None
    return Manifest(digest, kind, data)
