"""What a field of ours may hold: names, paths, durations, quantities, digests, times.

Each check takes the text and gives it back, or raises ValueError that says what was expected; the
patterns also stand in the JSON schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from mlops.domain.digest import Digest
from mlops.domain.imagename import ImageName
from mlops.errors import UsageError

_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?\Z", re.ASCII)
# Kubernetes: resource.Quantity, without the sign
_QUANTITY = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][0-9]+)?"
_PLATFORM = r"linux/(amd64|arm64)(/[a-z0-9.]+)?"  # that images are built for
_ANY_PLATFORM = r"linux/[a-z0-9]+(/[a-z0-9.]+)?"  # that images of others may be for
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_IMAGE_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?"
_REVISION = "org.opencontainers.image.revision"
_REGISTRY = (
    r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?)"
    r"(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
)
_A_REGISTRY = "expected oci:DIRECTORY or HOST[:PORT][/PATH]"
_IMAGE = (
    r"([A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?/)?"
    r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
# git-check-ref-format, with `*`, `?` and `[…]` as globs
_BRANCH = re.compile(r"[^\x00-\x20\x7f~^:\\]+\Z")
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:[Zz]|[+-]\d\d:\d\d)\Z", re.ASCII
)
_RUNG = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def _shape(pattern: str, expected: str, longest: int = 255) -> Callable[[str], str]:
    compiled = re.compile(rf"(?:{pattern})\Z", re.ASCII)

    def check(text: str) -> str:
        if len(text) > longest or compiled.match(text) is None:
            raise ValueError(expected)
        return text

    return check


def seconds(text: str) -> float:
    """`90s`, `30m`, `1h30m`, `2d` → seconds."""
    match = _DURATION.match(text)
    if match is None or not text:
        raise ValueError("expected a duration such as 90s, 30m, 1h or 2d")
    return float(
        sum(int(n or 0) * per for n, per in zip(match.groups(), _RUNG.values(), strict=True))
    )


def _duration(text: str) -> str:
    seconds(text)
    return text


def _positive(text: str) -> str:
    if seconds(text) == 0:
        raise ValueError("expected a duration above zero")
    return text


def inside(text: str) -> str:
    """A path of the repository: relative, with `/`, never out of the tree nor into `.git`."""
    parts = text.split("/")
    if not text or text.startswith(("/", "~", "-")) or "\\" in text or re.match("[A-Za-z]:", text):
        raise ValueError("expected a path relative to the repository's root, such as src/train.py")
    if ".." in parts:
        raise ValueError("expected a path inside the repository, without ..")
    if ".git" in parts:
        raise ValueError("expected a path outside .git")
    clean = "/".join(part for part in parts if part not in ("", "."))
    return clean or "."


def _file(text: str) -> str:
    if text.endswith("/") or inside(text) == ".":
        raise ValueError("expected the path of a file or directory below the repository's root")
    return inside(text)


def _registry(text: str) -> str:
    scheme, _, directory = text.partition(":")
    if scheme == "oci":
        try:
            return "oci:" + _file(directory)
        except ValueError as exc:
            told = str(exc).replace("such as src/train.py", "such as oci:.mlops/registry")
            raise ValueError(told) from exc
    if "://" in text:
        raise ValueError("expected a registry without a scheme, such as registry.example.com/ml")
    path = text.partition("/")[2]
    if ":" in path or "@" in path:
        raise ValueError(f"{_A_REGISTRY}, without a tag or digest")
    return _shape(_REGISTRY, f"{_A_REGISTRY}, PATH in lower case")(text).rstrip("/")


def _remote(text: str) -> str:
    if text.startswith("oci:"):
        raise ValueError("expected HOST[:PORT][/PATH]: a cluster pulls from a registry")
    return _registry(text)


def _base(text: str) -> str:
    scheme, _, place = text.partition(":")
    if scheme in ("oci", "oci-archive") and place:
        if place.startswith("-") or ".." in place.split("/"):
            raise ValueError("expected the path of an OCI layout or archive, without ..")
        return text
    expected = (
        "expected host, an image such as python:3.12-slim, oci:DIRECTORY[:TAG] or oci-archive:FILE"
    )
    return _shape(_IMAGE, expected, 500)(text)


def _branch(text: str) -> str:
    wrong = (
        _BRANCH.match(text) is None
        or text.startswith(("-", "/", "refs/"))
        or text.endswith(("/", ".", ".lock"))
        or any(bad in text for bad in ("..", "//", "@{", "/."))
    )
    if wrong:
        raise ValueError("expected a branch, or a glob of branches such as release/*")
    return text


def _tag(text: str) -> str:
    try:
        return _branch(text)
    except ValueError as exc:
        raise ValueError("expected a tag, or a glob of tags such as v*") from exc


def _plain_branch(text: str) -> str:
    if any(char in text for char in "*?["):
        raise ValueError("expected the name of one branch")
    return _branch(text)


def _url(text: str) -> str:
    if not text or text.startswith("-") or re.search(r"[\s\x00-\x1f]", text) or "::" in text:
        raise ValueError("expected the URL or path of a git repository")
    if re.match(r"[a-z+]+://[^/@]*:[^/@]*@", text):
        raise ValueError("expected a URL without a password: give it to git's credential helper")
    return text


def _quantity(value: object) -> object:
    # `cpu: 2` is as clear as `cpu: "2"`, and Kubernetes takes both
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _contract(value: object) -> object:
    # `input-schema: 3` is as clear as `"3"`; 1.10 would lose its zero, and is refused as no string
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _command(value: object) -> object:
    return ("/bin/sh", "-c", value) if isinstance(value, str) and value.strip() else value


def _not_empty(text: str) -> str:
    if not text.strip():
        raise ValueError("expected some text")
    return text


def _label(text: str) -> str:
    if text.startswith(("dev.mlops.", "org.opencontainers.image.base.")) or text == _REVISION:
        raise ValueError("expected another label: that one is set by mlops")
    expected = "expected a label such as com.example.team: letters, digits and . _ / - inside"
    return _shape(_IMAGE_LABEL, expected, 200)(text)


def _digest(text: str) -> str:
    try:
        return str(Digest.parse(text))
    except UsageError as exc:
        raise ValueError("expected a digest: sha256:<64 hex digits>") from exc


def moment(text: str) -> datetime:
    """RFC 3339 → aware, in UTC."""
    expected = "expected a time in RFC 3339 with its offset, such as 2019-07-16T12:00:00Z"
    if _RFC3339.match(text) is None:
        raise ValueError(expected)
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise ValueError(expected) from exc


def _time(text: str) -> str:
    moment(text)
    return text


def _tagged_image(text: str) -> str:
    """An image by its tag, of which a lock can say what it names."""
    try:
        name = ImageName.parse(text)
    except UsageError as exc:
        raise ValueError(exc.message) from exc
    if name.digest is not None:
        raise ValueError(f"expected an image by tag, found one that has its digest: {text!r}")
    return text


def distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    """Nothing twice."""
    for place, value in enumerate(values):
        if value in values[:place]:
            raise ValueError(f"expected each once, found {value!r} twice")
    return values


def _some(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise ValueError("expected at least one")
    return values


def _single(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(values) > 1:
        raise ValueError("expected one: images of several platforms are not supported yet")
    return values


def _pattern(pattern: str) -> dict[str, str]:
    return {"pattern": f"^(?:{pattern})$"}


_NAME_HINT = "expected lower case letters, digits and inner hyphens, at most 40"
Text = Annotated[str, AfterValidator(_not_empty)]
Name = Annotated[
    str,
    AfterValidator(_shape(_LABEL, _NAME_HINT, 40)),
    Field(json_schema_extra={**_pattern(_LABEL), "maxLength": 40}),
]
NameOrAll = Annotated[
    str,
    AfterValidator(_shape(rf"{_LABEL}|\*", 'expected the name of a model, or "*" for all', 40)),
    Field(json_schema_extra={**_pattern(rf"{_LABEL}|\*"), "maxLength": 40}),
]
FilePath = Annotated[str, AfterValidator(_file)]
TreePath = Annotated[str, AfterValidator(inside)]
Glob = Annotated[str, AfterValidator(inside)]
Branch = Annotated[str, AfterValidator(_plain_branch)]
BranchGlob = Annotated[str, AfterValidator(_branch)]
TagGlob = Annotated[str, AfterValidator(_tag)]
GitUrl = Annotated[str, AfterValidator(_url)]
Registry = Annotated[str, AfterValidator(_registry)]
RemoteRegistry = Annotated[str, AfterValidator(_remote)]
TaskImage = Annotated[
    str, AfterValidator(_tagged_image), Field(examples=["docker.io/library/golang:1.22"])
]
BaseImage = Annotated[str, AfterValidator(_base)]
Duration = Annotated[str, AfterValidator(_duration), Field(examples=["30m", "1h", "2d"])]
Timeout = Annotated[str, AfterValidator(_positive), Field(examples=["30m", "1h", "2d"])]
Platform = Annotated[
    str,
    AfterValidator(_shape(_PLATFORM, "expected linux/amd64 or linux/arm64")),
    Field(json_schema_extra=_pattern(_PLATFORM)),
]
AnyPlatform = Annotated[
    str,
    AfterValidator(_shape(_ANY_PLATFORM, "expected a platform such as linux/amd64")),
    Field(json_schema_extra=_pattern(_ANY_PLATFORM)),
]
Quantity = Annotated[
    str,
    BeforeValidator(_quantity, json_schema_input_type=str | int | float),
    AfterValidator(_shape(_QUANTITY, 'expected a Kubernetes quantity such as "2", 500m or 4Gi')),
]
Contract = Annotated[
    str,
    BeforeValidator(_contract, json_schema_input_type=str | int),
    AfterValidator(_not_empty),
]
Variable = Annotated[
    str, AfterValidator(_shape(_VARIABLE, "expected the name of an environment variable"))
]
Label = Annotated[str, AfterValidator(_label)]
Command = Annotated[
    tuple[Text, ...],
    BeforeValidator(_command, json_schema_input_type=str | tuple[str, ...]),
    AfterValidator(_some),
]
DigestText = Annotated[
    str, AfterValidator(_digest), Field(json_schema_extra=_pattern("sha256:[0-9a-f]{64}"))
]
Time = Annotated[str, AfterValidator(_time), Field(json_schema_extra={"format": "date-time"})]
Distinct = AfterValidator(distinct)
Some = AfterValidator(_some)
Single = AfterValidator(_single)
