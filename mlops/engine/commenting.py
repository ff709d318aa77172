"""Keeps exactly one comment of ours on a pull request, whoever else is at it at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlops.domain.pulls import Remark
from mlops.errors import ForgeError
from mlops.ports.pulls import Conversations

_MOST = 900  # comments; where there are more, not all of them may be listed, and ours may be among the rest


@dataclass(frozen=True, slots=True)
class Commenter:
    """Finds the comment by its marker, which is its first line, among those that we made: anybody can write
    a marker. Of several the oldest stays, for every watcher the same one, and the others are deleted."""

    forge: Conversations
    marker: str

    def put(self, number: int, body: str, *, create: bool = True) -> bool:
        """Let the comment say `body`; whether anything was written. Raises ForgeError."""
        there = self._ours(number)
        if not there:
            if not create:
                return False
            self._add(number, body)
            self._settle(self._ours(number), body)  # somebody may have made one meanwhile
            return True
        return self._settle(there, body)

    def _settle(self, there: Sequence[Remark], body: str) -> bool:
        for each in there[1:]:
            self.forge.remove(each)
        if not there or _same(there[0].body, body):
            return len(there) > 1
        self.forge.edit(there[0], body)
        return True

    def _ours(self, number: int) -> Sequence[Remark]:
        remarks = self.forge.remarks(number)
        found = [each for each in remarks if each.mine and self._marked(each)]
        if not found and len(remarks) > _MOST:
            raise ForgeError(
                f"pull request {number} has more than {_MOST} comments: whether ours is among them is not known"
            )
        return sorted(found, key=lambda each: each.ident)

    def _marked(self, remark: Remark) -> bool:
        return remark.body.lstrip().partition("\n")[0].strip() == self.marker

    def _add(self, number: int, body: str) -> None:
        try:
            self.forge.add(number, body)
        except ForgeError as exc:
            # the answer may be lost and the comment there: the listing tells
            if not exc.retryable or not self._ours(number):
                raise


def _same(a: str, b: str) -> bool:
    """As forges keep a text: with other line ends, and without white space at its end."""
    return a.replace("\r\n", "\n").strip() == b.replace("\r\n", "\n").strip()
