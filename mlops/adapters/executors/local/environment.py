"""The environment variables that a container's document gives it."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping

from mlops.adapters.executors.local import storage
from mlops.errors import ConfigError
from mlops.tekton import names, substitution
from mlops.tekton.document import PipelineRun
from mlops.tekton.pod import Container, Env
from mlops.tekton.substitution import Scope

_LABEL = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]\Z")


def variables(
    container: Container, scope: Scope, run: PipelineRun, moved: Callable[[str], str]
) -> dict[str, str]:
    """All variables; `moved` puts paths of mounts where the runtime has them.

    Later ones may use earlier ones as `$(NAME)`, as the kubelet has it. Raises ConfigError where a
    ConfigMap, Secret or key is missing.
    """
    found: dict[str, str] = {}
    for source in container.env_from:
        name = substitution.text(source.name, scope)
        prefix = substitution.text(source.prefix, scope)
        data = storage.config(source.kind, name, run, optional=source.optional).data
        for key, content in data.items():
            if names.is_variable(prefix + key):
                found[prefix + key] = _text(content, f"{source.kind} {name}: {key}")
    for env in container.env:
        value = _value(env, scope, run, found)
        if value is not None:
            found[env.name] = moved(value)
    return found


def _value(env: Env, scope: Scope, run: PipelineRun, found: Mapping[str, str]) -> str | None:
    """A variable's value; None where it comes from an optional key that is not there."""
    if env.source is not None:
        name = substitution.text(env.source.name, scope)
        key = substitution.text(env.source.key, scope)
        data = storage.config(env.source.kind, name, run, optional=env.source.optional).data
        if key in data:
            return _text(data[key], f"{env.source.kind} {name}: {key}")
        if env.source.optional:
            return None
        raise ConfigError(env.at.complaint(f"the {env.source.kind} {name!r} has no key {key!r}"))
    if env.downward:
        return _downward(env.downward, scope, run)
    return substitution.expand(substitution.text(env.value, scope), found)


def _downward(field: str, scope: Scope, run: PipelineRun) -> str:
    """A field of the pod that would be; of one machine where it asks for a node."""
    match = _LABEL.match(field)
    if match is not None:
        held = run.labels if match[1] == "labels" else run.annotations
        return held.get(match[2], "")
    name = scope.get(("context", "taskRun", "name"), "")
    uid = scope.get(("context", "taskRun", "uid"), "")
    known = {
        "metadata.name": f"{name}-pod",
        "metadata.namespace": run.namespace,
        "metadata.uid": str(uid),
        "spec.nodeName": socket.gethostname(),
        "spec.serviceAccountName": "default",
    }
    return known.get(field, "127.0.0.1")


def _text(content: bytes, what: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{what} is no text, which a variable must be") from exc
