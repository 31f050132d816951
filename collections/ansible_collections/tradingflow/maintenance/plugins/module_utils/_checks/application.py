# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area application: whether each replica answers, is healthy, and how fast, and which version they run."""

from __future__ import annotations

import http.client
import json
import math
import re
import ssl
import time
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Tuple

from .._http import tls
from .._http.request import Answer, Replica, context, get, replica
from ..checks import CRITICAL, OK, STATUSES, UNKNOWN, WARNING, Check, judge, limits, thresholds_spec, unknown
from ..errors import ConfigurationError
from ..masking import masked
from ..words import plural, printable, size
from .earlier import Earlier, nothing
from .health import PLAIN, Words, word, words_spec
from .metrics import BadMetrics, Samples, parse
from .usage import METRICS_SPEC, MOST, usage

APPLICATION_SPEC: Dict[str, Any] = {
    "urls": {"type": "list", "elements": "str", "required": True},
    "ca_file": {"type": "path"},
    "health_path": {"type": "str", "default": "/health"},
    "ready_path": {"type": "str", "default": "/ready"},
    "version_path": {"type": "str", "default": "/version"},
    "metrics_path": {"type": "str", "default": "/metrics"},
    "metrics": {"type": "dict", "apply_defaults": True, "options": METRICS_SPEC},
    "expected_version": {"type": "str"},
    "replicas": {"type": "int", "default": -1},
    "words": words_spec(),
    "probes": {"type": "int", "default": 20},
    "timeout": {"type": "float", "default": 5},
    "thresholds": thresholds_spec(
        {
            "answered": (99, 50),
            "certificate": (30, 7),
            "error_rate": (1, 5),
            "memory": (None, None),
            "pool_used": (80, 100),
            "response_time_p50": (200, 1000),
            "response_time_p95": (500, 2000),
            "response_time_p99": (1000, 3000),
        }
    ),
}

NO_ANSWER = "Check that it runs and that the runner reaches it; for a certificate of a CA of your own set ca_file."

#: Failures in a row after which a replica is not asked again.
GIVE_UP_AFTER = 3


@dataclass
class Probing:
    """What asking one replica's health endpoint several times gave.

    :param problem: why the last failed one failed
    :param untrusted: what was found wrong with its certificate
    :param chain: the certificates it sends; empty without TLS
    :param used: those by which it is trusted, up to the root
    """

    answers: List[Answer] = field(default_factory=list)
    asked: int = 0
    problem: str = ""
    untrusted: Optional[ssl.SSLCertVerificationError] = None
    chain: List[tls.Certificate] = field(default_factory=list)
    used: List[tls.Certificate] = field(default_factory=list)


def measure(options: Dict[str, Any], earlier: Earlier = nothing) -> Tuple[List[Check], Optional[str]]:
    """All checks of the application, and its version if all replicas report the same.

    :param options: see APPLICATION_SPEC
    :param earlier: what earlier runs said
    :raises ConfigurationError: no URL, or options that make no sense
    """
    for name in options["thresholds"]:
        limits(options["thresholds"], name)
    if not options["urls"]:
        raise ConfigurationError("No URL of the application is known.", "Set tradingflow_application.urls.")
    if options["probes"] < 1 or not 0 < options["timeout"] <= 300:
        raise ConfigurationError("probes must be at least 1, timeout above 0 and at most 300 s.", "Correct them.")
    replicas = {item.name: item for item in (replica(url, number) for number, url in enumerate(options["urls"], 1))}
    trust = context(options["ca_file"])
    words = Words.of(options["words"])
    checks: List[Check] = []
    versions: Dict[str, Optional[str]] = {}
    well: Dict[str, bool] = {}
    for target in replicas.values():
        probing = probe(target, options, trust)
        checks.append(answered(target, probing, options["thresholds"]))
        healthy = "healthy", "Healthy", options["health_path"]
        checks.append(state(target, *healthy, probing.answers, probing.problem, words))
        well[target.name] = checks[-1].status in (OK, WARNING)
        checks.append(ready(target, options, trust, probing, words))
        checks += response_times(target, probing, options["thresholds"])
        if target.scheme == "https":
            checks.append(certificate(target, probing, options["thresholds"]))
        versions[target.name] = version_of(target, options, trust) if probing.answers else None
        if options["metrics_path"]:
            # Last: our own requests that failed are of this run, not of the next.
            checks += usage(target, *metrics_of(target, options, trust, probing), options, earlier)
    check = version(versions, options["expected_version"], options["version_path"])
    checks.append(check)
    if options["replicas"] >= 0:
        checks.append(enough(well, options["replicas"]))
    distinct = set(versions.values())
    return checks, distinct.pop() if len(distinct) == 1 else None


def enough(well: Dict[str, bool], declared: int) -> Check:
    """Whether as many replicas are well as should be there: one that nobody asks is not missed by the others' checks.

    :param well: replica -> whether it answers and does not call itself bad
    """
    count = sum(well.values())
    return judge(
        "application.replicas",
        "Replicas of the application",
        count,
        below=True,
        warning=None,
        critical=declared - 1,
        message=f"{count} of {plural(declared, 'declared replica')} {'is' if count == 1 else 'are'} well"
        + (f", of {plural(len(well), 'address', 'addresses')} asked." if len(well) != declared else "."),
        remedy="Get the missing ones to run, or correct the number declared; urls must have the address of each.",
        source="the health path of each replica",
        details={"declared": declared, "asked": len(well), "not_well": [name for name in well if not well[name]][:20]},
    )


def probe(target: Replica, options: Dict[str, Any], trust: ssl.SSLContext) -> Probing:
    """Asks the health endpoint as often as wanted, for at most three times the timeout in all."""
    result = Probing()
    end = time.monotonic() + 3 * options["timeout"]
    failures = 0
    while result.asked < options["probes"] and failures < GIVE_UP_AFTER:
        if result.asked and time.monotonic() >= end:
            break
        result.asked += 1
        try:
            result.answers.append(get(target, options["health_path"], options["timeout"], trust))
            failures = 0
        except (OSError, http.client.HTTPException) as error:
            failures += 1
            result.problem = reason(error)
            result.untrusted = error if isinstance(error, ssl.SSLCertVerificationError) else None
    if target.scheme == "https" and (result.answers or result.untrusted):
        if result.answers:
            result.chain, result.used = tls.verified(target, options["timeout"], trust)
        result.chain = result.chain or tls.sent(target, options["timeout"])
    if result.untrusted:
        result.problem = f"its certificate is not trusted: {tls.explain(result.untrusted, result.chain, target.host)}"
    return result


def reason(error: BaseException) -> str:
    """Why a request failed, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no complete answer in time"
    if isinstance(error, http.client.HTTPException):
        return f"what it says is not HTTP ({type(error).__name__})"
    return printable(getattr(error, "strerror", None) or error, 200)


def answered(target: Replica, probing: Probing, thresholds: Dict[str, Any]) -> Check:
    """The share of probes that were answered at all; none is critical whatever the thresholds."""
    value = round(100 * len(probing.answers) / probing.asked, 1)
    check = judge(
        f"application.answers:{target.name}",
        f"{target.name} answers",
        value,
        unit="%",
        below=True,
        **limits(thresholds, "answered"),
        message=f"{len(probing.answers)} of {probing.asked} requests were answered"
        + (f"; the last failure: {probing.problem}." if probing.problem else "."),
        remedy=NO_ANSWER,
        source=target.name,
        details={
            "asked": probing.asked,
            "answered": len(probing.answers),
            **({"untrusted": True} if probing.untrusted else {}),
        },
    )
    if not probing.answers:
        check.status = CRITICAL
        check.message = f"{target.name} does not answer: {probing.problem}."
        check.remedy = NO_ANSWER
    return check


def state(
    target: Replica, name: str, title: str, path: str, answers: List[Answer], problem: str, words: Words
) -> Check:
    """What a health or readiness endpoint says: the worst of several answers."""
    id, title, source = f"application.{name}:{target.name}", f"{target.name} {title.lower()}", target.name + path
    if not answers:
        return unknown(id, title, f"{source} could not be asked: {problem}.", "Get it to answer first.", source=source)
    verdicts = [verdict(answer, words) for answer in answers]
    status, said = max(verdicts, key=lambda item: STATUSES.index(item[0]))
    times = sum(1 for item in verdicts if item[0] == status)
    again = f" ({times} of {len(verdicts)} times)" if len(verdicts) > 1 and status != OK else ""
    remedies = {
        OK: "",
        UNKNOWN: f'Check the path {path}, and that it answers 200 with a status such as {{"status": "ok"}}.',
    }
    return Check(
        id,
        title,
        status,
        None if status == UNKNOWN else said,
        message=f"{path} says {said}{again}.",
        remedy=remedies.get(status, "Read the application's log and its dependencies' state."),
        source=source,
        details={"http_status": sorted({answer.status for answer in answers})},
    )


def verdict(answer: Answer, words: Words = PLAIN) -> Tuple[str, str]:
    """Status and, in words, what was said. What is not understood is unknown."""
    if answer.status >= 500:
        return CRITICAL, f"{answer.status} {word(answer, words)[1]}".strip()
    if not 200 <= answer.status < 300:
        redirect = f", a redirect to {printable(masked(answer.location.split('?')[0]))}" if answer.location else ""
        return UNKNOWN, f"{answer.status}{redirect}"
    status, said = word(answer, words)
    return status, said or ("nothing that is understood" if answer.body.strip() else "nothing")


def ready(target: Replica, options: Dict[str, Any], trust: ssl.SSLContext, probing: Probing, words: Words) -> Check:
    """Whether it is ready for work. Not asked when nothing answers."""
    answers, problem = [], probing.problem
    if probing.answers:
        try:
            answers = [get(target, options["ready_path"], options["timeout"], trust)]
        except (OSError, http.client.HTTPException) as error:
            problem = reason(error)
    return state(target, "ready", "Ready", options["ready_path"], answers, problem, words)


def percentile(values: List[float], percent: int) -> float:
    """The nearest-rank percentile of a list that is not empty."""
    return sorted(values)[max(0, math.ceil(percent * len(values) / 100) - 1)]


def response_times(target: Replica, probing: Probing, thresholds: Dict[str, Any]) -> Iterator[Check]:
    """p50, p95 and p99 of the answered probes, in ms, from resolving the name to the last byte."""
    times = [1000 * answer.seconds for answer in probing.answers]
    for percent in (50, 95, 99):
        name = f"response_time_p{percent}"
        value = round(percentile(times, percent), 1) if times else None
        yield judge(
            f"application.{name}:{target.name}",
            f"Response time p{percent} of {target.name}",
            value,
            unit="ms",
            **limits(thresholds, name),
            message=f"{percent} % of {len(times)} requests took {value} ms or less.",
            remedy="Look at the application's load, its database, and the network between it and the runner."
            if times
            else "Get it to answer first.",
            source=target.name,
            details={"probes": len(times), "wanted": probing.asked},
        )


def certificate(target: Replica, probing: Probing, thresholds: Dict[str, Any]) -> Check:
    """Days until the certificate of a replica, or one that it depends on, expires. Critical when it is not accepted."""
    expires = next((answer.expires for answer in probing.answers if answer.expires), None)
    first = tls.first_to_expire(probing.used or tls.depended_on(probing.chain))
    which = "The certificate"
    if first and (expires is None or first.expires.timestamp() < expires):
        expires = first.expires.timestamp()
        own = first is (probing.used or probing.chain)[0]
        which += "" if own else f" of the CA {first.subject}, on which it depends,"
    days = None if expires is None else math.floor((expires - time.time()) / 86400)
    check = judge(
        f"application.certificate:{target.name}",
        f"Certificate of {target.name}",
        days,
        unit="days",
        below=True,
        **limits(thresholds, "certificate"),
        message=f"{which} is valid for {days} more days."
        if days is None or days >= 0
        else f"{which} expired {plural(-days, 'day')} ago.",
        remedy="Renew it, and find out why it was not renewed by itself." if expires else "Get it to answer first.",
        source=target.name,
        details={"subjects": [each.subject for each in probing.chain[:10]]},
    )
    if probing.untrusted:
        check.status = CRITICAL
        check.message = f"{target.name} cannot be trusted: {probing.problem}."
        check.remedy = (
            "Let the server send a valid certificate for this name with all intermediates; for a CA of your own set "
            "ca_file."
        )
    return check


def metrics_of(
    target: Replica, options: Dict[str, Any], trust: ssl.SSLContext, probing: Probing
) -> Tuple[Optional[Samples], str]:
    """A replica's metrics, or None and why there are none, as the end of a sentence that begins with their place."""
    if not probing.answers:
        return None, f"could not be asked: {probing.problem}"
    try:
        answer = get(target, options["metrics_path"], options["timeout"], trust, MOST)
    except (OSError, http.client.HTTPException) as error:
        return None, f"could not be read: {reason(error)}"
    if answer.status != 200:
        return None, f"answers {answer.status}"
    if answer.truncated:
        return None, f"has more than {size(MOST)}"
    try:
        return parse(answer.body), ""
    except BadMetrics as error:
        return None, str(error)


def version_of(target: Replica, options: Dict[str, Any], trust: ssl.SSLContext) -> Optional[str]:
    """The version a replica reports, plain or as "version" of a JSON object; None when it reports none."""
    try:
        answer = get(target, options["version_path"], options["timeout"], trust)
    except (OSError, http.client.HTTPException):
        return None
    if answer.status != 200 or answer.truncated:
        return None
    text = answer.body.decode("utf-8", "replace").strip()
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = text
    if isinstance(data, dict):
        data = data.get("version")
    # A page of HTML is no version.
    return data if isinstance(data, str) and re.fullmatch(r"[\w][\w.+:/@-]{0,99}", data, re.ASCII) else None


def version(versions: Dict[str, Optional[str]], expected: Optional[str], path: str) -> Check:
    """Whether all replicas report one version, and the expected one where there is one."""
    title, source = "Version of the application", path
    missing = [name for name, value in versions.items() if value is None]
    known = sorted({value for value in versions.values() if value})
    details = {"versions": dict(list(versions.items())[:50])}
    if len(known) > 1 or (expected and known and known != [expected]):
        wanted = f", expected is {printable(expected)}" if expected else ""
        return Check(
            "application.version",
            title,
            WARNING,
            ", ".join(known[:5]),
            message=f"The replicas report {', '.join(known[:5])}{wanted}.",
            remedy="Finish or roll back the release: see which replicas run which version in the details.",
            source=source,
            details=details,
        )
    if missing:
        text = f"No version comes from {len(missing)} of {len(versions)} replicas, the first {missing[0]}."
        remedy = f'Check that {path} answers 200 with a version such as {{"version": "1.2.0"}}.'
        return unknown("application.version", title, text, remedy, source=source, details=details)
    return Check(
        "application.version",
        title,
        OK,
        known[0],
        message=f"{len(versions)} replica{'s' if len(versions) > 1 else ''}, all of version {known[0]}.",
        source=source,
        details=details,
    )
