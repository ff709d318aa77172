"""Builds what speaks to forges, and keeps between two looks what was asked and told."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlops.cli import render
from mlops.domain.forge import ForgeConfig, NoPlace, place
from mlops.engine.telling import Teller, Told
from mlops.errors import ConfigError

if TYPE_CHECKING:
    from mlops.adapters.forge import Memory
    from mlops.cli.wiring import Opened
    from mlops.ports.forge import Forge


@dataclass
class Forges:
    """The forges of a project, for one process."""

    told: Told = field(default_factory=Told)
    _memory: Memory | None = None
    _said: set[str] = field(default_factory=set)

    def tell(self, opened: Opened) -> None:
        """Tell the forge of the source what became of its commits. Never fails."""
        forge = self.of_source(opened)
        if forge is not None:
            teller = Teller(
                forge,
                opened.claims,
                opened.gitops,
                opened.project.forge.link,
                self.told,
                render.note,
            )
            teller.tell()

    def of_source(self, opened: Opened) -> Forge | None:
        """The forge of the repository that the models are in; None where none is known or may be asked."""
        return self._connect(opened.repository.remote_url() or "", opened.project.forge)

    def _connect(self, remote: str, config: ForgeConfig) -> Forge | None:
        at = place(remote, config)
        asked = config != ForgeConfig()  # somebody wants it: silence would be no answer
        if isinstance(at, NoPlace):
            self._note(f"{at.reason}. {at.hint}", when=asked)
            return None
        from mlops.adapters.forge import Memory, connect, tokens  # noqa: PLC0415 - a heavy library

        try:
            token = tokens.find(at, os.environ)
        except ConfigError as exc:
            self._note(str(exc))
            return None
        if isinstance(token, tokens.NoToken):
            self._note(f"{token.reason}. {token.hint}", when=asked or not token.lacking)
            return None
        self._memory = self._memory or Memory()
        return connect(at, token, self._memory)

    def _note(self, text: str, *, when: bool = True) -> None:
        """Say it once."""
        if when and text not in self._said:
            self._said.add(text)
            render.warn(f"the forge is not told: {text}")
