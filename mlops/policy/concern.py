"""Whether changed paths can concern a model, told without DVC: what a watcher asks of every tip.

It errs to one side alone. Where it says no, a plan would say that there is nothing to do; where it cannot tell
(an input of a stage that a template names, say) it says yes, and the run's plan finds out.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from mlops.domain.patterns import matches
from mlops.domain.project import ModelConfig
from mlops.policy.hashes import overlaps
from mlops.policy.impact import SETTINGS

_BETWEEN = re.compile(r"[\s'\",:\[\]{}&*#]+")
_ABOVE = re.compile(r"(?:\.{1,2}/)+")
_TEMPLATE = "${"
_DEEP = 40  # directories, below which nothing is looked for
_DVC = frozenset({"dvc.yaml", "dvc.lock", "params.yaml", ".dvcignore"})


def concerned(model: ModelConfig, paths: Iterable[str], pipelines: Iterable[str]) -> bool:
    """Whether any of the changed `paths` can concern the model; `pipelines` are the texts of all dvc.yaml."""
    named = [_words(text) for text in pipelines]
    return any(_concerns(model, path) or _named(path, named) for path in paths)


def _concerns(model: ModelConfig, path: str) -> bool:
    build = model.build
    own = (*SETTINGS, build.lock, build.requirements, model.artifact, model.metrics)
    name = posixpath.basename(path)
    if path in own or name in _DVC or name.endswith(".dvc") or path.startswith(".dvc/"):
        return True
    return any(overlaps(path, code) for code in build.code) or matches(model.paths, path)


@lru_cache(maxsize=64)
def _words(text: str) -> frozenset[str] | None:
    """The words of a dvc.yaml, paths among them; None where templates hide some."""
    if _TEMPLATE in text:
        return None
    return frozenset(_ABOVE.sub("", word).rstrip("/") for word in _BETWEEN.split(text))


def _named(path: str, named: Iterable[frozenset[str] | None]) -> bool:
    """Whether a pipeline may name a path, or a directory that it lies in."""
    names = path.split("/")
    deep = len(names) > _DEEP
    return any(words is None or deep or any(p in words for p in _parts(names)) for words in named)


def _parts(names: Sequence[str]) -> Iterator[str]:
    """Every stretch of a path's names: a stage may name it from a directory of its own."""
    for start in range(len(names)):
        for end in range(start + 1, len(names) + 1):
            yield "/".join(names[start:end])
