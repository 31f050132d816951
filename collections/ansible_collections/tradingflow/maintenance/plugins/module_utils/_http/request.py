# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One bounded HTTP GET: within a deadline over all of it, of a limited size, without proxies and redirects."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import IO, Any, Dict, List, Optional
from urllib.parse import quote, urlsplit

from ..errors import ConfigurationError

#: Bytes of a body that are read; most checks need no more.
MAX_BODY = 65536
_PIECE = 1 << 18


@dataclass
class Answer:
    """What a server said.

    :param body: no more of it than was asked for
    :param truncated: whether there was more
    :param seconds: from resolving the name to the last byte
    :param location: where a redirect points, else empty
    :param expires: when the server's certificate does, s since the epoch; None without TLS
    :param headers: by their names in lower case; of several, the last
    """

    status: int
    body: bytes
    truncated: bool
    seconds: float
    location: str
    expires: Optional[float] = None
    headers: Dict[str, str] = field(default_factory=dict)


@dataclass
class Replica:
    """One instance of the application.

    :param name: the URL as people read it, for ids and messages
    """

    name: str
    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"


def replica(url: str, number: int) -> Replica:
    """A base URL, taken apart.

    :param number: its place in the list; a wrong URL is not repeated in messages, it may carry a password
    :raises ConfigurationError: it is no plain http or https URL
    """
    remedy = "Write http://host:port or https://host:port in tradingflow_application.urls."
    try:
        parts = urlsplit(url.strip())
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
        host = parts.hostname or ""
        if not host.isascii():
            host = host.encode("idna").decode()
    except ValueError:
        raise ConfigurationError(f"URL {number} of the application is not a URL.", remedy) from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigurationError(f"URL {number} of the application is not an http or https URL.", remedy)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ConfigurationError(f"URL {number} of the application has a user, a query or a fragment.", remedy)
    result = Replica("", parts.scheme, host, port, quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~-._"))
    result.name = f"{result.scheme}://{result.authority}{result.path}"
    return result


class _Socket:
    """A socket whose every operation counts against one deadline, so that a slow drip ends too."""

    def __init__(self, plain: Any, deadline: float) -> None:
        self.plain = plain
        self.deadline = deadline

    def sendall(self, data: bytes) -> None:
        self.plain.settimeout(left(self.deadline))
        self.plain.sendall(data)

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(_Raw(self))

    def close(self) -> None:
        """Nothing yet: http.client closes it before it has read a body that ends with the connection; get closes it."""


class _Raw(io.RawIOBase):
    def __init__(self, owner: _Socket) -> None:
        self.owner = owner

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.owner.plain.settimeout(left(self.owner.deadline))
        count: int = self.owner.plain.recv_into(buffer)
        return count


def left(deadline: float) -> float:
    """Seconds until a deadline of time.monotonic().

    :raises TimeoutError: it is over
    """
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("no complete answer in time")
    return seconds


def resolve(host: str, port: int, deadline: float) -> List[Any]:
    """Addresses of a host; the resolver of the system knows no deadline, so it runs beside us."""
    found: List[Any] = []

    def ask() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(OSError(f"name {host} is not known: {error}"))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(left(deadline))
    if not found:
        raise TimeoutError(f"name {host} was not resolved in time")
    if isinstance(found[0], OSError):
        raise found[0]
    addresses: List[Any] = found[0]
    return addresses


def connect(host: str, port: int, deadline: float) -> socket.socket:
    """A TCP connection to the first address that takes one.

    :raises OSError: none does
    """
    addresses = resolve(host, port, deadline)
    error: Optional[OSError] = None
    for number, (family, kind, protocol, _name, address) in enumerate(addresses):
        plain = socket.socket(family, kind, protocol)
        try:
            # A dead first address must leave time for the next.
            plain.settimeout(left(deadline) / (len(addresses) - number))
            plain.connect(address)
            return plain
        except OSError as problem:
            plain.close()
            error = problem
    raise error or OSError(f"name {host} has no address")


def context(ca_file: Optional[str]) -> ssl.SSLContext:
    """TLS that verifies certificate and name.

    :raises ConfigurationError: the CA file cannot be read
    """
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"The CA file {ca_file} of the application cannot be used: {error.strerror or error}.",
            "Correct tradingflow_application.ca_file.",
        ) from None


def get(
    target: Replica,
    path: str,
    timeout: float,
    tls: ssl.SSLContext,
    most: int = MAX_BODY,
    *,
    into: Optional[IO[bytes]] = None,
    **more: str,
) -> Answer:
    """Asks for a path below the replica's URL.

    :param timeout: s for all of it
    :param most: bytes of the body that are read
    :param into: takes the body of a 200 in pieces, which the answer then does not have
    :param more: further headers
    :raises OSError: unreachable, not trusted or too slow (TimeoutError)
    :raises http.client.HTTPException: what came back is not HTTP
    """
    begun = time.monotonic()
    deadline = begun + timeout
    plain: Any = connect(target.host, target.port, deadline)
    connection = http.client.HTTPConnection(target.host, target.port)
    expires = None
    try:
        if target.scheme == "https":
            plain.settimeout(left(deadline))
            plain = tls.wrap_socket(plain, server_hostname=target.host)
            expires = float(ssl.cert_time_to_seconds(str(plain.getpeercert()["notAfter"])))
        connection.sock = _Socket(plain, deadline)  # type: ignore[assignment]
        headers = {"Host": target.authority, "User-Agent": "tradingflow-maintenance", "Accept": "*/*"}
        headers = {**headers, "Connection": "close", **more}
        connection.request("GET", target.path + "/" + path.lstrip("/"), headers=headers)
        response = connection.getresponse()
        if into is not None and response.status == 200:
            body, count = b"", _copied(response, into, most)
        else:
            body = response.read(most + 1)
            count = len(body)
        if count <= most and response.length:
            raise http.client.IncompleteRead(body, response.length)
        location = response.getheader("Location") or ""
        seconds, said = time.monotonic() - begun, {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, body[:most], count > most, seconds, location, expires, said)
    finally:
        connection.close()
        plain.close()


def _copied(response: http.client.HTTPResponse, into: IO[bytes], most: int) -> int:
    """How many bytes were read: at most one more than wanted, which is not written."""
    count = 0
    while count <= most:
        piece = response.read(min(_PIECE, most + 1 - count))
        if not piece:
            break
        into.write(piece[: most - count])
        count += len(piece)
    return count
