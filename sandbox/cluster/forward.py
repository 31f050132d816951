# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Between this machine's loopback and a cluster's network: the API server and the registry in, the database out.

It runs in the cluster's network, with sockets that listen on the machine's, and makes others there.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
CLONE_NEWNET = 0x40000000


async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Until the source ends."""
    with suppress(OSError):
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
    with suppress(OSError):
        target.write_eof()


async def relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connect: Callable[[], Awaitable[Streams]]
) -> None:
    """One connection; closed at once if there is nobody to connect it with."""
    try:
        other_reader, other_writer = await connect()
    except OSError:
        writer.close()
        return
    await asyncio.gather(copy(reader, other_writer), copy(other_reader, writer))
    for each in (writer, other_writer):
        each.close()


def enter(network: int) -> None:
    """Puts this thread into another network."""
    if ctypes.CDLL(None, use_errno=True).setns(network, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


async def serve(inward: dict[int, int], network: int, address: str, outward: list[int]) -> None:
    """Forwards for ever.

    :param inward: descriptor of a socket that listens on the machine's loopback -> port of the cluster's
    :param network: descriptor of the machine's
    :param address: the cluster's, on which the machine's ports are found
    :param outward: ports of the machine's loopback
    """
    # A thread that is at home on the machine: what it creates stays there.
    outside = ThreadPoolExecutor(1, initializer=enter, initargs=(network,))
    loop = asyncio.get_running_loop()

    async def out(port: int) -> Streams:
        made = await loop.run_in_executor(outside, socket.socket)
        made.setblocking(False)
        try:
            await loop.sock_connect(made, ("127.0.0.1", port))
        except OSError:
            made.close()
            raise
        return await asyncio.open_connection(sock=made)

    def handler(connect: Callable[[], Awaitable[Streams]]) -> Callable[..., Awaitable[None]]:
        return lambda reader, writer: relay(reader, writer, connect)

    for descriptor, port in inward.items():
        await asyncio.start_server(
            handler(lambda port=port: asyncio.open_connection("127.0.0.1", port)),  # type: ignore[misc]
            sock=socket.socket(fileno=descriptor),
        )
    for port in outward:
        await asyncio.start_server(handler(lambda port=port: out(port)), address, port)  # type: ignore[misc]
    await asyncio.Event().wait()


if __name__ == "__main__":
    # NETWORK ADDRESS [DESCRIPTOR:PORT...] [:PORT...]
    pairs = [each.split(":") for each in sys.argv[3:]]
    os.set_inheritable(int(sys.argv[1]), False)
    asyncio.run(
        serve(
            {int(one): int(two) for one, two in pairs if one},
            int(sys.argv[1]),
            sys.argv[2],
            [int(two) for one, two in pairs if not one],
        )
    )
