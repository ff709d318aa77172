"""Which models a repository has: DVC's outputs first, training scripts where there is no DVC."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import replace

from mlops.config.discovery import requirements, stages
from mlops.config.discovery.pipeline_models import of_pipeline
from mlops.config.discovery.script_models import GUESS, guess, of_scripts
from mlops.config.discovery.stages import Pipeline
from mlops.domain.discovery import Candidate, Discovery, Files, FoundModel

_NOT_READ = ("!docs/", "!tests/", "!*.md", "!.*", "!LICENSE*", "!Makefile")


def discover(files: Files, name: str) -> Discovery:
    """The models of a repository; `name` is what an only model is called.

    There is always at least one: where nothing was found it is a guess, and `missing` says so.
    """
    pipelines = stages.pipelines(files)
    found = [c for pipeline in pipelines for c in of_pipeline(files, pipeline, name)]
    if not found:
        found = of_scripts(files, name)
    if not found:
        found = [guess(files, name)]
    found = _named_apart(found)
    models = _with_paths(files, tuple(_completed(files, c.model) for c in found))
    assumed = [reason for c in found for reason in c.reasons]
    return Discovery(models, tuple(assumed), tuple(_missing(models, pipelines)))


def _named_apart(found: Sequence[Candidate]) -> list[Candidate]:
    seen: dict[str, int] = {}
    apart = []
    for candidate in found:
        name = candidate.model.name
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            name = f"{name}-{seen[name]}"
        apart.append(Candidate(replace(candidate.model, name=name), candidate.reasons))
    return apart


def _completed(files: Files, model: FoundModel) -> FoundModel:
    code = model.code or (("src",) if any(p.startswith("src/") for p in files) else ())
    return replace(
        model,
        code=code,
        requirements=requirements.find(files, model.directory),
        metric=_a_metric(files.get(model.metrics, "")),
    )


def _a_metric(text: str) -> str:
    """A top-level numeric key of a metrics file, to make an example of."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    numbers = document.items() if isinstance(document, dict) else ()
    return next((str(k) for k, v in numbers if isinstance(v, float) and 0 <= v <= 1), "")


def _with_paths(files: Files, models: tuple[FoundModel, ...]) -> tuple[FoundModel, ...]:
    """Which files concern each model.

    DVC says what its stages read: with it only their code, data and parameters are named. Without
    it a command may read anything: all but documentation, and what is another model's own.
    """
    own = {m.directory for m in models if m.directory}
    return tuple(
        replace(model, paths=_commanded(model, own) if model.command else _staged(files, model))
        for model in models
    )


def _commanded(model: FoundModel, own: set[str]) -> tuple[str, ...]:
    others = sorted(own - {model.directory})
    return ("**", *(f"!{other}/" for other in others), *_NOT_READ)


def _staged(files: Files, model: FoundModel) -> tuple[str, ...]:
    if model.directory:
        outside = (top for top in _tops(files, model) if not top.startswith(f"{model.directory}/"))
        return (f"{model.directory}/**", *outside, *(f"!**/{name}" for name in ("*.md",)))
    return (*_tops(files, model), "dvc.*", "params.*")


def _tops(files: Files, model: FoundModel) -> tuple[str, ...]:
    """The directories that the model's code and inputs lie in, as globs, and files of their own."""
    globs = []
    for path in (*model.code, *model.inputs):
        directory = path if _is_directory(files, path) else posixpath.dirname(path)
        globs.append(f"{directory}/**" if directory else path)
    return tuple(dict.fromkeys(globs))


def _is_directory(files: Files, path: str) -> bool:
    return any(other.startswith(f"{path}/") for other in files)


def _missing(models: Sequence[FoundModel], pipelines: Sequence[Pipeline]) -> Iterable[str]:
    if not pipelines:
        yield (
            "no DVC pipeline: a training command runs as a whole at each change, and data that git "
            "does not hold has no version (dvc init, dvc stage add)"
        )
    for model in models:
        if not model.requirements:
            yield (
                f"{model.name}: no requirements.txt, pyproject.toml, uv.lock, pylock.toml or Pipfile.lock: "
                "its image will hold Python alone"
            )
        if not model.metrics:
            yield f"{model.name}: no metrics file: gates have nothing to read"
        if not pipelines and model.artifact == GUESS and not model.metrics:
            yield (
                f"{model.name}: no model file found that training writes: "
                "correct `artifact` and `train.command` in mlops.yaml"
            )
