# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines of access logs: common and combined as web servers write them, and JSON. Addresses are shortened at once."""

from __future__ import annotations

import calendar
import ipaddress
import json
import re
from datetime import datetime
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple

from .access_times import finder, in_ms

#: [virtual host:port ]client identity user [time] "request" status bytes ...
_LINE = re.compile(
    rb'(?:[^\s\[\]"]+:\d+ )?([^\s\[\]"]+) [^\[\]"]*\[([^\]"]{10,40})\] "((?:[^"\\]|\\.)*)" (\d{3}) (?:\d+|-)(?:\s(.*))?'
)
_TIME = re.compile(rb"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")
_MONTHS = {name: place for place, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}
_FIELDS = {
    "time": ("time", "timestamp", "@timestamp", "time_iso8601", "time_local", "ts"),
    "client": ("remote_addr", "client", "client_ip", "remote_ip", "clientip", "ip"),
    "status": ("status", "status_code", "response"),
    "path": ("path", "uri", "request_uri", "url", "request"),
}
#: What would be a number, an id, an address or a token in a path: letters of both sizes in a long word are one, too.
_NAMELESS = re.compile(r"/(?=[^/]*[\d@%:=;])[^/]+|/(?=[^/]*[a-z])(?=[^/]*[A-Z])[^/]{12,}|/[^/]{24,}")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://[^/]*", re.IGNORECASE)
#: In place of a path where there is none, and where it is none, such as an address that a proxy is asked for.
_NO_REQUEST, _OTHER = "(no request)", "(other)"
#: Seconds, and from there on milliseconds, since 1970.
_MILLISECONDS = 1e11
#: Addresses whose networks are kept in memory.
_KNOWN = 100000


class Request(NamedTuple):
    """A line.

    :param at: in s since 1970
    :param client: the network of the client; "(name)" where the server has looked names up
    :param path: see plain_path
    :param took: ms that it took; None where the line does not say, or nobody asked
    """

    at: float
    client: str
    status: int
    path: str
    took: Optional[float] = None


class Reader:
    """Reads lines.

    :param kind: auto, combined (which is common, too) or json
    :param fields: names of the fields of JSON, where they are others
    :param prefixes: bits of an address that are kept: of IPv4, of IPv6
    :param timed: where a request's time is, and its unit: see options.ACCESS
    """

    def __init__(
        self, kind: str, fields: Dict[str, str], prefixes: Sequence[int], timed: Tuple[str, str] = ("", "s")
    ) -> None:
        self._timed, self._unit = timed
        self._find = finder(self._timed)
        self._fields = {name: (fields[name],) if fields.get(name) else names for name, names in _FIELDS.items()}
        self._prefixes = prefixes
        self._networks: Dict[str, str] = {}
        ways: Dict[str, Callable[[bytes], Optional[Request]]] = {"combined": self._text, "json": self._json}
        self._way = ways.get(kind, self._either)

    def read(self, line: bytes) -> Optional[Request]:
        """A line; None when it is none of the format."""
        try:
            return self._way(line)
        except (ValueError, TypeError, OverflowError, RecursionError):
            return None

    def _either(self, line: bytes) -> Optional[Request]:
        return self._json(line) if line.startswith(b"{") else self._text(line)

    def _text(self, line: bytes) -> Optional[Request]:
        match = _LINE.fullmatch(line)
        if not match:
            return None
        at = _moment(match[2])
        if at is None:
            return None
        words = match[3].split(b" ")
        path = words[1] if len(words) == 3 else _NO_REQUEST.encode()
        took = in_ms(self._find(match[5] or b""), self._unit) if self._timed else None
        client = match[1].decode("ascii", "replace")
        return self._request(at, client, int(match[4]), path.decode("utf-8", "replace"), took)

    def _json(self, line: bytes) -> Optional[Request]:
        found = json.loads(line)
        if not isinstance(found, dict):
            return None
        # Caddy has the request in a part of its own.
        inner = found.get("request")
        if isinstance(inner, dict):
            found = {**found, **inner, "request": None}
        values = {name: _first(found, names) for name, names in self._fields.items()}
        at = _moment_of(values["time"])
        status = int(values["status"])
        if at is None or not 100 <= status <= 999 or not isinstance(values["client"], str):
            return None
        words = str(values["path"] or "").split(" ")
        took = in_ms(found.get(self._timed), self._unit) if self._timed else None
        return self._request(at, values["client"], status, words[1] if len(words) == 3 else words[0], took)

    def _request(self, at: float, client: str, status: int, path: str, took: Optional[float]) -> Request:
        return Request(at, self._network(client), status, plain_path(path), took)

    def _network(self, client: str) -> str:
        known = self._networks.get(client)
        if known is None:
            if len(self._networks) >= _KNOWN:
                self._networks.clear()
            known = self._networks[client] = shortened(client, self._prefixes)
        return known


def shortened(client: str, prefixes: Sequence[int]) -> str:
    """The network of an address; a name says as much as an address, and is left out.

    :param prefixes: bits that are kept: of IPv4, of IPv6
    """
    try:
        address: Any = ipaddress.ip_address(client.strip("[]").partition("%")[0])
    except ValueError:
        return "(name)"
    address = getattr(address, "ipv4_mapped", None) or address
    bits = prefixes[0] if address.version == 4 else prefixes[1]
    return str(ipaddress.ip_network((address, bits), strict=False))


def plain_path(path: str) -> str:
    """A path as a route: queries, numbers, ids, addresses and tokens are no one's business in a report."""
    if path == _NO_REQUEST:
        return path
    path = path.split("?", 1)[0].split("#", 1)[0]
    scheme = _SCHEME.match(path)
    if scheme:
        path = path[scheme.end() :] or "/"
    if not path.startswith("/"):
        return _OTHER
    return _NAMELESS.sub("/*", path)[:100]


def _first(found: Dict[str, Any], names: Sequence[str]) -> Any:
    return next((found[name] for name in names if found.get(name) is not None), None)


def _moment(text: bytes) -> Optional[float]:
    """The time of a web server, such as 29/Nov/2026:10:00:00 +0000."""
    match = _TIME.fullmatch(text)
    if not match:
        return None
    day, month, year, hour, minute, second, sign, hours, minutes = match.groups()
    if month not in _MONTHS:
        return None
    at = datetime(int(year), _MONTHS[month], int(day), int(hour), int(minute), min(int(second), 59))
    zone = (int(hours) * 60 + int(minutes)) * 60
    return calendar.timegm(at.timetuple()) - (zone if sign == b"+" else -zone)


def _moment_of(value: Any) -> Optional[float]:
    """A time of JSON: a number since 1970, in s or ms, or a text with its zone."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return value / 1000 if value > _MILLISECONDS else float(value)
    if not isinstance(value, str):
        return None
    web = _moment(value.encode("ascii", "replace"))
    if web is not None:
        return web
    at = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value.replace("Z", "+00:00")))
    return at.timestamp() if at.tzinfo else None
