"""The models that a DVC pipeline puts out."""

from __future__ import annotations

import posixpath
import re

from mlops.config.discovery import kinds, naming, trees
from mlops.config.discovery.stages import Pipeline
from mlops.domain.discovery import Candidate, Files, FoundModel, Output


def of_pipeline(files: Files, pipeline: Pipeline, name: str) -> list[Candidate]:
    """One candidate for each model output; `name` is what an only one is called."""
    artifacts = _artifacts(pipeline)
    several = len(artifacts) > 1
    found = []
    for called, output in artifacts:
        metrics = _metrics(pipeline, output, several=several)
        own = called or naming.called(output.path, pipeline.directory, name, several=several)
        model = FoundModel(
            name=own,
            directory=pipeline.directory,
            code=_code(files, pipeline),
            inputs=_inputs(files, pipeline),
            stages=_targets(pipeline, output, metrics, several=several),
            artifact=output.path,
            metrics=metrics.path if metrics else "",
        )
        found.append(Candidate(model, _reasons(own, pipeline, output, metrics)))
    return found


def _reasons(
    name: str, pipeline: Pipeline, output: Output, metrics: Output | None
) -> tuple[str, ...]:
    stage = f" of stage {output.stage}" if output.stage else ""
    lines = [f"{name}: artifact {output.path}, an output{stage} in {pipeline.path}"]
    if metrics:
        lines.append(f"{name}: metrics {metrics.path}, from {metrics.stage or pipeline.path}")
    return tuple(lines)


def _artifacts(pipeline: Pipeline) -> list[tuple[str, Output]]:
    """The model outputs with their declared names, if any.

    `artifacts:` of dvc.yaml decides where it is there. Else the likeliest outputs: all that are
    equally likely, so that a `foreach` over models gives each of them.
    """
    by_path = {output.path: output for output in pipeline.outputs}
    if pipeline.declared:
        return [
            (naming.slug(name), by_path.get(path, Output(path))) for name, path in pipeline.declared
        ]
    ranked = [(kinds.model_rank(o.path), o) for o in pipeline.outputs if not o.metric]
    best = max((rank for rank, _ in ranked), default=0)
    chosen = [output for rank, output in ranked if rank == best and best > 0]
    return [("", output) for output in dict.fromkeys(chosen)]


def _metrics(pipeline: Pipeline, artifact: Output, *, several: bool) -> Output | None:
    """The metrics that belong to the artifact: a `metrics` entry before a file of that name; with
    several models the one that shares the foreach item, the stage or the name."""
    listed = [o for o in pipeline.outputs if o.metric]
    named = [o for o in pipeline.outputs if not o.metric and kinds.metrics_rank(o.path)]
    candidates = listed or named
    if not several:
        return max(candidates, key=lambda o: kinds.metrics_rank(o.path), default=None)
    words = _words(artifact.path)
    item = artifact.stage.partition("@")[2]
    for output in candidates:
        same_item = item and output.stage.partition("@")[2] == item
        if same_item or (artifact.stage and output.stage == artifact.stage):
            return output
    return next((o for o in candidates if words & _words(o.path)), None)


def _words(path: str) -> frozenset[str]:
    stem = posixpath.splitext(path)[0].lower()
    words = re.split(r"[^a-z0-9]+", stem)
    return (
        frozenset(words) - naming.GENERIC - {"metrics", "metric", "scores", "reports", "eval", ""}
    )


def _targets(
    pipeline: Pipeline, artifact: Output, metrics: Output | None, *, several: bool
) -> tuple[str, ...]:
    """The stages to reproduce: none (the whole pipeline) where it is the repository's only model."""
    if not several and not pipeline.directory:
        return ()
    wanted = [artifact.stage, metrics.stage if metrics else ""]
    return tuple(stage for stage in dict.fromkeys(wanted) if stage)


def _code(files: Files, pipeline: Pipeline) -> tuple[str, ...]:
    used = [path for path in pipeline.deps if trees.is_code(files, path)]
    return trees.roots(files, used)


def _inputs(files: Files, pipeline: Pipeline) -> tuple[str, ...]:
    """What the stages read and none of them writes, code aside."""
    written = {output.path for output in pipeline.outputs}
    plain = (path for path in pipeline.deps if not trees.is_code(files, path))
    return tuple(path for path in plain if path not in written)
