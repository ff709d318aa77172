"""Defaults of parameters: they may refer to other parameters, in whatever order those are declared.

Tekton: pkg/reconciler/pipelinerun/resources/apply.go resolves those of a pipeline so; a circle fails the run there, and
is refused here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from mlops.tekton import graph, substitution
from mlops.tekton.place import Fault
from mlops.tekton.substitution import Parts, Scope, UnresolvedError
from mlops.tekton.values import ParamSpec, Value


def completed(
    specs: Iterable[ParamSpec], given: Mapping[str, Value], scope: Scope
) -> dict[str, Value]:
    """Declared parameters with what was given, else their defaults; objects are completed key by key.

    A default may also refer to the context in `scope`. Text that refers to nothing stays as it is.
    """
    known = {spec.name: spec for spec in specs}
    found: dict[str, Value] = {}
    for name in _order(known, given):
        spec = known[name]
        default = spec.default
        if default is not None and name not in given:
            default = _in_scope(default, {**scope, **_params(given), **_params(found)})
        value = given.get(name, default)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            value = {**default, **value}
        if value is not None:
            found[name] = value
    return {name: found[name] for name in known if name in found}


def faults(specs: Iterable[ParamSpec], given: Mapping[str, Value]) -> Iterator[Fault]:
    """Defaults that count, and refer to no parameter or to each other in a circle."""
    known = {spec.name: spec for spec in specs}
    waits = {name: _used(spec, given) for name, spec in known.items()}
    for name, spec in known.items():
        for other in waits[name]:
            if other not in known and other not in given:
                hint = graph.near(other, known)
                message = f"$(params.{other}): there is no such parameter"
                yield Fault(spec.at / "default", message, hint)
    circle = graph.find_circle({n: [o for o in used if o in known] for n, used in waits.items()})
    if circle:
        at = known[circle[0]].at / "default"
        yield Fault(at, f"these defaults refer to each other: {' → '.join(circle)}")


def _used(spec: ParamSpec, given: Mapping[str, Value]) -> tuple[str, ...]:
    """The parameters that a default refers to; none where a value was given."""
    if spec.default is None or spec.name in given:
        return ()
    found = (each.parts for each in substitution.all_references(spec.default))
    return tuple(dict.fromkeys(parts[1] for parts in found if parts[0] == "params"))


def _order(known: Mapping[str, ParamSpec], given: Mapping[str, Value]) -> list[str]:
    """Each parameter after those that its default refers to; a circle is cut."""
    order: dict[str, None] = {}
    for first in known:
        waiting = [(first, iter(_used(known[first], given)))]
        entered = {first}
        while waiting:
            name, others = waiting[-1]
            for other in others:
                if other in known and other not in order and other not in entered:
                    entered.add(other)
                    waiting.append((other, iter(_used(known[other], given))))
                    break
            else:
                waiting.pop()
                order.setdefault(name)
    return list(order)


def _params(values: Mapping[str, Value]) -> dict[Parts, Value]:
    return {("params", name): value for name, value in values.items()}


def _in_scope(value: Value, scope: Scope) -> Value:
    try:
        return substitution.value(value, scope)
    except UnresolvedError:
        return value
