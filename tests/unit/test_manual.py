"""docs/manual.md has a row for every line of the manual, in its order, and names nothing that does not exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache

import pytest
import yaml

from tests.conftest import COLLECTION, ROOT

MANUAL = ROOT / "docs/maintenance-and-updates.md"
COVERAGE = ROOT / "docs/manual.md"
STATES = ("done", "partly", "not yet")

HEADING = re.compile(r"#+ +(.*)")
CODE = re.compile(r"(`+)(.+?)\1")
LINK = re.compile(r"\[([^\]]*)\]\(([^)]*)\)")


def bash_lines(block: list[str]) -> Iterator[str]:
    """First lines of the commands of a script; a command goes on after a backslash or within double quotes."""
    command = ""
    for line in block:
        if not command and (not line.strip() or line.lstrip().startswith("#") or line.strip() in ("fi", "exit 1")):
            continue
        if not command:
            yield line.strip()
        command += line
        if command.count('"') % 2 == 0 and not line.endswith("\\"):
            command = ""


def sql_lines(block: list[str]) -> Iterator[str]:
    """The statements, without their conditions and order."""
    text = " ".join(" ".join(line for line in block if not line.startswith("--")).split())
    for statement in filter(None, text.split("; ")):
        yield re.split(r" WHERE | ORDER BY ", statement.rstrip(";"))[0]


def javascript_lines(block: list[str]) -> Iterator[str]:
    """What a program sets out to do: its comments, and what its methods wait for."""
    for line in block:
        if line.lstrip().startswith("//") or re.search(r"\basync \w|await this\.|this\.escalationMatrix = ", line):
            yield line.strip()


BLOCKS = {"bash": bash_lines, "sql": sql_lines, "javascript": javascript_lines}


def parts(text: str) -> Iterator[tuple[str, str]]:
    """The manual as ("heading" | "line" | "code", text), in order."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("```"):
            block = []
            while not (inner := next(lines)).startswith("```"):
                block.append(inner)
            for code in BLOCKS[line[3:]](block):
                yield "code", code
        elif heading := HEADING.fullmatch(line):
            yield "heading", heading[1]
        elif line.strip() not in ("", "---"):
            yield "line", plain(re.sub(r"^- (\[ \] )?", "", line))


def plain(text: str) -> str:
    return LINK.sub(r"\1", text).replace("**", "")


def table_rows(text: str) -> Iterator[list[str]]:
    """The cells of each row of the tables, without heads."""
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith(("| manual |", "|---")):
            yield [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def covered(text: str) -> Iterator[tuple[str, str]]:
    """docs/manual.md in the manual's own terms."""
    for line in text.splitlines():
        if heading := HEADING.fullmatch(line):
            yield "heading", heading[1]
        for cells in table_rows(line):
            spans = [match[2] for match in CODE.finditer(cells[0])]
            if spans:
                yield from (("code", span) for span in spans)
            else:
                yield "line", plain(cells[0])


def test_every_line_has_a_row_in_its_order() -> None:
    _, *rows = covered(COVERAGE.read_text(encoding="utf-8"))  # the page's own title
    assert rows == list(parts(MANUAL.read_text(encoding="utf-8")))


def test_every_row_has_a_state() -> None:
    for cells in table_rows(COVERAGE.read_text(encoding="utf-8")):
        assert len(cells) == 3, cells
        assert cells[2].split(" (")[0] in STATES, cells
        # Nothing here may stand in for what is done; what is not yet names no command.
        assert bool(cells[1]) or cells[2].startswith("not yet"), cells
        assert not (cells[2].startswith("not yet") and "playbooks/" in cells[1]), cells


@cache
def all_tags() -> dict[str, set[str]]:
    """All tags of each playbook, by one start of Ansible."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ansible", "playbook", "--list-tags", "-i", "localhost,"),
            *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("playbooks/*.yml")),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    _, *parts = re.split(r"^playbook: (\S+)$", done.stdout, flags=re.MULTILINE)
    return {
        playbook: {tag for found in re.findall(r"TAGS: \[(.*)\]", text) for tag in found.split(", ")}
        for playbook, text in zip(parts[::2], parts[1::2], strict=True)
    }


@cache
def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@cache
def plugin_sources() -> str:
    return "".join(path.read_text(encoding="utf-8") for path in (COLLECTION / "plugins").rglob("*.py"))


@cache
def variables() -> set[str]:
    names: set[str] = set()
    for path in [*ROOT.glob("roles/*/defaults/*.yml"), *ROOT.glob("inventories/*/group_vars/**/*.yml")]:
        names |= set(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    return names


def problem(name: str) -> str | None:
    """Why a name in the second or third column is of nothing that exists; None when it exists."""
    words = shlex.split(name)
    if words[0] == "make":
        missing = {word for word in words[1:] if "=" not in word} - make_targets()
        return f"no make target {missing}" if missing else None
    if words[0].startswith("playbooks/"):
        if not (ROOT / words[0]).is_file():
            return "no such playbook"
        wanted = set(words[words.index("--tags") + 1].split(",")) if "--tags" in words else set()
        missing = wanted - all_tags()[words[0]]
        return f"no tags {missing}" if missing else None
    areas = "system|logs|application|database|trading|backups?|retention|drill|migration|data_update|patching"
    areas += "|dependencies|images|restore|gate|audit|review|compliance|stakeholders|validation|backtest"
    areas += "|tuning|housekeeping|monitoring|application_tuning|release"
    if check := re.fullmatch(rf"(?:{areas})\.([a-z0-9_]+)", name):
        return None if re.search(rf'["\':.]{check[1]}\b', plugin_sources()) else "no such check"
    if re.fullmatch(r"[a-z]+(_[a-z]+)+", name):
        exists = name in variables() or (COLLECTION / f"plugins/modules/{name}.py").is_file()
        return None if exists else "no such variable or module"
    if "/" in name:
        return None if (ROOT / name).exists() else "no such file"
    return "nothing known"


def test_names_nothing_that_does_not_exist() -> None:
    manual = MANUAL.read_text(encoding="utf-8")
    problems = {}
    for cells in table_rows(COVERAGE.read_text(encoding="utf-8")):
        for match in CODE.finditer(cells[1] + " " + cells[2]):
            # What the manual itself names may be said when saying what is done instead.
            if match[2] not in manual and (found := problem(match[2])):
                problems[match[2]] = found
    assert not problems


def test_links_lead_somewhere() -> None:
    text = COVERAGE.read_text(encoding="utf-8")
    dead = [target for _, target in LINK.findall(text) if not (COVERAGE.parent / target.split("#")[0]).exists()]
    assert not dead


@pytest.mark.parametrize(
    "name",
    [
        "make nothing",
        "playbooks/nothing.yml",
        "playbooks/daily.yml --tags nothing",
        "database.nothing_at_all",
        "backup_nothing_at_all",
        "docs/nothing.md",
        "kubectl",
    ],
)
def test_this_test_finds_what_does_not_exist(name: str) -> None:
    assert problem(name)


@pytest.mark.parametrize(
    "name",
    [
        "make daily",
        "playbooks/daily.yml --tags health,trading --check",
        "database.connections",
        "backup_jobs",
        "docs/manual.md",
    ],
)
def test_this_test_finds_what_exists(name: str) -> None:
    assert problem(name) is None
