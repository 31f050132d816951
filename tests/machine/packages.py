"""An apt repository of the tests' own: small real packages, in newer and older versions."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Package:
    """A package of all architectures.

    :param depends: as in the control file
    :param files: path -> text; those in etc are configuration files
    :param postinst: what is done when it is configured
    """

    name: str
    version: str
    depends: str = ""
    files: dict[str, str] = field(default_factory=dict)
    postinst: str = ""

    @property
    def file(self) -> str:
        return f"{self.name}_{self.version}_all.deb"

    @property
    def control(self) -> str:
        text = f"Package: {self.name}\nVersion: {self.version}\nArchitecture: all\nInstalled-Size: 10\n"
        text += "Maintainer: Nobody <nobody@tradingflow.example>\n"
        text += f"Depends: {self.depends}\n" if self.depends else ""
        return text + "Description: a package of the tests\n"

    def build(self, folder: Path) -> Path:
        root = folder / f"{self.name}_{self.version}"
        for path, text in {
            "DEBIAN/control": self.control,
            f"usr/share/{self.name}/version": f"{self.version}\n",
            **self.files,
        }.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        own = [f"/{path}\n" for path in self.files if path.startswith("etc/")]
        if own:
            (root / "DEBIAN/conffiles").write_text("".join(own), encoding="utf-8")
        if self.postinst:
            (root / "DEBIAN/postinst").write_text(f"#!/bin/sh\nset -e\n{self.postinst}\n", encoding="utf-8")
            (root / "DEBIAN/postinst").chmod(0o755)
        made = folder / self.file
        command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(root), str(made)]
        subprocess.run(command, check=True, capture_output=True)
        return made


def repository(folder: Path, origin: str, label: str, suite: str, packages: list[Package]) -> None:
    """Makes a flat repository: its packages, their list, and what the list says of itself."""
    folder.mkdir(parents=True)
    entries = []
    for package in packages:
        data = package.build(folder).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        entries.append(f"{package.control}Filename: ./{package.file}\nSize: {len(data)}\nSHA256: {digest}\n")
    listed = "\n".join(entries).encode()
    (folder / "Packages").write_bytes(listed)
    (folder / "Release").write_text(
        f"Origin: {origin}\nLabel: {label}\nSuite: {suite}\nCodename: {suite}\nDate: Sun, 01 Nov 2026 00:00:00 UTC\n"
        f"SHA256:\n {hashlib.sha256(listed).hexdigest()} {len(listed)} Packages\n",
        encoding="utf-8",
    )
