"""Somebody who watches the tips of a GitOps branch, and reads its files with code of their own.

Nothing here asks the code under test what stands where: pins, holds, quarantine, records and
trailers are read anew, as documents of YAML and JSON that anybody could read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

import yaml

MODELS = ("eggs", "spam")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
ROOT = "environments"

Pins = dict[str, str]


@dataclass(frozen=True)
class Act:
    """What of ours is at work: `kind` as Mlops-Action says it; automation, or a person."""

    kind: str
    automatic: bool = False
    despite: bool = False
    with_hold: bool = False


@dataclass(frozen=True)
class Sight:
    """The branch at one tip: every file below environments/."""

    commit: str
    files: Mapping[str, bytes]

    def path(self, environment: str) -> str:
        return f"{ROOT}/{environment}/kustomization.yaml"

    def pins(self, environment: str) -> Pins | None:
        """What is pinned; None where nobody could deploy this file."""
        content = self.files.get(self.path(environment))
        return {} if content is None else _pins(content)

    def images(self, environment: str) -> list[dict[str, Any]]:
        content = self.files.get(self.path(environment))
        value = _value(content) if content is not None else None
        return list(value.get("images") or []) if isinstance(value, dict) else []

    def holds(self, environment: str) -> list[dict[str, Any]]:
        content = self.files.get(f"{ROOT}/{environment}/holds.yaml")
        return ((_value(content) if content else None) or {}).get("holds") or []

    def held(self, environment: str, model: str, now: datetime, *, own: bool = False) -> bool:
        """Whether a hold stops the model now; `own`: one of this very model."""
        names = (model,) if own else ("*", model)
        return any(
            hold["model"] in names and in_force(hold, now) for hold in self.holds(environment)
        )

    def avoided(self, environment: str, model: str, now: datetime) -> set[str]:
        """What the holds in force keep out."""
        return {
            digest
            for hold in self.holds(environment)
            if hold["model"] in ("*", model) and in_force(hold, now)
            for digest in hold.get("avoid") or ()
        }

    def quarantine(self) -> list[dict[str, Any]]:
        content = self.files.get(f"{ROOT}/quarantine.yaml")
        return ((_value(content) if content else None) or {}).get("quarantine") or []

    def record(self, model: str, digest: str) -> dict[str, Any] | None:
        name = digest.removeprefix("sha256:")
        content = self.files.get(f"{ROOT}/releases/{model}/{name}.json")
        return None if content is None else _json(content)

    def forbidden(self, model: str, digest: str) -> bool:
        record = self.record(model, digest) or {}
        md5 = (record.get("artifact") or {}).get("md5")
        return any(
            entry["digest"] == digest or (md5 and entry.get("artifact") == md5)
            for entry in self.quarantine()
        )

    def sound(self, model: str, digest: str) -> bool:
        return self.record(model, digest) is not None and not self.forbidden(model, digest)


@dataclass(frozen=True)
class Ours:
    """One commit of ours, with the branch before and after it, and what it moved where."""

    before: Sight
    after: Sight
    act: Act
    message: str
    now: datetime
    moved: Mapping[str, Mapping[str, tuple[str | None, str | None]]]

    @property
    def trailers(self) -> list[tuple[str, str]]:
        last = self.message.strip().split("\n\n")[-1]
        return [(k, v) for k, _, v in (line.partition(": ") for line in last.splitlines())]

    def said(self, key: str) -> list[str]:
        return [value for name, value in self.trailers if name == key]

    @property
    def changed(self) -> set[str]:
        old, new = self.before.files, self.after.files
        return {path for path in {*old, *new} if old.get(path) != new.get(path)}


@dataclass
class _Node:
    """A release as something brought it: `parent` is what stood before."""

    digest: str
    parent: _Node | None


@dataclass
class Place:
    """What one environment pinned of one model, and what rollbacks said of it.

    `began` is every pin that ever was, oldest first, with the commit that pinned it where it was
    ours. `at` is where we are in the tree of what followed what: a promotion grows it, a rollback
    (or a hand that puts back what was there before) climbs back.
    """

    began: list[tuple[str, str]] = field(default_factory=list)
    at: _Node | None = None
    latest: dict[str, _Node] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)
    kept_out: set[str] = field(default_factory=set)

    def pinned(self, digest: str, *, back: bool, by_hand: bool, commit: str) -> None:
        self.began.append((digest, commit))
        if digest in self.latest and (back or by_hand):
            self.at = self.latest[digest]
        else:
            self.at = self.latest[digest] = _Node(digest, self.at)

    def predecessors(self) -> list[str]:
        """What stood before the current pin, and before that; never what a rollback left."""
        found: list[str] = []
        assert self.at is not None
        node = self.at.parent
        while node is not None:
            if node.digest not in {*found, *self.left, self.at.digest}:
                found.append(node.digest)
            node = node.parent
        return found


@dataclass
class Observer:
    """Every tip is shown to it, once, in order; `fresh` are the commits of ours since last asked."""

    environments: tuple[str, ...]
    sight: Sight = field(default_factory=lambda: Sight("", {}))
    standing: dict[str, Pins] = field(default_factory=dict)
    places: dict[tuple[str, str], Place] = field(default_factory=dict)
    fresh: list[Ours] = field(default_factory=list)
    dirty: set[str] = field(default_factory=set)
    last_moved: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.environments:
            self.standing[name] = {}
            for model in MODELS:
                self.places[name, model] = Place()

    def see(self, sight: Sight, message: str, act: Act | None, now: datetime) -> None:
        """The branch has a new tip: by one of ours (`act`), or by anybody else."""
        before, self.sight = self.sight, sight
        moved = {name: self._moved(name, act) for name in self.environments}
        moved = {name: changes for name, changes in moved.items() if changes}
        if act is not None:
            ours = Ours(before, sight, act, message, now, moved)
            self.fresh.append(ours)
            self._keep(ours)
        else:
            self._released()

    def _moved(self, name: str, act: Act | None) -> dict[str, tuple[str | None, str | None]]:
        pins = self.sight.pins(name)
        if pins is None:
            return {}
        old, self.standing[name] = self.standing[name], pins
        moved = {
            model: (old.get(model), pins.get(model))
            for model in MODELS
            if old.get(model) != pins.get(model)
        }
        back = act is not None and act.kind == "rollback"
        for model, (was, now) in moved.items():
            place = self.places[name, model]
            if now is not None:
                commit = self.sight.commit if act else ""
                place.pinned(now, back=back, by_hand=act is None, commit=commit)
            if back and was is not None:
                place.left.add(was)
        if any(now is not None for _, now in moved.values()):
            self.last_moved[name] = tuple(m for m in moved if moved[m][1] is not None)
        if moved:
            self.dirty.add(name)
        return moved

    def _released(self) -> None:
        """Somebody else may have taken our words out, as a `git revert` does."""
        for (name, model), place in self.places.items():
            if place.kept_out:
                holds = [hold for hold in self.sight.holds(name) if hold["model"] == model]
                place.kept_out &= {d for hold in holds for d in hold.get("avoid") or ()}

    def _keep(self, ours: Ours) -> None:
        """What is to be kept out from now on, by what our commits meant to say."""
        for name in self.environments:
            for model in MODELS:
                place = self.places[name, model]
                was, now = ours.moved.get(name, {}).get(model, (None, None))
                stands = any(h["model"] == model for h in ours.after.holds(name))
                if ours.act.kind == "rollback" and ours.act.with_hold and was:
                    place.kept_out.add(was)
                elif ours.act.kind == "resume" and not stands:
                    place.kept_out.clear()
                elif not stands and not ours.before.held(name, model, ours.now, own=True):
                    place.kept_out.clear()  # its time had passed
                place.kept_out.discard(now or "")


def in_force(hold: Mapping[str, Any], now: datetime) -> bool:
    until = hold.get("until")
    if until is None:
        return True
    return now < (until if isinstance(until, datetime) else datetime.fromisoformat(until))


@lru_cache(maxsize=4096)
def _value(content: bytes) -> Any:
    try:
        return yaml.load(content, yaml.CSafeLoader)
    except yaml.YAMLError:
        return None


@lru_cache(maxsize=4096)
def _json(content: bytes) -> dict[str, Any]:
    return json.loads(content)


@lru_cache(maxsize=4096)
def _read_pins(content: bytes) -> tuple[tuple[str, str], ...] | None:
    value = _value(content)
    if not isinstance(value, dict) or not value:
        return None
    found: list[tuple[str, str]] = []
    images = value.get("images") or []
    for entry in images:
        digest = entry.get("digest")
        if digest is None or not DIGEST.fullmatch(digest):
            continue
        if [other["name"] for other in images].count(entry["name"]) > 1:
            return None
        if entry["name"] in MODELS:
            found.append((entry["name"], digest))
    return tuple(found)


def _pins(content: bytes) -> Pins | None:
    found = _read_pins(content)
    return None if found is None else dict(found)
