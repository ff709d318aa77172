"""What is looked at before a rollback: each check in its own thread, all within one deadline.

Nothing here stops a rollback by itself: in an incident the registry may be down and the rollback
right all the same. A check that fails is named, and a person says yes; one that could not look is
named, and speaks neither for nor against.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from queue import Empty, SimpleQueue

from mlops.domain.digest import ReleaseId
from mlops.domain.release import ReleaseRecord
from mlops.engine import placing
from mlops.engine.imagecheck import missing
from mlops.engine.state import Environments
from mlops.errors import MlopsError, OutsideError, RegistryError, UnreachableError, UsageError
from mlops.policy.compatibility import broken_contracts, lacking_platforms
from mlops.policy.quarantine import quarantined, why
from mlops.ports import DataStore, ImageReader, Renderer

DEADLINE = 10.0  # seconds, for all checks together
_AT_ONCE = {"data": 2}  # each is a DVC of its own, with a processor's work before it asks


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


# what it is called, what it is about, the check itself: a verdict for each thing it looked at
Check = tuple[str, str, Callable[[], tuple[Verdict, ...]]]


@dataclass(frozen=True, slots=True)
class Preflight:
    """The outside systems that checks ask; None where there is none.

    `images` gives the store of a model's images, in an environment's registry where one is named and
    not empty. `own` names the registry where it belongs to this
    clone alone: an image that another clone built is not in it, and that says nothing against the
    image.
    """

    images: Callable[[str, str], ImageReader] | None = None
    renderer: Renderer | None = None
    data: Callable[[], DataStore] | None = None
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
        return self.inspect_all(environments, {environment: tuple(targets)}, files)

    def inspect_all(
        self,
        environments: Environments,
        targets: Mapping[str, Iterable[ReleaseId]],
        files: Mapping[str, bytes | None],
    ) -> tuple[Verdict, ...]:
        """As `inspect`, of several environments at once, under the one deadline."""
        checks: list[Check] = []
        verdicts: dict[Verdict, None] = {}
        targets = {name: tuple(named) for name, named in targets.items()}
        releases = dict.fromkeys(release for each in targets.values() for release in each)
        for name, named in targets.items():
            for release in named:
                verdicts |= dict.fromkeys(_at_hand(environments, name, release))
        places = dict.fromkeys(
            (release, placing.standing(environments, name, release.model))
            for name, named in targets.items()
            for release in named
        )
        for release, registry in places:
            checks.append(
                ("image", release.short, lambda r=release, at=registry: self._image(r, at))  # type: ignore[misc]
            )
        for release in releases:
            record = environments.sound(release)
            if record is not None and record.objects:
                checks.append(("data", release.short, lambda r=record: self._data(r)))  # type: ignore[misc]
        tree = overlay_files(environments)
        changed = {path: content for path, content in files.items() if content is not None}
        for name in targets:
            overlay = f"{environments.gitops.path}/{name}"
            checks.append(
                ("render", name, lambda o=overlay, n=name: self._render(o, n, tree, changed))  # type: ignore[misc]
            )
        return (*verdicts, *_together(checks, self.deadline))

    def _image(self, release: ReleaseId, registry: str) -> tuple[Verdict, ...]:
        def verdict(mark: Mark, detail: str = "") -> tuple[Verdict, ...]:
            return (Verdict("image", release.short, mark, detail),)

        if self.images is None:
            return verdict(Mark.UNKNOWN, "there is no image store")
        try:
            images = self.images(release.model, registry)
            if self.own and not registry and not images.has_manifest(release.digest):
                return verdict(
                    Mark.UNKNOWN, f"the registry {self.own} belongs to the clone that built it"
                )
            lacking = missing(images, release.digest)
        except (UsageError, UnreachableError) as exc:  # it could not be asked
            return verdict(Mark.UNKNOWN, str(exc))
        except RegistryError as exc:
            return verdict(Mark.FAIL, str(exc))
        return verdict(Mark.FAIL, lacking) if lacking else verdict(Mark.PASS)

    def _data(self, record: ReleaseRecord) -> tuple[Verdict, ...]:
        """Data and model on the DVC remote: without them the release runs, and cannot be rebuilt."""
        artifact = record.document.get("artifact")
        model = str(artifact.get("path", "")) if isinstance(artifact, Mapping) else ""
        parts = {"data": [], "model": []}  # type: dict[str, list[str]]
        for item in record.objects:
            parts["model" if item.path == model else "data"].append(item.path)
        subject = record.release.short

        def verdicts(mark: Mark, detail: str) -> tuple[Verdict, ...]:
            return tuple(Verdict(name, subject, mark, detail) for name in parts if parts[name])

        if self.data is None:
            return verdicts(Mark.UNKNOWN, "nothing here asks a DVC remote")
        try:
            store = self.data()
            if not store.has_remote(record.source):
                return verdicts(Mark.UNKNOWN, "no DVC remote is configured")
            absent = set(store.absent(record.source, record.objects))
        except MlopsError as exc:
            return verdicts(Mark.UNKNOWN, str(exc))
        return tuple(
            Verdict(name, subject, Mark.FAIL, f"the remote lacks {', '.join(lost)}")
            if (lost := [path for path in paths if path in absent])
            else Verdict(name, subject, Mark.PASS)
            for name, paths in parts.items()
            if paths
        )

    def _render(
        self,
        overlay: str,
        environment: str,
        tree: Mapping[str, bytes],
        changed: Mapping[str, bytes],
    ) -> tuple[Verdict, ...]:
        def verdict(mark: Mark, detail: str = "") -> tuple[Verdict, ...]:
            return (Verdict("render", environment, mark, detail),)

        renderer = self.renderer
        if renderer is None or not renderer.name:
            return verdict(Mark.UNKNOWN, "kustomize is not here (mlops doctor)")
        try:
            renderer.render({**tree, **changed}, overlay, self.deadline)
        except OutsideError as exc:
            if _renders(renderer, tree, overlay, self.deadline):
                return verdict(Mark.FAIL, str(exc))
            return verdict(Mark.UNKNOWN, f"it does not render as it stands: {exc}")
        return verdict(Mark.PASS)


def failed(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Those that speak against going on."""
    return tuple(verdict for verdict in verdicts if verdict.mark is Mark.FAIL)


def _at_hand(
    environments: Environments, environment: str, release: ReleaseId
) -> tuple[Verdict, ...]:
    """The checks that git alone answers."""
    record = environments.sound(release)
    artifact = record.artifact if record else None
    entry = quarantined(release.digest, artifact, environments.quarantine)
    found = [
        Verdict("record", release.short, Mark.PASS)
        if record
        else Verdict("record", release.short, Mark.FAIL, "there is none that can be read"),
        Verdict("quarantine", release.short, Mark.FAIL, why(entry, release.digest))
        if entry
        else Verdict("quarantine", release.short, Mark.PASS),
    ]
    if record is not None:
        pinned = environments.state(environment).pins.get(release.model)
        standing = environments.sound(ReleaseId(release.model, pinned)) if pinned else None
        found += _fitting(record, standing, unknown=pinned is not None and standing is None)
    return tuple(found)


def _fitting(
    target: ReleaseRecord, standing: ReleaseRecord | None, *, unknown: bool
) -> list[Verdict]:
    """Whether it can take the place of what stands; silent where neither record says anything.

    `unknown` where something stands that has no record: nobody can tell what callers rely on."""
    found, subject = [], target.release.short
    if unknown:
        told = "what stands has no record that can be read"
        found.append(Verdict("compatibility", subject, Mark.UNKNOWN, told))
    elif target.compatibility or (standing is not None and standing.compatibility):
        broken = broken_contracts(target, standing)
        mark = Mark.FAIL if broken else Mark.PASS
        found.append(Verdict("compatibility", subject, mark, "; ".join(broken)))
    lacking = lacking_platforms(target, standing)
    if lacking is not None:
        told = f"it is not built for {', '.join(lacking)}" if lacking else ""
        found.append(Verdict("architecture", subject, Mark.FAIL if lacking else Mark.PASS, told))
    elif target.platforms or (standing is not None and standing.platforms):
        told = "one of the two records names no platform"
        found.append(Verdict("architecture", subject, Mark.UNKNOWN, told))
    return found


def overlay_files(environments: Environments) -> dict[str, bytes]:
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
    """Run the checks at once, so many of a kind as `_AT_ONCE` says; what is not done by the
    deadline is not checked, and what has not begun by then never does.

    Daemon threads: a check that hangs (a dead network file system) must not hold up the exit.
    """
    wanted = list(checks)
    end = time.monotonic() + deadline
    done: SimpleQueue[tuple[int, tuple[Verdict, ...]]] = SimpleQueue()
    for kind in dict.fromkeys(check[0] for check in wanted):
        waiting: SimpleQueue[int] = SimpleQueue()
        places = [place for place, check in enumerate(wanted) if check[0] == kind]
        for place in places:
            waiting.put(place)
        for _ in range(min(len(places), _AT_ONCE.get(kind, 8))):
            threading.Thread(target=_work, args=(wanted, waiting, done, end), daemon=True).start()
    found: dict[int, tuple[Verdict, ...]] = {}
    with suppress(Empty):
        while len(found) < len(wanted):
            place, verdicts = done.get(timeout=max(0.0, end - time.monotonic()))
            found[place] = verdicts
    late = f"took over {deadline:g} s"
    return tuple(
        verdict
        for place, (name, subject, _) in enumerate(wanted)
        for verdict in found.get(place, (Verdict(name, subject, Mark.UNKNOWN, late),))
    )


def _work(
    checks: Sequence[Check],
    waiting: SimpleQueue[int],
    done: SimpleQueue[tuple[int, tuple[Verdict, ...]]],
    end: float,
) -> None:
    """Carry out what waits, until nothing does or time is up."""
    with suppress(Empty):
        while time.monotonic() < end:
            place = waiting.get_nowait()
            name, subject, look = checks[place]
            try:
                verdicts = look()
            except Exception as exc:  # noqa: BLE001 - hostile content of a store is a failed check
                verdicts = (Verdict(name, subject, Mark.FAIL, f"{type(exc).__name__}: {exc}"),)
            done.put((place, verdicts))
