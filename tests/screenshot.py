"""A picture of a report, as the README shows it: ``python -m tests.screenshot report.html out.png``.

Needs Chromium on the machine (Debian: apt-get install chromium); no test depends on it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def shoot(page: Path, picture: Path, *, width: int, height: int, scale: float = 1, dark: bool = False) -> None:
    """Writes the top of a page as PNG, or all of it as PDF when the picture is named so."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not browser:
        sys.exit("No Chromium here: install it, e.g. apt-get install chromium.")
    with tempfile.TemporaryDirectory(prefix="screenshot-") as profile:
        target = (
            ["--no-pdf-header-footer", f"--print-to-pdf={picture.absolute()}"]
            if picture.suffix == ".pdf"
            else [f"--screenshot={picture.absolute()}", f"--window-size={width},{height}"]
        )
        look = ["--blink-settings=preferredColorScheme=0"] if dark else []
        subprocess.run(
            [
                *(browser, *FLAGS, f"--user-data-dir={profile}", f"--force-device-scale-factor={scale}"),
                *(*look, *target, page.absolute().as_uri()),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path, help="out.png, or out.pdf for the printed page")
    parser.add_argument("--width", type=int, default=1000)
    parser.add_argument("--height", type=int, default=760)
    parser.add_argument("--scale", type=float, default=1.5)
    parser.add_argument("--dark", action="store_true")
    given = parser.parse_args()
    shoot(given.page, given.picture, width=given.width, height=given.height, scale=given.scale, dark=given.dark)


if __name__ == "__main__":
    main()
