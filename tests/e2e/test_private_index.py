"""A project whose packages come from an index with a password, from lock to release."""

from pathlib import Path

import pytest

from tests.fakes.secrets import places
from tests.fakes.wheels import index, wheel

SECRET = "hunter2-Zw9x"


@pytest.mark.parametrize("way", ["url", "netrc"])
def test_the_password_is_in_nothing_that_is_made(project, tmp_path: Path, way: str):
    hidden, own = tmp_path / "hidden", tmp_path / "own"
    hidden.mkdir()
    own.mkdir()
    wheel(hidden, "secret-sauce", {"secret_sauce.py": "x = 41\n"})
    project.write("requirements.txt", "secret-sauce\n")
    text = (project.path / "src/train.py").read_text()
    project.write("src/train.py", f"import secret_sauce\n{text}")
    env = {"UV_CACHE_DIR": str(tmp_path / "uv"), "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    with index(hidden, f"bot:{SECRET}") as (place, refused):
        if way == "url":
            env["UV_DEFAULT_INDEX"] = f"http://bot:{SECRET}@{place}"
        else:
            (own / "netrc").write_text(f"machine 127.0.0.1 login bot password {SECRET}\n")
            env |= {"NETRC": str(own / "netrc"), "UV_DEFAULT_INDEX": f"http://{place}"}
        said = [project.mlops("lock", "--verbose", **env)]
        project.commit("Use the sauce")
        said.append(project.mlops("run", "--verbose", **env))
        # the ways in which it could have come out
        name = project.mlops("runs", "--output", "json").stdout
        said.append(project.mlops("show", "spam@dev", "--output", "json"))
        bad = {**env, "NETRC": "/dev/null", "UV_DEFAULT_INDEX": f"http://bot:x{SECRET}@{place}"}
        project.write("requirements.txt", "secret-sauce==1.0\nother-sauce\n")
        said.append(project.mlops("lock", code=3, **bad))
        assert refused
    assert "secret-sauce==1.0" in (project.path / "requirements.lock").read_text()
    assert name
    for done in said:
        assert SECRET not in done.stdout + done.stderr
    assert places(project.path.parent, SECRET) == []
    assert places(tmp_path / "tmp", SECRET) == []
    assert places(Path(project.env["MLOPS_CACHE"]), SECRET) == []
