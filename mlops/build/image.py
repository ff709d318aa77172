"""Images as values and as stored documents (OCI image-spec 1.1: config.md, manifest.md)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mlops.build.layers import KIND, PACKAGE, Layer, LayerKind
from mlops.domain.digest import Digest
from mlops.errors import BuildError, RegistryError, UsageError
from mlops.ports import ImageStore

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"
BASE_MANIFEST = "dev.mlops.base.manifest"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # what has no commit has no time
_SECOND = 10**9  # nanoseconds
# docker's own layer types name the same bytes
_LAYER_TYPES = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.oci.image.layer.v1.tar",
}

_NOT_AN_IMAGE = (
    AttributeError,
    KeyError,
    OSError,
    RecursionError,
    TypeError,
    UsageError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Health:
    """How docker asks a container of the image whether it is well (docker-image-spec 1.3, `Healthcheck`).

    OCI's own specification does not know it and lets it stand: docker goes by it in images of either
    kind, podman in docker's kind alone, Kubernetes never. Times are in seconds; `starting` is how long failures
    do not count, with a check every `often`. `argv` exits 0 where it is well, else 1.
    """

    argv: tuple[str, ...]
    interval: int = 30
    timeout: int = 10
    starting: int = 60
    often: int = 5
    retries: int = 3

    def document(self) -> dict[str, Any]:
        """As the configuration has it, in nanoseconds."""
        return {
            "Test": ["CMD", *self.argv],
            "Interval": self.interval * _SECOND,
            "Timeout": self.timeout * _SECOND,
            "StartPeriod": self.starting * _SECOND,
            "StartInterval": self.often * _SECOND,
            "Retries": self.retries,
        }


@dataclass(frozen=True, slots=True)
class Image:
    """An image of one platform: what its configuration says, and its layers from the bottom up.

    `env`, `labels` and `annotations` are pairs; a later pair of a name wins. `ports` are TCP. The `health` of
    a loaded image is not read: what a base asks is meant for the base's own command.
    """

    platform: str
    layers: tuple[Layer, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    directory: str = ""
    user: str = ""
    ports: tuple[int, ...] = ()
    health: Health | None = None
    created: datetime = EPOCH

    def label(self, name: str) -> str:
        return dict(self.labels).get(name, "")

    def annotation(self, name: str) -> str:
        return dict(self.annotations).get(name, "")

    def config(self) -> bytes:
        """The image configuration, canonical: the same image gives the same bytes."""
        system, architecture, *variant = self.platform.split("/")
        created = self.created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        settings: dict[str, Any] = {
            "Env": [f"{name}={value}" for name, value in dict(self.env).items()],
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.command),
            "WorkingDir": self.directory,
            "User": self.user,
            "ExposedPorts": {f"{port}/tcp": {} for port in self.ports},
            "Healthcheck": self.health.document() if self.health else None,
            "Labels": dict(self.labels),
        }
        document: dict[str, Any] = {
            "created": created,
            "architecture": architecture,
            "os": system,
            "config": {key: value for key, value in settings.items() if value},
            "rootfs": {"type": "layers", "diff_ids": [str(la.diff_id) for la in self.layers]},
            "history": [
                {"created": created, "created_by": f"mlops: {layer.kind} {layer.package}".rstrip()}
                for layer in self.layers
            ],
        }
        return canonical(document | ({"variant": variant[0]} if variant else {}))

    def manifest(self, config: bytes) -> bytes:
        """The image manifest for a configuration of these bytes."""
        layers = [
            {
                "mediaType": layer.media_type,
                "digest": str(layer.digest),
                "size": layer.size,
                "annotations": {KIND: str(layer.kind)}
                | ({PACKAGE: layer.package} if layer.package else {}),
            }
            for layer in self.layers
        ]
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {
                "mediaType": CONFIG_TYPE,
                "digest": str(Digest.of(config)),
                "size": len(config),
            },
            "layers": layers,
        }
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        return canonical(document)


def canonical(document: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys and no blanks, in UTF-8."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def put(store: ImageStore, image: Image, repository: str, tag: str = "") -> Digest:
    """Store configuration and manifest; the layers are there already. Raises RegistryError."""
    config = image.config()
    with store.staging() as staging:
        path = staging / secrets.token_hex(8)
        try:
            path.write_bytes(config)
        except OSError as exc:
            raise RegistryError(
                f"cannot write to {store.location}: {exc.strerror}", retryable=True
            ) from exc
        store.put_blob(path, Digest.of(config))
    return store.put_manifest(image.manifest(config), MANIFEST_TYPE, repository, tag)


def load(store: ImageStore, manifest: Digest) -> Image:
    """A stored image. Layers without our annotation are the base's.

    Raises BuildError where the documents are not what they must be, RegistryError where absent.
    """
    try:
        document = json.loads(store.manifest(manifest))
        config_digest = Digest.parse(document["config"]["digest"])
        config = json.loads(store.blob_path(config_digest).read_bytes())
        return _image(document, config)
    except _NOT_AN_IMAGE as exc:
        raise BuildError(f"{manifest} in {store.location} is no image: {exc!r}") from exc


def copy(source: ImageStore, target: ImageStore, manifest: Digest, repository: str) -> None:
    """Bring an image from one store into another, byte for byte; nothing where it is there.

    Raises RegistryError.
    """
    if complete(target, manifest):
        return
    content = source.manifest(manifest)
    document = json.loads(content)
    for part in (document["config"], *document["layers"]):
        digest = Digest.parse(part["digest"])
        if not target.has_blob(digest):
            target.put_blob(source.blob_path(digest), digest)
    target.put_manifest(content, str(document.get("mediaType") or MANIFEST_TYPE), repository)


def complete(store: ImageStore, manifest: Digest) -> bool:
    """Whether an image is in the store with all its layers."""
    if not store.has_manifest(manifest):
        return False
    return all(store.has_blob(layer.digest) for layer in load(store, manifest).layers)


def _image(document: Mapping[str, Any], config: Mapping[str, Any]) -> Image:
    settings = config.get("config") or {}
    diff_ids = config["rootfs"]["diff_ids"]
    created = datetime.fromisoformat(config["created"]) if config.get("created") else EPOCH
    platform = "/".join(filter(None, (config["os"], config["architecture"], config.get("variant"))))
    return Image(
        platform=platform,
        layers=_layers(document["layers"], diff_ids),
        env=tuple(_pair(text) for text in settings.get("Env") or ()),
        labels=tuple((settings.get("Labels") or {}).items()),
        annotations=tuple((document.get("annotations") or {}).items()),
        entrypoint=tuple(settings.get("Entrypoint") or ()),
        command=tuple(settings.get("Cmd") or ()),
        directory=settings.get("WorkingDir") or "",
        user=settings.get("User") or "",
        ports=tuple(int(port.split("/")[0]) for port in settings.get("ExposedPorts") or ()),
        created=created,
    )


def _layers(descriptors: Sequence[Mapping[str, Any]], diff_ids: Sequence[str]) -> tuple[Layer, ...]:
    return tuple(
        Layer(
            kind=_kind((descriptor.get("annotations") or {}).get(KIND)),
            digest=Digest.parse(descriptor["digest"]),
            diff_id=Digest.parse(diff_id),
            size=int(descriptor["size"]),
            media_type=_LAYER_TYPES.get(descriptor["mediaType"], descriptor["mediaType"]),
            package=str((descriptor.get("annotations") or {}).get(PACKAGE, "")),
        )
        for descriptor, diff_id in zip(descriptors, diff_ids, strict=True)
    )


def _kind(annotated: object) -> LayerKind:
    """What a layer is of ours; all others, whatever a stranger wrote on them, are the base's."""
    return next((kind for kind in LayerKind if kind == annotated), LayerKind.BASE)


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value
