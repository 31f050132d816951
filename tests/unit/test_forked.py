"""What is started by ``tests/forked.py`` is as what ``python`` starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked

TOLD = """
import json, os, sys, time
print(json.dumps([sys.argv, os.getcwd(), dict(os.environ), sys.path, sys.stdin.read(), __name__, time.tzname]))
print(sorted(globals()), "ansible" in sys.modules)
print("said", file=sys.stderr)
sys.exit(3)
"""


@pytest.fixture(params=[forked.MIGRATIONS, forked.MODULES], ids=["migrations", "modules"])
def programs(request: pytest.FixtureRequest) -> list[str]:
    return [sys.executable, forked.python(request.param)]


@pytest.mark.parametrize("how", ["-c", "stdin"])
def test_it_does_what_python_does(programs: list[str], tmp_path: Path, how: str) -> None:
    said = []
    for program in programs:
        done = subprocess.run(
            [program, "-c", TOLD] if how == "-c" else [program],
            cwd=tmp_path,
            env={"LANG": "C.UTF-8", "OWN": "a=b\nü", "TZ": "Asia/Tokyo"},
            input="x" * 300_000 if how == "-c" else "#" * 300_000 + TOLD,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (3, "said\n")
        said.append(done.stdout)
    assert said[0] == said[1]


@pytest.mark.parametrize("code", ["1 / 0", "import os\nos._exit(4)", "import os\nos.kill(os.getpid(), 9)"])
def test_it_ends_as_python_does(programs: list[str], code: str) -> None:
    one, other = (subprocess.run([program, "-c", code], capture_output=True, text=True) for program in programs)
    assert one.returncode == other.returncode != 0
    assert one.stderr.splitlines()[-1:] == other.stderr.splitlines()[-1:]


def test_whoever_kills_it_kills_the_code() -> None:
    # Nothing else has the other end of its output.
    reads, writes = os.pipe()
    code = "import os, time\nprint('begun', flush=True)\ntime.sleep(600)"
    process = subprocess.Popen([forked.python(), "-c", code], stdout=writes)
    os.close(writes)
    with os.fdopen(reads) as stream:
        assert stream.readline() == "begun\n"
        process.kill()
        process.wait()
        assert stream.read() == ""


def test_what_it_takes_is_counted() -> None:
    forked.spent()
    subprocess.run([forked.python(), "-c", "sum(range(10_000_000))"], check=True)
    assert forked.spent() > 0.05
    assert forked.spent() == 0
