# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a line of a log is: its time, its level, its message; or the rest of the entry before it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Pattern, Tuple

from ..errors import ConfigurationError
from .crashes import crash, named
from .times import Times

LEVELS = ("debug", "info", "warning", "error", "critical")
UNKNOWN_LEVEL = "unknown"
#: Instead of the word of a level: the line was cut before it.
CUT = "(cut)"

_WORDS = {
    "debug": "trace trce trac trc debu debug dbug dbg debug1 debug2 debug3 debug4 debug5 verbose vrb "
    "fine finer finest d",
    "info": "info inf information informational notice ntc log config i",
    # PostgreSQL says them in the server's language.
    "warning": "warning warn wrn warnung advertencia avviso aviso w",
    "error": "error err erro eror severe fail fehler erreur errore e",
    "critical": "critical crit crt fatal fata ftl panic pani panik pnc dpanic alert emerg emergency f",
}
_BUCKET = {word: level for level, words in _WORDS.items() for word in words.split()}
_SYSLOG = ("critical", "critical", "critical", "error", "warning", "info", "info", "debug")

_NAMES = "|".join(sorted((word for word in _BUCKET if len(word) > 1 and word not in ("log", "config")), key=len)[::-1])
#: Of syslog, where it writes facility and level: daemon.err
_FACILITIES = "kern|user|mail|daemon|auth|authpriv|syslog|lpr|news|uucp|cron|ftp|audit|local[0-7]"
# The first that a line has: ERROR as a word, LOG: of PostgreSQL, [error] and [core:error], error: and level=error.
_LEVEL = re.compile(
    rf"(?<![\w=/'\"-])({_NAMES.upper()})(?![\w=/.'\"]|-\w)"
    r"|(?<!\w)(LOG|STATEMENT|DETAIL|HINT|CONTEXT|QUERY|LOCATION):  "
    rf"|[\[<](?:\w+:)?((?i:{_NAMES}))[\]>]|(?:^|(?<=\s))({_NAMES}|Error|Warning|Fatal):(?=\s)"
    rf"|(?<![\w.])(?i:level|lvl|severity|loglevel)=\"?(\w+)"
    rf"|\"(?i:level|lvl|severity|loglevel|log_level|level_?name)\"\s*:\s*\"((?i:{_NAMES}))\""
    rf"|\[(?:[^\s\[\]/]{{1,60}}/)?({_NAMES.upper()})(?:/[^\s\[\]/]{{1,60}})?\]"
    rf"|(?<=\s)(?:{_FACILITIES})\.({_NAMES})(?=[\s:])"
)
_TIME_OF_DAY = re.compile(r"\[?\d\d:\d\d:\d\d\b")
#: A level in capitals among so many first characters of a line makes it an entry.
_NEAR = 40
# In small letters only right after the time.
_SMALL = re.compile(rf"[\s:|-]*({_NAMES})(?=[\s:|-])")
# So is a letter alone, of a program that has no room: [E], E/Tag, E  STORAGE.
_LETTER = re.compile(r"\s*(?:\[([DIWEF])\]|([DIWEF])(?:/[\w.-]+|(?=\s+\S)))")
# A JSON object behind what syslog, docker compose or a platform puts before it.
_INNER = re.compile(r"(?<=[\s:|>])\{\s*\"")
#: Fields of another carrier, and as many first characters of a line as they may take.
_CARRIED = 200
# A level of PostgreSQL in a language that nobody knows here.
_FOREIGN = re.compile(r"(?:^|\s)([^\W\d_a-z]{2,}):  (?=\S)")
#: PostgreSQL puts what belongs to an error into entries of their own.
_BELONGS = {"STATEMENT", "DETAIL", "HINT", "CONTEXT", "QUERY", "LOCATION"}
_CRI = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d) (?:stdout|stderr) [FP] ")
_GLOG = re.compile(r"([IWEF])\d{4} \d\d:\d\d:\d\d")
# Colours and other commands to a terminal, as bytes and as syslog and cat -v write them.
_TERMINAL = re.compile(
    r"(?:\x1b|#033|\^\[)(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][\w]|[=>@-Z\\^_])"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_PRIORITY = re.compile(r"<(\d{1,3})>")
_PAIR = re.compile(r"([\w.@-]+)=(\"(?:[^\"\\]|\\.)*\"?|\S*)")
# For a line that is cut, and so no JSON any more.
_CUT = re.compile(r"\"([\w.@-]+)\"\s*:\s*(?:\"((?:[^\"\\]|\\.)*)\"|(-?\d+(?:\.\d+)?))")

_TIME_KEYS = (
    "at",
    "time",
    "timestamp",
    "@timestamp",
    "ts",
    "datetime",
    "date",
    "asctime",
    "t",
    "eventtime",
    "@t",
    "timeunixnano",
    "time_unix_nano",
    "observedtimeunixnano",
    "instant",
)
# A name goes before a number, which every logger counts in its own way.
_LEVEL_KEYS = (
    *("level_name", "levelname", "log.level", "level", "severity", "severitytext", "severity_text", "lvl", "log_level"),
    *("loglevel", "@l", "log.severity", "priority", "severitynumber", "severity_number"),
)
_TEXT_KEYS = ("event", "message", "msg", "body", "short_message", "@m", "@mt", "messagetemplate")
_ERROR_KEYS = ("error", "err", "exception", "exc_info", "error.message", "stack", "stacktrace", "traceback")


@dataclass
class Line:
    """A line.

    :param at: seconds since the epoch, None when it says none
    :param level: one of LEVELS, None when it says none
    :param text: the message
    :param begins: whether it begins an entry; else it belongs to the entry before
    :param joins: whether it belongs to the entry before all the same where that is an error
    :param named: whether it is an exception's name alone: a warning's stack trace begins so too
    :param strange: the word that it gives as its level, when nobody knows it
    """

    at: Optional[float]
    level: Optional[str]
    text: str
    begins: bool
    joins: bool = False
    named: bool = False
    strange: str = ""


class Entries:
    """Understands the lines of a source.

    :param source: format, level_pattern, levels, time_pattern, time_format: see LOGS_SPEC
    :raises ConfigurationError: a pattern is none
    """

    def __init__(self, source: Dict[str, Any], times: Times) -> None:
        self.times = times
        self._format = source.get("format") or "auto"
        self._levels = {str(key).lower(): value for key, value in (source.get("levels") or {}).items()}
        for value in self._levels.values():
            if value not in LEVELS:
                raise ConfigurationError(f"{value!r} is no level", f"In levels, name one of {', '.join(LEVELS)}.")
        self._level_pattern = _pattern(source, "level_pattern")
        self._time_pattern = _pattern(source, "time_pattern")
        self._time_format = source.get("time_format") or ""

    def line(self, text: str) -> Line:
        """A line of a file."""
        inner = _CRI.match(text)
        if inner:
            found = self.times.find(text)
            line = self.record(text[inner.end() :], found[0] if found else None)
            if text[inner.end() - 2] == "P" and line.level is None and text.startswith("{", inner.end()):
                line.begins, line.strange = True, CUT
            return line
        return self._line(text)

    def record(self, text: str, at: Optional[float], level: Optional[str] = None, whole: bool = False) -> Line:
        """A line that came with a time, and perhaps a level, of what carried it: journald, a container's runtime.

        Every line of a traceback comes with a time there: without a level or a time of its own it belongs to the
        entry before, unless what carried it says that it is an entry.

        :param whole: it is an entry
        """
        line = self._line(text)
        own = line.at is not None or line.level is not None
        if level is not None and (line.level is None or _rank(level) > _rank(line.level)):
            line.level = level
        begins = line.begins or own or whole
        joins = line.joins and not whole
        return Line(line.at if at is None else at, line.level, line.text, begins, joins, line.named, line.strange)

    def _line(self, text: str) -> Line:
        if "\x1b" in text or "\x9b" in text or "#033[" in text or "^[[" in text:
            text = without_colours(text)
        stripped = text.lstrip()
        if self._format in ("auto", "json") and stripped.startswith("{"):
            line = self._json(stripped)
            if line:
                return self._custom(text, line)
        inner = _INNER.search(text, 0, _CARRIED) if self._format in ("auto", "json") else None
        if inner and not stripped.startswith("{"):
            before = self._text(text[: inner.start()] + " ")
            line = self._json(text[inner.start() :]) if before.level is None else None
            # What has its level before it is a message with data in it.
            if line and (line.level or line.strange):
                line.at = line.at if before.at is None else before.at
                return self._custom(text, line)
        if self._format == "logfmt" or (self._format == "auto" and re.match(r"(?:ts|time|level|at|lvl)=", text)):
            fields = {key: _unquoted(value) for key, value in _PAIR.findall(text[:4000])}
            return self._custom(text, self._fields(fields, text))
        return self._custom(text, self._text(text))

    def _custom(self, text: str, line: Line) -> Line:
        """What the patterns of the source find goes before what was found without."""
        if self._time_pattern:
            match = self._time_pattern.search(text[:2000])
            line.at = self._stamp(match[match.lastindex or 0]) if match else None
            line.begins = line.at is not None
        if self._level_pattern:
            match = self._level_pattern.search(text[:2000])
            word = match[match.lastindex or 0] if match else ""
            line.level = self._level(word)
            line.strange = word if line.level is None else ""
        return line

    def _stamp(self, text: str) -> Optional[float]:
        return self.times.parsed(text, self._time_format) if self._time_format else self.times.value(text)

    def _level(self, value: Any, syslog: bool = False) -> Optional[str]:
        """The level of a word or number; other numbers than syslog's mean different things to different loggers."""
        word = without_colours(str(value)).strip().lower()
        if word not in self._levels and word[-2:-1] in ("+", "-") and word[-1:].isdigit():
            word = word[:-2]  # ERROR+2 of Go's slog
        if word in self._levels:
            return self._levels[word]  # type: ignore[no-any-return]
        if syslog and word in tuple("01234567"):
            return _SYSLOG[int(word)]
        return _BUCKET.get(word)

    def _json(self, text: str) -> Optional[Line]:
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            # Its level may stand behind a long stack: at the end, which is kept of a line that is cut.
            fields = {}
            for key, string, number in _CUT.findall(text):
                if key not in _LEVEL_KEYS:
                    fields.setdefault(key, string or number)
                elif "level" not in fields or _rank(self._level(string or number)) > _rank(
                    self._level(fields["level"])
                ):
                    # Which of several is its own cannot be told: the worst.
                    fields["level"] = string or number
            if not fields:
                return None
        if not isinstance(fields, dict):
            return None
        carried = fields.get("log")
        if isinstance(carried, str) and "stream" in fields:
            # Docker's own file around what the program wrote.
            return self.record(carried.rstrip("\r\n"), self.times.value(fields.get("time")))
        if isinstance(carried, dict) and "level" in carried:
            fields.setdefault("log.level", carried["level"])
        return self._fields(fields, text)

    def _fields(self, fields: Dict[str, Any], text: str) -> Line:
        fields = {str(key).lower(): value for key, value in reversed(list(fields.items()))}
        if isinstance(fields.get("t"), dict) and "$date" in fields["t"]:
            # MongoDB.
            fields.update(time=fields["t"]["$date"], level=fields.get("s"))
        if "severity_number" in fields or "severitynumber" in fields:
            number = fields.get("severity_number", fields.get("severitynumber"))
            fields.setdefault("level", _opentelemetry(number))
        at = next(filter(None, (self.times.value(fields[key]) for key in _TIME_KEYS if key in fields)), None)
        record = fields.get("record")
        if isinstance(record, dict) and isinstance(record.get("level"), dict):
            # Loguru.
            fields.setdefault("level", record["level"].get("name"))
            fields.setdefault("message", record.get("message"))
            when = record.get("time")
            at = at or self.times.value(when.get("timestamp") if isinstance(when, dict) else when)
        level, strange = self._level_of(fields)
        if level in ("debug", "info", "warning") and not self._level_pattern:
            # Only of errors anybody wants to know what they say.
            return Line(at, level, text[:2000], True)
        parts = [str(fields[key]) for key in _TEXT_KEYS if fields.get(key)][:1]
        parts += [_last_line(fields[key]) for key in _ERROR_KEYS if fields.get(key)][:2]
        return Line(at, level, ": ".join(parts) or text[:2000], True, strange=strange)

    def _level_of(self, fields: Dict[str, Any]) -> Tuple[Optional[str], str]:
        """The level of a structured line, or the word that nobody knows. Of words that differ the worst counts."""
        level, strange = None, ""
        for key in _LEVEL_KEYS:
            value = fields.get(key)
            if value in (None, "") or (level is not None and (key == "priority" or not isinstance(value, str))):
                continue
            found = self._level(value, syslog=key == "priority")
            if found is None and level is None:
                strange = strange or str(value)
            elif _rank(found) > _rank(level):
                level = found
        return level, "" if level else strange

    def _text(self, text: str) -> Line:
        if text[:1] in (" ", "\t"):
            return Line(None, None, text, False)
        found = self.times.find(text)
        rest = text[found[1] :] if found else text
        glog = _GLOG.match(text)
        if glog:
            # After the time stand the thread, and the place in the source.
            message = rest.partition("] ")[2] or rest
            return Line(found[0] if found else None, self._level(glog[1]), message, True)
        if found is None:
            # Before the words of levels: "fatal error:" is more than an error in the middle of a line.
            if crash(text):
                return Line(None, "critical" if text.startswith("panic: ") else "error", text.strip(), True, joins=True)
            if named(text):
                return Line(None, "error", text.strip(), True, joins=True, named=True)
        first = _LEVEL.search(text, 0, found[1]) if found else None
        match = first or _LEVEL.search(rest, 0, 300)
        if match:
            word = match[match.lastindex or 0]
            # An entry without a time begins with its level, or with a time of the day, or shouts; else it is none.
            level = self._level(word)
            shouts = match.lastindex == 1 and level in ("error", "critical") and match.start() < _NEAR
            begins = found is not None or (level is not None and (match.start() == 0 or shouts))
            begins = begins or _TIME_OF_DAY.match(text) is not None
            if word in _BELONGS:
                return Line(None, None, "", False)
            message = (rest if first else rest[match.end() :]).lstrip(" :]|>-")
            return Line(
                found[0] if found else None,
                level,
                message,
                begins,
                joins=shouts and found is None and match.start() > 0,
            )
        small = _SMALL.match(rest) if found else None
        if found and small:
            return Line(found[0], self._level(small[1]), rest[small.end() :].lstrip(" :]|>-"), True)
        letter = _LETTER.match(rest) if found else None
        if found and letter:
            level = self._level(letter[1] or letter[2])
            return Line(found[0], level, rest[letter.end() :].lstrip(" :]|>-"), True)
        message = rest.lstrip(" :]|>-")
        if found and (crash(message) or named(message)):
            return Line(found[0], "error", message.strip(), True)
        priority = _PRIORITY.match(text)
        level = _SYSLOG[int(priority[1]) % 8] if priority else None
        foreign = _FOREIGN.search(rest, 0, 300) if found and not level else None
        return Line(
            found[0] if found else None,
            level,
            rest.strip(" :]|-"),
            found is not None,
            strange=foreign[1] if foreign else "",
        )


def exception(text: str) -> str:
    """The line of a traceback that names the exception, else nothing."""
    return text if named(text) else ""


def _opentelemetry(number: Any) -> Optional[str]:
    """The level of a severity's number, as OpenTelemetry counts."""
    if not isinstance(number, int) or not 1 <= number <= 24:
        return None
    return ("debug", "debug", "info", "warning", "error", "critical")[(number - 1) // 4]


def without_colours(text: str) -> str:
    """Text without what is meant for a terminal."""
    return _TERMINAL.sub("", text)


def _rank(level: Optional[str]) -> int:
    return LEVELS.index(level) if level in LEVELS else -1


def _last_line(value: Any) -> str:
    """Of a stack the last line says what happened; of an object its message."""
    if isinstance(value, dict):
        value = value.get("message") or value.get("msg") or value.get("type") or ""
    lines: List[str] = str(value).strip().splitlines()
    return lines[-1][:1000] if lines else ""


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    return (value[1:-1] if value.endswith('"') and len(value) > 1 else value[1:]).replace('\\"', '"')


def compiled(text: str, key: str) -> Pattern[str]:
    """A pattern of the source.

    :raises ConfigurationError: it is none
    """
    try:
        return re.compile(text)
    except re.error as error:
        raise ConfigurationError(
            f"{key} is not a regular expression ({error})", f"Correct {key}: {text[:100]!r}."
        ) from None


def _pattern(source: Dict[str, Any], key: str) -> Optional[Pattern[str]]:
    text = source.get(key)
    if not text:
        return None
    pattern = compiled(text, key)
    if pattern.groups > 1:
        raise ConfigurationError(
            f"{key} has {pattern.groups} groups", "Leave one for what is wanted and write the others (?:...)."
        )
    return pattern
