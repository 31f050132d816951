"""The test files that import, by whatever way, what differs from a commit: ``python -m tests.changed [BASE]``.

For the inner loop; `make test` is what counts. Playbooks and roles are nobody's import: their tests are named, not run.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Where names of modules begin.
TOPS = (ROOT / "collections", ROOT)
#: Hold these to what is written elsewhere.
DOCUMENTS = ["tests/unit/test_docs.py", "tests/unit/test_inventories.py", "tests/unit/test_manual.py"]


def git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in done.stdout.split("\0") if name]


def module(path: Path) -> str:
    top = next(top for top in TOPS if path.is_relative_to(top))
    parts = path.relative_to(top).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imported(path: Path) -> list[str]:
    """Names of modules, and of what is in them, that a file imports."""
    return list(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    package = module(path).split(".") if path.name == "__init__.py" else module(path).split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*above, *(node.module or "").split(".")]).strip(".")
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)


def concerned(changed: set[str], files: list[str]) -> list[str]:
    """Test files that import one of the changed files, or are one.

    :param changed: paths from the root
    :param files: all files of the checkout, likewise
    """
    paths = [ROOT / name for name in files if name.endswith(".py") and (ROOT / name).is_file()]
    modules = {module(path): path for path in paths}
    importers: dict[Path, set[Path]] = {path: set() for path in paths}
    for path in paths:
        for name in imported(path):
            if name in modules:
                importers[modules[name]].add(path)
    found = {ROOT / name for name in changed} & importers.keys()
    new = set(found)
    while new:
        new = {user for path in new for user in importers[path]} - found
        found |= new
    return sorted(str(path.relative_to(ROOT)) for path in found if path.name.startswith("test_"))


def main(base: str) -> int:
    changed = {*git("diff", "-z", "--name-only", base), *git("ls-files", "-z", "--others", "--exclude-standard")}
    files = [*git("ls-files", "-z"), *git("ls-files", "-z", "--others", "--exclude-standard")]
    tests = concerned(changed, files)
    if any(not name.endswith(".py") or "plugins/" in name for name in changed):
        tests = sorted({*tests, *DOCUMENTS})
    if any(name.startswith(("roles/", "playbooks/", "inventories/")) for name in changed):
        print("Roles, playbooks or inventories changed: tests/end_to_end runs them; `make test` does.")
    if not tests:
        print(f"Nothing differs from {base} that a test imports.")
        return 0
    print(*tests, sep="\n")
    return subprocess.run([sys.executable, "-m", "pytest", "-q", *tests], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:] or ["HEAD"])))
