"""The models that training scripts write, in a project without DVC."""

from __future__ import annotations

import posixpath

from mlops.config.discovery import kinds, requirements, scripts, trees
from mlops.config.discovery.naming import called, slug
from mlops.config.discovery.scripts import Script
from mlops.domain.discovery import Candidate, Files, FoundModel

GUESS = "models/model.pkl"


def of_scripts(files: Files, name: str) -> list[Candidate]:
    """One candidate for each part of the repository that has a script which writes a model.

    A part is a directory with dependencies of its own; without such, the directory of the script.
    Of the latter only the least deep count: what lies deeper is an experiment more often than not.
    """
    writing = [s for s in scripts.training_scripts(files) if _artifact(s)]
    own = [s for s in writing if requirements.own(files, s.home)]
    shared = [s for s in writing if s not in own]
    least = min((s.path.count("/") for s in shared), default=0)
    parts: dict[str, Script] = {}
    for script in own:
        parts.setdefault(script.home, script)
    if not own:
        for script in shared:
            if script.path.count("/") == least:
                parts.setdefault(posixpath.dirname(script.path), script)
    alone = len(parts) == 1
    return [
        _candidate(files, script, "" if alone and not own else directory, name)
        for directory, script in parts.items()
    ]


def _artifact(script: Script) -> str:
    best = max(script.writes, key=kinds.model_rank, default="")
    return best if kinds.model_rank(best) else ""


def _candidate(files: Files, script: Script, directory: str, name: str) -> Candidate:
    artifact = _artifact(script)
    metrics = max(script.writes, key=kinds.metrics_rank, default="")
    metrics = metrics if kinds.metrics_rank(metrics) else ""
    own = called(artifact, directory, name)
    model = FoundModel(
        name=own,
        directory=directory,
        code=_script_code(files, script),
        command=script.command,
        env=script.env,
        artifact=artifact,
        metrics=metrics,
    )
    reasons = [
        f"{own}: no dvc.yaml; trained by {script.path}",
        f"{own}: artifact {artifact}, which {script.path} writes",
    ]
    if metrics:
        reasons.append(f"{own}: metrics {metrics}, which {script.path} writes")
    return Candidate(model, tuple(reasons))


def _script_code(files: Files, script: Script) -> tuple[str, ...]:
    src = posixpath.join(script.home, "src")
    if script.path.startswith(f"{src}/"):
        return (src,)
    return trees.beside(files, posixpath.dirname(script.path))


def guess(files: Files, name: str) -> Candidate:
    """A model where nothing was found that writes one."""
    found = scripts.training_scripts(files)
    command, env = (found[0].command, found[0].env) if found else (("python", "train.py"), ())
    own = slug(name)
    code = _script_code(files, found[0]) if found else ()
    model = FoundModel(name=own, command=command, env=env, code=code, artifact=GUESS, metrics="")
    trained = f"trained by {found[0].path}" if found else "no training script found"
    return Candidate(model, (f"{own}: no dvc.yaml; {trained}",))
