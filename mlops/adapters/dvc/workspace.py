"""DVC within a run: in an exported source without `.git`, which training may have tampered with.

The tree is hostile once a user's command ran in it: a planted `.dvc/config.local` would redirect
`dvc push`, an output that is a symlink would publish a token as the model. So the configuration is
laid down anew from the source commit before every call that carries credentials (`reset_config`),
and outputs are taken only where they are regular files inside the tree (`outputs.collect`).
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlops.adapters.dvc import program
from mlops.adapters.dvc.program import Line
from mlops.errors import DvcError


@dataclass(frozen=True, slots=True)
class Workspace:
    """A tree that DVC works in.

    `cache` is the DVC cache, outside the tree. `config` is `.dvc/config` of the source commit (None
    where it has none), `project` the directory that its relative paths are seen from: that of the
    project's own `.dvc`. `remotes` overrides settings by remote name and key (`{"r": {"url": …}}`)
    and may hold credentials: they are written to a file that only we can read, never to argv.
    """

    tree: Path
    cache: Path
    config: bytes | None
    project: Path | None = None
    remotes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def reset_config(self) -> None:
        """Replace all of `.dvc` by the source commit's configuration and ours.

        Removed is whatever stands there, a symlink itself and not what it points at. Raises DvcError
        where that fails.
        """
        target = self.tree / ".dvc"
        try:
            _remove(target)
            target.mkdir(parents=True)
            (target / "config").write_bytes(self.config or b"")
            local = target / "config.local"
            descriptor = os.open(local, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(_local(self.cache, self._absolute()))
            self.cache.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise DvcError(f"cannot lay down {target}: {exc.strerror}") from exc

    def _absolute(self) -> dict[str, dict[str, str]]:
        """Remote settings to lay over: relative URLs of the source's configuration made absolute,
        downloads verified, then the overrides."""
        found: dict[str, dict[str, str]] = {}
        for name, url in remote_urls((self.config or b"").decode(errors="replace")).items():
            found[name] = {"verify": "true"}
            if self.project is not None and "://" not in url and not url.startswith(("/", "~")):
                found[name]["url"] = os.path.normpath(self.project / ".dvc" / url)
        for name, settings in self.remotes.items():
            found[name] = {"verify": "true", **found.get(name, {}), **settings}
        return found

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a DVC that works here; its locks and indexes lie beside the cache."""
        return program.environment(extra, site=self.cache.parent / f"{self.cache.name}-site")

    def pull(
        self,
        targets: Sequence[str] = (),
        *,
        allow_missing: bool = False,
        env: Mapping[str, str] | None = None,
        timeout: float = 3600.0,
    ) -> str:
        """Pull data (all of it, or `targets`) after laying the configuration down anew; gives DVC's
        summary. Raises DvcError where the remote fails, or (without `allow_missing`) lacks an
        object."""
        self.reset_config()
        arguments = ["pull", *(["--allow-missing"] if allow_missing else []), "--", *targets]
        return self._call(arguments, "pulling data", env, timeout)

    def push(
        self,
        outs: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        timeout: float = 3600.0,
    ) -> str:
        """Push the named outputs, and nothing else, after laying the configuration down anew.
        Raises DvcError where the remote refuses."""
        if not outs:
            return ""
        self.reset_config()
        return self._call(["push", "--no-run-cache", "--", *outs], "pushing outputs", env, timeout)

    def _call(
        self, arguments: Sequence[str], doing: str, env: Mapping[str, str] | None, timeout: float
    ) -> str:
        done = program.call(
            arguments, doing=doing, cwd=self.tree, env=self.environment(env), timeout=timeout
        )
        return done.text.strip()

    def repro(
        self,
        targets: Sequence[str],
        *,
        shell: Path | None,
        env: Mapping[str, str],
        line: Line,
        timeout: float | None = None,
        force: bool = False,
    ) -> int:
        """`dvc repro` of the targets (none: every pipeline), its output handed on line by line; with `force`
        what is not stale runs too.

        `shell` is what DVC starts each command with (`SHELL -c COMMAND`); `env` reaches DVC and
        through it the shell. Gives DVC's exit code; raises DvcError where it takes longer than
        `timeout` seconds.
        """
        extra = {**env, **({"SHELL": str(shell)} if shell is not None else {})}
        wanted = ["--", *targets] if targets else ["--all-pipelines"]
        return program.follow(
            ["repro", *(["--force"] if force else []), *wanted],
            doing="training",
            cwd=self.tree,
            env=self.environment(extra),
            line=line,
            timeout=timeout,
        )


def prepare(
    tree: Path,
    cache: Path,
    config: bytes | None,
    *,
    project: Path | None = None,
    remotes: Mapping[str, Mapping[str, str]] | None = None,
) -> Workspace:
    """A workspace with its configuration laid down."""
    found = Workspace(tree, cache, config, project, remotes or {})
    found.reset_config()
    return found


def remote_urls(config: str) -> dict[str, str]:
    """Name → url of the remotes of a `.dvc/config`."""
    found: dict[str, str] = {}
    name = ""
    for raw in config.splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = line.strip("[]").strip().strip("'\"")
            name = (
                section[len("remote") :].strip().strip("\"'")
                if section.startswith("remote")
                else ""
            )
        elif name and line.partition("=")[0].strip() == "url":
            found[name] = line.partition("=")[2].strip().strip("\"'")
    return found


def _local(cache: Path, remotes: Mapping[str, Mapping[str, str]]) -> str:
    """`.dvc/config.local`. Copies, not links: training must not write through to the cache."""
    lines = ["[core]", "no_scm = true", "analytics = false", "check_update = false"]
    lines += ["autostage = false", "interactive = false"]
    lines += ["[cache]", f"dir = {_quoted(str(cache))}", 'type = "reflink,copy"']
    for name, settings in remotes.items():
        lines.append(f"['remote \"{_plain(name)}\"']")
        lines += [f"{_plain(key)} = {_quoted(value)}" for key, value in settings.items()]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    if any(char in text for char in "\n\r\"'[]="):
        raise DvcError(f"{text!r} is no name of a DVC remote or setting")
    return text


def _quoted(text: str) -> str:
    if "\n" in text or "\r" in text or ("'" in text and '"' in text):
        raise DvcError("a DVC setting holds a line end or both kinds of quotes")
    return f"'{text}'" if '"' in text else f'"{text}"'


def _remove(path: Path) -> None:
    """Remove what stands at `path`, never following a symlink."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        _writable(path)
        shutil.rmtree(path)
    else:
        path.unlink()


def _writable(path: Path) -> None:
    """Let the owner in again: training may have taken modes away."""
    path.chmod(0o700)
    with os.scandir(path) as entries:
        inner: Iterable[Path] = [Path(e.path) for e in entries if e.is_dir(follow_symlinks=False)]
    for directory in inner:
        _writable(directory)
