# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""References of images, by the grammar of the distribution specification."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from ..errors import ConfigurationError
from ..words import printable

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HOST = re.compile(r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
#: The registry behind Docker's short names.
_HUB = "registry-1.docker.io"


@dataclass(frozen=True)
class Reference:
    """An image as somebody names it.

    :param layout: folder of an OCI layout; None for one in a registry
    :param registry: host and port; empty in a layout
    """

    registry: str
    repository: str
    tag: Optional[str]
    digest: Optional[str]
    layout: Optional[str] = None

    @property
    def name(self) -> str:
        return f"oci:{self.layout}" if self.layout else f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        tag, digest = f":{self.tag}" if self.tag else "", f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"

    def of(self, *, tag: Optional[str] = None, digest: Optional[str] = None) -> Reference:
        """The same image by another tag or digest."""
        return Reference(self.registry, self.repository, tag, digest, self.layout)


def parsed(text: str) -> Reference:
    """A reference, taken apart.

    :raises ConfigurationError: it is none
    """
    wrong = ConfigurationError(
        f"{printable(text)} is no reference of an image.", "Write registry/name:tag@sha256:..., or oci:FOLDER:tag."
    )
    rest, at, digest = text.partition("@")
    if at and not DIGEST.fullmatch(digest):
        raise wrong
    if rest.startswith("oci:"):
        folder, colon, tag = rest[4:].rpartition(":")
        if not colon or "/" in tag:
            folder, tag = rest[4:], ""
        if not folder or (tag and not _TAG.fullmatch(tag)):
            raise wrong
        return Reference("", "", tag or None, digest or None, folder)
    host, slash, name = rest.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host, name = "docker.io", rest
    last, colon, tag = name.rpartition(":")
    name = last if colon else name
    if not _HOST.fullmatch(host) or not _NAME.fullmatch(name) or (colon and not _TAG.fullmatch(tag)):
        raise wrong
    if host in ("docker.io", "index.docker.io"):
        host, name = _HUB, name if "/" in name else f"library/{name}"
    return Reference(host, name, tag if colon else None, digest or None)
