"""Tekton's `$(…)` references: found, looked up, replaced, once and never again.

What a value brings in is not read for references, so data stays data. Text of the form `$(…)` that
is no reference (a shell's command substitution) stays as it is.

Tekton: docs/variables.md. Environment variables in `command`, `args` and `env` are the kubelet's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mlops.tekton.values import Value

Parts = tuple[str, ...]

_PIPELINE_ROOTS = frozenset({"params", "tasks", "finally", "context", "workspaces", "results"})

_PART = r"""(?:\.[A-Za-z0-9_-]+|\[(?:"[^"\]\s]+"|'[^'\]\s]+')\])"""
_ROOTS = (
    "params|tasks|finally|results|workspaces|steps|step|credentials"
    r"|inputs\.params"  # an older name of params
    r"|context(?=\.(?:pipelineRun|pipeline|pipelineTask|taskRun|task)\.)"
)
_REFERENCE = re.compile(rf"""\$\(({_ROOTS})({_PART}+)(?:\[(\*|\d{{1,9}})\])?\)""")
_ANY = re.compile(r"\$\(([A-Za-z0-9_.-]+(?:\[[^\]\s]*\])?(?:\.[A-Za-z0-9_-]+)*)\)")
_ARTIFACTS = re.compile(
    r"\$\((?:(?:step\.)?artifacts\.path|(?:tasks|steps)\.[^.()\s]+\.(?:inputs|outputs)(?:\.[^()\s]*)?)\)"
)
_LIKE = re.compile(
    r"\$\((?:params|results|step\.results|context\.(?:taskRun|task|pipelineRun|pipeline))[.\[][^()\s]*\)"
)
_EXPRESSION = re.compile(r"\$\([^()\s]*\)")
_PART_TEXT = re.compile(r"""\.([A-Za-z0-9_-]+)|\[["']([^"'\]]+)["']\]""")


@dataclass(frozen=True, slots=True)
class Reference:
    """`$(tasks.t.results.r[*])`: parts `(tasks, t, results, r)`, index `*`."""

    text: str
    parts: Parts
    index: str = ""

    @property
    def task(self) -> str:
        """The pipeline task whose result is meant; empty where none is."""
        parts = self.parts
        is_result = len(parts) >= 4 and parts[0] in {"tasks", "finally"} and parts[2] == "results"
        return parts[1] if is_result else ""

    @property
    def whole(self) -> bool:
        """Whether an array or object is meant as a whole, by `[*]`."""
        return self.index == "*"


class SubstitutionError(Exception):
    """A value that does not fit where its reference stands."""


class UnresolvedError(Exception):
    """A reference that has no value (yet): the result of a task that wrote none."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(f"{reference.text} has no value")
        self.reference = reference


Scope = Mapping[Parts, Value]


def references(text: str) -> Iterator[Reference]:
    """The references that stand in a text, in order."""
    for match in _REFERENCE.finditer(text):
        yield _reference(match)


def all_references(value: Value) -> Iterator[Reference]:
    """The references in a parameter's value, whatever its type."""
    if isinstance(value, str):
        texts: Sequence[str] = (value,)
    else:
        texts = tuple(value.values()) if isinstance(value, Mapping) else value
    for each in texts:
        yield from references(each)


def _reference(match: re.Match[str]) -> Reference:
    parts = tuple(dotted or quoted for dotted, quoted in _PART_TEXT.findall(match[2]))
    root = match[1].removeprefix("inputs.")
    return Reference(match[0], (root, *parts), match[3] or "")


def artifacts(text: str) -> Iterator[str]:
    """References to artifacts, which Tekton has as an alpha feature."""
    for match in _ARTIFACTS.finditer(text):
        yield match[0]


def malformed(text: str) -> Iterator[str]:
    """What begins as a reference to a parameter or result and is none: `$(params.)`."""
    for match in _LIKE.finditer(text):
        if _REFERENCE.match(match[0]) is None:
            yield match[0]


def expressions(text: str) -> Iterator[str]:
    """Everything of the form `$(…)`, where only references can be meant."""
    for match in _EXPRESSION.finditer(text):
        yield match[0]


def unknown_roots(text: str) -> Iterator[str]:
    """`$(x.y)` in a text where only Tekton's references can be meant, and x is none of its roots."""
    for match in _ANY.finditer(text):
        root = re.split(r"[.\[]", match[1], maxsplit=1)[0]
        if root not in _PIPELINE_ROOTS:
            yield match[0]


def lookup(reference: Reference, scope: Scope) -> Value:
    """What a reference stands for. Raises UnresolvedError where the scope has no such value."""
    value = _found(reference.parts, scope)
    if value is None:
        raise UnresolvedError(reference)
    if reference.index.isdigit():
        position = int(reference.index)
        if not isinstance(value, tuple) or position >= len(value):
            raise UnresolvedError(reference)
        return value[position]
    return value


def _found(parts: Parts, scope: Scope) -> Value | None:
    value = scope.get(parts)
    if value is None and parts[0] == "params" and len(parts) > 2:
        value = scope.get(("params", ".".join(parts[1:])))  # a name with dots in it
    if value is None and parts[0] in {"tasks", "finally"} and len(parts) > 4:
        value = scope.get((*parts[:3], ".".join(parts[3:])))
    if value is None:
        holder = scope.get(parts[:-1])
        if isinstance(holder, Mapping):
            value = holder.get(parts[-1])
    return value


def text(template: str, scope: Scope) -> str:
    """Replace references to strings. Raises SubstitutionError where one is an array or object."""
    if "$(" not in template:
        return template

    def replaced(match: re.Match[str]) -> str:
        value = lookup(_reference(match), scope)
        if not isinstance(value, str):
            raise SubstitutionError(f"{match[0]} is no string, and one is needed here")
        return value

    return _REFERENCE.sub(replaced, template)


def for_people(template: str, scope: Scope) -> str:
    """Replace what can be replaced with a string; all else stays, for it is only looked at."""

    def replaced(match: re.Match[str]) -> str:
        try:
            value = lookup(_reference(match), scope)
        except UnresolvedError:
            return match[0]
        return value if isinstance(value, str) else match[0]

    return _REFERENCE.sub(replaced, template)


def items(templates: Sequence[str], scope: Scope) -> tuple[str, ...]:
    """Replace references in a list; one that is an array and stands alone becomes its items."""
    found: list[str] = []
    for template in templates:
        alone = _alone(template, scope)
        if isinstance(alone, tuple):
            found.extend(alone)
        else:
            found.append(text(template, scope))
    return tuple(found)


def value(template: Value, scope: Scope) -> Value:
    """Replace references in a parameter's value; one that stands alone keeps its type."""
    if isinstance(template, Mapping):
        return {key: text(each, scope) for key, each in template.items()}
    if isinstance(template, tuple):
        return items(template, scope)
    alone = _alone(template, scope)
    return text(template, scope) if alone is None else alone


def _alone(template: str, scope: Scope) -> Value | None:
    match = _REFERENCE.fullmatch(template)
    if match is None:
        return None
    found = lookup(_reference(match), scope)
    return None if isinstance(found, str) else found


def expand(template: str, env: Mapping[str, str]) -> str:
    """Replace `$(NAME)` as the kubelet does: unknown names stay, `$$` is one `$`.

    Kubernetes: third_party/forked/golang/expansion.
    """
    return _VARIABLE.sub(lambda match: _variable(match, env), template)


_VARIABLE = re.compile(r"\$\$|\$\(([^)]*)\)")


def _variable(match: re.Match[str], env: Mapping[str, str]) -> str:
    return "$" if match[0] == "$$" else env.get(match[1], match[0])
