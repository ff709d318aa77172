"""`attest`: an in-toto statement of the release beside its image. Unsigned: whoever can write to
the store can write one; the record in git is what is trusted."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops.domain.digest import Digest, ReleaseId
from mlops.ports import ImageStore
from mlops.steps.circumstances import Circumstances
from mlops.steps.images import open_store
from mlops.steps.sources import Source, open_source
from mlops.steps.telling import say

# in-toto attestation framework v1, spec/v1/statement.md; SLSA v1.0 provenance
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
MEDIA_TYPE = "application/vnd.in-toto+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"  # OCI image-spec 1.1, manifest.md#guidance
_EMPTY = b"{}"
_BUILD_TYPE = "urn:mlops:release:v1"


def run(env: Mapping[str, str]) -> None:
    """Write the statement, and store it as a referrer of the release image."""
    source = open_source(env)
    release = ReleaseId.parse(source.inputs.text("release"))
    statement = state(source, release)
    source.state.write("statement.json", statement)
    content = json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()
    stored = attach(open_store(source), release, content)
    say(f"attested by {stored}, unsigned")


def state(source: Source, release: ReleaseId) -> dict[str, Any]:
    """The statement: what was built, from what, by which run."""
    made = source.state.read("release.json")
    here = Circumstances.of(source)
    return {
        "_type": STATEMENT,
        "subject": [{"name": release.model, "digest": {"sha256": release.digest.hex}}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": _BUILD_TYPE,
                "externalParameters": {
                    "repository": here.repository,
                    "source": source.commit.sha,
                    "model": release.model,
                },
                "internalParameters": {"run": here.run, "runtime": here.runtime},
                "resolvedDependencies": _materials(source, here, made),
            },
            "runDetails": {
                "builder": {"id": f"urn:mlops:executor:{here.executor}"},
                "metadata": {
                    "invocationId": here.run,
                    "startedOn": here.started,
                    "finishedOn": made["finished"],
                },
            },
        },
    }


def _materials(source: Source, here: Circumstances, made: Mapping[str, Any]) -> list[Any]:
    base = made["base"]
    environment = source.state.read("environment.json")["image"]
    found: list[dict[str, Any]] = [
        {"uri": here.location, "digest": {"gitCommit": source.commit.sha}},
        {"uri": f"base:{base['ref']}", "digest": _sha256(base["manifest"])},
        {"uri": environment, "digest": _sha256(environment)},
    ]
    found += [
        {"uri": f"dvc:{data.path}", "digest": {"md5": data.md5}}
        for data in (source.dvc.tracked(source.commit) if source.has_dvc else ())
    ]
    return found


def _sha256(text: str) -> dict[str, str]:
    return {"sha256": text.rpartition("sha256:")[2]}


def attach(store: ImageStore, release: ReleaseId, statement: bytes) -> Digest:
    """Store the statement as an artifact whose subject is the release (OCI image-spec 1.1)."""
    subject = store.manifest(release.digest)
    document = json.loads(subject)
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "artifactType": MEDIA_TYPE,
        "config": _put(store, _EMPTY, _EMPTY_TYPE),
        "layers": [_put(store, statement, MEDIA_TYPE)],
        "subject": {
            "mediaType": document.get("mediaType", _MANIFEST),
            "digest": str(release.digest),
            "size": len(subject),
        },
    }
    content = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    return store.put_manifest(content, _MANIFEST, release.model)


def _put(store: ImageStore, content: bytes, media_type: str) -> dict[str, Any]:
    digest = Digest.of(content)
    with tempfile.TemporaryDirectory(prefix="mlops-attest-") as directory:
        path = Path(directory) / digest.hex
        path.write_bytes(content)
        store.put_blob(path, digest)
    return {"mediaType": media_type, "digest": str(digest), "size": len(content)}
