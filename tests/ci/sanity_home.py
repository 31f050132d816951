"""A home for ansible-test, which takes of the environment next to nothing but HOME: ``python sanity_home.py FOLDER``.

It makes its environments without pip, and would fetch an installer for pip from a place of its own. Python's ensurepip
and the package of that very version do the same.
"""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

# ensurepip in a process of its own, because it turns pip's configuration off.
GET_PIP = """\
import subprocess
import sys

subprocess.check_call([sys.executable, "-m", "ensurepip"], stdout=subprocess.DEVNULL)
packages = [argument for argument in sys.argv[1:] if "==" in argument]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", *packages]))
"""


def main(home: Path) -> None:
    ansible_test = importlib.util.find_spec("ansible_test")
    assert ansible_test is not None
    assert ansible_test.origin is not None
    requirements = Path(ansible_test.origin).parent / "_internal/python_requirements.py"
    version = re.search(r"pip='([\d.]+)'", requirements.read_text(encoding="utf-8"))
    if version is None:
        sys.exit(f"{requirements} says no longer which pip ansible-test wants")
    installer = home / ".ansible/test/cache" / f"get_pip_{version[1].replace('.', '_')}.py"
    installer.parent.mkdir(parents=True, exist_ok=True)
    installer.write_text(GET_PIP, encoding="utf-8")

    # How this machine reaches packages: pip's settings from files and environment, as a file.
    settings = {"cert": os.environ["SSL_CERT_FILE"]} if os.environ.get("SSL_CERT_FILE") else {}
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True)
    settings |= dict(re.findall(r"^(?:global|install|:env:)\.([a-z-]+)='(.*)'$", listed.stdout, re.MULTILINE))
    config = configparser.RawConfigParser()
    config["global"] = settings
    path = home / ".config/pip/pip.conf"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        config.write(file)
    path.chmod(0o600)  # an index's address may carry a password


if __name__ == "__main__":
    main(Path(sys.argv[1]))
