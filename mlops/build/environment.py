"""A virtual environment as a tree at /opt/venv, the same wherever and whenever it was installed.

What differs between two installs of the same wheels is put right or left out: the path inside
scripts, their RECORD lines, installer's notes, activation scripts, bytecode with times.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from pathlib import Path, PurePosixPath

from mlops.build.distributions import normal, text_of
from mlops.build.interpreter import Interpreter
from mlops.build.tar import Content, Directory, Entry, File, Link, Tree, read_tree
from mlops.errors import BuildError

VENV = PurePosixPath("/opt/venv")
_AT = str(VENV).lstrip("/")
# Notes of the installer (PEP 376, 610; uv's own), and files that only a shell session needs
_NOTES = frozenset({"INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"})
_SESSION = re.compile(r"bin/(activate.*|deactivate\.bat|pydoc\.bat|python[0-9.]*)\Z")
_MARKS = frozenset({"pyvenv.cfg", "CACHEDIR.TAG", ".gitignore", ".lock", "lib64"})
_PATCHES = frozenset({"_virtualenv.py", "_virtualenv.pth"})  # uv's own, for old installers
# `#!/bin/sh` and `'''exec' '/a long/path/python' "$0" "$@"` is how installers write a path that is
# too long, or has blanks (distlib)
_SHEBANG = re.compile(
    rb"\A#!(?:[^\n]*python[0-9.]*|/bin/sh\n'''exec' [^\n]*python[0-9.]*'? \"\$0\" \"\$@\"\n' ''')"
    rb"(?P<options> [^\n]*)?\n"
)


def tree_of(installed: Path, interpreter: Interpreter) -> dict[str, Entry]:
    """The environment that was installed in a directory of this machine, as it stands in an image.

    It may have been installed by another Python than the image's: what that one calls after itself
    gets the image's name. Raises BuildError where a file cannot be read or a script keeps the
    directory's path.
    """
    tree = read_tree(installed)
    for found in sorted((installed / "lib").glob("python3.*")):
        if found.name != interpreter.directory:
            tree = _renamed(tree, found.name, interpreter.directory)
    return laid_out(tree, installed, interpreter)


def laid_out(tree: Tree, installed: Path, interpreter: Interpreter) -> dict[str, Entry]:
    """As `tree_of`, of files that are named already, relative to the environment."""
    site = f"lib/{interpreter.directory}/site-packages"
    found = {path: entry for path, entry in tree.items() if _kept(path, site)}
    changed: dict[str, bytes] = {}
    for path in sorted(found):
        entry = found[path]
        if path.startswith("bin/") and isinstance(entry, File):
            changed[path] = script(entry.source.read_bytes())
            _no_trace(changed[path], installed, path)
            found[path] = Content(changed[path], entry.executable)
    for path, entry in found.items():
        if path.endswith(".dist-info/RECORD"):
            at = PurePosixPath(path).parent.parent
            text = record(text_of(entry), at, changed, frozenset(found))
            found[path] = Content(text.encode(errors="surrogateescape"))
    whole = {f"{_AT}/{path}": entry for path, entry in found.items()}
    return whole | _frame(interpreter, site)


def script(content: bytes) -> bytes:
    """A script's bytes with the environment's final interpreter; others' as they are."""
    return _SHEBANG.sub(
        lambda match: b"#!%s/bin/python%s\n" % (bytes(VENV), match["options"] or b""), content, 1
    )


def record(text: str, at: PurePosixPath, changed: dict[str, bytes], present: frozenset[str]) -> str:
    """A RECORD with the lines of changed scripts recomputed, of absent files removed, sorted.

    `at` is the site-packages directory, relative to the environment as `changed` and `present`.
    """
    lines = []
    for row in csv.reader(io.StringIO(text)):
        if not row:
            continue
        path = normal(at / row[0])
        if path in changed:
            digest = hashlib.sha256(changed[path]).digest()
            code = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            lines.append([row[0], f"sha256={code}", str(len(changed[path]))])
        elif path in present:
            lines.append(row)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(sorted(lines))
    return out.getvalue()


def _renamed(tree: Tree, old: str, new: str) -> dict[str, Entry]:
    """Library and headers of one Python as another's, in RECORDs too."""
    moved = {f"lib/{old}/": f"lib/{new}/", f"include/site/{old}/": f"include/site/{new}/"}
    found: dict[str, Entry] = {}
    for path, entry in tree.items():
        if path.endswith(".dist-info/RECORD") and isinstance(entry, File):
            text = entry.source.read_bytes()
            before, after = (f"/include/site/{name}/".encode() for name in (old, new))
            kept: Entry = Content(text.replace(before, after))
        else:
            kept = entry
        head = next((head for head in moved if path.startswith(head)), "")
        found[moved[head] + path.removeprefix(head) if head else path] = kept
    return found


def _kept(path: str, site: str) -> bool:
    pure = PurePosixPath(path)
    if path in _MARKS or _SESSION.match(path) or "__pycache__" in pure.parts:
        return False
    if str(pure.parent) == site and pure.name in _PATCHES:
        return False
    return not (pure.parent.name.endswith(".dist-info") and pure.name in _NOTES)


def _no_trace(content: bytes, installed: Path, path: str) -> None:
    if installed != Path(VENV) and bytes(installed) in content:
        raise BuildError(
            f"{VENV}/{path} keeps the directory that it was installed in: no image could be "
            "built twice with the same digest",
            hint="Report it to the project that this script belongs to",
        )


def _frame(interpreter: Interpreter, site: str) -> dict[str, Entry]:
    """What makes the directory a virtual environment (PEP 405)."""
    settings = (
        f"home = {interpreter.path.parent}\n"
        f"include-system-site-packages = false\nversion = {interpreter.version}\n"
    )
    tree: dict[str, Entry] = {
        f"{_AT}/pyvenv.cfg": Content(settings.encode()),
        f"{_AT}/bin/python": Link(str(interpreter.path)),
        f"{_AT}/{site}": Directory(),
    }
    for name in ("python3", interpreter.directory):
        tree[f"{_AT}/bin/{name}"] = Link("python")
    return tree
