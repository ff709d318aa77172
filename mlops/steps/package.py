"""`package`: the release image, code and model on the layers of the environment image."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from mlops.build.compression import Compression
from mlops.build.strategy import BuiltImage, ReleaseRequest, build_release
from mlops.domain.digest import ImageRef, ReleaseId
from mlops.steps.images import open_store, prefix
from mlops.steps.sources import Source, open_source
from mlops.steps.state import emptied
from mlops.steps.telling import say
from mlops.steps.times import stamp


def run(env: Mapping[str, str]) -> None:
    """Assemble the image; results `IMAGE_DIGEST`, `IMAGE_URL` and `release`."""
    source = open_source(env)
    tree = assemble(source)
    built = build_release(open_store(source), _request(source, tree))
    shutil.rmtree(tree)
    release = ReleaseId(source.model.name, built.ref.digest)
    source.state.write("release.json", _described(release, built))
    source.inputs.result("IMAGE_DIGEST", str(built.ref.digest))
    source.inputs.result("IMAGE_URL", built.ref.repository)
    source.inputs.result("release", str(release))
    say(str(release))


def assemble(source: Source) -> Path:
    """The commit's own files and the artifact that was taken: nothing else of training's tree."""
    tree = emptied(source.state.root / "assembly")
    source.repository.export(source.commit, tree)
    path = source.state.read("artifact.json")["path"]
    taken, place = source.state.taken / path, tree / path
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    if taken.is_dir():
        shutil.copytree(taken, place, symlinks=True)
    else:
        shutil.copy2(taken, place, follow_symlinks=False)
    return tree


def _request(source: Source, tree: Path) -> ReleaseRequest:
    model = source.model
    return ReleaseRequest(
        model=model.name,
        source=source.commit,
        committed=source.repository.info(source.commit).committed,
        environment=ImageRef.parse(source.inputs.text("image")).digest,
        tree=tree,
        code=model.build.code,
        artifact=source.state.read("artifact.json")["path"],
        command=model.serve.command,
        port=model.serve.port,
        prefix=prefix(source),
        labels=model.build.labels,
        compression=Compression(model.build.compression),
    )


def _described(release: ReleaseId, built: BuiltImage) -> Mapping[str, object]:
    layers = [dict(layer.document()) for layer in built.layers]
    platform = {"platform": built.platform, "manifest": str(built.manifest), "layers": layers}
    return {
        "release": str(release),
        "image": str(built.ref),
        "base": dict(built.base),
        "layers": layers,
        "platforms": [platform],
        "finished": stamp(datetime.now(UTC)),
    }
