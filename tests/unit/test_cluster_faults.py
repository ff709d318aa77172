"""What a cluster answers, told to people."""

from __future__ import annotations

import json

import pytest

from mlops.adapters.cluster import faults
from mlops.errors import ClusterError, ConfigError, ForbiddenError, RefusedError

SERVER = "https://cluster.example:6443"


def _status(code: int, reason: str, message: str) -> faults.Answer:
    body = {"kind": "Status", "code": code, "reason": reason, "message": message}
    return faults.answer(code, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("code", "reason", "message", "kind", "told"),
    [
        (401, "Unauthorized", "Unauthorized", ClusterError, "does not know who asks"),
        (403, "Forbidden", 'pods is forbidden: User "x"', ForbiddenError, "cannot create x: pods"),
        (403, "Forbidden", "exceeded quota: q, requested: pods=1", ClusterError, "exceeded quota"),
        (422, "Invalid", "spec.x: Required value", ConfigError, "refuses to create x: spec.x"),
        (500, "InternalError", "etcd", ClusterError, "cannot create x: etcd"),
    ],
)
def test_each_kind_of_answer_is_an_error_of_its_own(
    code: int, reason: str, message: str, kind: type, told: str
) -> None:
    found = faults.error(_status(code, reason, message), "create x", SERVER)

    assert type(found) is kind
    assert told in found.message


def test_a_webhooks_denial_says_what_is_wrong_and_not_who_said_it() -> None:
    text = (
        'admission webhook "validation.webhook.x" denied the request: validation failed: no tasks'
    )

    found = faults.error(_status(400, "BadRequest", text), "create x", SERVER)

    assert found.message == "the cluster refuses to create x: validation failed: no tasks"


def test_a_field_of_somebody_elses_can_be_taken_over() -> None:
    text = 'Apply failed with 1 conflict: conflict with "kubectl": .spec.replicas'

    found = faults.error(_status(409, "Conflict", text), "apply Deployment spam", SERVER)

    assert isinstance(found, RefusedError)
    assert "--force" in found.hint


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"kind": "Pod"}', b"\xff\xfe"])
def test_an_answer_that_is_no_status_is_told_by_its_code(body: bytes) -> None:
    found = faults.answer(502, body, "Bad Gateway")

    assert found == faults.Answer(502, "Bad Gateway", "")
    assert found.retryable


def test_only_a_name_that_is_taken_means_that_it_exists() -> None:
    assert _status(409, "AlreadyExists", "").exists
    assert not _status(409, "Conflict", "").exists


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ('conflict with "argocd-controller" using apps/v1: .spec.replicas', "Argo CD deploys this"),
        ('conflict with "kustomize-controller" using v1: .data.x', "Flux deploys this"),
        ('conflict with "helm" using v1: .data.x', "Helm deploys this"),
        ('conflict with "kubectl" using v1: .data.x', "Leave those fields out of the overlay"),
    ],
)
def test_whose_fields_are_in_the_way_decides_what_to_do(message: str, hint: str) -> None:
    found = faults.error(
        _status(409, "Conflict", f"Apply failed with 1 conflict: {message}"), "apply x", SERVER
    )

    assert type(found) is RefusedError
    assert found.hint.startswith(hint)
    assert "--force" in found.hint


def test_a_namespace_that_goes_is_no_lack_of_rights() -> None:
    told = 'cannot create in "x" because it is being terminated'
    found = faults.error(_status(403, "Forbidden", told), "apply x", SERVER)

    assert type(found) is ClusterError
    assert "until that namespace is gone" in found.hint


def test_what_cannot_change_is_to_be_removed_first() -> None:
    found = faults.error(_status(422, "Invalid", "field is immutable"), "apply x", SERVER)

    assert type(found) is ConfigError
    assert "remove the object" in found.hint


def test_a_field_that_server_side_apply_does_not_know_is_the_documents_fault() -> None:
    told = "failed to create typed patch object (a/b; v1, Kind=X): .spec.y: field not declared in schema"
    answer = _status(500, "InternalError", told)

    assert not answer.retryable
    assert type(faults.error(answer, "apply X b", SERVER)) is ConfigError
