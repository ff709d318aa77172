"""Brings images of releases to this machine, and runs them.

As in `wiring`, heavy libraries load inside the factories.
"""

from __future__ import annotations

import contextlib

from mlops.cli.wiring import Opened
from mlops.domain.digest import ImageRef, ReleaseId
from mlops.errors import ConfigError, OutsideError, RegistryError, UsageError

_STOPPED = (130, 143)  # 128 + SIGINT, SIGTERM: what ends a server that is asked to end


def serve(opened: Opened, release: ReleaseId, port: int) -> int:
    """Run the default command of a release's image until it ends; its exit code."""
    from mlops.adapters.executors.local.serve import LocalImages  # noqa: PLC0415
    from mlops.adapters.rootfs import machine_cache  # noqa: PLC0415
    from mlops.cli import render  # noqa: PLC0415

    images = LocalImages(
        opened.state / "runs", opened.local_images, opened.project.runtime, machine_cache()
    )
    for text in images.notes():
        render.note(text)
    chosen = port or opened.project.model(release.model).serve.port
    _free(chosen)
    bring(opened, release)
    render.note(f"starting {release.short} on port {chosen}; stop it with Ctrl-C")
    image = ImageRef(release.model, release.digest)
    code = images.serve(image, {"MLOPS_RELEASE": str(release)}, chosen)
    if code in _STOPPED:
        return 0
    if code:
        raise OutsideError(f"the server of {release.short} ended with exit code {code}")
    return 0


def bring(opened: Opened, release: ReleaseId) -> None:
    """Bring a release's image to this machine, from the project's registry or else that of an
    environment. Raises RegistryError where it is not to be had."""
    if opened.local_images.has_manifest(release.digest):
        return None
    from mlops.adapters.pulling import pull  # noqa: PLC0415

    own = "" if opened.project.layout is not None else opened.project.registry
    fault: RegistryError | None = None
    for registry in filter(None, (own, *_environment_registries(opened))):
        home = opened.in_registry(registry, release.model).repository(release.model)
        try:
            return pull(home, release.digest, opened.local_images)
        except RegistryError as exc:
            fault = fault or exc
    raise fault or RegistryError(
        f"{release} is not in {opened.local_images.location}, the registry of this clone",
        hint="Serve it in the clone where it was built, or build it here: mlops run COMMIT --again",
    )


def _environment_registries(opened: Opened) -> tuple[str, ...]:
    from mlops.engine.state import Environments  # noqa: PLC0415

    tip = opened.gitops.tip()
    environments = Environments.load(opened.gitops, tip, opened.project, opened.now())
    found: dict[str, None] = {}
    for name in environments.names:
        with contextlib.suppress(ConfigError):
            found[environments.policy(name).registry] = None
    return tuple(found)


def _free(port: int) -> None:
    """Raises UsageError where somebody listens on the port already."""
    import socket  # noqa: PLC0415

    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError as exc:
            raise UsageError(
                f"port {port} cannot be used: {exc.strerror}", hint="Choose one with --port"
            ) from exc
