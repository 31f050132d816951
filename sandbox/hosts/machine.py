# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One host: its keys and files, how it is booted (debian.sh) and spoken to."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..layout import CHECKOUT, SandboxError

SCRIPT = Path(__file__).with_name("debian.sh")
USER = "maintenance"
PROGRAMS = ("debootstrap", "dpkg-deb", "zstd", "ssh", "ssh-keygen", "unshare", "setpriv")


class Machine:
    """A Debian, booted or about to be.

    :param folder: of its keys, its files over the image, and its log
    :param ports: on loopback; of ssh, at least
    """

    def __init__(self, name: str, folder: Path, ports: Mapping[str, int]) -> None:
        self.name = name
        self.folder = folder
        self.ports = dict(ports)
        self.key = folder / "key"
        self.known = folder / "known_hosts"
        self._options = ["-F", "none", "-o", f"UserKnownHostsFile={self.known}", "-o", "StrictHostKeyChecking=yes"]

    @property
    def variables(self) -> dict[str, Any]:
        """What an inventory says of it."""
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.ports["ssh"],
            "ansible_user": USER,
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": shlex.join(self._options),
        }

    def ssh(self, command: str, *, text: str | None = None, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Runs a command of the shell, as root."""
        return subprocess.run(
            [
                *("ssh", *self._options, "-i", str(self.key), "-p", str(self.ports["ssh"]), "-o", "ConnectTimeout=5"),
                *("-o", "BatchMode=yes", f"{USER}@127.0.0.1", "sudo", "sh", "-euc", shlex.quote(command)),
            ],
            input=text or "",
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def up(self) -> bool:
        """Whether everything on it has started."""
        try:
            return self.ssh("systemctl is-system-running", timeout=60).stdout.strip() in ("running", "degraded")
        except subprocess.TimeoutExpired:
            return False

    @property
    def off(self) -> bool:
        """Whether it was switched off, by itself."""
        try:
            return (self.folder / "power").read_text(encoding="utf-8").strip() == "off"
        except OSError:
            return False

    def write(self, files: Mapping[str, str]) -> None:
        """Writes its own keys, ports and names, and more files, over the image.

        :param files: path -> text
        """
        root = self.folder / "files"
        for path, kind in ((self.key, "client"), (root / "etc/ssh/ssh_host_ed25519_key", "host")):
            path.parent.mkdir(parents=True, exist_ok=True)
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", kind, "-f", str(path)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        public = (root / "etc/ssh/ssh_host_ed25519_key.pub").read_text(encoding="utf-8")
        self.known.write_text(f"[127.0.0.1]:{self.ports['ssh']} {public}", encoding="utf-8")
        wanted = {
            # The name is not among them, as on many hosts: sudo then complains at the beginning of each answer.
            "etc/hosts": "127.0.0.1 localhost\n",
            "etc/hostname": f"{self.name}\n",
            # The default exchange of keys is made against quantum computers, and takes a tenth of a second.
            "etc/ssh/sshd_config.d/sandbox.conf": (
                f"ListenAddress 127.0.0.1\nPort {self.ports['ssh']}\nUseDNS no\nPasswordAuthentication no\n"
                "KexAlgorithms curve25519-sha256\n"
            ),
            "home/maintenance/.ssh/authorized_keys": self.key.with_suffix(".pub").read_text(encoding="utf-8"),
            **files,
        }
        for name, text in wanted.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        (root / "home/maintenance/.ssh").chmod(0o700)
        (root / "etc/ssh/ssh_host_ed25519_key").chmod(0o600)

    def boot_command(self, source: Path, script: Path = SCRIPT) -> list[str]:
        """What boots it, and runs as long as it is there.

        :param source: the image: an archive, or unpacked
        :param script: debian.sh, which is read again at each restart
        """
        return ["bash", str(script), "boot", str(source), str(self.folder)]


def missing() -> str | None:
    """Why this machine cannot boot hosts; None if it can."""
    if os.getuid() != 0:
        return "a Debian host needs root"
    for program in PROGRAMS:
        if not shutil.which(program):
            return f"a Debian host needs {program}: apt-get install debootstrap dpkg openssh-client util-linux zstd"
    return None


def script(*arguments: str | Path) -> str:
    """What a command of debian.sh prints.

    :raises SandboxError: it failed
    """
    done = subprocess.run(["bash", SCRIPT, *arguments], cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode:
        said = (done.stdout[-1000:] + done.stderr[-1000:]).decode(errors="replace")
        raise SandboxError(f"debian.sh {arguments[0]} failed:\n{said}")
    return done.stdout.decode()


def image() -> Path:
    """The archive of the system, made when it is missing: that takes minutes, and Debian's mirror."""
    archive = Path(script("archive").strip())
    script("build", archive)
    return archive
