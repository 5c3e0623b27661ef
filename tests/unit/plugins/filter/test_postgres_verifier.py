"""The verifier is the one that RFC 7677's example gives, and the same each time."""

from __future__ import annotations

import base64

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.homelab.mediaserver.plugins.filter import postgres_verifier as filters


def test_the_example_of_the_standard() -> None:
    assert filters.verifier("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")) == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ=="
        "$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


def test_the_same_each_time_and_another_for_another_role() -> None:
    made = filters.postgres_verifier("x" * 32, "monitoring")
    assert made == filters.postgres_verifier("x" * 32, "monitoring")
    assert made != filters.postgres_verifier("x" * 32, "other")


def test_a_short_password_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="20 characters"):
        filters.postgres_verifier("secret", "monitoring")
