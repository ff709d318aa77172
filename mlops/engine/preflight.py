"""What is looked at before a rollback: each check in its own thread, all within one deadline.

Nothing here stops a rollback by itself: in an incident the registry may be down and the rollback
right all the same. A check that fails is named, and a person says yes.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from mlops.domain.digest import Digest, ReleaseId
from mlops.engine.state import Environments
from mlops.errors import MlopsError, OutsideError, UsageError
from mlops.policy.quarantine import quarantined, why
from mlops.ports import ImageStore, Renderer

DEADLINE = 10.0  # seconds, for all checks together
_DEEPEST = 3  # an index of indexes is legal; more is a trap


class Mark(StrEnum):
    """What a check found; `unknown` where it could not look."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    UNKNOWN = "not checked"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check of one release or overlay: `render prod: pass`."""

    check: str
    subject: str
    mark: Mark
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.check} {self.subject}: {self.mark}" + (
            f": {self.detail}" if self.detail else ""
        )


Check = tuple[str, str, Callable[[], Verdict]]  # name, subject, the check


@dataclass(frozen=True, slots=True)
class Preflight:
    """The outside systems that checks ask; None where there is none.

    `own` names the registry where it belongs to this clone alone: an image that another clone built
    is not in it, and that says nothing against the image.
    """

    images: Callable[[], ImageStore] | None = None
    renderer: Renderer | None = None
    deadline: float = DEADLINE
    own: str = ""

    def inspect(
        self,
        environments: Environments,
        environment: str,
        targets: Iterable[ReleaseId],
        files: Mapping[str, bytes | None],
    ) -> tuple[Verdict, ...]:
        """A verdict for each check of the releases to go back to, and of the overlay with the
        changed `files`, in a fixed order."""
        checks: list[Check] = []
        verdicts: list[Verdict] = []
        for release in targets:
            verdicts.append(_record(environments, release))
            verdicts.append(_quarantine(environments, release))
            checks.append(("image", release.short, lambda r=release: self._image(r)))  # type: ignore[misc]
        overlay = f"{environments.gitops.path}/{environment}"
        tree = _tree(environments)
        changed = {path: content for path, content in files.items() if content is not None}
        checks.append(
            ("render", environment, lambda: self._render(overlay, environment, tree, changed))
        )
        return (*verdicts, *_together(checks, self.deadline))

    def _image(self, release: ReleaseId) -> Verdict:
        def verdict(mark: Mark, detail: str = "") -> Verdict:
            return Verdict("image", release.short, mark, detail)

        if self.images is None:
            return verdict(Mark.UNKNOWN, "there is no image store")
        try:
            images = self.images()
            if self.own and not images.has_manifest(release.digest):
                return verdict(
                    Mark.UNKNOWN, f"the registry {self.own} belongs to the clone that built it"
                )
            missing = _missing(images, release.digest)
        except UsageError as exc:  # a kind of registry that this version cannot ask
            return verdict(Mark.UNKNOWN, str(exc))
        except MlopsError as exc:
            return verdict(Mark.FAIL, str(exc))
        return verdict(Mark.FAIL, missing) if missing else verdict(Mark.PASS)

    def _render(
        self,
        overlay: str,
        environment: str,
        tree: Mapping[str, bytes],
        changed: Mapping[str, bytes],
    ) -> Verdict:
        renderer = self.renderer
        if renderer is None or not renderer.name:
            return Verdict(
                "render", environment, Mark.UNKNOWN, "kustomize is not here (mlops doctor)"
            )
        try:
            renderer.render({**tree, **changed}, overlay, self.deadline)
        except OutsideError as exc:
            if _renders(renderer, tree, overlay, self.deadline):
                return Verdict("render", environment, Mark.FAIL, str(exc))
            return Verdict(
                "render", environment, Mark.UNKNOWN, f"it does not render as it stands: {exc}"
            )
        return Verdict("render", environment, Mark.PASS)


def failed(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Those that speak against going on."""
    return tuple(verdict for verdict in verdicts if verdict.mark is Mark.FAIL)


def _record(environments: Environments, release: ReleaseId) -> Verdict:
    if environments.sound(release) is None:
        return Verdict("record", release.short, Mark.FAIL, "there is none that can be read")
    return Verdict("record", release.short, Mark.PASS)


def _quarantine(environments: Environments, release: ReleaseId) -> Verdict:
    record = environments.sound(release)
    artifact = record.artifact if record else None
    entry = quarantined(release.digest, artifact, environments.quarantine)
    if entry is not None:
        return Verdict("quarantine", release.short, Mark.FAIL, why(entry, release.digest))
    return Verdict("quarantine", release.short, Mark.PASS)


def _missing(images: ImageStore, digest: Digest, depth: int = 0) -> str:
    """What of an image the store lacks, in words; empty where manifest, config and layers are
    there. Of an index every manifest is looked at (OCI image-spec 1.1, image-index.md)."""
    if not images.has_manifest(digest):
        return f"{images.location} has no manifest {digest}"
    document = json.loads(images.manifest(digest))
    if depth < _DEEPEST:
        for entry in document.get("manifests", ()):
            found = _missing(images, Digest.parse(entry["digest"]), depth + 1)
            if found:
                return found
    parts = [document["config"]] if "config" in document else []
    for part in [*parts, *document.get("layers", ())]:
        blob = Digest.parse(part["digest"])
        if not images.has_blob(blob):
            return f"{images.location} has no layer {blob}"
    return ""


def _tree(environments: Environments) -> dict[str, bytes]:
    """The files of all overlays at the tip, records left out, as an overlay may use any other's."""
    gitops, tip = environments.gitops, environments.tip
    records = f"{gitops.path}/releases/"
    return {
        entry.path: gitops.blob(entry.blob)
        for entry in gitops.files(tip, gitops.path)
        if entry.mode.startswith("100") and not entry.path.startswith(records)
    }


def _renders(renderer: Renderer, tree: Mapping[str, bytes], overlay: str, timeout: float) -> bool:
    try:
        renderer.render(tree, overlay, timeout)
    except OutsideError:
        return False
    return True


def _together(checks: Iterable[Check], deadline: float) -> tuple[Verdict, ...]:
    """Run all checks at once; what is not done by the deadline is not checked.

    Daemon threads: a check that hangs (a dead network file system) must not hold up the exit.
    """
    wanted = list(checks)
    found: dict[int, Verdict] = {}

    def carry_out(place: int, check: Check) -> None:
        name, subject, look = check
        try:
            found[place] = look()
        except Exception as exc:  # noqa: BLE001 - hostile content of a store is a failed check
            found[place] = Verdict(name, subject, Mark.FAIL, f"{type(exc).__name__}: {exc}")

    threads = [
        threading.Thread(target=carry_out, args=(place, check), daemon=True)
        for place, check in enumerate(wanted)
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + deadline
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = f"took over {deadline:g} s"
    return tuple(
        found.get(place, Verdict(name, subject, Mark.UNKNOWN, late))
        for place, (name, subject, _) in enumerate(wanted)
    )
