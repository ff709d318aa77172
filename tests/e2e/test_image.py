"""`mlops image`: what a release's image says, as a file, and elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile

import pytest

from mlops.adapters.layout import OciLayout
from mlops.adapters.registry import Registry
from mlops.domain.digest import Digest
from tests.system.registry.servers import start


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    yield from start(tmp_path_factory.mktemp("registry"))


def test_what_an_image_says_of_itself(live):
    answer = json.loads(live.mlops("image", "inspect", "spam@prod", "--output", "json").stdout)[0]
    record = json.loads(live.mlops("show", "spam@prod", "--output", "json").stdout)[0]
    assert answer["release"] == record["release"]
    assert [layer["digest"] for layer in answer["layers"]] == [
        layer["digest"] for layer in record["layers"]
    ]
    assert answer["labels"]["org.opencontainers.image.revision"] == record["source"]["commit"]
    assert [each["digest"] for each in answer["attached"]] == record["attestations"]
    text = live.mlops("image", "inspect", "spam@prod").stdout
    assert "runs       python -m src.serve" in text
    assert "as user    65532" in text


def test_an_archive_and_what_it_is_not_written_over(live, tmp_path):
    digest = live.pinned("prod")
    file = tmp_path / "spam.tar"
    said = live.mlops("image", "export", "spam@prod", str(file), "--name", "example.com/spam:prod")
    assert "as example.com/spam:prod" in said.stdout
    with tarfile.open(file) as tar:
        index = json.load(tar.extractfile("index.json"))
        assert index["manifests"][0]["digest"] == digest
        names = json.load(tar.extractfile("manifest.json"))[0]["RepoTags"]
    assert names == ["example.com/spam:prod"]
    before = file.read_bytes()
    refused = live.mlops("image", "export", "spam@prod", str(file), code=2)
    assert "is there already" in refused.stderr
    live.mlops(
        "image", "export", "spam@prod", str(file), "--force", "--name", "example.com/spam:prod"
    )
    assert file.read_bytes() == before, "the same image, the same bytes"
    with (tmp_path / "piped.tar").open("wb") as out:
        subprocess.run(
            [sys.executable, "-m", "mlops", "image", "export", "spam@prod", "-", "--name", "example.com/spam:prod"],
            cwd=live.path, env=live.env, stdout=out, check=True, stderr=subprocess.PIPE,
        )  # fmt: skip
    assert (tmp_path / "piped.tar").read_bytes() == before


def test_where_no_archive_can_be_written(live, tmp_path):
    said = live.mlops("image", "export", "spam@prod", str(tmp_path / "absent/spam.tar"), code=3)
    assert "cannot write" in said.stderr
    (tmp_path / "directory").mkdir()
    for place in (tmp_path / "directory", "/dev/null"):
        said = live.mlops("image", "export", "spam@prod", str(place), "--force", code=2)
        assert "is no file to be replaced" in said.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"directory", "project"}


def test_a_disk_that_is_full(live, tmp_path):
    """Nothing is left of what did not fit, and what stood there stands."""
    small = tmp_path / "small"
    small.mkdir()
    shell = (
        'set -e; mount -t tmpfs -o size=4m tmpfs "$0"; echo before >"$0/spam.tar"; code=0; '
        '"$@" || code=$?; ls -A "$0"; cat "$0/spam.tar"; exit $code'
    )
    done = live.run(
        "unshare", "--user", "--map-root-user", "--mount", "sh", "-c", shell, str(small),
        sys.executable, "-m", "mlops", "image", "export", "spam@prod", f"{small}/spam.tar", "--force",
        code=3,
    )  # fmt: skip
    assert done.stdout.split() == ["spam.tar", "before"]
    assert "No space left" in done.stderr


@pytest.mark.parametrize("name", ["Not A Name", "spam@sha256:" + "0" * 64])
def test_names_that_an_archive_cannot_have(live, tmp_path, name):
    live.mlops("image", "export", "spam@prod", str(tmp_path / "x"), "--name", name, code=2)
    assert not (tmp_path / "x").exists()


def test_copied_with_what_is_attached(live, registry, tmp_path):
    release = Digest.parse(live.pinned("prod"))
    record = json.loads(live.mlops("show", "spam@prod", "--output", "json").stdout)[0]
    place = f"{registry.host}/others/spam"
    dry = live.mlops("image", "copy", "spam@prod", f"{place}:prod", "--dry-run")
    assert "would copy" in dry.stdout
    there = Registry(place)
    assert not there.has_manifest(release)
    said = live.mlops("image", "copy", "spam@prod", f"{place}:prod").stdout
    assert said.strip() == f"{place}:prod@{release}"
    assert there.resolve("prod") == release
    assert [each["digest"] for each in there.referrers(release)] == record["attestations"]
    live.mlops("image", "copy", "spam@prod", f"oci:{tmp_path}/out:prod")
    layout = OciLayout(tmp_path / "out")
    assert [each["digest"] for each in layout.referrers(release)] == record["attestations"]
    assert "all of it is there" in live.mlops(
        "image", "copy", "spam@prod", f"oci:{tmp_path}/out:prod", "--dry-run"
    ).stdout  # fmt: skip


@pytest.mark.parametrize("name", ["prod", "spam:prod"])
def test_other_programs_find_it_in_a_layout_by_the_name_that_was_typed(live, tmp_path, name):
    """The name is all that stands behind the first colon, as skopeo has it."""
    live.mlops("image", "copy", "spam@prod", f"oci:{tmp_path}/out:{name}")
    where = f"oci:{tmp_path}/out:{name}"
    subprocess.run(["skopeo", "inspect", where], check=True, timeout=60, stdout=subprocess.PIPE)
    raw = ["skopeo", "inspect", "--raw", where]
    found = subprocess.run(raw, check=True, timeout=60, stdout=subprocess.PIPE).stdout
    assert str(Digest.of(found)) == live.pinned("prod")
    stat = ["umoci", "stat", "--image", f"{tmp_path}/out:{name}"]
    subprocess.run(stat, check=True, timeout=60, stdout=subprocess.PIPE)


def test_a_name_in_a_layout_moves_whoever_gave_it(live, tmp_path):
    """To another image, from skopeo to us and from us to skopeo: one image has it at a time."""
    release = Digest.parse(live.pinned("prod"))
    other = OciLayout(live.path / ".mlops" / "registry").tags("spam-env")
    theirs = f"oci:{live.path}/.mlops/registry:spam-env:{next(iter(other))}"
    place = f"oci:{tmp_path}/out:it"

    def named():
        raw = ["skopeo", "inspect", "--raw", place]
        return Digest.of(subprocess.run(raw, check=True, stdout=subprocess.PIPE).stdout)

    skopeo = ["skopeo", "copy", "--quiet", "--preserve-digests", theirs, place]
    subprocess.run(skopeo, check=True, timeout=60)
    assert named() in other.values()
    live.mlops("image", "copy", "spam@prod", place)
    assert named() == release
    subprocess.run(skopeo, check=True, timeout=60)
    assert named() in other.values()


@pytest.mark.parametrize("to", ["oci:", "oci::x", "Not A Name", "oci:out:ä", "oci:out:"])
def test_places_that_are_none(live, to):
    said = live.mlops("image", "copy", "spam@prod", to, code=2)
    assert "names no" in said.stderr
    assert "Traceback" not in said.stderr
