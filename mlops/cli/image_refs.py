"""The argument that commands on images share, and the release that it names."""

from __future__ import annotations

from typing import Annotated

import typer

from mlops.cli import wiring
from mlops.cli.completion import releases as complete_release
from mlops.domain.release import ReleaseRecord
from mlops.errors import UsageError

Ref = Annotated[
    str,
    typer.Argument(
        metavar="REF",
        help="A release: spam@prod, spam@sha256:9f2c…",
        autocompletion=complete_release,
    ),
]


def record(opened: wiring.Opened, ref: str) -> ReleaseRecord:
    """The record of the release that `ref` names. Raises UsageError where it names an image instead."""
    layout = ref.startswith("oci:")
    if layout or "/" in ref.partition("@")[0]:
        seen = ref if layout else f"docker://{ref}"
        raise UsageError(
            f"{ref} names an image, and this command takes a release",
            hint=f"It looks like spam@prod or spam@sha256:9f2c41. Into images elsewhere looks: skopeo inspect {seen}",
        )
    return opened.record(ref)
