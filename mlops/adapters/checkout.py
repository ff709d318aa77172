"""A repository as it stands on disk: what `mlops init` looks at and writes into."""

from __future__ import annotations

from pathlib import Path

from mlops.adapters.git.command import discover
from mlops.adapters.git.repository import Repository
from mlops.errors import OutsideError, UsageError

_LIMIT = 1 << 20  # bytes: no file that tells how a project is built is larger


class Checkout:
    """Files on disk, from the repository's root; nothing outside it is read or written."""

    def __init__(self, start: Path) -> None:
        self._git = discover(start)
        self._repository = Repository(self._git)
        if self._repository.bare:
            raise UsageError(f"{self._git.directory} has no work tree", hint="Run it in a clone")
        self.root = self._git.directory

    def files(self) -> tuple[str, ...]:
        listed = self._git.run(
            *("ls-files", "-z", "--cached", "--others", "--exclude-standard"),
            doing="listing the files of the work tree",
        )
        return tuple(sorted({path for path in listed.text.split("\0") if path}))

    def text(self, path: str) -> str | None:
        place = self._inside(path)
        if place is None or not place.is_file() or place.is_symlink():
            return None
        if place.stat().st_size > _LIMIT:
            return ""
        try:
            return place.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return ""
        except OSError as exc:
            raise OutsideError(f"cannot read {path}: {exc.strerror}") from exc

    def create(self, path: str, content: str) -> bool:
        place = self._inside(path)
        if place is None:
            raise OutsideError(
                f"{path} leads out of the repository", hint="A directory is a symlink"
            )
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("x", encoding="utf-8") as new:
                new.write(content)
        except FileExistsError:
            return False
        except OSError as exc:
            raise OutsideError(f"cannot write {path}: {exc.strerror}") from exc
        return True

    def append(self, path: str, lines: str) -> None:
        old = self.text(path) or ""
        gap = "" if not old or old.endswith("\n") else "\n"
        place = self._inside(path)
        if place is None or place.is_symlink():
            raise OutsideError(f"{path} is a symlink", hint=f"Add by hand: {lines.strip()}")
        try:
            with place.open("a", encoding="utf-8") as file:
                file.write(gap + lines)
        except OSError as exc:
            raise OutsideError(f"cannot write {path}: {exc.strerror}") from exc

    def branch(self) -> str:
        done = self._git.run(
            *("symbolic-ref", "--quiet", "--short", "HEAD"),
            doing="asking which branch is checked out",
            ok=(0, 1),
        )
        return done.text.strip()

    def remote(self) -> tuple[str, str]:
        return self._repository.remote_name() or "", self._repository.remote_url() or ""

    def fetches(self, remote: str) -> tuple[str, ...]:
        done = self._git.run(
            *("config", "--get-all", f"remote.{remote}.fetch"),
            doing=f"reading what is fetched from {remote}",
            ok=(0, 1),
        )
        return tuple(done.text.splitlines())

    def add_fetch(self, remote: str, refspec: str) -> None:
        self._git.run(
            *("config", "--add", f"remote.{remote}.fetch", refspec),
            doing=f"adding to what is fetched from {remote}",
        )

    def _inside(self, path: str) -> Path | None:
        place = self.root / path
        parent = place.parent.resolve()
        return place if parent == self.root or parent.is_relative_to(self.root) else None
