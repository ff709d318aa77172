"""Images of Tekton documents that mlops.lock pins, and what the command line says of them."""

import pytest

from mlops.cli.runs_choice import Choice, with_locked
from mlops.config.project import parse_project
from mlops.domain.digest import Digest
from mlops.domain.imagename import ImageName
from mlops.errors import ConfigError

A, B = Digest("a" * 64), Digest("b" * 64)
LOCKED = (("docker.io/library/golang:1.22", A), ("alpine", B))
PROJECT = "apiVersion: mlops/v1\nkind: Project\nname: x\nimages: [IMAGE]\nmodels: {m: {}}\n"


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("golang:1.22", A),
        ("docker.io/library/golang:1.22", A),
        ("alpine", B),
        ("alpine:latest", B),
        ("alpine:3", None),
        ("golang", None),
    ],
)
def test_a_tag_leads_to_the_locked_digest_however_it_is_written(name: str, digest: Digest | None):
    found = with_locked(Choice(), LOCKED).mapping.lead(ImageName.parse(name))
    assert (found.digest if isinstance(found, ImageName) else None) == digest


@pytest.mark.parametrize("rule", ["golang=alpine:3", "*=alpine:3", "golang:1.22=alpine:3"])
def test_the_command_line_counts_more(rule: str):
    chosen = with_locked(Choice((rule,), "sandbox"), LOCKED)
    found = chosen.mapping.lead(ImageName.parse("golang:1.22"))
    assert isinstance(found, ImageName)
    assert found.tag == "3"
    assert chosen.runtime == "sandbox"


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (f"'alpine@{A}'", "expected an image by tag"),
        ("'Not An Image'", "names no image"),
        ("alpine, alpine", "expected each once"),
    ],
)
def test_names_that_cannot_be_locked(image: str, says: str):
    with pytest.raises(ConfigError, match=says):
        parse_project(PROJECT.replace("IMAGE", image).encode())
    assert parse_project(PROJECT.replace("IMAGE", "alpine:3").encode()).images == ("alpine:3",)
