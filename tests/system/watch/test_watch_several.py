"""Several repositories in one watcher: real processes, real git."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys

from tests.system.watch import watchers


def config(place, *entries: str, head: str = ""):
    file = place / "watcher.yaml"
    lines = "".join(f"  - {each}\n" for each in entries)
    file.write_text(f"apiVersion: mlops/v1\nkind: Watcher\n{head}repositories:\n{lines}")
    return str(file)


def test_a_hung_remote_and_one_that_is_gone_do_not_hold_the_others(tmp_path):
    _, shop = watchers.repository(tmp_path, "shop")
    watchers.repository(tmp_path, "other")
    _, gone = watchers.repository(tmp_path, "gone")
    shutil.rmtree(gone)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, never answers
        hung = f"{{url: 'http://127.0.0.1:{silent.getsockname()[1]}/x/hung.git'}}"
        file = config(
            tmp_path, hung, f"{{url: {gone}}}", f"{{url: {shop}}}", "{path: other-work, name: here}"
        )
        with watchers.Watcher("--config", file) as watcher:
            watcher.wait(r"shop: shop-\w+-1 begins")
            watcher.wait(r"shop: shop: environments/dev.* is not on the GitOps branch")
            watcher.wait(r"gone: there is no such remote repository")
            watcher.wait(r"here: other-\w+-1 begins")
            assert watcher.end(signal.SIGTERM) == 128 + signal.SIGTERM
            assert "the watcher has ended" in watcher.said


def test_a_run_that_cannot_begin_is_put_off_in_its_claim_also_for_a_watcher_that_comes_later(
    tmp_path,
):
    work, bare = watchers.repository(tmp_path, "shop")
    argv = ("--repo", str(work), "--interval", "1")
    with watchers.Watcher(*argv) as first:
        said = first.wait(r"shop: (\w+) is tried again at (\S+ \S+) UTC")
        first.end(signal.SIGKILL)
    ref = watchers.git(bare, "for-each-ref", "--format=%(refname)", "refs/mlops/runs/")
    claim = json.loads(watchers.git(bare, "cat-file", "blob", ref))
    assert claim["after"] == f"{said[2]}+00:00".replace(" ", "T")
    assert "is not on the GitOps branch" in claim["reason"]
    with watchers.Watcher(*argv) as second:
        assert second.wait(r"is tried again at (\S+ \S+) UTC")[1] == said[2]
        assert "begins" not in second.said
    (told,) = decisions(work)
    assert (told["state"], told["due"]) == ("queued", claim["after"].replace("+00:00", ".000Z"))
    assert "is not on the GitOps branch" in told["reason"]


def decisions(work) -> list[dict]:
    command = [
        sys.executable,
        "-m",
        "mlops",
        "runs",
        "decisions",
        "--repo",
        str(work),
        "-o",
        "json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_a_new_repository_is_cloned_bare_and_follows_the_remote(tmp_path):
    work, bare = watchers.repository(tmp_path, "shop")
    file = config(tmp_path, f"{{url: {bare}, interval: 1s}}", head="state: kept\n")
    with watchers.Watcher("--config", file) as watcher:
        watcher.wait(r"shop-\w+-1 begins")
        second = watchers.commit(work, "Second")
        watcher.wait(f"shop-{second[:12]}-1 begins")
    assert (
        watchers.git(tmp_path / "kept" / "shop.git", "rev-parse", "--is-bare-repository") == "true"
    )


def test_one_of_two_watchers_leads_and_the_other_takes_over_when_it_is_killed(tmp_path):
    work, _ = watchers.repository(tmp_path, "shop")
    argv = ("--repo", str(work), "--interval", "1")
    with watchers.Watcher(*argv) as first:
        first.wait(r"shop-\w+-1 begins")
        with watchers.Watcher(*argv) as second:
            said = second.wait(r"process (\d+) on \S+ watches already: standing by")
            assert int(said[1]) == first.process.pid
            tip = watchers.commit(work, "Second")
            first.wait(f"shop-{tip[:12]}-1 begins")
            first.end(signal.SIGKILL)
            third = watchers.commit(work, "Third")
            second.wait(f"shop-{third[:12]}-1 begins")


def findings(work) -> list[dict]:
    command = [sys.executable, "-m", "mlops", "doctor", "--repo", str(work), "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [each for each in json.loads(done.stdout) if each["subject"] == "mlops watch"]


def test_doctor_names_a_watcher_that_does_not_run(tmp_path):
    work, _ = watchers.repository(tmp_path, "shop")
    assert findings(work) == []
    with watchers.Watcher("--repo", str(work)) as watcher:
        watcher.wait("begins")
        (found,) = findings(work)
        assert found["fine"]
        assert f"process {watcher.process.pid} " in found["said"]
    (found,) = findings(work)
    assert (found["fine"], found["remedy"]) == (False, "mlops watch")


def test_fifty_repositories_in_one_watcher(tmp_path):
    work, bare = watchers.repository(tmp_path, "shop")
    watchers.git(work, "commit", "-q", "--amend", "-m", "Begin [skip ci]")
    watchers.git(work, "push", "-q", "-f", "origin", "HEAD:main")
    tip = watchers.git(work, "rev-parse", "HEAD")
    for number in range(50):
        shutil.copytree(bare, tmp_path / f"r{number}.git")
    file = config(
        tmp_path,
        *(f"{{url: {tmp_path}/r{number}.git}}" for number in range(50)),
        head="interval: 2s\n",
    )
    with watchers.Watcher("--config", file) as watcher:
        for number in range(50):
            watcher.wait(rf"\br{number}: shop: {tip[:7]} skipped")


def test_a_run_that_cannot_begin_is_told_and_tried_again_later(tmp_path):
    work, _ = watchers.repository(tmp_path, "shop")
    logs = work / ".mlops" / "watch" / "logs"
    logs.parent.mkdir(parents=True)
    logs.touch()  # as good as a full disk: nothing can be written there
    with watchers.Watcher("--repo", str(work), "--interval", "1") as watcher:
        watcher.wait(r"cannot start shop-\w+-1: .*logs")
        logs.unlink()
        watcher.wait(r"shop-\w+-1 begins")


def test_wrong_configuration_is_refused_with_file_and_line(tmp_path):
    file = config(tmp_path, "{url: https://h/a, intervall: 1s}")
    with watchers.Watcher("--config", file) as watcher:
        assert watcher.process.wait(watchers.WAIT) == 2
        watcher.wait(
            r"watcher.yaml:4: repositories\[0\].intervall: unknown key; did you mean 'interval'"
        )
