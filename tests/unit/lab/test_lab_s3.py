# SPDX-License-Identifier: MIT
"""The stand-in for S3 checks signatures as AWS' documentation computes them, and reads bodies signed by chunks."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from ansible_collections.homelab.mediaserver.tests.unit.fakes import program

SCRIPT = Path(__file__).parents[2] / "lab" / "internet" / "s3.py"
NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    return program.load(SCRIPT)


def test_the_documentations_example(s3: ModuleType) -> None:
    """Signature Version 4, "Authenticating requests: the Authorization header", GET object."""
    headers = {
        "host": "examplebucket.s3.amazonaws.com",
        "range": "bytes=0-9",
        "x-amz-content-sha256": NOTHING,
        "x-amz-date": "20130524T000000Z",
    }
    authorization = {
        "Credential": "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request",
        "SignedHeaders": "host;range;x-amz-content-sha256;x-amz-date",
    }
    signed = s3.signature("GET", "/test.txt", "", headers, authorization)
    assert signed == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    assert s3.signature("GET", "/other.txt", "", headers, authorization) != signed


def test_a_body_of_chunks(s3: ModuleType) -> None:
    body = b"5;chunk-signature=aa\r\nhello\r\n6;chunk-signature=bb\r\n world\r\n0;chunk-signature=cc\r\n\r\n"
    assert s3.unchunked(body) == b"hello world"
