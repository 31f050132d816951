"""What processes wrote, as strace saw it: each path by which a call that changes something succeeded."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

#: What opens a file, for writing perhaps.
OPENS = ("open", "openat", "openat2", "creat")
#: What changes what a name stands for, or the file it names.
CHANGES = (
    *("mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat"),
    *("symlink", "symlinkat", "truncate", "chmod", "fchmodat", "chown", "lchown", "fchownat", "mknod", "mknodat"),
    *("utime", "utimes", "utimensat", "futimesat", "setxattr", "lsetxattr", "removexattr", "lremovexattr"),
)
_WRITES = re.compile(r"\bO_(WRONLY|RDWR|CREAT|TRUNC|APPEND)\b")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)(?:<(.*)>)?(?: .*)?", re.DOTALL)
#: A folder that is named by a handle, and a name that is a string.
_ARGUMENT = re.compile(r'(?:AT_FDCWD|\d+)<((?:[^>\\]|\\.)*)>|"((?:[^"\\]|\\.)*)"')


def strace(folder: Path, arguments: list[str]) -> list[str]:
    """Runs a program with all that it starts; gives the paths by which something was changed.

    :param folder: for the traces, one of each process
    """
    calls = ",".join(f"?{name}" for name in (*OPENS, *CHANGES))
    options = [
        "-ff",
        "-f",
        "--seccomp-bpf",
        "-y",
        "-qq",
        "-s",
        "8192",
        "-o",
        str(folder / "of"),
        "-e",
        f"trace={calls}",
    ]
    done = subprocess.run(["strace", *options, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[str] = []
    for path in folder.glob("of.*"):
        found += written(path.read_text(errors="surrogateescape").splitlines())
    return found


def written(lines: list[str]) -> list[str]:
    """The paths of the calls of one process that succeeded. A line that is no call that is known is an error."""
    found: list[str] = []
    for line in lines:
        if line.startswith(("---", "+++")) or "<unfinished ...>" in line:
            continue
        match = _CALL.fullmatch(line)
        assert match, line
        name, arguments, result, opened = match.groups()
        assert name in (*OPENS, *CHANGES), line
        if int(result) < 0:
            continue
        if name in OPENS:
            if name == "creat" or _WRITES.search(arguments):
                assert opened, line
                found.append(_plain(opened))
            continue
        at, names = "", []
        for handle, text in _ARGUMENT.findall(arguments):
            if handle:
                at = _plain(handle)
            else:
                names.append(os.path.join(at, _plain(text)))
                at = ""
        # What a link points to is not touched.
        found += names[-1:] if name.startswith("symlink") else names
    return found


def _plain(text: str) -> str:
    return os.fsdecode(text.encode("latin-1", "surrogateescape").decode("unicode_escape").encode("latin-1"))
