"""Which repositories a delivery is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mlops.domain.delivery import Delivery, Provider

PUSH = Delivery(Provider.GITHUB, "1", "push", (), (), datetime(2026, 11, 28, tzinfo=UTC), "")


@pytest.mark.parametrize(
    ("names", "url", "concerned"),
    [
        (("https://example.com/team/shop.git",), "git@example.com:team/shop.git", True),
        (("ssh://git@example.com:2222/team/shop",), "https://example.com/team/shop.git", True),
        (("Team/Shop",), "git@alias-of-ssh:team/shop.git", True),
        (("https://outside.example/team/shop",), "http://inside:3000/team/shop", True),
        (("team/shop",), "https://example.com/team/shop-two.git", False),
        (("https://example.com/team/other",), "https://example.com/team/shop", False),
        ((), "https://example.com/team/shop", True),
    ],
)
def test_a_delivery_concerns_what_it_may_mean(names, url, concerned):
    assert replace(PUSH, repositories=names).concerns(url) is concerned
