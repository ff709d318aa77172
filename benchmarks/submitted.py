"""From a webhook to the run that it begins, and the lag of polling against its interval.

Run: python benchmarks/submitted.py [PUSHES] [POLLED]. The run is the stand-in of watcher.py, and begins where that has
won its claim; the time starts as the delivery is sent (webhooks), or as the push has ended (polling).
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import random
import re
import sys
import tempfile
import time
import uuid
from pathlib import Path

from measure import compiled, write
from watcher import Watcher, git, grow, ledger, quantile, repository

SECRET = uuid.uuid4().hex
INTERVALS = (1, 2, 5)  # seconds
WAIT = 120.0


def delivery(bare: Path, commit: str) -> tuple[dict[str, str], bytes]:
    """A push as GitHub tells it, signed."""
    url = f"file://{bare}"
    body = json.dumps(
        {
            "ref": "refs/heads/main",
            "before": "0" * 40,
            "after": commit,
            "repository": {
                "full_name": "team/shop",
                "clone_url": url,
                "ssh_url": url,
                "name": "shop",
            },
        }
    ).encode()
    mac = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return {
        "content-type": "application/json",
        "x-github-event": "push",
        "x-github-delivery": str(uuid.uuid4()),
        "x-hub-signature-256": f"sha256={mac}",
    }, body


def begun(running: Watcher, commit: str) -> float:
    """When the run of a commit began, seconds since 1970."""
    end = time.monotonic() + WAIT
    while True:
        for line in reversed(ledger(running.ledger)):
            if line.commit == commit:
                return line.when
        assert time.monotonic() < end, f"{commit} did not begin"
        time.sleep(0.005)


def _started(root: Path, pushes: int, *argv: str) -> tuple[Watcher, Path, Path, list[str]]:
    bare, work = repository(root, "shop", runs=4)
    clone = root / "clone"
    git(root, "clone", "-q", str(bare), str(clone))
    first = git(work, "rev-parse", "main")
    running = Watcher(root, "--repo", str(clone), *argv, MLOPS_WEBHOOK_SECRET=SECRET)
    begun(running, first)
    return running, bare, work, grow(work, "main", pushes)


def by_webhook(pushes: int) -> list[float]:
    with tempfile.TemporaryDirectory(prefix="mlops-submitted-") as scratch:
        root = Path(scratch)
        found = _started(root, pushes, "--interval", "3600", "--listen", "127.0.0.1:0")
        running, bare, work, commits = found
        lags = []
        try:
            log = (root / "watcher.log").read_text()
            match = re.search(r"listening for webhooks on \D*127\.0\.0\.1:(\d+)", log)
            assert match is not None, log
            for commit in commits:
                git(work, "push", "-q", "origin", f"{commit}:refs/heads/main")
                headers, body = delivery(bare, commit)
                sent = time.time()
                client = http.client.HTTPConnection("127.0.0.1", int(match[1]), timeout=WAIT)
                client.request("POST", "/", body, headers)
                answer = client.getresponse()
                assert answer.status == 202, answer.read()
                client.close()
                lags.append(begun(running, commit) - sent)
        finally:
            running.end()
        return lags


def by_polling(interval: int, pushes: int) -> list[float]:
    with tempfile.TemporaryDirectory(prefix="mlops-submitted-") as scratch:
        running, _, work, commits = _started(Path(scratch), pushes, "--interval", str(interval))
        lags = []
        try:
            for commit in commits:
                time.sleep(random.uniform(0, interval))  # noqa: S311 - a push comes at any time
                git(work, "push", "-q", "origin", f"{commit}:refs/heads/main")
                pushed = time.time()
                lags.append(begun(running, commit) - pushed)
        finally:
            running.end()
        return lags


def main() -> None:
    compiled()
    pushes = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    polled = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    rows = [_row("webhook", by_webhook(pushes))]
    rows += [_row(f"polled every {each} s", by_polling(each, polled)) for each in INTERVALS]
    write(
        "submitted",
        "From a push to its run",
        ("", "pushes", "p50, ms", "p99, ms", "most, ms"),
        rows,
        "Until the process of the run has won its claim; webhooks from the moment the delivery is sent, signed as "
        "GitHub signs them, polling from the end of the push. One push after the other; git over `file`. The run is a "
        "stand-in (watcher.py).",
    )


def _row(what: str, lags: list[float]) -> tuple[str, ...]:
    times = (quantile(lags, 0.5), quantile(lags, 0.99), max(lags))
    return (what, str(len(lags)), *(f"{1000 * each:.0f}" for each in times))


if __name__ == "__main__":
    main()
