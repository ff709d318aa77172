"""`mlops watch --listen` as a process: a delivery makes it look, and a kill loses none."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.fakes import deliveries
from tests.fakes.deliveries import SECRET
from tests.system.watch import watchers

ENV = {"MLOPS_WEBHOOK_SECRET": SECRET}
HOUR = ("--interval", "3600")


def address(watcher: watchers.Watcher) -> str:
    return watcher.wait(r"listening for webhooks on (\S+)")[1]


def send(url: str, scheme: str = "github", **more) -> httpx.Response:
    headers, body = deliveries.push(scheme, **more)
    return httpx.post(f"{url}/", headers=headers, content=body, timeout=watchers.WAIT)


def test_a_delivery_makes_a_sleeping_watcher_look(tmp_path):
    work, _ = watchers.repository(tmp_path, "shop")
    listen = ("--repo", str(work), "--listen", "127.0.0.1:0", *HOUR)
    with watchers.Watcher(*listen, **ENV) as watcher:
        watcher.wait(r"shop-\w+-1 begins")
        tip = watchers.commit(work, "Second")
        answer = send(address(watcher), path=str(tmp_path / "shop.git").strip("/"))
        assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
        watcher.wait(f"shop-{tip[:12]}-1 begins")
        url = f"{address(watcher)}/metrics"
        wait_for(url, r"mlops_watch_delivered_to_looked_seconds_count 1\.0")
        seen = wait_for(url, r"mlops_watch_decided_to_begun_seconds_count 2\.0")
        assert re.search(r'mlops_watch_looks_total\{outcome="looked",project="\S+"\} \d', seen)
        assert watcher.end(signal.SIGTERM) == 128 + signal.SIGTERM


def test_of_several_repositories_the_one_that_is_named_is_looked_at(tmp_path):
    # nothing runs of the first tips: the end of a run would be another reason to look
    works = {
        name: watchers.repository(tmp_path, name, "Begin [skip ci]") for name in ("shop", "prices")
    }
    entries = "".join(f"  - {{url: {bare}, interval: 1h}}\n" for _, bare in works.values())
    (tmp_path / "watcher.yaml").write_text(
        f"apiVersion: mlops/v1\nkind: Watcher\nrepositories:\n{entries}"
    )
    listen = ("--config", str(tmp_path / "watcher.yaml"), "--listen", "127.0.0.1:0")
    with watchers.Watcher(*listen, **ENV) as watcher:
        url = f"{address(watcher)}/metrics"
        once = 'mlops_watch_looks_total{{outcome="looked",project="{}"}} 1.0'
        for name in works:
            wait_for(url, re.escape(once.format(name)))
        tips = {name: watchers.commit(work, "Second") for name, (work, _) in works.items()}
        path = str(works["prices"][1]).strip("/").removesuffix(".git")
        assert send(address(watcher), path=path).status_code == 202
        watcher.wait(f"prices-{tips['prices'][:12]}-1 begins")
        assert once.format("shop") in httpx.get(url, timeout=watchers.WAIT).text
        assert f"shop-{tips['shop'][:12]}" not in watcher.said


def test_what_comes_to_a_watcher_that_stands_by_makes_the_other_look(tmp_path):
    work, bare = watchers.repository(tmp_path, "shop")
    listen = ("--repo", str(work), "--listen", "127.0.0.1:0", *HOUR)
    with watchers.Watcher(*listen, **ENV) as first:
        first.wait(r"shop-\w+-1 begins")
        with watchers.Watcher(*listen, **ENV) as second:
            second.wait("watches already: standing by")
            tip = watchers.commit(work, "Second")
            path = str(bare).strip("/").removesuffix(".git")
            assert send(address(second), path=path).status_code == 202
            first.wait(f"shop-{tip[:12]}-1 begins")


def test_what_was_taken_before_a_kill_is_there_at_the_next_start(tmp_path):
    """Stopped before it can hand the delivery on: a watcher that cannot look yet, then killed."""
    work, _ = watchers.repository(tmp_path, "shop")
    listen = ("--repo", str(work), "--listen", "127.0.0.1:0", *HOUR)
    told = []
    with watchers.Watcher(*listen, **ENV) as watcher:
        url = address(watcher)
        for number in range(20):
            answer = send(url, name=f"one-{number}", path="team/strange")
            told.append((f"one-{number}", answer.status_code))
        watcher.process.send_signal(signal.SIGKILL)
        watcher.process.wait()
    assert {status for _, status in told} == {202}
    journal = sqlite3.connect(work / ".mlops/watch/deliveries.db")
    kept = {name for (name,) in journal.execute("SELECT id FROM deliveries")}
    journal.execute("UPDATE deliveries SET outcome = NULL")  # as if killed before the look
    journal.commit()
    journal.close()
    assert kept == {name for name, _ in told}
    with watchers.Watcher(*listen, **ENV) as watcher:
        assert send(address(watcher), name="one-3", path="team/strange").json() == {
            "status": "duplicate"
        }
        metrics = wait_for(f"{address(watcher)}/metrics", r"mlops_deliveries_waiting 0\.0")
        assert "mlops_journal_failures 0.0" in metrics


def wait_for(url: str, pattern: str) -> str:
    """Ask until the answer has it: the metrics have no other way to say that they changed."""
    for _ in range(2000):
        text = httpx.get(url, timeout=watchers.WAIT).text
        if re.search(pattern, text):
            return text
    pytest.fail(f"{pattern} is not in\n{text}")


def refused(*argv: str, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mlops", "watch", *argv],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd), **env},
        capture_output=True,
        text=True,
        timeout=watchers.WAIT,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    return done.stderr


@pytest.fixture
def work(tmp_path) -> Path:
    return watchers.repository(tmp_path, "shop")[0]


def test_without_a_good_secret_nothing_listens(work, tmp_path):
    listen = ("--listen", "127.0.0.1:0")
    assert "MLOPS_WEBHOOK_SECRET is not set" in refused(*listen, cwd=work)
    assert "openssl rand -hex 32" in refused(*listen, cwd=work, MLOPS_WEBHOOK_SECRET="")
    for weak in ("short", "a" * 64, " " * 30, "with a newline\nin it and long"):
        assert "openssl" in refused(*listen, cwd=work, MLOPS_WEBHOOK_SECRET=weak)
    file = tmp_path / "secret"
    by_file = (*listen, "--secret-file", str(file))
    assert "cannot be read" in refused(*by_file, cwd=work)
    file.write_text(SECRET)
    file.chmod(0o644)
    assert "chmod 600" in refused(*by_file, cwd=work)
    file.chmod(0o600)
    file.write_text("\n")
    assert "is empty" in refused(*by_file, cwd=work)
    file.write_text(f"{SECRET}\n{SECRET}x\n{SECRET}y\n")
    assert "2 may be in use" in refused(*by_file, cwd=work)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--listen", "nonsense"), "is no address"),
        (("--listen", "127.0.0.1:99999"), "is no address"),
        (("--listen", ":8080"), "is no address"),
        (("--listen", "unix:"), "lacks the path"),
        (("--listen", "203.0.113.1:80"), "cannot listen on"),
        (("--listen", "127.0.0.1:0", "--once"), "--once ends"),
        (("--secret-file", "x"), "are of --listen"),
        (("--listen", "127.0.0.1:0", "--tls-cert", "x"), "belong together"),
        (("--listen", "127.0.0.1:0", "--tls-cert", "x", "--tls-key", "y"), "no certificate"),
        (("--listen", "127.0.0.1:0", "--proxy", "everybody"), "no address or network"),
    ],
)
def test_options_that_cannot_be_meant(work, argv, said):
    assert said in refused(*argv, cwd=work, **ENV)


def test_an_address_that_is_taken(work):
    listen = ("--repo", str(work), "--listen", "127.0.0.1:0", *HOUR)
    with watchers.Watcher(*listen, **ENV) as watcher:
        port = address(watcher).rpartition(":")[2]
        assert "cannot listen on" in refused("--listen", port, cwd=work, **ENV)


def test_a_unix_socket_is_ours_alone_and_goes_with_the_watcher(work, tmp_path):
    place = tmp_path / "hooks.sock"
    listen = ("--repo", str(work), "--listen", f"unix:{place}", *HOUR)
    with watchers.Watcher(*listen, **ENV) as watcher:
        address(watcher)
        assert place.stat().st_mode & 0o007 == 0
        headers, body = deliveries.push("gitea")
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(place))) as client:
            answer = client.post("http://here/", headers=headers, content=body)
        assert answer.status_code == 202
        assert "somebody listens there" in refused("--listen", f"unix:{place}", cwd=work, **ENV)
        watcher.process.send_signal(signal.SIGKILL)
        watcher.process.wait()
    assert place.exists()
    with watchers.Watcher(*listen, **ENV) as watcher:  # in place of what the dead one left
        address(watcher)
        watcher.end(signal.SIGTERM)
    assert not place.exists()
