"""`mlops image` as it is typed, up to where it would look at a release."""

from __future__ import annotations

import json

import pytest

from mlops.adapters.layout import OciLayout
from mlops.cli import app, image_out, image_refs
from mlops.domain.digest import Digest
from mlops.errors import UsageError


@pytest.mark.parametrize("port", ["0", "-1", "65536", "99999", "x"])
def test_a_port_that_is_none_is_a_usage_error(monkeypatch, capsys, port):
    monkeypatch.setattr("sys.argv", ["mlops", "image", "run", "iris@prod", "--port", port])
    assert app.run() == 2
    said = capsys.readouterr().err
    assert "--port" in said
    assert "a bug in mlops" not in said


@pytest.mark.parametrize(
    ("ref", "seen"),
    [
        ("oci:out:prod", "skopeo inspect oci:out:prod"),
        (
            "127.0.0.1:5000/others/iris:prod",
            "skopeo inspect docker://127.0.0.1:5000/others/iris:prod",
        ),
        (
            "ghcr.io/ana/iris@sha256:" + "a" * 64,
            "skopeo inspect docker://ghcr.io/ana/iris@sha256:aa",
        ),
    ],
)
def test_an_image_is_no_release_and_is_told_so(ref, seen):
    with pytest.raises(UsageError, match="names an image, and this command takes a release") as no:
        image_refs.record(None, ref)
    assert seen in str(no.value.hint)


@pytest.mark.parametrize("packed", ["gzip", "zstd"])
def test_layers_that_not_all_read_are_told(tmp_path, capsys, packed):
    layout = OciLayout(tmp_path)
    config = tmp_path / "config"
    config.write_bytes(b"{}")
    layout.put_blob(config, Digest.of(b"{}"))
    part = {"digest": str(Digest.of(b"{}")), "size": 2}
    kind = f"application/vnd.oci.image.layer.v1.tar+{packed}"
    document = {"schemaVersion": 2, "config": part, "layers": [{**part, "mediaType": kind}]}
    top = layout.put_manifest(
        json.dumps(document).encode(), "application/vnd.oci.image.manifest.v1+json", "m"
    )
    image_out._tell_packing(layout, top)
    assert ("umoci does not" in capsys.readouterr().err) is (packed == "zstd")
