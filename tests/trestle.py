"""OSCAL's models, which compliance-trestle makes of NIST's schema: in an environment of its own, in the cache."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, left_out

LOCK = ROOT / "requirements/oscal.lock"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tradingflow-maintenance" / "oscal"
#: Reads a document, and says what is wrong with it as JSON.
READ = """
import json, sys
from pydantic import ValidationError
from trestle.oscal.assessment_results import Model
try:
    Model.parse_obj(json.load(sys.stdin))
except ValidationError as error:
    print(json.dumps([f"{each['loc']}: {each['msg']}" for each in error.errors()]))
else:
    print("[]")
"""


def python() -> Path:
    """The environment's Python, made when it is first asked for."""
    key = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    place = CACHE / key
    if not (place / "made").exists():
        partial = CACHE / f"{key}.{os.getpid()}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        pip = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
        )
        environment = {**_install().of_pip(pip.stdout), **os.environ}
        uv = [sys.executable, "-m", "uv"]
        for command in (
            [*uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(partial / "venv")],
            [*uv, "pip", "install", "--quiet", "--python", str(partial / "venv"), "--require-hashes", "-r", str(LOCK)],
        ):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
            if done.returncode:
                shutil.rmtree(partial, ignore_errors=True)
                left_out(f"compliance-trestle cannot be installed: {done.stderr[-300:]}")
        (partial / "made").touch()
        try:
            partial.rename(place)
        except OSError:  # another worker was first
            shutil.rmtree(partial, ignore_errors=True)
    return place / "venv/bin/python"


def _install() -> Any:
    """requirements/install.py, which knows what pip is configured with."""
    spec = importlib.util.spec_from_file_location("install", ROOT / "requirements/install.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError("requirements/install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def problems(document: Any) -> list[str]:
    """What is wrong with assessment results by the official models; empty if nothing is."""
    done = subprocess.run(
        [str(python()), "-c", READ], input=json.dumps(document), capture_output=True, text=True, timeout=300, check=True
    )
    found: list[str] = json.loads(done.stdout)
    return found
