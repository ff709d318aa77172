"""What is built inside a base: from indexes that this machine trusts, by build tools that the lock names."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from mlops.errors import BuildError
from tests.fakes.wheels import index, sdist, wheel
from tests.system.build.conftest import Bench

# A build tool that puts its own version into what it builds.
TOOL = """
import base64, hashlib, pathlib, zipfile

def build_wheel(directory, settings=None, metadata=None):
    name = "built-1.0-py3-none-any.whl"
    info = "built-1.0.dist-info"
    files = {{
        "built.py": "by = {version!r}\\n",
        f"{{info}}/METADATA": "Metadata-Version: 2.1\\nName: built\\nVersion: 1.0\\n",
        f"{{info}}/WHEEL": "Wheel-Version: 1.0\\nGenerator: tool\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }}
    record = "".join(
        f"{{path}},sha256={{base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()}},\\n"
        for path, text in files.items()
    )
    with zipfile.ZipFile(pathlib.Path(directory, name), "w") as archive:
        for path, text in {{**files, f"{{info}}/RECORD": record + f"{{info}}/RECORD,,\\n"}}.items():
            archive.writestr(path, text)
    return name
"""
BUILT = {
    "pyproject.toml": '[build-system]\nrequires = ["tool"]\nbuild-backend = "tool"\n'
    '[project]\nname = "built"\nversion = "1.0"\n'
}


def tools(directory: Path) -> str:
    """Two versions of the build tool in an index; the line that locks the older one."""
    older = wheel(directory, "tool", {"tool.py": TOOL.format(version="1.0")})
    wheel(directory, "tool", {"tool.py": TOOL.format(version="2.0")}, version="2.0")
    return older


def authority(place: Path) -> Path:
    """An authority of one's own, and `server.crt` and `server.key` in `place` that it signed."""

    def openssl(*argv: str) -> None:
        subprocess.run(["openssl", *argv], cwd=place, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ours")
    openssl("req", *new, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=index")
    (place / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
    openssl("x509", "-req", "-in", "server.csr", *signed, "-out", "server.crt")
    return place / "ca.crt"


def test_a_build_tool_comes_in_the_version_that_the_lock_names(
    bench: Bench, settings, monkeypatch: pytest.MonkeyPatch
):
    locked = tools(bench.wheels)
    line = sdist(bench.wheels, "built", BUILT)
    settings("")
    with index(bench.wheels) as (place, _):
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://{place}")
        free = bench.build(line, allow_builds=("built",))
        held = bench.build(line + locked, allow_builds=("built",))
    assert bench.python(free, "import built; print(built.by)") == "2.0\n"
    assert bench.python(held, "import built; print(built.by)") == "1.0\n"


def test_an_authority_of_this_machine_counts_in_the_base(
    bench: Bench, settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tools(bench.wheels)
    line = sdist(bench.wheels, "built", BUILT)
    own = authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    settings("")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with index(bench.wheels, tls=context) as (place, _):
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"https://{place}")
        with pytest.raises(BuildError):
            bench.build(line, allow_builds=("built",))
        monkeypatch.setenv("SSL_CERT_FILE", str(own))
        built = bench.build(line, allow_builds=("built",))
    assert bench.python(built, "import built; print(built.by)") == "2.0\n"
