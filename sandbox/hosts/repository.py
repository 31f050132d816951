# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repositories for apt: Debian's own packages, and the same under a newer version."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from ..layout import SandboxError

#: Added to Debian's version: newer than it, and older than what Debian releases next.
NEWER = "+tradingflow1"


def newer(archive: Path, folder: Path) -> Path:
    """Packs a package again under a newer version; its files are the same, and new ones on the disk.

    :param folder: where it is put
    """
    with tempfile.TemporaryDirectory(dir=folder) as name:
        root = Path(name) / "package"
        _run("dpkg-deb", "--raw-extract", str(archive), str(root))
        control = root / "DEBIAN/control"
        text = control.read_text(encoding="utf-8")
        control.write_text(re.sub(r"^(Version: .*)$", rf"\g<1>{NEWER}", text, flags=re.MULTILINE), encoding="utf-8")
        _run("dpkg-deb", "-Zgzip", "--build", str(root), str(folder))
    (made,) = folder.glob(f"{archive.name.partition('_')[0]}_*.deb")
    return made


def index(folder: Path, *, origin: str, label: str, suite: str, archives: Iterable[Path]) -> None:
    """Makes the lists of a flat repository: its packages, and what the list says of itself."""
    entries = []
    for archive in archives:
        data = archive.read_bytes()
        fields = _run("dpkg-deb", "--field", str(archive))
        digest = hashlib.sha256(data).hexdigest()
        entries.append(f"{fields}Filename: ./{archive.name}\nSize: {len(data)}\nSHA256: {digest}\n")
    listed = "\n".join(entries).encode()
    (folder / "Packages").write_bytes(listed)
    (folder / "Release").write_text(
        f"Origin: {origin}\nLabel: {label}\nSuite: {suite}\nCodename: {suite}\n"
        f"Date: {datetime.now(UTC):%a, %d %b %Y %H:%M:%S} UTC\n"
        f"SHA256:\n {hashlib.sha256(listed).hexdigest()} {len(listed)} Packages\n",
        encoding="utf-8",
    )


class Signer:
    """A key of its own that signs repositories, where gpg is installed.

    :param folder: of the key
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def key(self) -> bytes | None:
        """The public key, made when there is none; None without gpg."""
        if not shutil.which("gpg"):
            return None
        if not self.folder.exists():
            self.folder.mkdir(mode=0o700)
            self._gpg("--passphrase", "", "--quick-generate-key", "TradingFlow sandbox", "ed25519", "sign", "never")
        return self._gpg("--export")

    def sign(self, repository: Path) -> None:
        """Signs a repository's list of itself."""
        if self.folder.exists():
            signed = self._gpg("--clearsign", "--output", "-", str(repository / "Release"))
            (repository / "InRelease").write_bytes(signed)

    def _gpg(self, *arguments: str) -> bytes:
        command = ["gpg", "--homedir", str(self.folder), "--batch", "--quiet", "--yes", *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
        # The agent would stay.
        subprocess.run(
            ["gpgconf", "--homedir", str(self.folder), "--kill", "gpg-agent"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        if done.returncode:
            raise SandboxError(f"gpg: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout


def _run(*command: str) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise SandboxError(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout
