"""Secrets compared in constant time: with each secret in turn, and without stopping at one that fits."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence

from mlops.policy.webhooks.verdict import Headers, Refused, unauthenticated

TOLERANCE = 300  # seconds that a signed time may be away from ours, either way
_HEX = re.compile(r"[0-9a-fA-F]{64}\Z")
_STAMP = re.compile(r"[0-9]{1,12}\Z")
_PREFIX = "whsec_"
_MOST_SIGNATURES = 10  # of one header: a sender that rotates sends two


def hexadecimal(given: str | None, body: bytes, secrets: Sequence[str], prefix: str = "") -> bool:
    """Whether a header is `prefix` and the HMAC-SHA256 of the body in hex, by one of the secrets."""
    if given is None or not given.startswith(prefix):
        return False
    digits = given[len(prefix) :]
    if not _HEX.match(digits):
        return False
    return _any_of(bytes.fromhex(digits), [_mac(key.encode(), body) for key in secrets])


def token(given: str, secrets: Sequence[str]) -> bool:
    """Whether a header is one of the secrets, by their hashes: how long one is shows in no time taken."""
    raw = given.encode("latin-1", "replace")  # as it came
    return _any_of(_hash(raw), [_hash(secret.encode()) for secret in secrets])


def standard(headers: Headers, body: bytes, secrets: Sequence[str], now: float) -> Refused | str:
    """The id of a message as Standard Webhooks 1.0 signs it: `webhook-signature` over id, time and body.

    A secret that begins with `whsec_` is base64 behind that; any other is the key as it stands. `now` is in
    seconds since 1970.
    """
    name, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not name or not _STAMP.match(stamp):
        return unauthenticated("webhook-id or webhook-timestamp is lacking or no such thing")
    message = b"%s.%s." % (name.encode("latin-1", "replace"), stamp.encode()) + body
    macs = [_mac(_key(secret), message) for secret in secrets]
    given = [_v1(each) for each in headers["webhook-signature"].split(" ")[:_MOST_SIGNATURES]]
    fits = [_any_of(each, macs) for each in given]
    if not any(fits):
        return unauthenticated("no signature fits")
    if abs(now - int(stamp)) > TOLERANCE:
        return unauthenticated(f"signed at {stamp}, more than {TOLERANCE} s from now")
    return name


def _key(secret: str) -> bytes:
    if secret.startswith(_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            pass  # a secret of somebody's own that begins so
    return secret.encode()


def _v1(signature: str) -> bytes:
    version, _, text = signature.partition(",")
    try:
        return base64.b64decode(text, validate=True) if version == "v1" else b""
    except (binascii.Error, ValueError):
        return b""


def _any_of(given: bytes, known: Sequence[bytes]) -> bool:
    fits = [hmac.compare_digest(given, each) for each in known]
    return any(fits)


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _hash(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()
