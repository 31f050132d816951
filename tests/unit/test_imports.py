"""All Python of the collection can be imported by the Python that runs this, and nothing in it is deprecated there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import COLLECTION

#: In an interpreter of its own, which has nothing imported: ``-c CODE PLACE NAME...``.
IMPORT = """\
import importlib, sys, traceback, warnings
from pathlib import Path

place, *names = sys.argv[1:]
sys.path.insert(0, place)
failed = 0
for name in names:
    # What other packages do is theirs.
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    warnings.filterwarnings("error", module=r"ansible_collections\\.")
    path = Path(place, *name.split("."))
    path = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        importlib.import_module(name)
    except BaseException:
        failed = 1
        traceback.print_exc()
sys.exit(failed)
"""


def names(place: Path, below: Path) -> list[str]:
    """Those of all modules below a folder, as they are imported from a place."""
    paths = sorted(path.relative_to(place).with_suffix("") for path in below.rglob("*.py"))
    return [".".join(path.parts).removesuffix(".__init__") for path in paths]


def imported(place: Path, wanted: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", IMPORT, str(place), *wanted], capture_output=True, text=True)


def test_everything_can_be_imported() -> None:
    place = COLLECTION.parents[2]
    wanted = names(place, COLLECTION / "plugins")
    assert f"{'.'.join(COLLECTION.parts[-3:])}.plugins.module_utils.errors" in wanted
    done = imported(place, wanted)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_is_deprecated_is_told(tmp_path: Path) -> None:
    package = tmp_path / "ansible_collections"
    package.mkdir()
    for name, text in {
        "escaped": 'X = "\\d"\n',
        "gone": "import there_is_none\n",
        "warned": "import warnings\nwarnings.warn('old', DeprecationWarning)\n",
        "well": "X = 1\n",
    }.items():
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    told = {name: imported(tmp_path, [f"ansible_collections.{name}"]) for name in ("escaped", "gone", "warned", "well")}
    assert {name for name, done in told.items() if done.returncode} == {"escaped", "gone", "warned"}
    assert "there_is_none" in told["gone"].stderr
