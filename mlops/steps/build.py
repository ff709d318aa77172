"""`build`: the environment image, from a pinned base and locked requirements."""

from __future__ import annotations

from collections.abc import Mapping

from mlops.adapters.baserunner import SandboxedBase
from mlops.adapters.basesources import BaseSources
from mlops.adapters.packages import IndexedPackages
from mlops.adapters.rootfs import machine_cache
from mlops.adapters.uv import Uv
from mlops.build.compression import Compression
from mlops.build.strategy import EnvironmentRequest, PinnedBase, Toolchain, build_environment
from mlops.build.toolchain import BaseRunner
from mlops.errors import ConfigError
from mlops.steps.images import open_store, prefix
from mlops.steps.loadedbase import of_a_pod
from mlops.steps.sources import Source, open_source
from mlops.steps.telling import say


def run(env: Mapping[str, str]) -> None:
    """Build the environment image, or find it built; result `environment`."""
    source = open_source(env)
    store = open_store(source)
    place = source.home or source.state.root
    request = EnvironmentRequest(
        model=source.model.name,
        base=_base(source),
        requirements=_requirements(source),
        project=place,
        server=not source.model.serve.command,
        allow_builds=source.model.build.allow_sdist,
        prefix=prefix(source),
        bytecode=source.model.build.bytecode,
        compression=Compression(source.model.build.compression),
        rebuild=source.inputs.flag("rebuild"),
    )
    # the user's own settings of uv (package indexes) hold
    bases = BaseSources(prefix(source).partition("/")[0])
    uv = Uv(place)
    packages = IndexedPackages(uv, place)
    runner: BaseRunner = SandboxedBase(store, machine_cache())
    if source.home is None:  # a pod
        runner = of_a_pod(store, machine_cache())
    tools = Toolchain(uv, runner, bases, packages, say, packed_here=source.home is not None)
    built = build_environment(store, request, tools)
    source.state.write("environment.json", {"image": str(built.ref), "base": dict(built.base)})
    source.inputs.result("environment", str(built.ref))
    for note in built.notes:
        say(note)
    say(f"{built.ref}{' (built before)' if built.reused else ''}")


def _base(source: Source) -> PinnedBase:
    build = source.model.build
    for platform in build.platforms:
        found = source.lock.image(build.base, platform)
        if found is not None:
            return PinnedBase(build.base, found.digest, found.manifest, found.platform)
    raise ConfigError(
        f"mlops.lock does not pin {build.base} for {', '.join(build.platforms)}",
        hint="Run mlops lock, and commit what it wrote",
    )


def _requirements(source: Source) -> bytes:
    """The requirements lock at the source; empty where the model has no requirements."""
    path = source.model.build.lock
    content = source.repository.read(source.commit, path)
    wanted = source.model.build.requirements or source.lock.inputs(path) is not None
    if content is None and wanted:
        raise ConfigError(
            f"{path} is not in commit {source.commit.short}",
            hint="Run mlops lock, and commit what it wrote",
        )
    return content or b""
