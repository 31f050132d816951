"""What is in an image: layers by the tar's grammar, whiteouts, links, and each kind of package database."""

from __future__ import annotations

import gzip
import hashlib
import io
import sqlite3
import struct
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._images import layers, tar
from ansible_collections.tradingflow.maintenance.plugins.module_utils._images.packages import Inventory, inventory
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ImageError

from tests.images import layer

ELF = b"\x7fELF" + b"\0" * 60
DEBIAN = 'ID=debian\nVERSION_ID="12"\n'
STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc (2.36-9)
Version: 2.36-9+b1
Description: libraries
 with a second line

Package: gone
Status: deinstall ok config-files
Version: 1.0

Package: bash
Status: install ok installed
Version: 5.2.15-2+b2
"""


def budget(most: int = 1 << 30, entries: int = 10000) -> tar.Budget:
    return tar.Budget(most, entries, time.monotonic() + 600)


def tree(*contents: bytes, **more: Any) -> layers.Tree:
    found = layers.Tree()
    for number, content in enumerate(contents):
        waiting = layers.add(found, opened(content, **more), number)
        if waiting:
            layers.resolve(found, opened(content, **more), waiting, number)
    return found


def opened(content: bytes, packed: str = "", **more: int) -> tar.Tar:
    spent = budget(**more)
    return tar.Tar(tar.Plain(io.BytesIO(content), packed, spent, hashlib.sha256()), spent)


def read(tmp_path: Path, *contents: bytes, known: tuple[str, ...] = ()) -> Inventory:
    return inventory(tree(*contents), list(known), tmp_path)


def names(found: Inventory) -> set[tuple[str, str, str]]:
    return {tuple(each) for each in found.packages}  # type: ignore[misc]


def test_a_debian(tmp_path: Path) -> None:
    base = layer(
        ("usr/lib/os-release", DEBIAN),
        ("var/lib/dpkg/status", STATUS),
        ("var/lib/dpkg/info/bash.list", "/.\n/bin\n/bin/bash\n"),
        ("usr/bin/bash", ELF),
        links={"bin": "usr/bin", "etc/os-release": "../usr/lib/os-release"},
    )
    found = read(tmp_path, base)
    # By the names of their sources; what was removed, and left its configuration, is not there.
    assert names(found) == {("Debian:12", "glibc", "2.36-9"), ("Debian:12", "bash", "5.2.15-2+b2")}
    assert found.doubts == []
    # A program that no package has, also in a later layer, also instead of one that a package has.
    assert "/app/server" in read(tmp_path, base, layer(("app/server", ELF))).doubts[0]
    assert read(tmp_path, base, layer(("app/server", ELF)), known=("/app/*",)).doubts == []
    assert read(tmp_path, base, layer(("app/server", "#!/bin/sh"))).doubts == []


def test_a_distroless_debian_and_an_alpine(tmp_path: Path) -> None:
    paragraph = "Package: tzdata\nVersion: 2024a-0+deb12u1\n"
    files: list[tuple[str, bytes | str]] = [("etc/os-release", DEBIAN), ("var/lib/dpkg/status.d/tzdata", paragraph)]
    files.append(("usr/bin/x", ELF))
    sums = ("var/lib/dpkg/status.d/tzdata.md5sums", f"{'0' * 32}  usr/bin/x\n")
    found = read(tmp_path, layer(*files, sums))
    assert (names(found), found.doubts) == ({("Debian:12", "tzdata", "2024a-0+deb12u1")}, [])
    installed = "C:Q1x\nP:libcrypto3\nV:3.3.1-r0\no:openssl\nF:usr/lib\nR:libcrypto.so.3\n\nP:zlib\nV:1.3.1-r1\n"
    release = "NAME=Alpine\nID=alpine\nVERSION_ID=3.20.3\n"
    database = ("lib/apk/db/installed", installed)
    found = read(tmp_path, layer(("etc/os-release", release), database, ("usr/lib/libcrypto.so.3", ELF)))
    assert names(found) == {("Alpine:v3.20", "openssl", "3.3.1-r0"), ("Alpine:v3.20", "zlib", "1.3.1-r1")}
    assert found.doubts == []


def test_python_and_node(tmp_path: Path) -> None:
    place = "usr/local/lib/python3.13/site-packages"
    app = layer(
        (
            f"{place}/Typing_Extensions-4.0.0.dist-info/METADATA",
            "Name: Typing_Extensions\nVersion: 4.0.0\n\nx",
        ),
        (f"{place}/numpy-2.0.dist-info/METADATA", "Name: numpy\nVersion: 2.0\n"),
        (f"{place}/numpy-2.0.dist-info/RECORD", "numpy/core.so,sha256=x,9\n../../../bin/f2py,,\n"),
        (f"{place}/numpy/core.so", ELF),
        ("usr/local/bin/f2py", ELF),
        ("app/node_modules/@scope/a/package.json", '{"name": "@scope/a", "version": "1.0.0"}'),
        ("app/node_modules/@scope/a/build/a.node", ELF),
        ("app/node_modules/@scope/a/node_modules/b/package.json", '{"name": "b", "version": "2.0.0-rc.1"}'),
        ("app/node_modules/@scope/a/lib/package.json", '{"type": "module"}'),
        ("usr/lib/python3/dist-packages/six-1.0.egg-info", "Name: six\nVersion: 1.0\n"),
        ("var/lib/dpkg/info/python3-six.list", "/usr/lib/python3/dist-packages/six-1.0.egg-info\n"),
        ("var/lib/dpkg/status", f"{STATUS}\n\nPackage: python3-six\nVersion: 1.0\n"),
        ("etc/os-release", DEBIAN),
    )
    found = read(tmp_path, app)
    # What Debian's own packages brought is Debian's, and patched there.
    assert {each for each in names(found) if each[0] != "Debian:12"} == {
        ("PyPI", "typing-extensions", "4.0.0"),
        ("PyPI", "numpy", "2.0"),
        ("npm", "@scope/a", "1.0.0"),
        ("npm", "b", "2.0.0-rc.1"),
    }
    assert found.doubts == []
    nameless = layer(("app/node_modules/c/package.json", "{"), (f"{place}/x-1.dist-info/METADATA", "Name: x\n"))
    assert len(read(tmp_path, app, nameless).doubts) == 2


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ([], "no package database"),
        ([("app/server", ELF)], "no os-release"),
        ([("etc/os-release", DEBIAN)], "no package database"),
        (
            [
                ("etc/os-release", "ID=debian\n"),
                ("var/lib/dpkg/status", STATUS),
            ],
            "none whose advisories",
        ),
        (
            [
                ("etc/os-release", "ID=plan9\nVERSION_ID=4\n"),
                ("var/lib/dpkg/status", STATUS),
            ],
            "plan9 4 is none",
        ),
        (
            [
                ("etc/os-release", "ID=alpine\nVERSION_ID=3.21_alpha1\n"),
                ("var/lib/dpkg/status", STATUS),
            ],
            "is none",
        ),
        (
            [
                ("etc/os-release", "ID=alpine\nVERSION_ID=3.20.1\n"),
                ("var/lib/dpkg/status", STATUS),
            ],
            "of dpkg",
        ),
        ([("etc/os-release", DEBIAN), ("var/lib/dpkg/status", "Package bash\n")], "not understood"),
        ([("etc/os-release", DEBIAN), ("var/lib/dpkg/status", "Package: bash\n")], "not understood"),
        ([("etc/os-release", DEBIAN), ("var/lib/dpkg/status", "Package: a\nVersion: 1 2\n")], "not understood"),
        ([("etc/os-release", DEBIAN), ("var/lib/rpm/Packages", b"\0" * 99)], "kind that is not read"),
        ([("etc/os-release", DEBIAN), ("var/lib/rpm/rpmdb.sqlite", b"no database")], "cannot be read"),
        (
            [
                ("etc/os-release", DEBIAN),
                ("var/lib/dpkg/status", STATUS),
                ("app/a.jar", "PK"),
            ],
            "Java archive",
        ),
    ],
)
def test_what_is_not_recognised(tmp_path: Path, files: list[Any], word: str) -> None:
    assert any(word in doubt for doubt in read(tmp_path, layer(*files)).doubts)


def test_a_database_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    files: list[tuple[str, bytes | str]] = [("etc/os-release", DEBIAN), ("opt/status", STATUS)]
    found = read(tmp_path, layer(*files, links={"var/lib/dpkg/status": "/opt/status"}))
    assert any("symbolic link" in doubt for doubt in found.doubts)
    # A hard link is the file itself, wherever its first name stood.
    found = read(tmp_path, layer(*files, links={"var/lib/dpkg/status": "=opt/status"}))
    assert ("Debian:12", "bash", "5.2.15-2+b2") in names(found)
    found = read(tmp_path, layer(files[0], links={"var/lib/dpkg/status": "=opt/status"}))
    assert any("hard link" in doubt for doubt in found.doubts)


VENDORED = [
    ("a-1.0.dist-info/METADATA", "Name: a\nVersion: 1.0\n"),
    ("a-1.0.dist-info/RECORD", "a/node_modules/tar/package.json,,\na/jars/log4j.jar,,\na/b-2.0.dist-info/METADATA,,\n"),
    ("a/node_modules/tar/package.json", '{"name": "tar", "version": "4.0.0"}'),
    ("a/jars/log4j.jar", "PK"),
    ("a/b-2.0.dist-info/METADATA", "Name: b\nVersion: 2.0\n"),
]


@pytest.mark.parametrize("turn", [1, -1])
def test_what_a_wheel_brings_is_looked_at(tmp_path: Path, turn: int) -> None:
    place = "usr/lib/python3.12/site-packages/"
    files = [(place + name, content) for name, content in VENDORED[::turn]]
    found = read(tmp_path, layer(("etc/os-release", DEBIAN), ("var/lib/dpkg/status", STATUS), *files))
    assert {("npm", "tar", "4.0.0"), ("PyPI", "a", "1.0"), ("PyPI", "b", "2.0")} <= names(found)
    assert [doubt for doubt in found.doubts if "log4j.jar" in doubt]


def test_a_list_of_files_without_its_package_vouches_for_nothing(tmp_path: Path) -> None:
    files: list[tuple[str, bytes | str]] = [("var/lib/dpkg/info/openssl:amd64.list", "/usr/bin/openssl\n")]
    files.append(("usr/bin/openssl", ELF))
    files += [("etc/os-release", DEBIAN), ("var/lib/dpkg/status", STATUS)]
    assert "/usr/bin/openssl" in read(tmp_path, layer(*files)).doubts[0]
    entry = f"{STATUS}\n\nPackage: openssl\nVersion: 3.0\n"
    assert read(tmp_path, layer(*files), layer(("var/lib/dpkg/status", entry))).doubts == []


@pytest.mark.parametrize("name", ["app/x-py3.egg/EGG-INFO/PKG-INFO", "app/a.deps.json"])
def test_what_is_not_looked_into_is_said(tmp_path: Path, name: str) -> None:
    found = read(tmp_path, layer(("etc/os-release", DEBIAN), ("var/lib/dpkg/status", STATUS), (name, "{}")))
    assert name in found.doubts[0]


def paths(found: layers.Tree) -> set[str]:
    return {path for path, _node in found.files()}


def test_whiteouts_take_away_what_earlier_layers_brought() -> None:
    below = layer(("a/node_modules/x/package.json", "{}"), ("a/node_modules/y/package.json", "{}"), ("b/x", ELF))
    gone = layer(("a/node_modules/.wh.x", ""))
    assert paths(tree(below, gone)) == {"a/node_modules/y/package.json", "b/x"}
    # Of the same layer nothing is taken away, in whatever order it stands.
    new = ("a/node_modules/z/package.json", "{}")
    opaque = ("a/node_modules/.wh..wh..opq", "")
    for order in ((new, opaque), (opaque, new)):
        assert paths(tree(below, layer(*order))) == {"a/node_modules/z/package.json", "b/x"}
    # A file takes the place of a program, and a file that of a folder.
    assert paths(tree(below, layer(("b/x", "text"), ("a", "text")))) == set()
    # A link instead of a folder: what follows goes where it leads.
    moved = layer(("lib/apk/db/installed", "P:a\nV:1\n"))
    assert paths(tree(layer(("x", ELF), links={"lib": "usr/lib"}), moved)) == {"x", "usr/lib/apk/db/installed"}
    assert paths(tree(moved, layer(links={"lib": "usr/lib"}))) == set()


def raw(name: bytes, content: bytes = b"", kind: bytes = b"0", size: int | None = None) -> bytes:
    info = tarfile.TarInfo("x")
    info.size, info.type = len(content) if size is None else size, kind
    head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    head[:100] = name.ljust(100, b"\0")
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + content.ljust(-(-len(content) // 512) * 512, b"\0")


@pytest.mark.parametrize(
    "content",
    [
        raw(b"../etc/os-release"),
        raw(b"a/../../b"),
        raw(b"a")[:100],
        raw(b"a", b"x" * 600)[:700],
        raw(b"a")[:-1] + b"",
        bytes(148) + b"0000001\0" + bytes(356),
        raw(b"a", kind=b"V"),
        raw(b"a", kind=b"S"),
        raw(b"a", b"12 path=../x\n", kind=b"x") + raw(b"b"),
        raw(b"a", b"99 path=x\n", kind=b"x") + raw(b"b"),
        raw(b"a", b"nonsense", kind=b"x") + raw(b"b"),
        raw(b"a", b"18 path=elsewhere\n", kind=b"g") + raw(b"b"),
        raw(b"a", size=1 << 40, kind=b"x"),
        raw(b".wh."),
    ],
)
def test_a_tar_that_is_none(content: bytes) -> None:
    with pytest.raises(ImageError):
        tree(content)


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names_in_each_format(format: int) -> None:
    long = f"{'d' * 60}/{'e' * 60}/node_modules/x/package.json"
    assert paths(tree(layer((long, "{}"), format=format))) == {long}


def test_it_costs_no_more_than_it_may() -> None:
    bomb = gzip.compress(bytes(1 << 24))
    with pytest.raises(ImageError, match="more than"):
        tree(bomb, packed="gzip", most=1 << 20)
    with pytest.raises(ImageError, match="too many"):
        tree(layer(*((f"{number}", b"") for number in range(20))), entries=10)
    with pytest.raises(ImageError, match="ends early"):
        tree(gzip.compress(layer(("a", ELF)))[:-20], packed="gzip")
    late = tar.Budget(1 << 30, 10, time.monotonic() - 1)
    with pytest.raises(ImageError, match="in time"):
        layers.add(
            layers.Tree(), tar.Tar(tar.Plain(io.BytesIO(layer(("a", ELF))), "", late, hashlib.sha256()), late), 0
        )
    with pytest.raises(ImageError, match="circles"):
        tree(layer(("a/x", ELF), links={"a": "b", "b": "a"}))
    # Members of gzip follow each other in what some tools write.
    content = layer(("a", ELF))
    assert paths(tree(gzip.compress(content[:512]) + gzip.compress(content[512:]), packed="gzip")) == {"a"}


def header(**tags: Any) -> bytes:
    """RPM's header, as its database keeps it."""
    numbers = {"name": 1000, "version": 1001, "release": 1002, "epoch": 1003, "source": 1044}
    entries, store = b"", b""
    for name, value in tags.items():
        if isinstance(value, int):
            store += b"\0" * (-len(store) % 4)
            entries += struct.pack(">IiiI", numbers[name], 4, len(store), 1)
            store += struct.pack(">i", value)
        else:
            entries += struct.pack(">IiiI", numbers[name], 6, len(store), 1)
            store += value.encode() + b"\0"
    return struct.pack(">II", len(tags), len(store)) + entries + store


def rpmdb(
    path: Path, *blobs: bytes, statement: str = "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)"
) -> bytes:
    with sqlite3.connect(path) as made:
        made.execute(statement)
        for blob in blobs:
            made.execute("INSERT INTO Packages (blob) VALUES (?)", (blob,))
    made.close()
    return path.read_bytes()


def test_an_rpm_database_that_lies(tmp_path: Path) -> None:
    release = ("etc/os-release", "ID=rocky\nVERSION_ID=9.4\n")
    good = header(name="openssl-libs", version="3.0.7", release="1.el9", epoch=1, source="openssl-3.0.7-1.el9.src.rpm")
    (tmp_path / "scratch").mkdir()

    def said(database: bytes) -> Inventory:
        return read(tmp_path / "scratch", layer(release, ("var/lib/rpm/rpmdb.sqlite", database)))

    found = said(rpmdb(tmp_path / "1", good, header(name="gpg-pubkey", version="1", release="1")))
    assert names(found) == {("Rocky Linux:9", name, "1:3.0.7-1.el9") for name in ("openssl", "openssl-libs")}
    assert found.doubts == []
    for number, blob in enumerate(
        (good[:-9], b"", b"\xff" * 64, header(name="x"), good.replace(b"\0\0\x03\xe8", b"\0\0\x03\xe0"))
    ):
        found = said(rpmdb(tmp_path / f"bad{number}", blob))
        assert any("not understood" in doubt for doubt in found.doubts), number
    view = "CREATE VIEW Packages AS SELECT 1 AS hnum, x'00' AS blob"
    assert any("no table" in doubt for doubt in said(rpmdb(tmp_path / "view", statement=view)).doubts)
    assert list((tmp_path / "scratch").iterdir()) == []
