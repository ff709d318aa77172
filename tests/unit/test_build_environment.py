"""An installed environment made independent of where it was installed."""

import csv
import hashlib
import io
from base64 import urlsafe_b64encode
from pathlib import Path, PurePosixPath

import pytest

from mlops.build import environment
from mlops.build.interpreter import Interpreter
from mlops.build.tar import Content, File, Link, read_tree
from mlops.errors import BuildError

PYTHON = Interpreter(PurePosixPath("/usr/local/bin/python3.12"), "3.12.4", "glibc 2.36")
SITE = "lib/python3.12/site-packages"


@pytest.mark.parametrize(
    "head",
    [
        b"#!/tmp/x/bin/python\n",
        b"#!/tmp/x/bin/python3.12\n",
        b"#!/bin/sh\n'''exec' '/tmp/a b/bin/python' \"$0\" \"$@\"\n' '''\n",
        b"#!/bin/sh\n'''exec' /tmp/long/bin/python3 \"$0\" \"$@\"\n' '''\n",
    ],
)
def test_scripts_get_the_final_interpreter(head: bytes):
    body = b"import sys\nprint('#!/tmp/x/bin/python')\n"
    assert environment.script(head + body) == b"#!/opt/venv/bin/python\n" + body


def test_options_of_a_shebang_stay():
    assert environment.script(b"#!/tmp/bin/python -E\nx") == b"#!/opt/venv/bin/python -E\nx"


@pytest.mark.parametrize("content", [b"\x7fELF\0", b"#!/bin/sh\necho\n", b"#!/usr/bin/perl\n", b""])
def test_other_programs_stay_as_they_are(content: bytes):
    assert environment.script(content) == content


def install(root: Path, where: str = "") -> Path:
    """What an installer leaves: files, notes, scripts with `where` as the interpreter's place."""
    where = where or str(root)
    site = root / SITE
    info = site / "tool-1.0.dist-info"
    info.mkdir(parents=True)
    (root / "bin").mkdir()
    script = f"#!{where}/bin/python\nimport tool\n".encode()
    files = {
        root / "bin/tool": script,
        root / "bin/activate": b"VIRTUAL_ENV=" + where.encode(),
        root / "pyvenv.cfg": b"home = /elsewhere",
        root / ".lock": b"",
        root / "share/man/tool.1": b"page",
        site / "tool.py": b"x = 1\n",
        site / "_virtualenv.pth": b"import _virtualenv",
        site / "tool" / "INSTALLER": b"the package's own",
        site / "tool" / "__pycache__" / "x.cpython-312.pyc": b"time",
        info / "INSTALLER": b"uv",
        info / "REQUESTED": b"",
        info / "direct_url.json": b"{}",
        info / "METADATA": b"Name: tool\n",
    }
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    code = urlsafe_b64encode(hashlib.sha256(script).digest()).rstrip(b"=").decode()
    (info / "RECORD").write_text(
        f"../../../bin/tool,sha256={code},{len(script)}\ntool.py,sha256=a,6\n"
        'tool-1.0.dist-info/INSTALLER,sha256=b,2\n"share, data",,\n../../../share/man/tool.1,sha256=c,4\n'
        "tool-1.0.dist-info/RECORD,,\n"
    )
    (root / "bin/python").symlink_to("/usr/local/bin/python3.12")
    (root / "bin/python3").symlink_to("python")
    (root / "lib64").symlink_to("lib")
    (root / "bin/tool").chmod(0o755)
    return root


def content(entry: object) -> bytes:
    if isinstance(entry, Content):
        return entry.content
    assert isinstance(entry, File)
    return entry.source.read_bytes()


def test_leaves_out_what_differs_and_keeps_the_rest(tmp_path: Path):
    tree = environment.tree_of(install(tmp_path / "venv"), PYTHON)
    site = f"opt/venv/{SITE}"
    assert set(tree) == {
        "opt/venv/bin/python",
        "opt/venv/bin/python3",
        "opt/venv/bin/python3.12",
        "opt/venv/bin/tool",
        "opt/venv/pyvenv.cfg",
        "opt/venv/share/man/tool.1",
        site,
        f"{site}/tool.py",
        f"{site}/tool/INSTALLER",
        f"{site}/tool-1.0.dist-info/METADATA",
        f"{site}/tool-1.0.dist-info/RECORD",
    }
    assert tree["opt/venv/bin/python"] == Link("/usr/local/bin/python3.12")
    assert b"home = /usr/local/bin\n" in content(tree["opt/venv/pyvenv.cfg"])
    assert b"version = 3.12.4\n" in content(tree["opt/venv/pyvenv.cfg"])
    tool = tree["opt/venv/bin/tool"]
    assert isinstance(tool, Content)
    assert tool.executable


def test_the_record_says_what_is_there(tmp_path: Path):
    tree = environment.tree_of(install(tmp_path / "venv"), PYTHON)
    record = content(tree[f"opt/venv/{SITE}/tool-1.0.dist-info/RECORD"]).decode()
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(record))}
    assert list(rows) == [
        "../../../bin/tool",
        "../../../share/man/tool.1",
        "tool-1.0.dist-info/RECORD",
        "tool.py",
    ]
    script = content(tree["opt/venv/bin/tool"])
    code = urlsafe_b64encode(hashlib.sha256(script).digest()).rstrip(b"=").decode()
    assert rows["../../../bin/tool"] == [f"sha256={code}", str(len(script))]


def test_the_directory_does_not_matter(tmp_path: Path):
    one = environment.tree_of(install(tmp_path / "one"), PYTHON)
    two = environment.tree_of(install(tmp_path / "two and a blank"), PYTHON)
    assert {p: content(e) for p, e in one.items() if isinstance(e, Content | File)} == {
        p: content(e) for p, e in two.items() if isinstance(e, Content | File)
    }


def test_a_script_that_keeps_the_directory_is_refused(tmp_path: Path):
    root = install(tmp_path / "venv")
    (root / "bin/odd").write_bytes(f"#!/bin/sh\nexec {root}/bin/python -m odd\n".encode())
    with pytest.raises(BuildError, match="/opt/venv/bin/odd keeps the directory"):
        environment.tree_of(root, PYTHON)


def test_scripts_installed_where_the_image_has_them_stay(tmp_path: Path):
    """As the mlops in the tool image finds its own."""
    root = install(tmp_path / "venv")
    tree = read_tree(root)
    (root / "bin/odd").write_bytes(b"#!/bin/sh\nexec /opt/venv/bin/python -m odd\n")
    laid = environment.laid_out(
        {**tree, "bin/odd": File(root / "bin/odd", True)}, Path("/opt/venv"), PYTHON
    )
    assert content(laid["opt/venv/bin/odd"]) == (root / "bin/odd").read_bytes()


def test_wheels_know_no_variant_of_a_processor():
    assert PYTHON.target("linux/arm64/v8") == PYTHON.target("linux/arm64")
    assert PYTHON.target("linux/arm64").platform == "linux/arm64"
