"""The journal's export read in blocks says what it says entry by entry, wherever its pieces end."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit import journal_export
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.journal_export import (
    Block,
    Entry,
    NotExport,
    entries,
    pieces,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.journal_gaps import Story
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.packing import BLOCK, Packed, Scratch

SOURCE, BOOT = b"5" * 32, b"b" * 32
STARTED = b"f77379a8490b408bbe5f6940505a777b"


def head(number: int, at: int, source: bytes = SOURCE, boot: bytes = BOOT) -> bytes:
    cursor = b"__CURSOR=s=%s;i=%x;b=%s;m=%x;t=%x;x=1f\n" % (source, number, boot, number, at)
    return cursor + b"__REALTIME_TIMESTAMP=%d\n" % at


def binary(name: bytes, value: bytes) -> bytes:
    return name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"


def many(seed: int) -> list[Entry]:
    """Entries of which some are binary, out of order, of another source or boot, or say that the journal began."""
    chance, found, number, at = random.Random(seed), [], 0, 10**15
    source, boot = SOURCE, BOOT
    odd = chance.choice([0.0, 0.01, 0.3])
    for _each in range(chance.choice([1, 40, 400])):
        number += 1 if chance.random() > odd else 3
        at += 1000 if chance.random() > odd else -5_000_000
        if chance.random() < odd:
            source, boot = chance.choice([SOURCE, b"6" * 32]), chance.choice([BOOT, b"c" * 32])
        fields = b"MESSAGE=%s\n_UID=0\n" % (b"x" * chance.choice([1, 50, 3000]))
        if chance.random() < odd:
            fields += binary(
                b"MESSAGE", chance.choice([b"", b"\n\n", b"two\n\n" + head(1, 1) + b"A=1\n\n", b"\0" * 70])
            )
        if chance.random() < odd:
            fields += b"MESSAGE_ID=%s\n" % STARTED
        found.append(Entry(head(number, at, source, boot) + fields + b"\n", at, number, source, boot, b"%x" % number))
    return found


def cut(data: bytes, chance: random.Random) -> Iterator[bytes]:
    place = 0
    while place < len(data):
        size = chance.choice([1, 7, 100, 5000, 70_000])
        yield data[place : place + size]
        place += size


@pytest.mark.parametrize("seed", range(60))
def test_blocks_say_what_their_entries_say(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(journal_export, "_TOGETHER", chance.choice([1, 300, 20_000]))
    given = many(seed)
    stream = b"".join(each.data + b"\n" * (chance.random() < 0.02) for each in given)
    found = list(pieces(cut(stream, chance)))
    flat = [each for piece in found for each in (piece.entries() if isinstance(piece, Block) else [piece])]
    assert flat == given
    assert sum(piece.count() for piece in found) == sum(each.count() for each in given)
    assert list(entries(cut(stream, chance))) == given
    one, other = Story(), Story()
    for piece in found:
        one.add(piece)
    for each in given:
        other.add(each)
    assert one == other
    if seed % 3 == 0 and len(given) > 1:
        assert other.runs


def test_most_is_read_in_blocks() -> None:
    """Also beside entries that are not of text only."""
    data = b"".join(head(each, 10**15 + each) + b"MESSAGE=hello\n\n" for each in range(1, 5001))
    data += head(5001, 10**16) + binary(b"MESSAGE", b"a\nb") + b"\n" + data
    found = list(pieces(iter([data])))
    assert [type(each) for each in found] == [Block, Entry, Block]
    assert isinstance(found[0], Block)
    assert len(found[0].times) == 5000


@pytest.mark.parametrize(
    "bad",
    [
        b"MESSAGE=no head\n\n",
        head(1, 5)[:-1],
        head(1, 5) + b"no field\n\n",
        head(1, 5).replace(b"t=5", b"t=6") + b"A=1\n\n",
        head(1, 5) + b"A\n\xff\xff\xff\xff\xff\xff\xff\x7f",
    ],
)
def test_what_is_not_the_format_is_refused_after_what_was(bad: bytes) -> None:
    good = head(1, 4) + b"MESSAGE=hello\n\n"
    found: list[int] = []
    with pytest.raises(NotExport):  # noqa: PT012 what came before counts
        for each in entries(iter([good, bad, b""])):
            found.append(each.at)
    assert found == [4]


def test_what_is_packed_does_not_depend_on_how_it_came_in(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(BLOCK // 2) * 7 + b"the end"
    digests = set()
    for number, size in enumerate((977, 65_536, BLOCK, len(data))):
        with Packed(Scratch(str(tmp_path), 1 << 30), f"{number}.gz") as packed:
            for place in range(0, len(data), size):
                packed.write(data[place : place + size])
            digests.add(packed.close(1).sha256)
        assert gzip.decompress((tmp_path / f"{number}.gz").read_bytes()) == data
    assert len(digests) == 1
