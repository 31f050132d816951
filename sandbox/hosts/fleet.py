# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Three hosts of the sandbox: two with the application, one for a database. See docs/patching.md."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import application
from ..layout import CHECKOUT, Layout, SandboxError, State, mounts_below, write_private
from ..processes import alive, end, free_ports, marked, spawn, start_time, tail
from .machine import SCRIPT, USER, Machine, image, missing, script
from .repository import Signer, index, newer

#: Hosts and what they are for, as in the names of groups.
ROLES = {"app1": "application", "app2": "application", "db1": "database"}
#: Of Debian's packages on the hosts, the ones that the repository has newer ones of. procps is held.
PATCHED, HELD = ("cron", "libpq5", "procps", "tzdata"), "procps"
#: The packages' place on a host, and the application's.
APT, LIBRARY = "srv/apt", "opt/tradingflow/lib"
KEYRING = "usr/share/keyrings/tradingflow-sandbox.gpg"
UNIT = f"""[Unit]
Description=TradingFlow's sample application
After=network.target

[Service]
User={USER}
EnvironmentFile=/etc/tradingflow/app.env
ExecStart=/usr/bin/python3 -m sandbox.app
ExecStartPost=/usr/local/bin/tradingflow-ready
TimeoutStartSec=300
StateDirectory=tradingflow
LogsDirectory=tradingflow
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""


#: The service has started when it can work: who waits for systemd waits for that.
READY = """#!/usr/bin/python3
import os, time, urllib.request
while True:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{os.environ['TRADINGFLOW_PORT']}/ready", timeout=5)
        break
    except OSError:
        time.sleep(0.2)
"""


def folder(state: State) -> Path:
    """Where everything of the hosts is."""
    return state.layout.root / "hosts"


def inventory_file(layout: Layout) -> Path:
    """The hosts' inventory, which goes beside inventories/local: there while they are up."""
    return layout.state_file.with_suffix(".hosts.json")


def _settle(state: State) -> None:
    """Goes by the root that the sandbox was made in, whatever the environment says by now."""
    if state.get("data_root"):
        state.layout.root = Path(state["data_root"])


def machines(state: State) -> dict[str, Machine]:
    """The hosts that were booted, up or not."""
    return {
        name: Machine(name, folder(state) / name, section["ports"]) for name, section in state.get("hosts", {}).items()
    }


def up(layout: Layout) -> list[str]:
    """Boots what is not up.

    :returns: what was done, as lines
    :raises SandboxError: there is no sandbox, or no way to boot hosts here
    """
    from ..lifecycle import existing

    if (why := missing()) is not None:
        raise SandboxError(f"No hosts: {why}.")
    with layout.locked():
        state = existing(layout)
        _settle(state)
        place = folder(state)
        if not any(alive(section) for section in state.get("hosts", {}).values()):
            # What is left is of hosts whose disks were in memory.
            stop(state)
        if not (place / "complete").exists():
            _prepare(place)
        with ThreadPoolExecutor(len(ROLES)) as pool:
            done = [line for line in pool.map(lambda name: _boot(state, name), ROLES) if line]
        write_private(inventory_file(layout), json.dumps(inventory(state), indent=1) + "\n")
    return done


def _prepare(place: Path) -> None:
    """The image, the packages and the application, which the hosts share."""
    _remove(place)
    place.mkdir(mode=0o700)
    (place / "image").mkdir()
    # In memory: thousands of files that nobody keeps are slow to write, and slower to delete.
    _run("mount", "-t", "tmpfs", "-o", "size=2g,mode=755", "tradingflow", str(place / "image"))
    script("unpack", image(), place / "image")
    # The checkout's may become another one while they are up.
    shutil.copy(SCRIPT, place)
    debian = place / "image/srv/debian"
    for name, label, suite in (("main", "Debian", "bookworm"), ("security", "Debian-Security", "bookworm-security")):
        repository = place / "apt" / name
        repository.mkdir(parents=True)
        found = [archive for package in PATCHED for archive in debian.glob(f"{package}_*.deb")]
        if name == "main":
            archives = [Path(shutil.copy(archive, repository)) for archive in found]
        else:
            archives = [newer(archive, repository) for archive in found]
        index(repository, origin="Debian", label=label, suite=suite, archives=archives)
    signer = Signer(place / "gpg")
    if (key := signer.key()) is not None:
        (place / "apt/key.gpg").write_bytes(key)
        for name in ("main", "security"):
            signer.sign(place / "apt" / name)
    library = place / "lib"
    (library / "sandbox").mkdir(parents=True)
    shutil.copy(CHECKOUT / "sandbox/__init__.py", library / "sandbox")
    shutil.copytree(CHECKOUT / "sandbox/app", library / "sandbox/app", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("sqlalchemy", "typing_extensions"):
        spec = importlib.util.find_spec(name)
        if not spec or not spec.origin:
            raise SandboxError(f"The application needs {name}, which is not installed here.")
        source = Path(spec.origin)
        if source.name == "__init__.py":
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source.parent, library / name, ignore=ignored)
        else:
            shutil.copy(source, library)
    for path in ("apt", "lib"):
        _readable(place / path)
    (place / "complete").touch()


def _remove_groups(name: str, pid: int) -> None:
    """Removes the empty control groups of a host whose process was killed, and could not do it."""
    hierarchies = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()]
    paths = {"", *(path.strip("/") for _, _, path in hierarchies)}
    mounts = [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/")]
    places = {mount / path for mount in mounts for path in paths}
    deadline = time.monotonic() + 60
    # The kernel ends their processes one after the other.
    while groups := [group for place in places for group in place.glob(f"{name}-{pid}-*/")]:
        for group in groups:
            for each in [*sorted(group.rglob("*/"), reverse=True), group]:
                with suppress(OSError):
                    each.rmdir()
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)


def _remove(place: Path) -> None:
    for mount in sorted(mounts_below(place), reverse=True):
        _run("umount", str(mount))
    if place.exists():
        shutil.rmtree(place)


def _run(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise SandboxError(f"{shlex.join(command)}: {done.stderr.strip()}")


def _readable(root: Path) -> None:
    """Lets everybody on the hosts read what they share."""
    for path, _, files in os.walk(root):
        os.chmod(path, 0o755)  # noqa: S103 - no secrets, below a folder that is closed
        for name in files:
            os.chmod(os.path.join(path, name), 0o644)


def _boot(state: State, name: str) -> str | None:
    section = state.get("hosts", {}).get(name, {})
    made = Machine(name, folder(state) / name, section.get("ports", {}))
    if alive(section) and not made.off:
        if made.up():
            return None
        line = f"{name} is slow to start"
    elif alive(section):
        os.kill(section["pid"], signal.SIGUSR1)
        line = f"{name} switched on again"
    else:
        shutil.rmtree(made.folder, ignore_errors=True)
        if section.get("pid"):
            _remove_groups(name, section["pid"])
        names = ["ssh", "app" if ROLES[name] == "application" else "postgres"]
        made = Machine(name, made.folder, free_ports(names, section.get("ports", {})))
        _write(state, made)
        process = spawn(
            made.boot_command(folder(state) / "image", folder(state) / SCRIPT.name),
            root=state.layout.root,
            log_file=made.folder / "log",
            environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        section = {"ports": made.ports, "pid": process.pid, "pid_started": start_time(process.pid) or 0}
        state.update("hosts", **{name: section})
        line = f"{name}: 127.0.0.1:{made.ports['ssh']}, {ROLES[name]}"
    first = not (made.folder / "begun").exists()
    deadline = time.monotonic() + 300
    while not _ready(section, made):
        if time.monotonic() > deadline:
            raise SandboxError(f"{name} is not ready. {made.folder / 'log'} says:\n{tail(made.folder / 'log')}")
        # Each question is a connection, and the host has better things to do.
        time.sleep(0.3)
    if first:
        if (done := made.ssh(f"apt-mark hold {HELD}")).returncode:
            raise SandboxError(f"{name}: {done.stderr}")
        (made.folder / "begun").touch()
    return line


def _ready(section: dict[str, Any], made: Machine) -> bool:
    if not alive(section):
        raise SandboxError(f"{made.name} ended. {made.folder / 'log'} says:\n{tail(made.folder / 'log')}")
    return made.up() and ("app" not in made.ports or serves(made))


def serves(made: Machine) -> bool:
    """Whether the application on it is ready."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with suppress(OSError, ValueError, KeyError), opener.open(f"{url(made)}/ready", timeout=5) as answer:
        return bool(json.load(answer)["status"] == "ready")
    return False


def url(made: Machine) -> str:
    """The application's address."""
    return f"http://127.0.0.1:{made.ports['app']}"


def _write(state: State, made: Machine) -> None:
    place = folder(state)
    trust = f"signed-by=/{KEYRING}" if (place / "apt/key.gpg").exists() else "trusted=yes"
    files = {
        "etc/apt/sources.list": "".join(f"deb [{trust}] file:/{APT}/{name} ./\n" for name in ("security", "main")),
        # By Debian's timers apt would be at work whenever they think fit.
        "etc/apt/apt.conf.d/10periodic": 'APT::Periodic::Enable "0";\n',
    }
    shared = [(place / "apt", APT)]
    if "app" in made.ports:
        settings = {
            "PYTHONPATH": f"/{LIBRARY}",
            # This sandbox's own instance gives the signs of life that the daily looks at.
            "TRADINGFLOW_HEARTBEATS": "no",
            "TRADINGFLOW_DATABASE_URL": application.environment(state)["TRADINGFLOW_DATABASE_URL"],
            "TRADINGFLOW_PORT": made.ports["app"],
            "TRADINGFLOW_DATA_DIR": "/var/lib/tradingflow",
            "TRADINGFLOW_LOG_FILE": "/var/log/tradingflow/app.log",
            "TRADINGFLOW_VERSION": application.VERSION,
            "TRADINGFLOW_IMAGE": application.IMAGE,
        }
        files["etc/tradingflow/app.env"] = "".join(f"{name}={value}\n" for name, value in settings.items())
        files["etc/systemd/system/tradingflow.service"] = UNIT
        files["usr/local/bin/tradingflow-ready"] = READY
        shared.append((place / "lib", LIBRARY))
    # All share this machine's ports, and only one of them has a database.
    if "postgres" in made.ports:
        files["etc/postgresql/15/main/conf.d/sandbox.conf"] = f"port = {made.ports['postgres']}\n"
    made.write(files)
    root = made.folder / "files"
    (root / "etc/systemd/system").mkdir(parents=True, exist_ok=True)
    if (place / "apt/key.gpg").exists():
        (root / KEYRING).parent.mkdir(parents=True)
        shutil.copy(place / "apt/key.gpg", root / KEYRING)
    if "postgres" not in made.ports:
        (root / "etc/systemd/system/postgresql.service").symlink_to("/dev/null")
    if "app" in made.ports:
        (root / "etc/tradingflow/app.env").chmod(0o600)
        (root / "usr/local/bin/tradingflow-ready").chmod(0o755)
        wanted = root / "etc/systemd/system/multi-user.target.wants"
        wanted.mkdir()
        (wanted / "tradingflow.service").symlink_to("/etc/systemd/system/tradingflow.service")
    (made.folder / "shared").write_text("".join(f"{source}\t{target}\n" for source, target in shared), encoding="utf-8")


def inventory(state: State) -> dict[str, Any]:
    """The hosts and their groups, for Ansible."""
    names = machines(state)
    groups: dict[str, dict[str, Any]] = {
        role: {name: {} for name in names if ROLES[name] == role} for role in set(ROLES.values())
    }
    return {
        "all": {
            "children": {
                "tradingflow_sandbox_hosts": {
                    "hosts": {
                        # The inventory's other variables are in inventories/local/group_vars; of this one's folder
                        # they know nothing.
                        name: {**made.variables, "local_sandbox_folder": str(state.layout.state_file.parent)}
                        for name, made in names.items()
                    }
                },
                "tradingflow_patching": {"hosts": {name: {} for name in names}},
                **{f"tradingflow_{role}_hosts": {"hosts": hosts} for role, hosts in sorted(groups.items())},
            }
        }
    }


def down(layout: Layout) -> list[str]:
    """Ends the hosts and deletes what is theirs."""
    if not layout.state_file.exists():
        return []
    with layout.locked():
        state = State(layout)
        _settle(state)
        if not state.get("hosts") and not folder(state).exists():
            return []
        stop(state)
    return ["The hosts are gone."]


def stop(state: State) -> None:
    """Ends the processes that are proven to be those of the hosts, and deletes what is theirs.

    :raises SandboxError: a recorded one runs and is not proven to be; nothing is deleted then
    """
    ours = set(marked(state.layout.root))
    recorded = state.get("hosts", {})
    # They take their control groups away themselves.
    end(
        [section["pid"] for section in recorded.values() if alive(section) and section["pid"] in ours],
        signal.SIGTERM,
        30,
    )
    strange = [f"{name} (process {section['pid']})" for name, section in recorded.items() if alive(section)]
    if strange:
        raise SandboxError(
            f"Recorded as hosts, but not known to be of {state.layout.root}: {', '.join(strange)}. "
            "End them, then try again."
        )
    inventory_file(state.layout).unlink(missing_ok=True)
    if state.data.pop("hosts", None) is not None:
        state.update()
    _remove(folder(state))
