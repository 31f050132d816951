# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program helm, 3 or 4: within a time limit, and with its values in a file that only we read."""

from __future__ import annotations

import base64
import json
import os
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NoReturn, Optional

from .._kubernetes.client import Conflict, Missing, Refused, Unanswered, in_cluster
from .._work.asked import Answer, asked_with_all
from .._work.programs import child_setup, last_words
from ..errors import ClusterError, ConfigurationError
from ..masking import MASK, masked
from ..words import printable

try:
    import yaml
except ImportError:  # only the controller needs it
    yaml = None  # type: ignore[assignment]

#: Argument spec of a release by chart.
HELM_SPEC: Dict[str, Any] = {
    "type": "dict",
    "apply_defaults": True,
    "options": {
        "chart": {"type": "str", "default": ""},
        "chart_version": {"type": "str", "default": ""},
        "release": {"type": "str", "default": "tradingflow"},
        "values": {"type": "dict", "default": {}},
        "flags_value": {"type": "str", "default": "featureFlags"},
        "program": {"type": "path", "default": "helm"},
        "timeout": {"type": "int", "default": 120},
        "history": {"type": "int", "default": 10},
        "force_conflicts": {"type": "bool", "default": False},
    },
}
#: Major versions whose options and storage are known here.
KNOWN = (3, 4)
#: Of the environment, what would lead helm elsewhere, or make it say more.
_LEFT_OUT = re.compile(r"HELM_(?:DEBUG|DRIVER.*|NAMESPACE|KUBE.*|MAX_HISTORY|BURST_LIMIT|QPS)|KUBE_?CONFIG_PASSWORD")
#: What helm says -> what it means. The first that is found counts.
_MEANINGS = (
    (r"another operation \(install/upgrade/rollback\) is in progress|already exists", Conflict),
    (r"conflict occurred while applying|Apply failed with \d+ conflict|the object has been modified", Conflict),
    (r"is forbidden|Unauthorized|cannot \w+ resource", Refused),
    (
        r"cluster unreachable|connection refused|connection reset|i/o timeout|TLS handshake|no route to host"
        r"|deadline exceeded|EOF$|server is currently unable|timed out|Too Many Requests",
        Unanswered,
    ),
    (r"release: not found|has no deployed releases|has no \d+ version", Missing),
)
#: Shortest text that is taken out of helm's messages where it stands in the values.
_SHORT = 4


class Helm:
    """One program for one namespace. Every method raises ClusterError or one of its kinds.

    :param options: HELM_SPEC
    :param kubernetes: CLUSTER_SPEC, as the client of the API has it
    """

    def __init__(self, options: Mapping[str, Any], kubernetes: Mapping[str, Any], namespace: str) -> None:
        self.options, self.namespace = options, namespace
        self.release = str(options["release"])
        self._environment = {name: text for name, text in os.environ.items() if not _LEFT_OUT.fullmatch(name)}
        self._environment.update(LC_ALL="C", HELM_DRIVER="secret", HELM_NAMESPACE=namespace)
        if files := _kubeconfig(kubernetes):
            self._environment["KUBECONFIG"] = files
        if kubernetes.get("context"):
            self._environment["HELM_KUBECONTEXT"] = str(kubernetes["context"])
        self._version = ""

    @property
    def version(self) -> str:
        """As it says, such as v3.22.0.

        :raises ConfigurationError: it is none that is known here
        """
        if not self._version:
            said = self._run(["version", "--template", "{{.Version}}"]).text.strip()
            match = re.fullmatch(r"v(\d+)\.\d+(?:\.\d+)?\S*", said)
            if not match or int(match[1]) not in KNOWN:
                raise ConfigurationError(
                    f"{printable(self.options['program'])} says that it is version {printable(said, 40) or 'nothing'}.",
                    "Install Helm 3.22 or 4.3, and name it (release_helm: {program: ...}).",
                )
            self._version = said
        return self._version

    @property
    def major(self) -> int:
        """3 or 4."""
        return int(self.version[1:].partition(".")[0])

    def rendered(self, values: Mapping[str, Any]) -> List[Dict[str, Any]]:
        """The objects that the chart makes of values on this cluster; hooks among them, with their annotation.

        :raises ClusterError: the chart makes nothing of them, or no YAML
        """
        server = ["--validate"] if self.major == 3 else ["--dry-run=server"]
        with self._values(values) as given:
            chart = self._chart()
            arguments = ["template", self.release, *chart, *given, "--is-upgrade", "--skip-tests", *server]
            text = self._run(arguments, values).text
        try:
            # As JSON: what YAML takes for a date is a text to the API.
            read = [each for each in yaml.safe_load_all(text) if each is not None]
            found: List[Dict[str, Any]] = json.loads(json.dumps(read, default=str))
        except yaml.YAMLError as error:  # its text may quote a Secret
            raise ClusterError(
                f"What the chart makes is no YAML ({type(error).__name__}).", "Correct the chart."
            ) from None
        if not found or not all(isinstance(each, dict) and _named(each) for each in found):
            raise ClusterError("The chart makes nothing, or what is no object.", "Correct the chart.")
        return found

    def named(self) -> str:
        """The chart's own name and version, such as "tradingflow 1.2.0".

        :raises ClusterError: it is no chart
        """
        text = self._run(["show", "chart", *self._chart()]).text
        try:
            found = yaml.safe_load(text)
        except yaml.YAMLError:
            found = None
        if not isinstance(found, dict) or not found.get("name") or not found.get("version"):
            raise ClusterError("The chart does not say its name and version.", "Correct its Chart.yaml.")
        return f"{printable(found['name'], 100)} {printable(found['version'], 100)}"

    def upgrade(
        self,
        values: Mapping[str, Any],
        labels: Mapping[str, str],
        description: str,
        *,
        served: bool,
        force: bool = False,
    ) -> None:
        """Makes a new revision of the release: its objects are written, and nothing is waited for.

        :param labels: of the revision in Helm's storage
        :param served: whether the API applies it, as the revision of now says: not with Helm 3, nor what was Helm 3's
        :param force: also fields that somebody else manages, as far as the API applies it
        :raises Conflict: another client is at work, or somebody else manages what would be changed
        :raises Unanswered: it was killed, ran out of time, or had no answer: nobody knows
        """
        with self._values(values) as given:
            marks = ",".join(f"{name}={text}" for name, text in labels.items())
            arguments = ["upgrade", self.release, *self._chart(), *given, "--reset-values", "--labels", marks]
            arguments += ["--description", description, *self._limits(), *self._forced(served, force), "-o", "json"]
            self._run(arguments, values)

    def roll_back(
        self, revision: int, *, served: bool, force: bool = False, values: Optional[Mapping[str, Any]] = None
    ) -> None:
        """Makes a new revision that is as an earlier one; nothing is waited for.

        :param values: of then, which no message may have in it
        :param force: also what somebody else manages by now
        :raises Missing: there is no such revision
        """
        self._run(["rollback", self.release, str(revision), *self._limits(), *self._forced(served, force)], values)

    def _forced(self, served: bool, force: bool) -> List[str]:
        # Helm 4 refuses it where it does not let the API apply.
        wanted = served and (force or self.options["force_conflicts"])
        return ["--force-conflicts"] if wanted and self.major > 3 else []

    def _limits(self) -> List[str]:
        return ["--timeout", f"{self.options['timeout']}s", "--history-max", str(self.options["history"])]

    def _chart(self) -> List[str]:
        version, chart = self.options["chart_version"], str(self.options["chart"])
        # Helm runs elsewhere; what is no file here is a name of Helm's.
        local = os.path.abspath(os.path.expanduser(chart))
        return [local if os.path.exists(local) else chart, *(["--version", version] if version else [])]

    @contextmanager
    def _values(self, values: Mapping[str, Any]) -> Iterator[List[str]]:
        """Arguments that name the file with them: never on the command line, which everybody on the machine reads."""
        with tempfile.TemporaryDirectory(prefix="tradingflow-helm-") as folder:
            path = Path(folder, "values.json")
            # JSON is YAML, too.
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                json.dump(values, file)
            yield ["--values", str(path)]

    def _run(self, arguments: List[str], values: Optional[Mapping[str, Any]] = None) -> Answer:
        program, limit = str(self.options["program"]), float(self.options["timeout"])
        try:
            # It ends with us: a client that outlives the run would go on where nobody looks.
            done = asked_with_all([program, *arguments], self._environment, limit, preexec_fn=child_setup(0))
        except TimeoutError:
            raise Unanswered(
                f"helm {arguments[0]} did not end within {limit:g} s, and was ended.",
                "Check the cluster, then run again.",
            ) from None
        except OSError as error:
            raise ConfigurationError(
                f"{printable(program)} cannot be run: {error.strerror or type(error).__name__}.",
                "Install Helm 3.22 or 4.3, and name it (release_helm: {program: ...}).",
            ) from None
        if done.status:
            _failed(arguments[0], done, values or {})
        return done


def _kubeconfig(kubernetes: Mapping[str, Any]) -> str:
    """What leads helm to the cluster that the client of the API looks at; empty for the file of the user's home."""
    given = kubernetes.get("kubeconfig") or os.environ.get("KUBECONFIG")
    if not given:
        # To the account of a pod, which helm would only use where the home has no file.
        return os.devnull if in_cluster({}) else ""
    # It works in another folder.
    files = [os.path.abspath(os.path.expanduser(each)) for each in str(given).split(os.pathsep) if each]
    return os.pathsep.join(files)


def _failed(command: str, done: Answer, values: Mapping[str, Any]) -> NoReturn:
    """What a failure means.

    :raises ClusterError: always
    """
    if done.status < 0:
        raise Unanswered(f"helm {command} was killed by signal {-done.status}.", "Run again.")
    # Warnings come before it; Helm 4 writes them as records of a log.
    words = done.messages.decode("utf-8", "replace")
    # Hidden before it is cut, and put on one line: half a secret is none that would be found.
    said = last_words(hidden(words[max(words.rfind("Error:"), 0) :], values)[:600].encode())
    text = f"helm {command} failed: {printable(said, 500)}"
    for pattern, kind in _MEANINGS:
        if re.search(pattern, said, re.IGNORECASE):
            raise kind(text, "Look at the release (helm history), and run again.")
    raise ClusterError(text, "Correct the chart, or its values.")


def hidden(text: str, values: Any) -> str:
    """A message without the texts of values, which helm and the API quote."""
    forms = {form for each in _texts(values) for form in _forms(each)}
    for each in sorted(forms, key=len, reverse=True):
        text = text.replace(each, MASK)
    return masked(text)


def _forms(text: str) -> Iterator[str]:
    """A text as it may be quoted: as it is, escaped, on one line, line by line, and as a Secret holds it."""
    found = [text, json.dumps(text, ensure_ascii=False)[1:-1], " ".join(text.split())]
    found += [line.strip() for line in text.splitlines()]
    found.append(base64.b64encode(text.encode("utf-8", "replace")).decode().rstrip("="))
    yield from (each for each in found if len(each) >= _SHORT)


def _texts(values: Any, key: str = "") -> Iterator[str]:
    if isinstance(values, Mapping):
        for name, each in values.items():
            # An image is no secret, and tells what a message is about.
            if name != "image" or not isinstance(each, Mapping):
                yield from _texts(each, str(name))
    elif isinstance(values, (list, tuple)):
        for each in values:
            yield from _texts(each, key)
    elif values is not None and not isinstance(values, bool) and len(str(values)) >= _SHORT:
        yield str(values)


def _named(thing: Mapping[str, Any]) -> bool:
    metadata = thing.get("metadata")
    return isinstance(thing.get("kind"), str) and isinstance(metadata, dict) and isinstance(metadata.get("name"), str)
