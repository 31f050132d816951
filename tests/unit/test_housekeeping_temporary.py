"""Temporary files: what may go, what stays and why, and what happens meanwhile. As root, who sees what is in use."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping import temporary, tree
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.holders import Holders, scan
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.mounts import (
    Namespace,
    Sources,
    mount_id,
    parsed,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.pace import Pace
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.place import (
    QUARANTINE,
    declared_once,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.temporary import Cleaner
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    ConfigurationError,
    HousekeepingError,
)

from tests.conftest import COLLECTION

pytestmark = pytest.mark.alone

DAY = 86400.0
#: Later than everything the tests make: a ctime cannot be set.
LATER = 11 * DAY


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory with no link on the way to it."""
    path = Path(os.path.realpath(tempfile.mkdtemp(prefix="housekeeping-")))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def cleaner(path: Path, later: float = LATER, **options: Any) -> Cleaner:
    given = {"days": 10, "quarantine_days": 0, "owners": [], "names": ["*"], "keep": [], "reads": True, **options}
    return Cleaner({"path": str(path), **given}, 100, 10000, lambda: time.time() + later)


def names(plan: dict[str, Any]) -> list[str]:
    return [item["name"] for item in plan["items"]]


def kept(plan: dict[str, Any]) -> dict[str, list[str]]:
    return {why: found["names"] for why, found in plan["kept"].items()}


def applied(made: Cleaner) -> dict[str, Any]:
    done: dict[str, Any] = made.apply([item["token"] for item in made.plan()["items"]])["done"]
    return done


def line(process: subprocess.Popen[str]) -> str:
    """The next line of a process."""
    assert process.stdout
    return process.stdout.readline()


def tell_tale(path: Path, *parts: str) -> Path:
    made = path.joinpath(*parts)
    made.parent.mkdir(parents=True, exist_ok=True)
    made.write_text("x" * 5000, encoding="utf-8")
    return made


def test_plan_lists_whole_entries_and_changes_nothing(folder: Path) -> None:
    tell_tale(folder, "tree", "a", "b")
    tell_tale(folder, "file")
    (folder / "link").symlink_to("/etc/passwd")
    before = sorted(map(str, folder.rglob("*")))
    plan = cleaner(folder).plan()
    assert names(plan) == ["file", "link", "tree"]
    assert [item["files"] for item in plan["items"]] == [1, 1, 3]
    assert plan["items"][0]["bytes"] == os.stat(folder / "file").st_blocks * 512
    assert sorted(map(str, folder.rglob("*"))) == before
    done = applied(cleaner(folder))
    assert [row["name"] for row in done["removed"]] == ["file", "link", "tree"]
    assert done["freed"] > 0
    assert os.listdir(folder) == [os.fsdecode(QUARANTINE)]
    assert os.listdir(folder / os.fsdecode(QUARANTINE)) == []
    assert Path("/etc/passwd").exists()


def test_one_young_file_keeps_its_whole_tree(folder: Path) -> None:
    old = tell_tale(folder, "tree", "a", "old")
    os.utime(old, (1, 1))
    young = tell_tale(folder, "tree", "b", "young")
    os.utime(young, (time.time() + LATER, time.time() + LATER))
    plan = cleaner(folder).plan()
    assert names(plan) == []
    assert plan["young"] == 1


def test_what_was_read_lately_stays_unless_reads_do_not_count(folder: Path) -> None:
    read = tell_tale(folder, "read")
    os.utime(read, (time.time() + LATER, 1))
    assert names(cleaner(folder).plan()) == []
    assert names(cleaner(folder, reads=False).plan()) == ["read"]


def test_young_by_ctime_alone(folder: Path) -> None:
    made = tell_tale(folder, "restored")
    os.utime(made, (1, 1))
    assert names(cleaner(folder, later=0).plan()) == []


def test_sockets_pipes_and_the_systems_own_stay(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    tell_tale(folder, "systemd-private-1-cron.service-x", "tmp", "file")
    tell_tale(folder, "with-socket", "file")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "with-socket/s"))
        plan = cleaner(folder).plan()
    assert names(plan) == []
    assert kept(plan) == {
        "kept for the system": ["systemd-private-1-cron.service-x"],
        "socket, pipe or device": ["pipe", "with-socket"],
    }


@pytest.mark.parametrize("name", ["systemd-private-0", ".X11-unix", ".s.PGSQL.5432.lock", ".X0-lock", "lost+found"])
def test_names_of_the_system(folder: Path, name: str) -> None:
    tell_tale(folder, name)
    assert kept(cleaner(folder).plan()) == {"kept for the system": [name]}


def test_only_declared_names_and_owners(folder: Path) -> None:
    for name in ("job-1", "job-2.keep", "other"):
        tell_tale(folder, name)
    tell_tale(folder, "job-3", "mine")
    os.chown(tell_tale(folder, "job-3", "other"), 65534, 65534)
    plan = cleaner(folder, names=["job-*"], keep=["*.keep"], owners=["root"]).plan()
    assert names(plan) == ["job-1"]
    assert kept(plan) == {
        "kept by name": ["job-2.keep"],
        "name not declared": ["other"],
        "owner not declared": ["job-3"],
    }


HOLD = """
import ctypes, os, sys
how, path = sys.argv[1:]
if how == "descriptor":
    held = open(path)
elif how == "cwd":
    os.chdir(os.path.dirname(path))
elif how == "root":
    os.chroot(os.path.dirname(path))
elif how == "mmap":
    # Python's own mmap would keep a descriptor.
    opened = os.open(path, os.O_RDONLY)
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    assert libc.mmap(None, 100, 1, 2, opened, 0) not in (None, 2**64 - 1)
    os.close(opened)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["descriptor", "cwd", "root", "mmap"])
def test_in_use_in_any_way(folder: Path, how: str) -> None:
    path = tell_tale(folder, "tree", "inner", "file")
    tell_tale(folder, "free")
    command = [sys.executable, "-S", "-c", HOLD, how, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert line(process) == "held\n"
        plan = cleaner(folder).plan()
        assert names(plan) == ["free"]
        assert kept(plan) == {f"in use by process {process.pid}": ["tree"]}
        process.communicate("")
    assert names(cleaner(folder).plan()) == ["free", "tree"]


LEADERLESS = """
import ctypes, os, sys, threading, time
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
opened = os.open(sys.argv[1], os.O_RDONLY)
libc.mmap(None, 100, 1, 2, opened, 0)
os.close(opened)
def wait():
    time.sleep(0.2)
    os.write(1, b"held\\n")
    os.read(0, 1)
    os._exit(0)
threading.Thread(target=wait).start()
libc.syscall(60, 0)
"""


def test_processes_that_have_ended_in_part(folder: Path) -> None:
    """A zombie has no mounts, files or memory any more; of a process whose first thread has ended, the others have."""
    tell_tale(folder, "free")
    path = tell_tale(folder, "mapped")
    zombie = os.fork()
    if not zombie:
        os._exit(0)
    command = [sys.executable, "-S", "-c", LEADERLESS, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert line(process) == "held\n"
        for pid in (zombie, process.pid):
            assert "State:\tZ" in Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        plan = cleaner(folder).plan()
        process.communicate("\n")
    os.waitpid(zombie, 0)
    assert names(plan) == ["free"]
    assert kept(plan) == {f"in use by process {process.pid}": ["mapped"]}


def test_a_file_that_is_handed_on_while_all_are_looked_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a process that has ended when its turn comes to one that began after all were listed."""
    path = tell_tale(folder, "file")
    real = os.listdir
    begun: list[subprocess.Popen[str]] = []

    def listdir(place: Any) -> list[Any]:
        found = real(place)
        if place == "/proc" and not begun:
            command = [sys.executable, "-S", "-c", HOLD, "descriptor", str(path)]
            begun.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            assert line(begun[0]) == "held\n"
        return found

    monkeypatch.setattr(os, "listdir", listdir)
    plan = cleaner(folder).plan()
    begun[0].communicate("")
    assert kept(plan) == {f"in use by process {begun[0].pid}": ["file"]}


def test_file_behind_a_loop_device_and_swap_are_looked_for(folder: Path) -> None:
    image = folder / "image"
    with image.open("wb") as stream:
        stream.truncate(1 << 20)
    done = subprocess.run(["losetup", "--find", "--show", str(image)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("no loop devices here")
    try:
        assert kept(cleaner(folder).plan()) == {"in use by loop device": ["image"]}
    finally:
        subprocess.run(["losetup", "--detach", done.stdout.strip()], check=True)


def test_opened_after_the_plan(folder: Path) -> None:
    path = tell_tale(folder, "file")
    made = cleaner(folder)
    tokens = [item["token"] for item in made.plan()["items"]]
    with path.open(encoding="utf-8"):
        pass
    command = [sys.executable, "-S", "-c", HOLD, "descriptor", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert line(process) == "held\n"
        done = made.apply(tokens)["done"]
        process.communicate("")
    assert done["removed"] == []
    assert done["missing"] == 1
    assert path.exists()


def test_opened_between_the_last_look_and_the_removal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is moved out of reach first, then all processes are looked at again; what is held gets its place back."""
    path = tell_tale(folder, "held")
    tell_tale(folder, "free")
    made = cleaner(folder)
    tokens = [item["token"] for item in made.plan()["items"]]
    process: list[subprocess.Popen[str]] = []
    looks = 0

    def then_opened() -> Holders:
        nonlocal looks
        looks += 1
        if looks == 2:
            (aside,) = (folder / os.fsdecode(QUARANTINE)).glob("r-*-held")
            command = [sys.executable, "-S", "-c", HOLD, "descriptor", str(aside)]
            process.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            assert line(process[0]) == "held\n"
        return scan()

    monkeypatch.setattr(temporary, "scan", then_opened)
    done = made.apply(tokens)["done"]
    assert [row["name"] for row in done["removed"]] == ["free"]
    assert done["kept"] == [{"name": "held", "why": f"in use by process {process[0].pid}"}]
    process[0].communicate("")
    assert path.read_text(encoding="utf-8") == "x" * 5000


def test_apply_takes_nothing_that_was_not_planned(folder: Path) -> None:
    tell_tale(folder, "planned")
    made = cleaner(folder)
    tokens = [item["token"] for item in made.plan()["items"]]
    tell_tale(folder, "came-later")
    done = made.apply(tokens)["done"]
    assert [row["name"] for row in done["removed"]] == ["planned"]
    assert (folder / "came-later").exists()
    assert made.apply([])["done"]["removed"] == []


def test_swapped_for_a_link_after_the_plan(folder: Path, tmp_path: Path) -> None:
    victim = tell_tale(tmp_path, "victim", "file")
    tell_tale(folder, "tree", "file")
    made = cleaner(folder)
    tokens = [item["token"] for item in made.plan()["items"]]
    shutil.rmtree(folder / "tree")
    (folder / "tree").symlink_to(victim.parent)
    done = made.apply(tokens)["done"]
    assert done["removed"] == []
    assert victim.exists()
    assert (folder / "tree").is_symlink()


def test_swapped_between_the_last_look_and_the_move(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was moved is looked at by its identity, and gets its place back when it is another one."""
    tell_tale(folder, "tree", "file")
    made = cleaner(folder)
    tokens = [item["token"] for item in made.plan()["items"]]
    real, swapped = os.rename, False

    def rename(source: Any, target: Any, **more: Any) -> None:
        nonlocal swapped
        if not swapped:
            swapped = True
            real(folder / "tree", folder / "stolen")
            tell_tale(folder, "tree", "precious")
        real(source, target, **more)

    monkeypatch.setattr(os, "rename", rename)
    done = made.apply(tokens)["done"]
    assert swapped
    assert done["removed"] == []
    assert done["kept"] == [{"name": "tree", "why": "changed meanwhile"}]
    assert (folder / "tree/precious").exists()


def test_given_to_somebody_between_the_last_look_and_the_move(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the ctime tells, which the move itself will set."""
    path = tell_tale(folder, "file")
    made = cleaner(folder)
    tokens = [item["token"] for item in made.plan()["items"]]
    real = made._looked

    def looked(*arguments: Any) -> Any:
        found = real(*arguments)
        os.chown(path, 65534, 65534)
        return found

    monkeypatch.setattr(made, "_looked", looked)
    assert made.apply(tokens)["done"]["kept"] == [{"name": "file", "why": "changed meanwhile"}]
    assert path.exists()


def test_written_to_between_the_last_look_and_the_move(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tell_tale(folder, "tree", "deep", "file")
    made = cleaner(folder)
    tokens = [item["token"] for item in made.plan()["items"]]
    real = os.rename

    def rename(source: Any, target: Any, **more: Any) -> None:
        inner.write_text("new", encoding="utf-8")
        real(source, target, **more)

    monkeypatch.setattr(os, "rename", rename)
    assert made.apply(tokens)["done"]["kept"] == [{"name": "tree", "why": "changed meanwhile"}]
    assert inner.read_text(encoding="utf-8") == "new"


def test_a_place_that_was_taken_meanwhile_is_not_written_over(folder: Path) -> None:
    old = tell_tale(folder, "old")
    other = folder / "other"
    other.write_text("theirs", encoding="utf-8")
    descriptor = tree.opened(str(folder))
    try:
        with pytest.raises(OSError, match="File exists"):
            tree.put_back(descriptor, b"old", descriptor, b"other")
    finally:
        os.close(descriptor)
    assert other.read_text(encoding="utf-8") == "theirs"
    assert old.exists()


@pytest.mark.parametrize(
    "name", [b"new\nline", b"quo\"te's", b"latin-\xe9\xff", b" ", b"-rf", b"*", "ü\u202e".encode()]
)
def test_names_of_any_bytes(folder: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(folder), name)
    with open(path, "wb"):
        pass
    tell_tale(folder, "innocent")
    made = cleaner(folder, keep=["innocent"])
    (item,) = made.plan()["items"]
    assert item["name"].isprintable()
    assert len(made.apply([item["token"]])["done"]["removed"]) == 1
    assert not os.path.lexists(path)
    assert (folder / "innocent").exists()


def test_a_directory_that_is_a_link(folder: Path) -> None:
    (folder / "root").symlink_to("/")
    with pytest.raises(HousekeepingError, match="is a link"):
        cleaner(folder / "root").plan()
    (folder / "real/tmp").mkdir(parents=True)
    (folder / "way").symlink_to("real")
    with pytest.raises(HousekeepingError, match="is a link"):
        cleaner(folder / "way/tmp").plan()


@pytest.mark.parametrize("path", ["/", "/etc", "/var/log", "/usr/lib", "relative", "/tmp/../etc"])
def test_directories_that_are_never_cleaned(path: str) -> None:
    with pytest.raises(HousekeepingError):
        cleaner(Path(path)).plan()


def mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def test_bind_mounts_inside(folder: Path, tmp_path: Path) -> None:
    """Of the same file system, so that the device says nothing; of a folder, of a file, and deep inside."""
    precious = tell_tale(folder / "outside", "precious")
    for name in ("top", "deep/er"):
        (folder / "tmp" / name).mkdir(parents=True)
    tell_tale(folder, "tmp", "file")
    tell_tale(folder, "tmp", "free")
    for what, where in ((precious.parent, "top"), (precious.parent, "deep/er"), (precious, "file")):
        mount("--bind", what, folder / "tmp" / where)
    plan = cleaner(folder / "tmp").plan()
    assert names(plan) == ["free"]
    assert kept(plan) == {"mount point": ["deep", "file", "top"]}
    assert [row["name"] for row in applied(cleaner(folder / "tmp"))["removed"]] == ["free"]
    assert precious.exists()


def test_mounted_after_the_mounts_were_read(folder: Path) -> None:
    """The mount of every folder that is opened is asked, too: when it is looked at, and when it is removed."""
    precious = tell_tale(folder / "outside", "precious")
    (folder / "tmp/tree/inner").mkdir(parents=True)
    mount("--bind", precious.parent, folder / "tmp/tree/inner")
    descriptor = tree.opened(str(folder / "tmp"))
    try:
        rules = tree.Rules(lambda identity: "", None, True)
        on = mount_id(descriptor)
        with pytest.raises(tree.Stays, match="mount point"):
            tree.look(descriptor, b"tree", on, rules, tree.Budget(100))
        with pytest.raises(tree.Stays, match="mount point"):
            tree.remove(descriptor, b"tree", on)
    finally:
        os.close(descriptor)
    assert precious.exists()


def test_root_bound_over_the_directory(folder: Path) -> None:
    (folder / "tmp").mkdir()
    mount("--bind", "/", folder / "tmp")
    with pytest.raises(HousekeepingError, match="is /, which is not for temporary files"):
        cleaner(folder / "tmp").plan()


def test_what_a_container_has_mounted_stays(folder: Path) -> None:
    """Mounted from there, or onto there, in a namespace that is not ours: removing it would take it from under them."""
    for name in ("source", "target/inner", "free"):
        (folder / "tmp" / name).mkdir(parents=True)
    (folder / "elsewhere").mkdir()
    script = (
        f"mount --bind {folder}/tmp/source {folder}/elsewhere; mount -t tmpfs x {folder}/tmp/target/inner; echo; read x"
    )
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert line(process) == "\n"
        plan = cleaner(folder / "tmp").plan()
        process.communicate("\n")
    assert names(plan) == ["free"]
    assert kept(plan) == {"mount point elsewhere": ["target"], "mounted elsewhere": ["source"]}


def test_a_path_with_two_slashes(folder: Path) -> None:
    """POSIX leaves their meaning open, and so does normpath; to the kernel they are one."""
    for name in ("source", "free"):
        tell_tale(folder / "tmp", name, "file")
    (folder / "elsewhere").mkdir()
    mount("--bind", folder / "tmp/source", folder / "elsewhere")
    for path in (f"/{folder}/tmp", f"/{folder}//./tmp//"):
        made = Cleaner({**cleaner(folder).options, "path": path}, 100, 10000, lambda: time.time() + LATER)
        plan = made.plan()
        assert names(plan) == ["free"]
        assert kept(plan) == {"mounted elsewhere": ["source"]}
    assert [row["name"] for row in applied(made)["removed"]] == ["free"]


def test_layers_that_were_given_with_two_slashes(folder: Path) -> None:
    """The kernel shows the options of an overlay as they were written."""
    line = b"30 20 0:30 / /merged rw - overlay x rw,lowerdir=//a//l:/a/./m,upperdir=//a/u/,workdir=/a/w"
    assert Sources([*parsed(line)], []).covered(b"/a") == dict.fromkeys([b"l", b"m", b"u", b"w"], "layer of a mount")


@pytest.mark.parametrize("path", [b"//tmp/x", b"//", b"///tmp", b"relative", b""])
def test_paths_that_no_list_of_mounts_has(path: bytes) -> None:
    assert Namespace([]).inner(path) is None


@pytest.mark.parametrize("what", ["tree", "file", "tree/inner", "tree/folder"])
@pytest.mark.parametrize("moment", ["before the move", "after the move"])
def test_mounted_elsewhere_after_the_first_look(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str, moment: str
) -> None:
    """A container has it as its folder from then on; nothing of it need be open."""
    for parts in (("tree", "inner"), ("tree", "folder", "deep"), ("file",), ("free",)):
        tell_tale(folder, "tmp", *parts)
    elsewhere = folder / "elsewhere"
    real = scan

    def bound(source: Path) -> None:
        elsewhere.mkdir() if source.is_dir() else elsewhere.touch()
        mount("--bind", source, elsewhere)

    def then_mounted() -> Holders:
        found = real()
        if moment == "before the move" and not elsewhere.exists():
            bound(folder / "tmp" / what)
        return found

    made = cleaner(folder / "tmp")
    tokens = [item["token"] for item in made.plan()["items"]]
    if moment == "after the move":

        def look_again() -> Holders:
            name, _, inner = what.partition("/")
            aside = list((folder / "tmp" / os.fsdecode(QUARANTINE)).glob(f"r-*-{name}"))
            if aside:
                bound(aside[0] / inner if inner else aside[0])
            return real()

        monkeypatch.setattr(temporary, "scan", look_again)
    else:
        monkeypatch.setattr(temporary, "scan", then_mounted)
    done = made.apply(tokens)["done"]
    name = what.partition("/")[0]
    assert done["kept"] == [{"name": name, "why": "mounted elsewhere"}]
    assert {row["name"] for row in done["removed"]} == {"tree", "file", "free"} - {name}
    assert {path.name for path in (folder / "tmp").iterdir()} == {os.fsdecode(QUARANTINE), name}
    assert (folder / "tmp/file").exists() if name == "file" else (folder / "tmp/tree/folder/deep").exists()


def test_read_only_file_system(folder: Path) -> None:
    (folder / "tmp").mkdir()
    tell_tale(folder, "tmp", "file")
    tokens = [item["token"] for item in cleaner(folder / "tmp").plan()["items"]]
    mount("--bind", folder / "tmp", folder / "tmp")
    mount("-o", "remount,ro,bind", folder / "tmp")
    with pytest.raises(HousekeepingError, match="Read-only file system"):
        cleaner(folder / "tmp").apply(tokens)
    assert (folder / "tmp/file").exists()


def test_read_only_and_nothing_to_do(folder: Path) -> None:
    (folder / "tmp").mkdir()
    tell_tale(folder, "tmp", "file")
    mount("--bind", folder / "tmp", folder / "tmp")
    mount("-o", "remount,ro,bind", folder / "tmp")
    found = cleaner(folder / "tmp").apply([])
    assert names(found) == ["file"]
    assert found["done"]["removed"] == found["done"]["failed"] == []


def test_full_disk(folder: Path) -> None:
    """A rename needs no space."""
    (folder / "tmp").mkdir()
    mount("-t", "tmpfs", "-o", "size=64k", "x", folder / "tmp")
    filled = subprocess.run(["dd", "if=/dev/zero", f"of={folder}/tmp/big"], capture_output=True, text=True)
    assert "No space left" in filled.stderr
    assert [row["name"] for row in applied(cleaner(folder / "tmp"))["removed"]] == ["big"]


def test_quarantine_and_its_end(folder: Path) -> None:
    tell_tale(folder, "file")
    tell_tale(folder, "tree", "inner")
    made = cleaner(folder, quarantine_days=7)
    done = applied(made)
    assert done["freed"] == 0
    assert [row["name"] for row in done["quarantined"]] == ["file", "tree"]
    aside = folder / os.fsdecode(QUARANTINE)
    assert aside.stat().st_mode & 0o777 == 0o700
    assert len(os.listdir(aside)) == 2
    assert made.plan()["items"] == []
    week = cleaner(folder, later=LATER + 8 * DAY, quarantine_days=7)
    plan = week.plan()
    assert sorted((item["name"], item["quarantined"]) for item in plan["items"]) == [("file", True), ("tree", True)]
    done = applied(week)
    assert sorted(row["name"] for row in done["removed"]) == ["file", "tree"]
    assert os.listdir(aside) == []


def test_killed_between_move_and_removal_the_next_run_ends_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tell_tale(folder, "tree", "inner")
    made = cleaner(folder)
    tokens = [item["token"] for item in made.plan()["items"]]
    pid = os.fork()
    if not pid:
        monkeypatch.setattr(temporary, "remove", lambda *_, **__: os._exit(9))
        made.apply(tokens)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert not (folder / "tree").exists()
    plan = cleaner(folder).plan()
    assert [(item["name"], item["quarantined"]) for item in plan["items"]] == [("tree", True)]
    assert len(applied(cleaner(folder))["removed"]) == 1
    assert os.listdir(folder / os.fsdecode(QUARANTINE)) == []


def test_two_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tell_tale(folder, "file")
    made = cleaner(folder)
    tokens = [item["token"] for item in made.plan()["items"]]
    real = tree.remove
    told = []

    def meanwhile(*arguments: Any, **more: Any) -> int:
        with pytest.raises(HousekeepingError, match="Another run"):
            cleaner(folder).apply(tokens)
        told.append(True)
        return real(*arguments, **more)

    monkeypatch.setattr(temporary, "remove", meanwhile)
    assert len(made.apply(tokens)["done"]["removed"]) == 1
    assert told


def test_somebody_elses_quarantine_is_refused(folder: Path) -> None:
    aside = folder / os.fsdecode(QUARANTINE)
    tell_tale(folder, "file")
    aside.symlink_to("/etc")
    with pytest.raises(HousekeepingError, match="Nothing was changed"):
        cleaner(folder).plan()
    aside.unlink()
    aside.mkdir(mode=0o755)
    aside.chmod(0o755)
    with pytest.raises(HousekeepingError, match="is not of this collection"):
        cleaner(folder).plan()
    aside.chmod(0o700)
    os.chown(aside, 65534, 65534)
    with pytest.raises(HousekeepingError, match="is not of this collection"):
        cleaner(folder).plan()
    assert (folder / "file").exists()


def test_without_root_nothing_is_known(folder: Path) -> None:
    path = folder / "tmp"
    tell_tale(folder, "tmp", "file")
    folder.chmod(0o755)
    path.chmod(0o1777)
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", UNPRIVILEGED]
    environment = {**os.environ, "PYTHONPATH": str(COLLECTION.parents[2])}
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, env=environment, timeout=120)
    assert "only root can see" in done.stderr
    assert os.listdir(path) == ["file"]


UNPRIVILEGED = """
import sys, time
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.temporary import Cleaner
options = {"path": sys.argv[1], "days": 10, "quarantine_days": 0, "owners": [], "names": ["*"], "keep": []}
Cleaner({**options, "reads": True}, 100, 10000, lambda: time.time() + 11 * 86400).plan()
"""


def test_more_than_may_be_looked_at_or_taken(folder: Path) -> None:
    for number in range(5):
        tell_tale(folder, "tree", str(number))
    made = cleaner(folder)
    made.look_at = 3
    assert kept(made.plan()) == {"too many files to look at": ["tree"]}
    for name in ("a", "b"):
        tell_tale(folder, name)
    made.look_at, made.maximum = 1000, 2
    plan = made.plan()
    assert names(plan) == ["a", "b"]
    assert plan["later"] == 1


def test_hard_links_elsewhere_free_nothing(folder: Path, tmp_path: Path) -> None:
    made = tell_tale(folder, "outside", "file")
    (folder / "tmp").mkdir()
    os.link(made, folder / "tmp/linked")
    one = tell_tale(folder, "tmp", "tree", "one")
    os.link(one, folder / "tmp/tree/two")
    plan = cleaner(folder / "tmp").plan()
    assert plan["items"][0]["bytes"] == 0
    blocks = [os.stat(path).st_blocks * 512 for path in (folder / "tmp/tree", one)]
    assert plan["items"][1]["bytes"] == sum(blocks)
    assert applied(cleaner(folder / "tmp"))["freed"] == sum(blocks)


def test_one_directory_by_two_names_says_which_and_what_to_do(folder: Path) -> None:
    one = {"days": 10, "quarantine_days": 0, "owners": [], "names": ["*"], "keep": [], "reads": True}
    for name in ("tmp", "var-tmp", "srv"):
        (folder / name).mkdir()
    (folder / "tmp/job").mkdir()
    mount("--bind", folder / "tmp", folder / "var-tmp")
    mount("--bind", folder / "tmp/job", folder / "srv")
    declared = [{**one, "path": str(folder / name)} for name in ("tmp", "var-tmp")]
    for each in declared:
        with pytest.raises(ConfigurationError) as told:
            declared_once(each, declared)
        assert f"{folder}/tmp, {folder}/var-tmp is one directory" in told.value.message
        assert "take either" in told.value.remedy
    # By its path it lies elsewhere.
    declared = [{**one, "path": str(folder / name)} for name in ("srv", "tmp")]
    for each in declared:
        with pytest.raises(ConfigurationError) as told:
            declared_once(each, declared)
        assert f"{folder}/srv lies in {folder}/tmp" in told.value.message
        assert "job into the keep" in told.value.remedy
    # What lies on another file system is out of the outer one's reach.
    mount("-t", "tmpfs", "x", folder / "tmp/job")
    declared = [{**one, "path": str(folder / name)} for name in ("tmp/job", "tmp")]
    for each in declared:
        declared_once(each, declared)


def test_how_far_it_is_is_said_now_and_then(folder: Path) -> None:
    for number in range(1200):
        (folder / f"job-{number % 2}").mkdir(exist_ok=True)
        (folder / f"job-{number % 2}" / str(number)).touch()
    said: list[str] = []
    made = cleaner(folder)
    made.pace = Pace("/tmp\nx", said.append, 0)
    plan = made.plan()
    assert [line.rpartition(",")[0] for line in said] == [
        f"PROGRESS housekeeping /tmp\\nx: {count} files looked at" for count in ("500", "1,000")
    ]
    said.clear()
    made.apply([item["token"] for item in plan["items"]])
    assert [line.rpartition(",")[0] for line in said if "of" in line] == [
        f"PROGRESS housekeeping /tmp\\nx: {count} of 1,202 files looked at again and removed"
        for count in ("500", "1,000")
    ]
    # Not more often than that.
    said.clear()
    pace = Pace("/tmp", said.append, 1000)
    for _number in range(5000):
        pace.tick()
    assert not said
