"""What each run of Ansible makes anew from the same files: payloads of modules, parsed roles, compiled templates.

Kept below ``~/.cache`` by the content of what it is made of, for all workers and later runs of the tests; it may be
deleted at any time. Nothing else of Ansible is changed: what is kept is what it made itself.
"""

from __future__ import annotations

import atexit
import base64
import hashlib
import importlib
import importlib.util
import io
import marshal
import os
import pickle
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tradingflow-maintenance" / "ansible"
#: Modules whose sources are known by ``_key``; others of the same name may lie elsewhere.
_KNOWN = ("ansible.modules.", "ansible_collections.tradingflow.maintenance.")
#: Files whose text has no secrets.
_ROLES = tuple(f"{ROOT}/{folder}/" for folder in ("roles", "playbooks", "collections"))
_DAYS = 7
#: Plugins of the collection that every run of a playbook has.
OWN = ("callback.operator", "action.maintenance_run", "action.maintenance_report", "plugin_utils.report")
#: Of Jinja: what its lexer goes by.
_SETTINGS = (
    *("block_start_string", "block_end_string", "variable_start_string", "variable_end_string"),
    *("comment_start_string", "comment_end_string", "line_statement_prefix", "line_comment_prefix"),
    *("trim_blocks", "lstrip_blocks", "newline_sequence", "keep_trailing_newline", "autoescape", "optimized"),
)


def _key() -> str:
    """Digest of all that payloads are made of: Ansible, Python, the collection's plugins."""
    from ansible.release import __version__

    digest = hashlib.sha256(f"{__version__} {sys.version} {Path(__file__).read_bytes()!r}".encode())
    collection = ROOT / "collections/ansible_collections/tradingflow/maintenance"
    for path in (*sorted((collection / "plugins").rglob("*.py")), collection / "meta/runtime.yml"):
        digest.update(f"{path.relative_to(collection)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:32]


class Payloads:
    """Payloads of modules, as Ansible made them once, and compiled: a module's start compiles half a megabyte."""

    def __init__(self) -> None:
        self._folder = CACHE / f"payloads-{_key()}"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def give(self, folder: str) -> None:
        """Puts those that there are into a run's folder for temporary files, where Ansible looks for its own."""
        into = Path(folder, "ansiballz_cache")
        into.mkdir()
        for path in self._folder.iterdir():
            if not path.name.startswith("."):
                _same(path, into / path.name)

    def take(self, folder: str) -> None:
        """Keeps those that a run made."""
        for path in Path(folder, "ansiballz_cache").iterdir():
            kept = self._folder / path.name
            if path.name.startswith(_KNOWN) and path.suffix not in (".lock",) and not kept.exists():
                module = pickle.loads(path.read_bytes())  # it was made by this process
                object.__setattr__(module, "zip_data", base64.b64encode(compiled(base64.b64decode(module.zip_data))))
                _write(kept, pickle.dumps(module))


def _same(path: Path, other: Path) -> None:
    try:
        os.link(path, other)
    except OSError:
        shutil.copyfile(path, other)


def _write(path: Path, content: bytes) -> None:
    """In one step: others may write the same right now."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        file.write(content)
    os.replace(file.name, path)


def compiled(archive: bytes) -> bytes:
    """A ZIP archive with each of its Python files compiled, too; other Pythons than this one read the sources."""
    output = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as before,
        zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, True, 1) as now,
    ):
        for each in before.infolist():
            source = before.read(each)
            now.writestr(each, source)
            if each.filename.endswith(".py"):
                code = compile(source, each.filename, "exec", dont_inherit=True)
                # By its hash, which is not looked at (PEP 552): times in archives are of no zone.
                head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source)
                now.writestr(zipfile.ZipInfo(each.filename + "c", each.date_time), head + marshal.dumps(code))
    return output.getvalue()


class Kept:
    """Code that was compiled once, by all that it depends on."""

    def __init__(self, name: str) -> None:
        from ansible.release import __version__

        self._folder = CACHE / name
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._begin = f"{__version__} {sys.version}"

    def code(self, key: tuple[Any, ...], source: str | bytes, compiled: Callable[[], Any]) -> Any:
        """The code of a source, from what is kept or compiled now."""
        text = source.encode("utf-8", "surrogateescape") if isinstance(source, str) else source
        path = self._folder / hashlib.sha256(f"{self._begin} {key!r}\0".encode() + text).hexdigest()
        with suppress(OSError):
            return marshal.loads(path.read_bytes())  # it was compiled here
        code = compiled()
        _write(path, marshal.dumps(code))
        return code


def roles() -> None:
    """From now on, roles and playbooks are parsed once for all runs; each load is a copy of its own, as it was."""
    from ansible.parsing.dataloader import DataLoader
    from ansible.release import __version__

    load = DataLoader.load_from_file
    folder = CACHE / "yaml"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    begin = f"{__version__} {sys.version}".encode()
    known: dict[str, bytes] = {}

    def load_from_file(self: Any, file_name: str, *arguments: Any, **options: Any) -> Any:
        name = self.path_dwim(file_name)
        if not name.startswith(_ROLES):
            return load(self, file_name, *arguments, **options)
        content = Path(name).read_bytes()
        how = f"{name} {arguments} {sorted(options.items())}".encode()
        key = hashlib.sha256(b"\0".join((begin, how, content))).hexdigest()
        if key not in known:
            with suppress(OSError):
                known[key] = (folder / key).read_bytes()
        if key not in known:
            known[key] = pickle.dumps(load(self, file_name, *arguments, **options))
            _write(folder / key, known[key])
        return pickle.loads(known[key])  # what load() gave

    DataLoader.load_from_file = load_from_file


def plugins() -> None:
    """From now on, what is imported of collections is compiled once; Ansible's loader of them keeps no bytecode."""
    from ansible.utils.collection_loader import _collection_finder as finder

    loader = finder._AnsibleCollectionPkgLoaderBase
    kept = Kept("bytecode")
    get_code = loader.get_code

    def cached(self: Any, fullname: str) -> Any:
        if not self._compiled_code and (source := self.get_source(fullname)):
            self._compiled_code = kept.code((self.get_filename(fullname),), source, lambda: get_code(self, fullname))
        return get_code(self, fullname)

    loader.get_code = cached


def templates() -> None:
    """From now on, a template is compiled once for all runs; each task of a run compiles the same hundred anew."""
    from ansible._internal._templating import _jinja_bits as bits
    from jinja2 import Environment

    kept = Kept("templates")

    def cached(self: Any, source: Any, name: Any = None, filename: Any = None, *how: Any, **more: Any) -> Any:
        def compiled() -> Any:
            return Environment.compile(self, source, name, filename, *how, **more)

        if not isinstance(source, str) or how or more or self._debuggable_template_source:
            return compiled()
        context = bits._TemplateCompileContext.current(optional=True)
        settings = [getattr(self, each, None) for each in _SETTINGS]
        key = (type(self).__name__, name, filename, context and context.escape_backslashes, *settings)
        return kept.code(key, source, compiled)

    bits.AnsibleEnvironment.compile = cached


def interpreter(program: str) -> None:
    """From now on, modules of this host are run by a Python that has their libraries imported, see forked.py.

    Another interpreter than Ansible's own, and another user's, is started as usual.
    """
    from ansible.plugins.connection import local

    exec_command = local.Connection.exec_command
    usual = f"{sys.executable} && sleep 0'"

    def cheaper(self: Any, cmd: Any, in_data: Any = None, sudoable: bool = True) -> Any:
        if in_data and not self.become and not os.environ.get("PYTHONPATH"):
            cmd = cmd.replace(usual, f"{program} && sleep 0'")
        return exec_command(self, cmd, in_data, sudoable)

    local.Connection.exec_command = cheaper


def imported() -> None:
    """Imports what every run imports of the collection and of Ansible's plugins.

    A run configures where collections lie itself; what is imported stays.
    """
    from ansible import constants
    from ansible.plugins import loader
    from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

    loader.init_plugin_loader()
    own = "ansible_collections.tradingflow.maintenance.plugins"
    for name in OWN:
        importlib.import_module(f"{own}.{name}")
    wanted = (
        (loader.inventory_loader, constants.INVENTORY_ENABLED),
        (loader.callback_loader, ("tradingflow.maintenance.operator", "default")),
        (loader.action_loader, ("ansible.builtin.validate_argument_spec", "ansible.builtin.set_fact")),
        (loader.strategy_loader, ("linear",)),
        (loader.connection_loader, ("local", "ssh")),
        (loader.shell_loader, ("sh",)),
        (loader.become_loader, ("sudo",)),
    )
    for plugins_of, names in wanted:
        for name in names:
            plugins_of.get(name, class_only=True)
    _AnsibleCollectionFinder._remove()


def shim(folder: Path, modules: str = "") -> None:
    """Makes a program ``ansible-playbook`` for others to find on their PATH, before the environment's own.

    :param modules: what runs modules, see interpreter()
    """
    folder.mkdir()
    path = folder / "ansible-playbook"
    code = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom tests import warm\nwarm.program({modules!r})\n"
    path.write_text(f"#!/usr/bin/env python3\n{code}", encoding="utf-8")
    path.chmod(0o755)


def program(modules: str = "") -> None:
    """``ansible-playbook`` with all of it, as a process of its own; ends it."""
    from ansible import constants
    from ansible.cli import playbook

    if kept := everything():
        own, folder = os.getpid(), constants.DEFAULT_LOCAL_TMP
        kept.give(folder)
        if modules:
            interpreter(modules)
        # Before Ansible removes that folder, and not in the processes that it forks.
        atexit.register(lambda: kept.take(folder) if os.getpid() == own else None)
    sys.exit(playbook.main(sys.argv))


def _forget() -> None:
    """Removes what was made long ago; what is still needed is made anew."""
    for path in CACHE.glob("*/*"):
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - _DAYS * 86400:
                path.unlink()


def everything() -> Payloads | None:
    """Keeps all of it from now on; None, and nothing, where a run may have another collection than this checkout's."""
    from ansible import constants

    if [os.path.realpath(path) for path in constants.COLLECTIONS_PATHS] != [str(ROOT / "collections")]:
        return None
    try:
        CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:  # a user without a home
        return None
    if not os.access(CACHE, os.W_OK):
        return None
    _forget()
    roles()
    plugins()
    templates()
    return Payloads()
