"""Builds what speaks to forges, and keeps between two looks what was asked and told."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlops.cli import render
from mlops.domain.forge import ForgeConfig, NoPlace, Place, place
from mlops.engine import telling
from mlops.engine.claiming import Decision
from mlops.engine.telling import Said, Told
from mlops.errors import ConfigError, GitError

if TYPE_CHECKING:
    from mlops.adapters.forge.tokens import Token
    from mlops.cli.wiring import Opened
    from mlops.ports.forge import Forge
    from mlops.ports.pulls import Conversations

_PATIENCE = 60.0  # seconds that the end waits for a forge


@dataclass
class Forges:
    """The forges of one project, for one process. A thread of its own speaks to them: a look waits for none."""

    told: Told = field(default_factory=Told)
    _known: dict[Place, tuple[Token, Forge]] = field(default_factory=dict)
    _talks: dict[tuple[Place, Token], Conversations] = field(default_factory=dict)
    _said: set[str] = field(default_factory=set)
    _left: tuple[Forge, tuple[Said, ...]] | None = None
    _thread: threading.Thread | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, opened: Opened, decisions: Iterable[Decision]) -> None:
        """Tell the forge of the source what became of its commits, soon. Never fails."""
        forge = self.of_source(opened)
        if forge is None:
            return
        try:
            link = opened.project.forge.link
            said = telling.wanted(decisions, opened.gitops, link, self.told)
        except GitError as exc:
            self._note(str(exc))
            return
        with self._lock:
            self._left = (forge, said) if said else None
            if self._left is not None and self._thread is None:
                self._thread = threading.Thread(target=self._work, name="forge", daemon=True)
                self._thread.start()

    def finish(self) -> None:
        """Wait until all was said, not for long."""
        thread = self._thread
        if thread is not None:
            thread.join(_PATIENCE)

    def _work(self) -> None:
        while True:
            with self._lock:
                left, self._left = self._left, None
                if left is None:
                    self._thread = None
                    return
            forge, said = left
            telling.tell(said, forge, self.told, render.warn)

    def of_source(self, opened: Opened) -> Forge | None:
        """The forge of the repository that the models are in; None where none is known or may be asked."""
        return self._connect(opened.repository.remote_url() or "", opened.project.forge)

    def talk(self, opened: Opened) -> Conversations | None:
        """The pull requests of the source's repository; None as for `of_source`."""
        found = self._access(opened.repository.remote_url() or "", opened.project.forge)
        if found is None:
            return None
        from mlops.adapters.forge.talk import converse  # noqa: PLC0415 - a heavy library

        if found not in self._talks:
            self._talks[found] = converse(*found)
        return self._talks[found]

    def _connect(self, remote: str, config: ForgeConfig) -> Forge | None:
        found = self._access(remote, config)
        if found is None:
            return None
        from mlops.adapters.forge import connect  # noqa: PLC0415 - a heavy library

        at, token = found
        known = self._known.get(at)
        if known is None or known[0] != token:
            self._known[at] = known = (token, connect(at, token))
        return known[1]

    def _access(self, remote: str, config: ForgeConfig) -> tuple[Place, Token] | None:
        at = place(remote, config)
        asked = config != ForgeConfig()  # somebody wants it: silence would be no answer
        if isinstance(at, NoPlace):
            self._note(f"{at.reason}. {at.hint}", when=asked)
            return None
        from mlops.adapters.forge import tokens  # noqa: PLC0415 - a heavy library

        try:
            token = tokens.find(at, os.environ)
        except ConfigError as exc:
            self._note(str(exc))
            return None
        if isinstance(token, tokens.NoToken):
            self._note(f"{token.reason}. {token.hint}", when=asked or not token.lacking)
            return None
        return at, token

    def _note(self, text: str, *, when: bool = True) -> None:
        """Say it once."""
        if when and text not in self._said:
            self._said.add(text)
            render.warn(f"the forge is not told: {text}")
