"""Bases wherever they come from: a registry, or this machine's own layouts and archives."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from mlops.adapters import ociindex
from mlops.adapters.bases import ARCHIVES, LAYOUT, MANIFEST, REPOSITORY, LocalBases
from mlops.adapters.platforms import check, chosen
from mlops.adapters.pulling import bring_blobs
from mlops.adapters.registry import Registry, images
from mlops.domain.digest import Digest
from mlops.domain.imagename import ImageName
from mlops.domain.lock import base_tag
from mlops.errors import BuildError, ConfigError, UnreachableError, UsageError
from mlops.ports import ImageStore

HOST = "host"  # the base that is packed, and comes from nowhere


@dataclass(frozen=True, slots=True)
class BaseSources:
    """Meets `build.toolchain.BaseSource`. `ours` is the host of the project's own registry, which alone
    is told the credentials in the environment."""

    ours: str = ""

    def fetch(
        self, ref: str, project: Path, platform: str, store: ImageStore
    ) -> tuple[Digest, Digest]:
        """As `LocalBases.fetch`; `NAME[:TAG][@DIGEST]` comes from a registry, by the digest where there
        is one. Raises ConfigError where `ref` names nothing, UnreachableError where a registry does not
        answer."""
        if ref.startswith((LAYOUT, *ARCHIVES)):
            return LocalBases().fetch(ref, project, platform, store)
        try:
            name = ImageName.parse(ref)
        except UsageError as exc:
            raise ConfigError(
                f"mlops.yaml: build.base: {exc.message}",
                hint="Use python:3.12-slim, registry.example.com/name:tag, oci:DIRECTORY[:TAG], "
                "oci-archive:FILE or host",
            ) from exc
        registry = Registry(name.repository, ours=name.host == self.ours)
        meant = _meant(ref)
        try:
            return _pulled(registry, name, platform, store)
        except UnreachableError as exc:
            if not exc.message.startswith(registry.repository.host):
                raise  # it is the store that does not answer
            raise UnreachableError(
                f"the base {ref} cannot be had: {exc.message}", hint=meant or exc.hint
            ) from exc
        except BuildError as exc:
            if meant:
                raise BuildError(exc.message, hint=meant) from exc
            raise


def _meant(ref: str) -> str:
    """Advice where a base looks like a slip of `host`."""
    slip = ref != HOST and bool(difflib.get_close_matches(ref, [HOST], cutoff=0.7))
    return (
        f"Did you mean {HOST}? It packs this machine's interpreter: build: {{base: {HOST}}}"
        if slip
        else ""
    )


def _pulled(
    registry: Registry, name: ImageName, platform: str, store: ImageStore
) -> tuple[Digest, Digest]:
    top = name.digest or registry.resolve(name.tag)
    if top is None or (name.digest is not None and not registry.has_manifest(top)):
        raise BuildError(
            f"the base {name} is not there: {name.repository} has no such "
            f"{'tag' if top is None else 'digest'}",
            hint="Name another one in mlops.yaml; or sign in, for some registries hide what is private: "
            f"docker login {name.host}",
        )
    manifest = chosen(registry.manifest, top, platform, str(name))
    content = registry.manifest(manifest)
    document = ociindex.parse(content)
    blobs = images.blobs(document, manifest)
    config = ociindex.digest_of(document["config"])
    bring_blobs(registry, {config: blobs[config]}, store)
    check(store.blob_path(config), platform, str(name))
    bring_blobs(registry, blobs, store)
    kind = str(document.get("mediaType") or MANIFEST)
    return top, store.put_manifest(content, kind, REPOSITORY, base_tag(manifest))
