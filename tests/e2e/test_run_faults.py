"""Training is hostile or unlucky: a run says what happened, pins nothing, and the next one works."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

TRAIN = "src/train.py"


def spoil(project, code: str, message: str = "Change the training") -> None:
    """Put `code` at the end of the training script."""
    path = project.path / TRAIN
    path.write_text(path.read_text() + "\n" + code + "\n")
    project.commit(message)


def fails(project, *said: str) -> str:
    """The run fails with exit 1, says `said`, and pins nothing new."""
    before = project.pinned("dev")
    done = project.mlops("run", code=1)
    assert done.stdout == ""
    for text in said:
        assert text in done.stderr, done.stderr
    assert project.pinned("dev") == before
    return done.stderr


def mended(project) -> None:
    """A later commit that undoes the damage is released."""
    project.git("revert", "--no-edit", "HEAD")
    project.git("pull", "-q", "--rebase", "origin", "main")
    project.git("push", "-q", "origin", "main")
    done = project.mlops("run", "--quiet")
    assert project.pinned("dev") in done.stdout


def test_a_stage_that_fails(live):
    spoil(live, "raise SystemExit(3)")
    told = fails(live, "train", "exit")
    assert "stage" in told.lower()
    again = live.mlops("run", code=1)  # the same answer, at once
    assert "ran already and failed" in again.stderr
    mended(live)


def test_a_stage_that_hangs(live):
    live.write(
        "mlops.yaml", (live.path / "mlops.yaml").read_text().replace("timeout: 2m", "timeout: 5s")
    )
    spoil(live, "import time\ntime.sleep(600)")
    fails(live, "train", "failed to finish within 5s")


def test_a_stage_that_eats_memory(live):
    spoil(live, "hog = []\nwhile True:\n    hog.append(b'x' * (1 << 24))")
    told = fails(live, "train")
    assert "memory" in told


@pytest.mark.parametrize("output", ["models/spam.json", "metrics.json"])
def test_an_output_that_is_a_symlink_to_a_secret(live, output, tmp_path):
    secret = tmp_path / "token"
    secret.write_text("hunter2")
    spoil(live, f"import os\nos.remove('{output}')\nos.symlink('{secret}', '{output}')")
    fails(live, output, "symlink")
    assert not any(
        "hunter2" in p.read_text(errors="replace") for p in live.data.rglob("*") if p.is_file()
    )


def test_a_stage_that_changes_dvc_config(live, tmp_path):
    thief = tmp_path / "thief"
    thief.mkdir()
    config = "\n".join(
        ("[core]", "    remote = thief", "['remote \"thief\"']", f"    url = {thief}", "")
    )
    spoil(
        live,
        "import pathlib\n"
        f"for name in ('.dvc/config', '.dvc/config.local'):\n    pathlib.Path(name).write_text({config!r})\n"
        "pathlib.Path('models/spam.json').write_text('{\"mean\": 7}')",
    )
    live.mlops("run", "--quiet")
    assert not any(p.is_file() for p in thief.rglob("*"))
    assert any(p.read_text() == '{"mean": 7}' for p in live.data.rglob("*") if p.is_file())


def test_a_stage_that_prints_a_gigabyte(live):
    spoil(
        live,
        "import sys\nline = 'x' * (1 << 20)\nfor _ in range(1024):\n    sys.stdout.write(line)\nprint()",
    )
    done = live.mlops("run", "--quiet")
    assert live.pinned("dev") in done.stdout
    run = json.loads(live.mlops("runs", "--output", "json").stdout)[0]["name"]
    logs = [p for p in (live.path / ".mlops/runs" / run).rglob("*.log") if p.is_file()]
    assert 0 < sum(p.stat().st_size for p in logs) < 128 << 20


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pathlib.Path('metrics.json').unlink()", "metrics.json"),
        ("pathlib.Path('metrics.json').write_text('accuracy is 0.9')", "metrics.json"),
        ("pathlib.Path('metrics.json').write_text('{\"accuracy\": NaN}')", "accuracy is nan"),
        ("pathlib.Path('metrics.json').write_text('{\"accuracy\": \"good\"}')", "accuracy"),
        ("pathlib.Path('metrics.json').write_text('[' * 100000)", "metrics.json"),
    ],
)
def test_metrics_that_are_none(live, text, said):
    spoil(live, text)
    fails(live, said)


def test_a_gate_that_refuses(live):
    live.write("params.yaml", "train: {accuracy: 0.4}\n")
    live.commit("A worse model")
    fails(live, "gate", "accuracy ≥ 0.5", "0.4")
    live.write("params.yaml", "train: {accuracy: 0.8}\n")
    live.commit("A better model")
    planned = live.mlops("plan").stdout  # against the last release, whatever failed in between
    assert "train.accuracy 0.9 → 0.8" in planned


def test_data_that_is_not_on_the_remote(live):
    live.write("data/train.csv", "7\n8\n")
    live.mlops("data", "add", "data/train.csv")
    live.commit("New data, not pushed")
    done = live.mlops("run", code=1)
    assert "data/train.csv" in done.stderr
    assert "mlops data push" in done.stderr
    live.mlops("data", "push")
    released = live.mlops("run", "--quiet").stdout
    assert live.pinned("dev") in released


def test_data_that_is_corrupt_on_the_remote(live):
    live.write("data/train.csv", "7\n8\n9\n")
    live.mlops("data", "add", "data/train.csv")
    live.mlops("data", "push")
    live.commit("New data")
    digest = next(
        line.split()[-1]
        for line in (live.path / "data/train.csv.dvc").read_text().splitlines()
        if "md5:" in line
    )
    stored = live.data / "files/md5" / digest[:2] / digest[2:]
    stored.chmod(0o644)
    stored.write_text("666\n")
    fails(live, "data/train.csv")


def test_a_full_disk_while_a_layer_is_written(live):
    live.write("src/big.txt", "")
    spoil(
        live,
        "import os, pathlib\npathlib.Path('models/spam.json').write_bytes(os.urandom(40 << 20))",
    )
    registry = live.path / ".mlops" / "registry"
    script = (
        f"mount -t tmpfs -o size=$(( $(du -sm {registry} | cut -f1) + 16 ))m tmpfs /mnt && "
        f'cp -a {registry}/. /mnt/ && mount --bind /mnt {registry} && exec "$@"'
    )

    argv = (
        "unshare",
        "-Urm",
        "sh",
        "-c",
        script,
        "sh",
        sys.executable,
        "-m",
        "mlops",
        "run",
        "--quiet",
    )
    done = live.run(*argv, code=3)
    assert "space" in done.stderr, done.stderr
    assert live.mlops("status", "--output", "json").returncode == 0
    released = live.mlops("run", "--again", "--quiet").stdout
    assert live.pinned("dev") in released


def test_a_kill_of_the_training_container_is_told(live):
    spoil(
        live,
        "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nos.kill(os.getpid(), signal.SIGKILL)",
    )
    fails(live, "train")


def test_the_home_directory_is_not_seen_by_training(live, tmp_path):
    secret = Path(live.env["HOME"]) / "credentials"
    secret.write_text("hunter2")
    spoil(
        live,
        f"try:\n    text = open('{secret}').read()\nexcept OSError:\n    text = 'unseen'\n"
        "import json\njson.dump({'text': text, 'env': sorted(os.environ)}, open('models/spam.json', 'w'))",
    )
    live.mlops("run", "--quiet")
    kept = [
        json.loads(p.read_text())
        for p in live.data.rglob("*")
        if p.is_file() and "unseen" in p.read_text()
    ]
    assert kept, "training read a file outside its tree"
    assert "HOME" in kept[0]["env"]
    assert not {"SSH_AUTH_SOCK", "KILLING_TRACE", "UV_CACHE_DIR", "PYTHONPATH"} & set(
        kept[0]["env"]
    )
