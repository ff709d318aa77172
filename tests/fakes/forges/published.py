"""An OpenAPI 3.0 document that a forge publishes, and what in an exchange is not as it says.

A fake gives fewer fields than the forge does, so nothing is asked of fields that are not there: those that are
must be declared, and of the declared type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from tests.fakes.forges.server import Asked, Reply

GITHUB = Path(__file__).parents[3] / ".cache" / "openapi" / "github-23.0.2.json"


@dataclass
class Published:
    document: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Published:
        return cls(json.loads(path.read_bytes()))

    @cached_property
    def _paths(self) -> list[tuple[re.Pattern[str], str]]:
        """The more a path says itself, the earlier: `/repos/{o}/{r}` must not take what others name."""
        every = sorted(self.document["paths"], key=lambda path: path.count("{"))
        part = r"\\\{[^}]+\\\}"
        return [(re.compile(re.sub(part, "[^/]+", re.escape(path))), path) for path in every]

    def complaints(self, asked: Asked, reply: Reply) -> Iterator[str]:
        """What of a request and its answer the document does not say."""
        path = next((p for pattern, p in self._paths if pattern.fullmatch(f"/{asked.path}")), None)
        operation = self.document["paths"].get(path, {}).get(asked.method.lower())
        where = f"{asked.method} /{asked.path}"
        if operation is None:
            yield f"{where}: no such operation"
            return
        declared = {self._of(each)["name"] for each in operation.get("parameters", [])}
        yield from (f"{where}: no query {name}" for name in asked.query if name not in declared)
        if asked.body is not None:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            yield from self._wrong(f"{where}: body", asked.body, schema, whole=True)
        answer = operation["responses"].get(str(reply.status))
        if answer is None:
            yield f"{where}: no answer {reply.status}"
            return
        content = self._of(answer).get("content", {}).get("application/json")
        if content is not None:
            yield from self._wrong(
                f"{where}: {reply.status}", reply.document, content["schema"], whole=False
            )

    def _of(self, found: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a `$ref` names."""
        while "$ref" in found:
            name = found["$ref"].removeprefix("#/")
            value: Any = self.document
            for part in name.split("/"):
                value = value[part]
            found = value
        return found

    def _wrong(
        self, where: str, value: Any, schema: Mapping[str, Any], *, whole: bool
    ) -> Iterator[str]:
        """Requests are checked as a whole, answers as far as they go."""
        schema = self._of(schema)
        if value is None and (schema.get("nullable") or self._nullable(schema)):
            return
        options = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
        if options:
            found = [list(self._wrong(where, value, each, whole=whole)) for each in options]
            yield from min(found, key=len)
            return
        for each in schema.get("allOf", ()):
            yield from self._wrong(where, value, each, whole=False)
        plain = {key: schema[key] for key in ("type", "enum", "maxLength") if key in schema}
        if value is not None or "type" in plain:
            for error in Draft202012Validator(plain).iter_errors(value):
                yield f"{where}: {error.message[:200]}"
        if isinstance(value, dict) and "properties" in schema:
            known = schema["properties"]
            for key, inner in value.items():
                if key in known:
                    yield from self._wrong(f"{where}.{key}", inner, known[key], whole=whole)
                elif "allOf" not in schema:
                    yield f"{where}.{key}: no such field"
            lacking = set(schema.get("required", ())) - value.keys() if whole else set()
            yield from (f"{where}.{key}: lacking" for key in sorted(lacking))
        if isinstance(value, list) and "items" in schema:
            for number, each in enumerate(value):
                yield from self._wrong(f"{where}[{number}]", each, schema["items"], whole=whole)

    def _nullable(self, schema: Mapping[str, Any]) -> bool:
        return any(self._of(each).get("nullable") for each in schema.get("allOf", ()))
