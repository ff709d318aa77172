"""Open Inference Protocol v2, the JSON form: requests as tensors, predictions as answers.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_INTEGERS = {
    "UINT8": (0, 2**8 - 1),
    "UINT16": (0, 2**16 - 1),
    "UINT32": (0, 2**32 - 1),
    "UINT64": (0, 2**64 - 1),
    "INT8": (-(2**7), 2**7 - 1),
    "INT16": (-(2**15), 2**15 - 1),
    "INT32": (-(2**31), 2**31 - 1),
    "INT64": (-(2**63), 2**63 - 1),
}
_FLOATS = ("FP16", "FP32", "FP64")
DATATYPES = ("BOOL", *_INTEGERS, *_FLOATS, "BYTES")
_DEPTH = 32  # dimensions; deeper nesting is no tensor


class RequestError(Exception):
    """What a client sent is not a request that can be answered; the text goes back to it."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """`values` in row-major order, as many as `shape` multiplies to; BYTES are text."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    values: tuple[Any, ...]

    def rows(self) -> list[Any]:
        """Nested lists of the shape."""
        nested: list[Any] = list(self.values)
        for width in reversed(self.shape[1:]):
            nested = [nested[at : at + width] for at in range(0, len(nested), width)]
        return nested

    def document(self) -> dict[str, Any]:
        """As an answer has it. JSON knows no NaN and no infinity: they become null."""
        finite = [
            None if isinstance(value, float) and not math.isfinite(value) else value
            for value in self.values
        ]
        return {
            "name": self.name,
            "shape": list(self.shape),
            "datatype": self.datatype,
            "data": finite,
        }


@dataclass(frozen=True, slots=True)
class Request:
    """An inference request; no `outputs` asks for the default one."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...] = ()
    id: str = ""


def parse(body: bytes) -> Request:
    """Read a request's body. Raises RequestError."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise RequestError(f"the body is not JSON: {exc}") from exc
    if not isinstance(document, dict):
        raise RequestError("the body must be an object with `inputs`")
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise RequestError("`inputs` must be a list of at least one tensor")
    outputs = document.get("outputs") or []
    if not isinstance(outputs, list):
        raise RequestError("`outputs` must be a list")
    name = document.get("id", "")
    return Request(
        inputs=tuple(_tensor(item, f"inputs[{at}]") for at, item in enumerate(inputs)),
        outputs=tuple(_name(item, f"outputs[{at}]") for at, item in enumerate(outputs)),
        id=name if isinstance(name, str) else "",
    )


def tensor_of(name: str, rows: Any) -> Tensor:
    """A tensor of a prediction: nested lists, or what has `tolist()` (an array)."""
    nested = rows.tolist() if hasattr(rows, "tolist") else rows
    values = tuple(_plain(value) for value in _leaves(nested, name))
    if all(isinstance(value, bool) for value in values):
        datatype = "BOOL"
    elif all(isinstance(value, int) for value in values):
        datatype = "INT64"
    elif all(isinstance(value, int | float) for value in values):
        datatype, values = "FP64", tuple(float(value) for value in values)
    else:
        datatype, values = "BYTES", tuple(str(value) for value in values)
    return Tensor(name, _shape(nested), datatype, values)


def _tensor(item: Any, where: str) -> Tensor:
    name = _name(item, where)
    datatype, shape = item.get("datatype"), item.get("shape")
    if datatype not in DATATYPES:
        raise RequestError(f"{where}.datatype must be one of {', '.join(DATATYPES)}")
    if not isinstance(shape, list) or not shape or not all(_is_size(size) for size in shape):
        raise RequestError(f"{where}.shape must be a list of sizes, such as [2, 13]")
    if "data" not in item:
        raise RequestError(f"{where}.data is missing; binary tensors are not supported")
    values = tuple(_value(value, datatype, where) for value in _leaves(item["data"], where))
    if len(values) != math.prod(shape):
        raise RequestError(
            f"{where}.data has {len(values)} values; shape {shape} wants {math.prod(shape)}"
        )
    return Tensor(name, tuple(shape), datatype, values)


def _name(item: Any, where: str) -> str:
    if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
        raise RequestError(f"{where} must be an object with a `name`")
    return str(item["name"])


def _is_size(size: Any) -> bool:
    return isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**31


def _leaves(data: Any, where: str, depth: int = 0) -> Iterator[Any]:
    if depth > _DEPTH:
        raise RequestError(f"{where}: data is nested over {_DEPTH} deep")
    if isinstance(data, list | tuple):
        for item in data:
            yield from _leaves(item, where, depth + 1)
    elif depth == 0 and not isinstance(data, bool | int | float | str):
        raise RequestError(f"{where}.data must be a list")
    else:
        yield data


def _value(value: Any, datatype: str, where: str) -> Any:
    if datatype == "BYTES" and isinstance(value, str):
        return value
    if datatype == "BOOL" and isinstance(value, bool):
        return value
    if not isinstance(value, bool):
        if datatype in _INTEGERS and isinstance(value, int):
            least, most = _INTEGERS[datatype]
            if least <= value <= most:
                return value
        if datatype in _FLOATS and isinstance(value, int | float):
            try:
                return float(value)
            except OverflowError as exc:
                raise RequestError(f"{where}.data: a value is too large for {datatype}") from exc
    raise RequestError(f"{where}.data: {str(value)[:40]!r} is no {datatype}")


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _shape(nested: Any) -> tuple[int, ...]:
    shape: list[int] = []
    while isinstance(nested, Sequence) and not isinstance(nested, str | bytes):
        shape.append(len(nested))
        if not nested:
            break
        nested = nested[0]
    return tuple(shape) or (1,)
