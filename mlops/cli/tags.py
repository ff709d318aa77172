"""`mlops lock --overlays`: the tags in overlays, moved to digests."""

from __future__ import annotations

from typing import Any

from mlops.cli import pins, render, wiring, wiring_lock
from mlops.cli.options import Output
from mlops.engine.publishing import Settled
from mlops.engine.tags import Left, Move, publish, standing, told, write


def settle(opened: wiring.Opened, output: Output, *, check: bool, dry_run: bool) -> int:
    """Move them in the work tree, or, where the GitOps branch is elsewhere, in one commit there.

    The exit code: with `check`, 1 where a tag could move; 3 where a registry could not be asked.
    """
    answers = wiring_lock.answers(opened)
    dry_run = dry_run or check
    if opened.apart:
        settled = publish(pins.publisher(opened), answers, dry_run=dry_run)
        settled = pins.brought(opened, settled)
    else:
        settled = write(wiring_lock.overlays(opened), answers, opened.write, dry_run=dry_run)
    found = settled.decision
    for left in found.left:
        render.warn(f"{_place(left)} stays: {render.safe(left.reason)}")
    value = pins.with_outcome([_json(settled)], settled, dry_run=dry_run)
    render.answer(value, output, lambda: _print(opened, settled, check=check, dry_run=dry_run))
    if check and found.moved:
        return 1
    return 3 if found.unasked else 0


def remind(opened: wiring.Opened) -> None:
    """Say on stderr that overlays have tags; nobody is asked what they name."""
    found = () if opened.apart else standing(wiring_lock.overlays(opened))
    if found:
        images = "1 image stands" if len(found) == 1 else f"{len(found)} images stand"
        render.note(f"in overlays, {images} by tag; move to digests: mlops lock --overlays")


def _place(left: Left) -> str:
    if left.tag is None:
        return render.safe(left.path)
    return render.safe(f"{left.path}: {left.tag.name}:{left.tag.tag}")


def _json(settled: Settled[Move]) -> dict[str, Any]:
    found = settled.decision
    return {
        "moved": [
            {
                "file": each.path,
                "name": each.tag.name,
                "image": each.tag.image,
                "tag": each.tag.tag,
                "digest": str(each.digest),
            }
            for each in found.moved
        ],
        "left": [
            {
                "file": each.path,
                "name": each.tag.name if each.tag else None,
                "image": each.tag.image if each.tag else None,
                "tag": each.tag.tag if each.tag else None,
                "reason": each.reason,
                "asked": each.asked,
            }
            for each in found.left
        ],
        "files": sorted(found.files),
        "commit": settled.commit.sha if settled.commit else None,
    }


def _print(opened: wiring.Opened, settled: Settled[Move], *, check: bool, dry_run: bool) -> None:
    found = settled.decision
    if check or not pins.pending(settled):
        for each in found.moved:
            render.line(render.safe(f"{each.path}: {told(each)}"))
    if not found.moved:
        render.line("no tag can be moved" if found.left else "no overlay has a tag")
    elif check:
        render.line("these tags can be moved: run mlops lock --overlays")
    elif settled.proposed:
        return
    elif settled.commit:
        render.line(f"committed on {opened.branch}: {settled.commit.short}")
    elif not dry_run:
        render.line(f"commit them: git add {' '.join(sorted(found.files))}")
