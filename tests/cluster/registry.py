"""The node's own registry, and the images that the cluster itself runs: single programs, from scratch."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from mlops.domain.digest import Digest
from tests.cluster import addresses, pins
from tests.cluster.layout import Layout
from tests.cluster.requirements import program

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
USER = "65532:65532"  # as the images that Tekton publishes


@dataclass(frozen=True, slots=True)
class Image:
    """An image of one layer: files by their path in it, links by theirs, and what it runs."""

    files: Mapping[str, Path]
    entrypoint: Sequence[str]
    links: Mapping[str, str]

    def layer(self) -> bytes:
        """The layer, as an archive: directories first, one of them writable by all."""
        sink = io.BytesIO()
        with tarfile.open(fileobj=sink, mode="w") as archive:
            for name, mode in (("bin", 0o755), ("ko-app", 0o755), ("tmp", 0o1777)):
                directory = tarfile.TarInfo(name)
                directory.type, directory.mode = tarfile.DIRTYPE, mode
                archive.addfile(directory)
            for name, source in self.files.items():
                content = source.read_bytes()
                file = tarfile.TarInfo(name)
                file.mode, file.size = 0o755, len(content)
                archive.addfile(file, io.BytesIO(content))
            for name, target in self.links.items():
                link = tarfile.TarInfo(name)
                link.type, link.linkname = tarfile.SYMTYPE, target
                archive.addfile(link)
        return sink.getvalue()


def configuration(layout: Layout) -> Path:
    """docker-registry's: files below data/, plain HTTP on the bridge."""
    path = layout.configuration / "registry.yml"
    path.write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {layout.data / 'registry'}}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: '{addresses.REGISTRY}'}}\n"
    )
    return path


def answers() -> bool:
    """Whether the registry does."""
    try:
        return httpx.get(f"http://{addresses.REGISTRY}/v2/", trust_env=False).is_success
    except httpx.HTTPError:
        return False


def push(name: str, image: Image) -> str:
    """Push an image; gives its reference by digest. Raises httpx.HTTPError."""
    layer = image.layer()
    digest = Digest.of(layer)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "User": USER,
                "Entrypoint": list(image.entrypoint),
                "Env": ["PATH=/bin:/ko-app"],
            },
            "rootfs": {"type": "layers", "diff_ids": [str(digest)]},
        }
    ).encode()
    with httpx.Client(trust_env=False, timeout=60) as client:
        described = [
            {"mediaType": kind, "digest": str(_blob(client, name, content)), "size": len(content)}
            for kind, content in ((CONFIG, config), (LAYER, layer))
        ]
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": described[0],
                "layers": described[1:],
            }
        ).encode()
        client.put(
            f"http://{addresses.REGISTRY}/v2/{name}/manifests/latest",
            content=manifest,
            headers={"Content-Type": MANIFEST},
        ).raise_for_status()
    return f"{addresses.REGISTRY}/{name}@{Digest.of(manifest)}"


def _blob(client: httpx.Client, name: str, content: bytes) -> Digest:
    digest = Digest.of(content)
    begun = client.post(f"http://{addresses.REGISTRY}/v2/{name}/blobs/uploads/").raise_for_status()
    url = httpx.URL(begun.headers["Location"]).copy_merge_params({"digest": str(digest)})
    client.put(url, content=content).raise_for_status()
    return digest


def push_all(built: pins.Built) -> dict[str, str]:
    """Every image that the cluster itself needs: its name → its reference by digest."""
    busybox = Path(program("busybox") or "busybox")
    shell = {f"bin/{name}": "busybox" for name in _APPLETS}
    made = {
        "busybox": Image({"bin/busybox": busybox}, ["/bin/sh"], shell),
        # a sandbox is ended by SIGKILL; nobody has to hear of anything less
        "pause": Image({"bin/busybox": busybox}, ["/bin/busybox", "sleep", "2147483647"], {}),
    }
    made |= {each.name: single(built, each) for each in pins.programs("tekton")}
    return {name: push(name, image) for name, image in made.items()}


def single(built: pins.Built, program: pins.Program) -> Image:
    """An image of one program, where ko puts it."""
    inside = f"/ko-app/{program.name}"
    return Image({inside[1:]: built.binary(program.name, program.module)}, [inside], {})


_APPLETS = (
    *("sh", "ash", "awk", "base64", "basename", "cat", "chmod", "cp", "cut", "date", "dd", "df"),
    *("dirname", "echo", "env", "expr", "false", "find", "grep", "gzip", "head", "hostname"),
    *("httpd", "id", "kill", "ln", "ls", "mkdir", "mktemp", "mv", "nc", "ping", "printf", "ps"),
    *("pwd", "readlink", "rm", "rmdir", "sed", "seq", "sha256sum", "sleep", "sort", "stat"),
    *("tail", "tar", "tee", "test", "touch", "tr", "true", "uname", "uniq", "vi", "wc", "wget"),
    *("which", "xargs", "yes"),
)
