"""What a new lock changes, entry by entry, for people to review and programs to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mlops.domain.lock import TOOL, LockedImage, ProjectLock
from mlops.engine import requirementpins
from mlops.policy.sides import packages

LOCK_FILE = "mlops.lock"
UNUSED = "not used"


@dataclass(frozen=True, slots=True)
class Change:
    """An entry of `file` that changed. `kind` is `image`, `builder`, `tool`, `package` or `file`; `before`
    and `after` are digests or versions, empty where there was or is none."""

    file: str
    kind: str
    name: str
    before: str = ""
    after: str = ""
    note: str = ""

    def __str__(self) -> str:
        if self.note:
            return f"{self.file}: {self.name}{': ' if self.name else ''}{self.note}"
        if self.kind == "package":
            return f"{self.file}: {self.name} {self.before or 'absent'} → {self.after or 'absent'}"
        before, after = (_short(text) for text in (self.before, self.after))
        if self.kind == "image" and not before:
            return f"{self.file}: {self.name}: {after}"
        return f"{self.file}: {self.name}: {before or 'not locked'} → {after or UNUSED}"


def images(old: ProjectLock, new: ProjectLock) -> Iterator[Change]:
    """Images that are locked anew, moved, or are locked no longer."""
    for image in new.images:
        known = old.image(image.name, image.platform)
        before = str(known.manifest) if known is not None else ""
        if before != str(image.manifest):
            yield Change(LOCK_FILE, "image", called(image), before, str(image.manifest))
    for image in old.images:
        if new.image(image.name, image.platform) is None:
            yield Change(LOCK_FILE, "image", called(image), str(image.manifest))


def tasks(old: ProjectLock, new: ProjectLock) -> Iterator[Change]:
    """The same of images of Tekton documents."""
    for name, digest in new.tasks:
        before = old.task(name)
        if before != digest:
            yield Change(LOCK_FILE, "image", f"task image {name}", str(before or ""), str(digest))
    for name, digest in old.tasks:
        if new.task(name) is None:
            yield Change(LOCK_FILE, "image", f"task image {name}", str(digest))


def called(image: LockedImage) -> str:
    """The tool image, or a base with its platform where it is not the usual one."""
    if image.name == TOOL:
        return "tool image"
    platform = "" if image.platform == "linux/amd64" else f" ({image.platform})"
    return f"base {image.name}{platform}"


def tools(
    lock: ProjectLock, builder: str, installed: Mapping[str, str], but: tuple[str, ...] = ()
) -> Iterator[Change]:
    """The builder (compressor included) and the tools that are other ones here than in the lock."""
    if lock.builder != builder:
        yield Change(LOCK_FILE, "builder", "builder", lock.builder, builder)
    for name, version in sorted(installed.items()):
        if name not in but and (known := lock.tool(name)) != version:
            yield Change(LOCK_FILE, "tool", name, known or "", version)
    for name, version in lock.tools:
        if name not in installed:
            yield Change(LOCK_FILE, "tool", name, version)


def requirements(path: str, before: bytes | None, after: bytes) -> Iterator[Change]:
    """Packages that came, went or moved; and those whose files are others under the same version."""
    new = packages(after)
    if before is None:
        count = "1 package" if len(new) == 1 else f"{len(new)} packages"
        yield Change(path, "file", "", note=count)
        return
    old = packages(before)
    moved = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    for name in moved:
        yield Change(path, "package", name, old.get(name, ""), new.get(name, ""))
    others = tuple(_other_files(path, before, after))
    yield from others
    if not moved and not others:
        yield Change(path, "file", "", note="comments or form")


def _other_files(path: str, before: bytes, after: bytes) -> Iterator[Change]:
    old, new = requirementpins.hashes(before), requirementpins.hashes(after)
    for key in sorted(set(old) & set(new)):
        if old[key] == new[key]:
            continue
        name, version = key
        if old[key] & new[key]:
            come, gone = len(new[key] - old[key]), len(old[key] - new[key])
            told = f"{version}, {come} files more, {gone} fewer"
        else:
            told = f"{version}, every file has other bytes under the same version"
        yield Change(path, "package", name, version, version, told)


def unified(path: str, before: bytes | None, after: bytes) -> str:
    """As git prints it, fit for `git apply`."""
    head = [f"diff --git a/{path} b/{path}\n"]
    head += ["new file mode 100644\n"] if before is None else []
    sides = ("/dev/null" if before is None else f"a/{path}", f"b/{path}")
    return "".join([*head, *difflib.unified_diff(_lines(before or b""), _lines(after), *sides)])


def _lines(content: bytes) -> list[str]:
    *whole, last = content.decode(errors="replace").split("\n")
    rest = [f"{last}\n\\ No newline at end of file\n"] if last else []
    return [f"{line}\n" for line in whole] + rest


def _short(text: str) -> str:
    return text.removeprefix("sha256:")[:12] if text.startswith("sha256:") else text
