"""What a model is called."""

from __future__ import annotations

import posixpath
import re

# words that tell nothing about which model it is
GENERIC = frozenset(
    (
        *("model", "models", "best", "final", "output", "outputs", "latest", "trained"),
        *("clf", "pipeline", "train", "artifacts"),
    )
)

# images of ours are called so; and YAML reads these plain words as something else
_TAKEN = frozenset(
    ("mlops", "base-host", "null", "true", "false", "yes", "no", "on", "off", "y", "n")
)
_AFFIX = re.compile(r"^(?:model|clf)[-_.]|[-_.](?:model|clf|classifier|regressor|pipeline)$")


def slug(text: str) -> str:
    """`text` as the name of a model: lower case, digits and single hyphens, at most 40 characters."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
    if plain in _TAKEN:
        return f"{plain}-model"
    return plain if plain[:1].isalpha() else f"m-{plain}".strip("-")


def called(path: str, directory: str, project: str, *, several: bool = False) -> str:
    """A model's name: what its artifact is called; an only model's else by its directory or project."""
    stem, *folders = [posixpath.splitext(part)[0] for part in reversed(path.split("/"))]
    parts = [stem, *(folders if several else ())]
    told = [_AFFIX.sub("", part.lower()) for part in parts]
    own = next((part for part in told if part and part not in GENERIC), "")
    return slug(own or posixpath.basename(directory) or project)
