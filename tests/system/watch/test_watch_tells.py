"""What runs say is told by the watcher: where nobody reads its files, and of what failed."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlops.adapters.children import FiledChild, Nursery
from mlops.cli import watchtales
from mlops.cli.watch import _Told
from mlops.domain.lineup import Queued
from mlops.domain.source import Commit
from mlops.engine.daemon import Looked
from mlops.engine.outcome import Outcome
from tests.system.watch import watchers


def child(place: Path, script: str, name: str = "run") -> FiledChild:
    return Nursery(place).start(name, [sys.executable, "-c", script])


def test_lines_come_as_they_are_said_and_none_of_an_earlier_attempt(tmp_path):
    (tmp_path / "run.log").write_text("before\n")
    gate = tmp_path / "gate"
    one = child(
        tmp_path,
        "import sys, time, pathlib\n"
        "say = lambda text: (sys.stderr.write(text), sys.stderr.flush())\n"
        "say('first\\nsec')\n"
        f"while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.01)\n"
        "say('ond\\n' + 'x' * 200_000 + '\\n\\nlast')\n",
    )
    lines = one.lines()
    assert next(lines) == "first"  # it still goes on
    gate.touch()
    assert list(lines) == ["second", "x" * 1000 + "…", "", "last"]
    assert one.wait() == 0
    assert one.last(2) == ("", "last")


def test_the_last_lines_are_of_this_attempt_alone_and_bounded(tmp_path):
    (tmp_path / "run.log").write_text("before\n")
    one = child(tmp_path, "import sys; sys.stderr.write('a\\n' + 'y' * 300_000 + '\\nb\\n')")
    one.wait()
    assert one.last(10) == ("y" * 1000 + "…", "b")
    silent = child(tmp_path, "", "silent")
    silent.wait()
    assert silent.last(10) == ()
    one.log.unlink()
    assert one.last(10) == ()
    assert list(one.lines()) == []


def test_of_a_run_that_failed_the_last_lines_are_told(tmp_path):
    work, _ = watchers.repository(tmp_path, "shop")
    with watchers.Watcher("--repo", str(work)) as watcher:
        watcher.wait(r"shop-\w+-1 \| error: shop: environments/dev\S* is not on the GitOps branch")
        watcher.wait(r"\nerror: shop: environments/dev")


def test_with_verbose_every_line_is_told_once(tmp_path):
    work, _ = watchers.repository(tmp_path, "shop")
    with watchers.Watcher("--repo", str(work), "--once", "--verbose") as watcher:
        watcher.process.wait(watchers.WAIT)
    assert len(re.findall(r"shop-\w+-1 \| planned \w{7}\n", watcher.said)) == 1
    assert len(re.findall(r"shop-\w+-1 \| error: shop: environments", watcher.said)) == 1


def test_the_first_process_of_a_container_tells_every_line(tmp_path):
    work, _ = watchers.repository(tmp_path, "shop")
    watch = [sys.executable, "-m", "mlops", "watch", "--once", "--repo", str(work)]
    done = subprocess.run(
        ["unshare", "-Urpf", "--kill-child", *watch],
        capture_output=True,
        text=True,
        check=False,
        timeout=watchers.WAIT,
    )
    assert re.search(r"shop-\w+-1 \| planned \w{7}\n", done.stderr), done.stderr


def test_a_pod_is_told_by_what_the_kubelet_gives(monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert not watchtales.wanted(verbose=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    assert watchtales.wanted(verbose=False)


def test_what_a_run_says_cannot_move_the_cursor(tmp_path, capsys):
    one = child(tmp_path, "import sys; sys.stderr.write('\\x1b[2Jgone\\n')")
    one.wait()
    tales = watchtales.Tales(follow=False)
    tales.began("shop-1", one)
    tales.ended("shop-1", failed=True)
    said = capsys.readouterr().err
    assert said.startswith("shop-1 | ")
    assert "\x1b" not in said


@pytest.mark.parametrize(("failed", "begins"), [(True, "error: spam"), (False, "spam")])
def test_what_stands_well_is_no_error(capsys, failed, begins):
    told = _Told(several=False, once=False, tales=watchtales.Tales(follow=False))
    told.looked("shop", Looked(outcomes=(Outcome("spam", "r", "", "x", failed=failed),)), 1.0)
    assert capsys.readouterr().err.startswith(begins)


def test_once_answers_each_run_once_with_what_it_came_to():
    told = _Told(several=False, once=True, tales=watchtales.Tales(follow=False))
    other = Outcome("ham", "ham-1", "", "stands", fresh=False)
    ran = Outcome("spam", "spam-1", "spam@sha256:1", "")
    told.looked("shop", Looked(outcomes=(other,)), 1.0)
    queued = Queued("shop", "spam-1", "spam", Commit("1" * 40), "", datetime.fromtimestamp(1, UTC))
    told.ended(queued, ran)
    told.looked("shop", Looked(outcomes=(other, replace(ran, fresh=False))), 1.0)
    assert told.outcomes == [other, ran]
