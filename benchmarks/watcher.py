"""What the benchmarks of `mlops watch` share: repositories, a watcher, and a stand-in for what carries runs out.

Git and the watcher are real. A run is a process that wins the queued claim, writes a line into a ledger, and
settles the claim: what a run does beside that is measured elsewhere.

Run as a program it is that watcher (`watcher.py watch …`) and that stand-in (`watcher.py run …`).
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops.adapters import holder
from mlops.adapters.children import FiledChild, Nursery
from mlops.adapters.git import Repository, RunClaims, discover
from mlops.cli import app, watched
from mlops.domain.lineup import Queued
from mlops.domain.source import Commit
from mlops.engine import claiming

LEDGER = "LEDGER"
_HERE = Path(__file__).resolve()
PROJECT = """apiVersion: mlops/v1
kind: Project
name: shop
branches: ["*"]
watch: {{each: {each}, runs: {runs}}}
models: {{shop: {{artifact: m.pkl, paths: ["src/**"], train: {{command: ["true"]}}}}}}
"""


def git(where: Path, *argv: str, check: bool = True) -> str:
    who = {
        f"GIT_{role}_{what}": "ada@example.com"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    env = {**os.environ, **who, "GIT_CONFIG_GLOBAL": "/dev/null"}
    done = subprocess.run(
        ["git", *argv], cwd=where, capture_output=True, text=True, env=env, check=check
    )
    return done.stdout.strip()


def repository(root: Path, name: str, each: str = "push", runs: int = 1) -> tuple[Path, Path]:
    """A bare repository, and a work tree that pushes to it, with one commit of a project on main."""
    bare, work = root / f"{name}.git", root / f"{name}-work"
    git(root, "init", "-q", "--bare", "-b", "main", str(bare))
    git(root, "init", "-q", "-b", "main", str(work))
    git(work, "remote", "add", "origin", str(bare))
    (work / "mlops.yaml").write_text(PROJECT.format(each=each, runs=runs))
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "Begin")
    git(work, "push", "-q", "origin", "main")
    return bare, work


def grow(work: Path, branch: str, commits: int, path: str = "src/train.py") -> list[str]:
    """So many commits on a branch, made at once (git-fast-import(1)), oldest first; nothing is pushed."""
    base = git(work, "rev-parse", f"refs/heads/{branch}", check=False)
    if len(base) != 40:
        base = git(work, "rev-parse", "main")
    stream = []
    for number in range(commits):
        text = f"# {branch} {number}\n"
        stream.append(f"commit refs/heads/{branch}\nmark :{number + 1}\n")
        stream.append(f"committer Ada <ada@example.com> {1_700_000_000 + number} +0000\n")
        stream.append(f"data {len(text)}\n{text}\n" + (f"from {base}\n" if number == 0 else ""))
        stream.append(f"M 644 inline {path}\ndata {len(text)}\n{text}\n")
    subprocess.run(
        ["git", "fast-import", "--quiet", "--force"],
        cwd=work,
        input="".join(stream).encode(),
        check=True,
    )
    return git(work, "rev-list", "--reverse", f"{base}..{branch}").split()


def claims(bare: Path) -> dict[str, dict]:
    """Run → the document of its claim."""
    names = git(
        bare, "for-each-ref", "--format=%(objectname) %(refname)", "refs/mlops/runs/"
    ).splitlines()
    pairs = [name.split(" ", 1) for name in names]
    done = subprocess.run(
        ["git", "cat-file", "--batch"],
        cwd=bare,
        input="".join(f"{blob}\n" for blob, _ in pairs).encode(),
        capture_output=True,
        check=True,
    )
    documents = [line for line in done.stdout.split(b"\n") if line.startswith(b"{")]
    return {
        ref.rpartition("/")[2]: json.loads(document)
        for (_, ref), document in zip(pairs, documents, strict=True)
    }


@dataclass(frozen=True)
class Begun:
    """A line of the ledger: when a run began (seconds since 1970), and what its process used."""

    when: float
    commit: str
    run: str
    processor: float


def ledger(path: Path) -> list[Begun]:
    if not path.exists():
        return []
    rows = (line.split() for line in path.read_text().splitlines())
    return [Begun(float(when), commit, run, float(used)) for when, commit, run, used in rows]


class Watcher:
    """`mlops watch` as a process, with the stand-in."""

    def __init__(self, root: Path, *argv: str, **env: str) -> None:
        self.ledger = root / "ledger"
        self._log = (root / "watcher.log").open("ab")
        self._argv = [sys.executable, str(_HERE), "watch", *argv]
        self._env = {**os.environ, LEDGER: str(self.ledger), **env}
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._argv, env=self._env, stderr=self._log, stdin=subprocess.DEVNULL
        )

    def kill(self) -> None:
        """kill -9, and another one at once."""
        self.process.kill()
        self.process.wait()
        self.process = self._start()

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self._log.close()


def usage(pid: int) -> tuple[float, float]:
    """Processor seconds of a process, and of its children that ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    tick = os.sysconf("SC_CLK_TCK")
    own, ended = sum(map(int, fields[11:13])), sum(map(int, fields[13:15]))
    return own / tick, ended / tick


def memory(pid: int) -> float:
    """Resident MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def offspring(pid: int) -> Iterator[str]:
    """The names of the processes below a process."""
    parents: dict[int, list[tuple[int, str]]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                head, _, rest = (entry / "stat").read_text().rpartition(")")
            except OSError:
                continue
            parents.setdefault(int(rest.split()[1]), []).append(
                (int(entry.name), head.partition("(")[2])
            )
    waiting = [pid]
    while waiting:
        for child, name in parents.get(waiting.pop(), []):
            waiting.append(child)
            yield name


def quantile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def _run(sha: str, model: str, place: str) -> int:
    with Repository(discover(Path(place))) as repository:
        claims = RunClaims(repository, repository.remote_name())
        last = claiming.newest(claims, model, Commit.parse(sha))
        if last is None or last.state == claiming.SETTLED:
            return 0
        held = claiming.moved(last.claim, claiming.SUBMITTED, holder=holder.me())
        won = claims.put(last.run, held, last.claim)
        if won is None:
            return 1
        used = (
            resource.getrusage(resource.RUSAGE_SELF),
            resource.getrusage(resource.RUSAGE_CHILDREN),
        )
        seconds = sum(each.ru_utime + each.ru_stime for each in used)
        with Path(os.environ[LEDGER]).open("a") as file:
            file.write(f"{time.time():.6f} {sha} {last.run} {seconds:.4f}\n")
        settled = claiming.moved(won, claiming.SETTLED, outcome="succeeded", release="", reason="")
        claims.put(last.run, settled, won)
        print(
            json.dumps(
                [
                    {
                        "run": last.run,
                        "release": "",
                        "note": "done",
                        "failed": False,
                        "fresh": True,
                        "due": None,
                    }
                ]
            )
        )
        return 0


def _watch() -> None:
    def begin(self: watched.WatchedProject, queued: Queued) -> FiledChild:
        argv = [sys.executable, str(_HERE), "run", queued.source.sha, queued.model, str(self.place)]
        return Nursery(self.place / ".mlops" / "watch" / "logs").start(queued.run, argv)

    watched.WatchedProject.begin = begin  # type: ignore[method-assign]
    app.main()


if __name__ == "__main__":
    if sys.argv[1] == "run":
        sys.exit(_run(*sys.argv[2:]))
    _watch()
