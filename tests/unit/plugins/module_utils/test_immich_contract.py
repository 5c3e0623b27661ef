# SPDX-License-Identifier: MIT
"""The fake of Immich, and with it the lab's stand-in, keeps the contract that real servers were seen to keep."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils._http import Request
from ansible_collections.homelab.mediaserver.tests.unit.fakes import immich_contract as contract
from ansible_collections.homelab.mediaserver.tests.unit.fakes.immich_fake import VERSIONS, ImmichFake


@pytest.mark.parametrize("version", VERSIONS, ids=[".".join(map(str, version)) for version in VERSIONS])
@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_contract(version: tuple[int, int, int], check: Any) -> None:
    fake = ImmichFake(version)
    fake.missing_paths = {contract.NOWHERE, contract.NOWHERE + "/"}

    def send(method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        answer = fake(Request(method, f"http://127.0.0.1:2283/api{path}", headers, data))
        return answer.status, json.loads(answer.body) if answer.body else None

    login = {"email": "admin@example.org", "password": "correct horse"}
    token = send("POST", "/auth/login", login, {})[1]["accessToken"]
    check(contract.Server(send, version, {"Authorization": f"Bearer {token}"}, "/photos"))
