"""Who sent a delivery, and what it says: each scheme, and every way in which it is not that."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.domain.delivery import Delivery, RefMove
from mlops.policy import webhooks
from mlops.policy.webhooks import Fault, Ignored, Refused, Verified
from tests.fakes import deliveries
from tests.fakes.deliveries import NEW, OLD, SCHEMES, SECRET, ZERO

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
OTHER = "another-secret-of-32-characters!"
SIGNED = ("gitlab-signed", "generic")


def body_of(scheme, **more) -> bytes:
    return json.dumps(deliveries.document(scheme, **more)).encode()


def headers_of(scheme, body, secret=SECRET, **more) -> dict[str, str]:
    stamp = more.pop("stamp", int(NOW.timestamp()))
    return deliveries.headers(scheme, body, secret, stamp=stamp, **more)


def asked(headers, body, secrets=(SECRET,), now=NOW):
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    known = webhooks.headers_of(raw)
    if isinstance(known, Refused):
        return known
    return webhooks.verify(known, body, secrets, now.timestamp())


def said(scheme, body, **more):
    verified = asked(headers_of(scheme, body, **more), body)
    assert isinstance(verified, Verified), verified
    return webhooks.read(verified, body, NOW)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_push_of_each_forge(scheme):
    body = body_of(scheme)
    delivery = said(scheme, body, name="one")
    assert isinstance(delivery, Delivery)
    assert delivery.provider == scheme.removesuffix("-signed")
    assert (delivery.id, delivery.received) == ("one", NOW)
    assert delivery.refs == (RefMove("refs/heads/main", OLD, NEW),)
    assert delivery.concerns("git@forge.example.com:team/shop.git")
    assert not delivery.concerns("git@forge.example.com:team/other.git")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("old", "new"), [(ZERO, NEW), (OLD, ZERO)], ids=["made", "removed"])
def test_refs_that_come_and_go(scheme, old, new):
    ref = "refs/heads/v1" if scheme.startswith("gitlab") else "refs/tags/v1"
    delivery = said(scheme, body_of(scheme, ref=ref, old=old, new=new))
    (moved,) = delivery.refs
    assert (moved.old, moved.new) == (
        None if old == ZERO else old,
        None if new == ZERO else new,
    )


def test_tags_of_gitlab_have_an_event_of_their_own():
    body = json.dumps(
        deliveries.document("gitlab", ref="refs/tags/v1") | {"object_kind": "tag_push"}
    ).encode()
    assert said("gitlab", body, event="Tag Push Hook").refs[0].ref == "refs/tags/v1"
    assert said("gitlab", body, event="System Hook").refs[0].ref == "refs/tags/v1"
    assert isinstance(said("gitlab", body, event="Push Hook"), Refused)


@pytest.mark.parametrize("event", ["create", "delete"])
def test_gitea_tells_of_branches_made_and_removed_by_short_names(event):
    body = json.dumps(
        {
            "ref": "v1",
            "ref_type": "tag",
            "sha": NEW,
            "repository": deliveries.document("gitea")["repository"],
        }
    ).encode()
    made = NEW if event == "create" else None
    assert said("gitea", body, event=event).refs == (RefMove("refs/tags/v1", None, made),)


@pytest.mark.parametrize(
    ("scheme", "event", "ping"),
    [
        ("github", "ping", True),
        ("github", "issues", False),
        ("gitlab", "Pipeline Hook", False),
        ("gitea", "issues", False),
        ("bitbucket", "repo:fork", False),
        ("bitbucket-data-center", "diagnostics:ping", True),
    ],
)
def test_what_is_no_push_is_not_even_read(scheme, event, ping):
    assert said(scheme, b"no JSON", event=event) == Ignored(event, ping=ping)


def test_the_generic_document_may_leave_everything_out():
    delivery = said("generic", b"{}")
    assert (delivery.repositories, delivery.refs) == ((), ())
    assert said("generic", b'{"type": "ping"}') == Ignored("ping", ping=True)


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme != "gitlab"])
def test_a_body_that_was_changed(scheme):
    """GitLab's token alone says nothing of the body."""
    body = body_of(scheme)
    verdict = asked(headers_of(scheme, body), body + b" ")
    assert isinstance(verdict, Refused)
    assert verdict.fault is Fault.UNAUTHENTICATED


@pytest.mark.parametrize("scheme", SCHEMES)
class TestWhoSentIt:
    def test_another_secret(self, scheme):
        body = body_of(scheme)
        assert isinstance(asked(headers_of(scheme, body, OTHER), body), Refused)

    def test_no_secret_at_all(self, scheme):
        body = body_of(scheme)
        assert isinstance(asked(headers_of(scheme, body), body, ()), Refused)
        empty = headers_of(scheme, body, "")
        assert isinstance(asked(empty, body, ()), Refused)

    def test_two_secrets_while_they_are_exchanged(self, scheme):
        body = body_of(scheme)
        for secret in (SECRET, OTHER):
            assert isinstance(
                asked(headers_of(scheme, body, secret), body, (SECRET, OTHER)), Verified
            )

    def test_no_signature(self, scheme):
        body = body_of(scheme)
        for lacking in [n for n in headers_of(scheme, body) if "signature" in n or "token" in n]:
            headers = {n: v for n, v in headers_of(scheme, body).items() if n != lacking}
            own = {
                "github": "x-hub-signature-256",
                "gitea": "x-gitea-signature",
                "forgejo": "x-forgejo-signature",
            }.get(scheme, lacking)
            assert isinstance(asked(headers, body), Refused if lacking == own else Verified)

    def test_any_header_of_it_twice(self, scheme):
        body = body_of(scheme)
        for name, value in headers_of(scheme, body).items():
            raw = [(n.encode(), v.encode()) for n, v in headers_of(scheme, body).items()]
            twice = webhooks.headers_of([*raw, (name.encode(), value.encode())])
            ours = webhooks.headers_of([(name.encode(), value.encode())])
            assert isinstance(twice, Refused) is bool(ours), name

    def test_a_delivery_without_a_name(self, scheme):
        body = body_of(scheme)
        for bad in ("a b", "x" * 201, "\xe9"):
            verdict = asked(headers_of(scheme, body, name=bad), body)
            assert isinstance(verdict, Refused), bad

    def test_headers_of_two_forges(self, scheme):
        body = body_of(scheme)
        family = {
            "forgejo": {"gitea", "github"},
            "gitea": {"forgejo", "github"},
            "github": {"forgejo", "gitea"},
            "gitlab": {"gitlab-signed", "generic"},
            "gitlab-signed": {"gitlab", "generic"},
            "generic": {"gitlab", "gitlab-signed"},
            "bitbucket": {"bitbucket-data-center"},
            "bitbucket-data-center": {"bitbucket"},
        }[scheme]
        for other in set(SCHEMES) - family - {scheme}:
            both = headers_of(other, body) | headers_of(scheme, body)
            assert isinstance(asked(both, body), Refused), other


def test_github_by_sha1_alone_is_refused():
    body = body_of("github")
    headers = headers_of("github", body)
    del headers["x-hub-signature-256"]
    assert headers["x-hub-signature"].startswith("sha1=")
    assert isinstance(asked(headers, body), Refused)
    headers["x-hub-signature-256"] = headers["x-hub-signature"]
    assert isinstance(asked(headers, body), Refused)


@pytest.mark.parametrize("scheme", SIGNED)
@pytest.mark.parametrize(("away", "fits"), [(-301, False), (-300, True), (300, True), (301, False)])
def test_a_signed_time_must_be_near(scheme, away, fits):
    body = body_of(scheme)
    headers = headers_of(scheme, body, stamp=int(NOW.timestamp()) + away)
    assert isinstance(asked(headers, body), Verified) is fits


@pytest.mark.parametrize("scheme", SIGNED)
def test_id_and_time_are_part_of_what_is_signed(scheme):
    body = body_of(scheme)
    headers = headers_of(scheme, body)
    assert isinstance(asked(headers | {"webhook-id": "other"}, body), Refused)
    later = str(int(NOW.timestamp()) + 1)
    assert isinstance(asked(headers | {"webhook-timestamp": later}, body), Refused)
    for wrong in ("", "-1", "1e9", "9" * 40, "١٢"):
        raw = headers | {"webhook-timestamp": wrong.encode().decode("latin-1")}
        assert isinstance(asked(raw, body), Refused)


def test_a_signature_that_does_not_fit_is_not_mended_by_a_token():
    body = body_of("gitlab")
    headers = headers_of("gitlab-signed", body, OTHER) | {"x-gitlab-token": SECRET}
    assert isinstance(asked(headers, body), Refused)


def test_standard_webhooks_own_example_of_a_secret_and_several_signatures():
    """The values are those of the specification's reference libraries' tests."""
    body = b'{"test": 2432232314}'
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,bm9uZQ== v2,eA== v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= x",
    }
    then = datetime.fromtimestamp(1614265330, UTC)
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert isinstance(asked(headers, body, (secret,), then), Verified)


SPOILT = [
    {"repository": None, "project": None},
    {"repository": {"full_name": 7}, "project": []},
    {"ref": "main\n", "changes": {}, "push": {"changes": [7]}, "repository": 1},
    {"after": "g" * 40, "changes": [{}], "push": {"changes": [{}]}, "refs": [{"ref": ""}]},
    {"ref": "refs/heads/a b", "changes": 1, "push": 1, "refs": 1},
]
FORGES = [scheme for scheme in SCHEMES if scheme != "generic"]


@pytest.mark.parametrize(
    ("scheme", "spoilt"),
    [
        *((scheme, spoilt) for scheme in FORGES for spoilt in SPOILT),
        *(("generic", SPOILT[number]) for number in (0, 2, 3, 4)),
    ],
)
def test_documents_that_are_not_what_the_forge_sends(scheme, spoilt):
    document = deliveries.document(scheme) | spoilt
    verdict = said(scheme, json.dumps(document).encode())
    assert isinstance(verdict, Refused)
    assert verdict.fault is Fault.MALFORMED


@pytest.mark.parametrize("scheme", FORGES)
@pytest.mark.parametrize("document", [[], {}, None, "push"])
def test_documents_that_hold_nothing(scheme, document):
    assert isinstance(said(scheme, json.dumps(document).encode()), Refused)


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b"1" * 10_000, b'"\\ud800"', b"nul"],
    ids=range(7),
)
def test_bodies_that_are_no_document(body):
    assert isinstance(said("github", body), Refused)


def test_lone_surrogates_and_long_names_do_not_come_through():
    for name in ("\ud800", "x" * 3000, "a\x1b[2J", "a\nb"):
        body = json.dumps({"repository": name}).encode()
        assert isinstance(said("generic", body), Refused)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["ref", "before", "after", "repository", "project", "push", "changes", "old", "new"]
            )
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(SCHEMES), JSON, st.data())
def test_reading_never_raises(scheme, document, data):
    whole = deliveries.document(scheme)
    if isinstance(document, dict) and data.draw(st.booleans()):
        document = whole | {key: document.get(key, value) for key, value in whole.items()}
    body = json.dumps(document).encode("utf-8", "surrogatepass")
    assert isinstance(said(scheme, body), Delivery | Ignored | Refused)


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(webhooks._ASKED)), st.binary(max_size=80)), max_size=9
    ),
    st.binary(max_size=200),
    st.sampled_from([0.0, 1.7e9]),
)
def test_verifying_never_raises_and_never_believes_chance(headers, body, now):
    raw = [(name.encode(), value) for name, value in headers]
    known = webhooks.headers_of(raw)
    if not isinstance(known, Refused):
        known = webhooks.verify(known, body, (SECRET,), now)
    assert isinstance(known, Refused)


def test_a_token_beyond_ascii_is_compared_as_it_came():
    secret = "geheimer-schlüssel-für-den-laden"
    body = body_of("gitlab")
    headers = headers_of("gitlab", body, secret.encode().decode("latin-1"))
    assert isinstance(asked(headers, body, (secret,)), Verified)
    assert isinstance(asked(headers, body, (secret.upper(),)), Refused)
