"""Which files a script writes, read from its syntax tree.

Nothing is run. Constants, `Path(…) / …`, `os.path.join`, f-strings of constants, argparse's and
functions' defaults are followed; what a script computes in other ways stays unknown.
"""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Iterator, Mapping

# method → place of the path among its arguments; None: the object that it is called on
_WRITES: Mapping[str, int | None] = {
    "write_bytes": None,
    "write_text": None,
    "dump": 1,
    "dump_model": 0,
    "save": 0,
    "save_model": 0,
    "save_pretrained": 0,
    "to_json": 0,
    "export": 0,
}
_SAVES_OBJECT_FIRST = frozenset({"torch", "joblib", "pickle", "skops", "onnx", "safetensors"})
_HERE = "\0here"  # the script's own directory, until it is known


def written(tree: ast.Module, directory: str, home: str) -> Iterator[str]:
    """Paths from the repository's root of the files that a script in `directory`, started in
    `home`, writes; in the order of its text, repeats included."""
    values = _assignments(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        for expression in _targets(node):
            text = _value(expression, values, 0)
            if text:
                yield from _inside(text, directory, home)


def _inside(text: str, directory: str, home: str) -> Iterator[str]:
    if text.startswith(_HERE):
        path = posixpath.normpath(posixpath.join(directory or ".", text[len(_HERE) :].lstrip("/")))
    else:
        path = posixpath.normpath(posixpath.join(home or ".", text))
    if path != "." and not path.startswith(("..", "/")):
        yield path


def _targets(call: ast.Call) -> Iterator[ast.expr]:
    """The expressions of `call` that name a file which it writes."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name == "open":
        yield from _opened(call)
    elif name in _WRITES and isinstance(function, ast.Attribute):
        place = _WRITES[name]
        if place is None:
            yield function.value
            return
        owner = function.value.id if isinstance(function.value, ast.Name) else ""
        if owner in _SAVES_OBJECT_FIRST:
            place = 1
        if len(call.args) > place:
            yield call.args[place]
        yield from (k.value for k in call.keywords if k.arg in ("filename", "path", "fname"))
    elif name in ("dump", "save_file", "save_model") and len(call.args) > 1:
        yield call.args[1]


def _opened(call: ast.Call) -> Iterator[ast.expr]:
    method = isinstance(call.func, ast.Attribute)
    owner = getattr(getattr(call.func, "value", None), "id", "")
    if method and owner in ("io", "gzip", "bz2", "lzma"):
        method = False
    arguments = call.args if method else call.args[1:]
    mode = next((k.value for k in call.keywords if k.arg == "mode"), None)
    mode = mode or (arguments[0] if arguments else None)
    text = mode.value if isinstance(mode, ast.Constant) and isinstance(mode.value, str) else "r"
    if not set(text) & set("wax"):
        return
    if method and isinstance(call.func, ast.Attribute):
        yield call.func.value
    elif call.args:
        yield call.args[0]


def _assignments(tree: ast.Module) -> dict[str, ast.expr]:
    """What each name was last given, and `args.x` by argparse's default for `--x`."""
    found: dict[str, ast.expr] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Name):
                found[target.id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            found[node.target.id] = node.value
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            found.update(_option(node))
        elif isinstance(node, ast.FunctionDef):
            found.update(_defaults(node.args))
    return found


def _option(call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    names = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    default = next((k.value for k in call.keywords if k.arg == "default"), None)
    for name in names:
        if default is not None:
            yield "." + name.lstrip("-").replace("-", "_"), default


def _defaults(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    given = arguments.defaults
    for argument, default in zip(positional[len(positional) - len(given) :], given, strict=True):
        yield argument.arg, default
    for argument, other in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if other is not None:
            yield argument.arg, other


def _value(node: ast.expr | None, names: Mapping[str, ast.expr], depth: int) -> str | None:
    """The text of a path expression; None where it is not known before the script runs."""
    if node is None or depth > 20:
        return None
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id="__file__"):
            return f"{_HERE}/_"
        case ast.Name(id=name):
            return _value(names.get(name), names, depth + 1)
        case ast.BinOp(left=left, op=ast.Div() | ast.Add() as op, right=right):
            parts = _value(left, names, depth + 1), _value(right, names, depth + 1)
            return _joined(parts, "/" if isinstance(op, ast.Div) else "")
        case ast.JoinedStr(values=values):
            return _joined([_value(v, names, depth + 1) for v in values], "")
        case ast.FormattedValue(value=value):
            return _value(value, names, depth + 1)
        case ast.Subscript(value=ast.Attribute(attr="parents", value=value)):
            return _parents(node, _value(value, names, depth + 1))
        case ast.Attribute(attr="parent", value=value):
            return _up(_value(value, names, depth + 1))
        case ast.Attribute(attr=name):
            return _value(names.get(f".{name}"), names, depth + 1)
        case ast.Call():
            return _called(node, names, depth)
    return None


def _parents(node: ast.Subscript, text: str | None) -> str | None:
    if not isinstance(node.slice, ast.Constant) or not isinstance(node.slice.value, int):
        return None
    for _ in range(min(node.slice.value, 20) + 1):
        text = _up(text)
    return text


def _up(text: str | None) -> str | None:
    if text is None:
        return None
    return f"{text}/.." if text == _HERE or text.endswith("/..") else posixpath.dirname(text)


def _joined(parts: list[str | None] | tuple[str | None, ...], separator: str) -> str | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return posixpath.join(*known) if separator else "".join(known)


def _called(call: ast.Call, names: Mapping[str, ast.expr], depth: int) -> str | None:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in ("Path", "PurePath", "join", "str", "fspath", "dirname", "abspath", "realpath"):
        parts = [_value(argument, names, depth + 1) for argument in call.args]
        text = _joined(parts, "/") if parts else None
        return _up(text) if name == "dirname" else text
    if name in ("resolve", "absolute", "as_posix", "expanduser"):
        return _value(getattr(call.func, "value", None), names, depth + 1)
    if name == "joinpath":
        owner = _value(getattr(call.func, "value", None), names, depth + 1)
        return _joined([owner, *(_value(a, names, depth + 1) for a in call.args)], "/")
    return None
