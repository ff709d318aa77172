"""The OCI layout against image-spec 1.1, and against what interrupts a writer."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mlops.adapters.filelock import locked
from mlops.adapters.layout import OciLayout
from mlops.domain.digest import Digest
from mlops.errors import RegistryError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def layout(tmp_path: Path) -> OciLayout:
    return OciLayout(tmp_path / "registry")


def manifest(text: str = "", **more: object) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "text": text, **more}).encode()


def put_blob(layout: OciLayout, content: bytes) -> Digest:
    digest = Digest.of(content)
    with layout.staging() as staging:
        path = staging / "blob"
        path.write_bytes(content)
        layout.put_blob(path, digest)
    return digest


def left(layout: OciLayout) -> list[str]:
    return sorted(str(p.relative_to(layout.root)) for p in layout.root.rglob("*") if p.is_file())


def program(body: str, *argv: str, **kwargs) -> subprocess.Popen:
    code = "import sys\nfrom pathlib import Path\nfrom mlops.adapters.layout import OciLayout\n"
    code += "from mlops.domain.digest import Digest\nlayout = OciLayout(Path(sys.argv[1]))\n"
    code += textwrap.dedent(body)
    return subprocess.Popen(
        [sys.executable, "-c", code, *argv], stdout=subprocess.PIPE, text=True, **kwargs
    )


def test_is_a_layout_by_the_specification(layout: OciLayout):
    content = manifest()
    digest = layout.put_manifest(content, MANIFEST, "wine", "v1")
    assert json.loads((layout.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((layout.root / "index.json").read_bytes())
    assert index["schemaVersion"] == 2
    assert index["manifests"] == [
        {
            "mediaType": MANIFEST,
            "digest": str(digest),
            "size": len(content),
            "annotations": {
                "org.opencontainers.image.ref.name": "wine:v1",
                "dev.mlops.repository": "wine",
            },
        }
    ]
    assert (layout.root / "blobs/sha256" / digest.hex).read_bytes() == content


def test_reads_of_a_layout_that_is_not_there_write_nothing(layout: OciLayout):
    assert layout.resolve("wine", "v1") is None
    assert layout.referrers(Digest.of(b"x")) == ()
    assert not layout.has_manifest(Digest.of(b"x"))
    assert not layout.root.exists()


def test_a_tag_moves_and_what_had_it_stays(layout: OciLayout):
    first = layout.put_manifest(manifest("1"), MANIFEST, "wine", "latest")
    second = layout.put_manifest(manifest("2"), MANIFEST, "wine", "latest")
    assert layout.resolve("wine", "latest") == second
    assert [e["digest"] for e in layout.entries()] == [str(first), str(second)]
    assert layout.tags("wine") == {"latest": second}
    assert layout.manifest(first) == manifest("1")


def test_putting_twice_enters_once(layout: OciLayout):
    for tag in ("", "a", "", "a", "b"):
        layout.put_manifest(manifest(), MANIFEST, "wine", tag)
    layout.put_manifest(manifest(), MANIFEST, "beer")
    names = [e["annotations"].get("org.opencontainers.image.ref.name") for e in layout.entries()]
    assert names == ["wine:a", "wine:b", None]
    before = (layout.root / "index.json").stat().st_mtime_ns
    layout.put_manifest(manifest(), MANIFEST, "wine", "a")
    assert (layout.root / "index.json").stat().st_mtime_ns == before


def test_a_repository_is_not_a_prefix_of_another(layout: OciLayout):
    layout.put_manifest(manifest(), MANIFEST, "wine-env", "v1")
    assert layout.resolve("wine", "v1") is None


def test_referrers_by_the_tag_schema(layout: OciLayout):
    image = layout.put_manifest(manifest(), MANIFEST, "wine", "v1")
    subject = {"mediaType": MANIFEST, "digest": str(image), "size": len(manifest())}
    made = [
        layout.put_manifest(
            manifest(str(n), subject=subject, artifactType="text/x", annotations={"n": str(n)}),
            MANIFEST,
            "wine",
        )
        for n in (1, 2, 1)
    ]
    found = layout.referrers(image)
    assert [d["digest"] for d in found] == [str(made[0]), str(made[1])]
    assert found[0]["artifactType"] == "text/x"
    assert found[0]["annotations"] == {"n": "1"}
    index = layout.resolve("wine", f"sha256-{image.hex}")
    assert index is not None
    assert json.loads(layout.manifest(index))["manifests"] == list(found)
    assert layout.referrers(made[0]) == ()


def test_refuses_bytes_that_are_others(layout: OciLayout, tmp_path: Path):
    path = tmp_path / "blob"
    path.write_bytes(b"one")
    with pytest.raises(RegistryError, match="other bytes"):
        layout.put_blob(path, Digest.of(b"two"))
    assert path.exists()
    assert not layout.has_blob(Digest.of(b"two"))


def test_a_file_of_somebody_else_is_copied_not_moved(layout: OciLayout, tmp_path: Path):
    path = tmp_path / "blob"
    path.write_bytes(b"mine")
    layout.put_blob(path, Digest.of(b"mine"))
    assert path.read_bytes() == b"mine"
    assert layout.blob_path(Digest.of(b"mine"), size=4, verify=True).read_bytes() == b"mine"


def test_damage_is_seen(layout: OciLayout):
    digest = layout.put_manifest(manifest(), MANIFEST, "wine")
    blob = put_blob(layout, b"blob")
    for found in (digest, blob):
        path = layout.root / "blobs/sha256" / found.hex
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(RegistryError, match="damaged"):
        layout.manifest(digest)
    with pytest.raises(RegistryError, match="damaged"):
        layout.blob_path(blob, verify=True)
    with pytest.raises(RegistryError, match="damaged"):
        layout.blob_path(blob, size=5)
    assert layout.blob_path(blob, size=4)


def test_a_torn_blob_is_replaced(layout: OciLayout):
    digest = put_blob(layout, b"whole")
    (layout.root / "blobs/sha256" / digest.hex).write_bytes(b"wh")
    put_blob(layout, b"whole")
    assert layout.blob_path(digest, verify=True)


def test_absent_ones_are_named(layout: OciLayout):
    digest = Digest.of(b"x")
    for read in (layout.manifest, layout.blob_path):
        with pytest.raises(RegistryError, match=f"{digest} is not in oci:"):
            read(digest)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b'{"manifests": 1}',
        b'{"manifests": [1]}',
        b'{"manifests": [{"digest": "sha256:1"}]}',
        b"[" * 100_000,
    ],
)
def test_a_broken_index_is_an_error_that_names_it(layout: OciLayout, content: bytes):
    layout.put_manifest(manifest(), MANIFEST, "wine")
    (layout.root / "index.json").write_bytes(content)
    with pytest.raises(RegistryError, match=r"index\.json is no OCI image index"):
        layout.entries()
    with pytest.raises(RegistryError, match=r"index\.json"):
        layout.put_manifest(manifest("2"), MANIFEST, "wine")
    assert (layout.root / "index.json").read_bytes() == content


def test_a_manifest_over_the_cap_is_refused(layout: OciLayout):
    digest = put_blob(layout, b" " * ((4 << 20) + 1))
    with pytest.raises(RegistryError, match="it is no manifest"):
        layout.manifest(digest)


def test_writers_at_once_lose_nothing(layout: OciLayout):
    body = """
        for n in range(20):
            content = f'{{"schemaVersion": 2, "n": "{sys.argv[2]}-{n}"}}'.encode()
            layout.put_manifest(content, "application/json", "wine", f"{sys.argv[2]}-{n}")
            with layout.staging() as staging:
                (staging / "b").write_bytes(content * 100)
                layout.put_blob(staging / "b", Digest.of(content * 100))
    """
    writers = [program(body, str(layout.root), name) for name in ("a", "b", "c")]
    assert [writer.communicate()[0] or writer.returncode for writer in writers] == [0, 0, 0]
    tags = layout.tags("wine")
    assert set(tags) == {f"{name}-{n}" for name in "abc" for n in range(20)}
    for digest in tags.values():
        assert layout.blob_path(Digest.of(layout.manifest(digest) * 100), verify=True)
    assert list((layout.root / "tmp").iterdir()) == []


def test_what_a_killed_writer_leaves_is_cleaned_and_nothing_else(layout: OciLayout):
    layout.put_manifest(manifest(), MANIFEST, "wine", "v1")
    before = left(layout)
    body = """
        with layout.staging() as staging:
            (staging / "blob").write_bytes(b"half")
            print("ready", flush=True)
            sys.stdin.read()
    """
    with layout.staging() as ours:
        (ours / "kept").write_bytes(b"ours")
        writer = program(body, str(layout.root), stdin=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        assert len(list((layout.root / "tmp").iterdir())) == 2
        (layout.root / "tmp" / "file-of-the-dead").write_bytes(b"half")
        layout.put_manifest(manifest("2"), MANIFEST, "wine", "v1")
        assert list((layout.root / "tmp").iterdir()) == [ours]
        assert (ours / "kept").read_bytes() == b"ours"
    assert list((layout.root / "tmp").iterdir()) == []
    assert set(before) <= set(left(layout))


def test_a_full_disk_leaves_the_old_state(layout: OciLayout):
    layout.put_manifest(manifest(), MANIFEST, "wine", "v1")
    before = left(layout)
    body = """
        import os, resource, secrets
        from mlops.build import layers, tar
        from mlops.errors import RegistryError
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        for attempt in ("layer", "copied", "manifest"):
            content = secrets.token_bytes(1 << 20)
            try:
                if attempt == "layer":
                    layers.put_layer(layout, layers.LayerKind.CODE, {"a": tar.Content(content)})
                elif attempt == "copied":
                    layout.put_blob(Path(sys.argv[2]), Digest.parse(sys.argv[3]))
                else:
                    big = b'{"a": "' + b"x" * (1 << 20) + b'"}'
                    layout.put_manifest(big, "application/json", "wine", "v2")
            except RegistryError as exc:
                print(attempt, exc.retryable, "unharmed" in exc.hint)
    """
    big = layout.root.parent / "big"
    big.write_bytes(os.urandom(1 << 20))
    writer = program(body, str(layout.root), str(big), str(Digest.of(big.read_bytes())))
    out, _ = writer.communicate()
    assert out.splitlines() == [f"{name} True True" for name in ("layer", "copied", "manifest")]
    assert left(layout) == before
    assert layout.tags("wine") == {"v1": Digest.of(manifest())}


def test_a_lock_names_its_holder(tmp_path: Path):
    path = tmp_path / "lock"
    with (
        locked(path, what="the layout", error=RegistryError),
        pytest.raises(RegistryError, match=f"the layout is locked by process {os.getpid()} on"),
        locked(path, what="the layout", error=RegistryError, patience=0),
    ):
        pytest.fail("two hold it")
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released


def test_a_layout_that_cannot_be_written_says_so(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    layout = OciLayout(tmp_path / "file" / "registry")
    with pytest.raises(RegistryError, match="cannot write to oci:"):
        layout.put_manifest(manifest(), MANIFEST, "wine")
