"""Builds what speaks to forges, and keeps between two looks what was asked and told."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from mlops.adapters.forge.tokens import NoToken, Token
from mlops.adapters.forge.tokens import find as find_token
from mlops.cli import render, wiring_triggers
from mlops.cli.wiring import read_file
from mlops.domain.forge import ForgeConfig, NoPlace, Place, place
from mlops.engine import doctor, proposing, telling
from mlops.engine.claiming import Decision
from mlops.engine.doctor import Finding
from mlops.engine.proposing import Brought, Offer, Proposer
from mlops.engine.telling import Told
from mlops.errors import ConfigError, ForgeError, GitError, MlopsError

if TYPE_CHECKING:
    from mlops.cli.wiring import Opened
    from mlops.ports.forge import Forge
    from mlops.ports.pulls import Conversations

_TOLD = ".mlops/watch/told.json"
_PATIENCE = 60.0  # seconds that the end waits for a forge
Job = Callable[[], object]
Say = Callable[[str], None]
Bringing = tuple[Proposer, tuple[Offer, ...]]


@dataclass
class Forges:
    """The forges of one project, for one process. A thread of its own speaks to them: a look waits for none."""

    told: Told | None = None
    brought: Brought = field(default_factory=Brought)
    kept: Brought = field(default_factory=Brought)  # likewise, of what upkeep proposes
    _known: dict[Place, tuple[Token, Forge]] = field(default_factory=dict)
    _talks: dict[tuple[Place, Token], Conversations] = field(default_factory=dict)
    _said: set[str] = field(default_factory=set)
    _jobs: dict[str, Job] = field(default_factory=dict)  # of each kind the last
    _thread: threading.Thread | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(
        self, opened: Opened, decisions: Iterable[Decision], branches: Sequence[str] | None
    ) -> None:
        """Tell the forge of the source what became of its commits, and bring pull requests in line with what
        waits, for the first of the tracked `branches` too, where it has triggers; soon. Never fails."""
        acts: list[Job] = [
            partial(self._tell, opened, decisions),
            partial(self._propose, "pulls", partial(self._pins, opened)),
        ]
        if branches is not None:
            acts.append(partial(self._propose, "upkeep", partial(self._upkeep, opened, branches)))
        for act in acts:
            try:
                act()
            except (ConfigError, GitError) as exc:
                self._note(str(exc))

    def _tell(self, opened: Opened, decisions: Iterable[Decision]) -> None:
        forge = self.of_source(opened)
        if forge is not None:
            link = opened.project.forge.link
            about = f"{forge.place.api} {forge.place.repository} {link}"
            if self.told is None:
                self.told = Told.load(read_file(opened.root, _TOLD) or b"", about)
            said = telling.wanted(decisions, opened.gitops, link, self.told)
            job = partial(_say, said, forge, self.told, partial(_keep, opened, about))
            self._soon("statuses", job if said else None)

    def _propose(self, kind: str, find: Callable[[Say], Bringing | None]) -> None:
        found = find(render.note)
        if found is not None:
            self._soon(kind, partial(_bring, *found))

    def bring(self, opened: Opened) -> tuple[str, ...]:
        """Bring pull requests in line with what waits, now; what there is to tell of it. Never fails."""
        return _now(partial(self._pins, opened))

    def bring_upkeep(self, opened: Opened, branches: Sequence[str]) -> tuple[str, ...]:
        """Likewise those of changed data and of new locks, for the first of the tracked `branches`."""
        return _now(partial(self._upkeep, opened, branches))

    def _pins(self, opened: Opened, say: Say) -> Bringing | None:
        config = opened.project.gitops
        forge = self.of_gitops(opened) if config.proposes else None
        if forge is None:
            return None
        proposer = Proposer(forge, opened.branch, self.brought, say, config.auto_merge)
        return proposer, proposing.offers(opened.gitops)

    def _upkeep(self, opened: Opened, branches: Sequence[str], say: Say) -> Bringing | None:
        """A person merges them: what they bring is trained."""
        home = wiring_triggers.proposed(opened, branches)
        forge = self.of_source(opened) if home is not None else None
        if home is None or forge is None:
            return None
        return Proposer(forge, home.branch, self.kept, say), proposing.offers(home, upkeep=True)

    # -- the thread

    def finish(self) -> None:
        """Wait until all was said, not for long."""
        thread = self._thread
        if thread is not None:
            thread.join(_PATIENCE)

    def _soon(self, kind: str, job: Job | None) -> None:
        """In place of what was to be done before; nothing where there is nothing to do any more."""
        with self._lock:
            self._jobs.pop(kind, None)
            if job is None:
                return
            self._jobs[kind] = job
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="forge", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except BaseException:  # a bug of ours: it is shown, and the next look begins anew
                self._thread = None
                raise

    def _next(self) -> Job | None:
        with self._lock:
            if self._jobs:
                return self._jobs.pop(next(iter(self._jobs)))
            self._thread = None
            return None

    # -- which forge

    def of_source(self, opened: Opened) -> Forge | None:
        """The forge of the repository that the models are in; None where none is known or may be asked."""
        return self._connect(
            place(opened.repository.remote_url() or "", opened.project.forge), opened
        )

    def of_gitops(self, opened: Opened) -> Forge | None:
        """The forge of the repository of the GitOps branch, likewise."""
        return self._connect(self.at_gitops(opened), opened)

    def at_gitops(self, opened: Opened) -> Place | NoPlace:
        """Where that is. `gitops.url` stands in mlops.yaml, which alone leads a token nowhere: the remote that
        counts is that of the source."""
        remote, project = opened.repository.remote_url() or "", opened.project
        if not project.gitops.url:
            return place(remote, project.forge)
        at, own = place(project.gitops.url, project.forge_of_gitops), place(remote, project.forge)
        if isinstance(at, NoPlace):
            return at
        return replace(at, remote=own.remote if isinstance(own, Place) else "")

    def talk(self, opened: Opened) -> Conversations | None:
        """The pull requests of the source's repository; None as for `of_source`."""
        at = place(opened.repository.remote_url() or "", opened.project.forge)
        found = self._access(at, opened)
        if found is None:
            return None
        from mlops.adapters.forge.talk import converse  # noqa: PLC0415 - a heavy library

        if found not in self._talks:
            self._talks[found] = converse(*found)
        return self._talks[found]

    def _connect(self, at: Place | NoPlace, opened: Opened) -> Forge | None:
        found = self._access(at, opened)
        return self._forge(*found) if found is not None else None

    def _forge(self, at: Place, token: Token) -> Forge:
        """What speaks to a forge; the same as long as the token is."""
        known = self._known.get(at)
        if known is None or known[0] != token:
            from mlops.adapters.forge.connecting import connect  # noqa: PLC0415 - a heavy library

            self._known[at] = known = (token, connect(at, token))
        return known[1]

    def _access(self, at: Place | NoPlace, opened: Opened) -> tuple[Place, Token] | None:
        asked = opened.project.forge != ForgeConfig()  # somebody wants it: silence is no answer
        if isinstance(at, NoPlace):
            self._note(f"{at.reason}. {at.hint}", when=asked)
            return None
        try:
            token = find_token(at, os.environ)
        except ConfigError as exc:
            self._note(str(exc))
            return None
        if isinstance(token, NoToken):
            self._note(f"{token.reason}. {token.hint}", when=asked or not token.lacking)
            return None
        return at, token

    def examined(self, opened: Opened) -> Iterator[Finding]:
        """What `mlops doctor` finds of the forge: asked with reads alone. Never fails."""
        at = self.at_gitops(opened)
        wanted = opened.project.forge != ForgeConfig() or opened.project.gitops.proposes
        try:
            found = find_token(at, os.environ) if isinstance(at, Place) else at
        except ConfigError as exc:
            yield Finding("forge", False, False, exc.message, exc.hint)
            return
        if isinstance(at, Place) and isinstance(found, Token):
            yield doctor.access(self._forge(at, found))
        elif isinstance(found, NoPlace | NoToken) and (wanted or isinstance(found, NoToken)):
            told = f"{found.reason}: no commit statuses and no pull requests are written"
            yield Finding("forge", False, False, told, found.hint)

    def _note(self, text: str, *, when: bool = True) -> None:
        """Say it once."""
        if when and text not in self._said:
            self._said.add(text)
            render.warn(f"the forge is not told: {text}")


def _say(
    said: tuple[telling.Said, ...], forge: Forge, told: Told, keep: Callable[[Told], None]
) -> None:
    telling.tell(said, forge, told, render.warn)
    keep(told)


def _keep(opened: Opened, about: str, told: Told) -> None:
    """For the next process; without it the forge is asked again."""
    with contextlib.suppress(MlopsError):
        (opened.root / _TOLD).parent.mkdir(parents=True, exist_ok=True)
        opened.write(_TOLD, told.dump(about))


def _now(find: Callable[[Say], Bringing | None]) -> tuple[str, ...]:
    said: list[str] = []
    try:
        found = find(said.append)
        if found is not None:
            proposer, wanted = found
            proposer.bring(wanted)
    except (ConfigError, ForgeError, GitError) as exc:
        said.append(f"the pull request is opened later: {exc}")
    return tuple(said)


def _bring(proposer: Proposer, wanted: tuple[Offer, ...]) -> None:
    try:
        proposer.bring(wanted)
    except ForgeError as exc:
        render.warn(f"pull requests are brought in line later: {exc}")


def examined(opened: Opened) -> Iterator[Finding]:
    """What `mlops doctor` finds of the forge of a project."""
    yield from Forges().examined(opened)
