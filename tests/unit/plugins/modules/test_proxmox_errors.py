# SPDX-License-Identifier: MIT
"""Whatever goes wrong with any request of any Proxmox module, it says what in one sentence and writes nothing more."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path

import pytest
import yaml
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve.errors import ApiError
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve.cases import CASES


@pytest.fixture(params=[(case, release) for case in CASES for release in case.releases],
                ids=lambda param: f"{param[0].name}-{param[1]}")  # fmt: skip
def case(request):
    return request.param[0]


@pytest.fixture
def lab(request, tmp_path, cert):
    with harness.lab(tmp_path, request.node.callspec.params["case"][1], cert) as made:
        made.service.auth_delay = 0
        yield made


class Stage:
    """The same start again and again."""

    def __init__(self, lab, case):
        self.lab, self.case = lab, case
        self.empty = copy.deepcopy(lab.world.data)

    def set(self):
        self.lab.service.fault = None
        self.lab.world.data = copy.deepcopy(self.empty)
        self.case.before(self.lab)

    def requests(self):
        """What an undisturbed run asks: each method and path once."""
        self.set()
        done = self.lab.run(self.case.module, **self.case.arguments)
        assert not done.get("failed"), done
        assert self.case.writes == bool(done["changed"])
        return list(dict.fromkeys((method, plain(path)) for method, path in self.lab.service.requests))

    def run(self, wanted, answer, **arguments):
        """A run in which this request is answered so."""
        self.set()
        self.lab.service.fault = lambda method, path: answer() if (method, plain(path)) == wanted else None
        result = self.lab.run(self.case.module, **self.case.arguments, **arguments)
        asked = [(method, plain(path)) for method, path in self.lab.service.requests]
        assert result.get("failed"), (wanted, result)
        assert result["msg"].startswith("Unable to "), result["msg"]
        assert "Traceback" not in json.dumps(result)
        assert harness.SECRET not in json.dumps(result)
        after = asked[asked.index(wanted) + 1 :]
        assert not [method for method, _path in after if method != "GET"], "it wrote on after the failure"
        assert isinstance(result["failure"], dict)
        return result


def test_every_module_of_the_api_is_in_the_table():
    groups = yaml.safe_load((Path(__file__).resolve().parents[4] / "meta/runtime.yml").read_text())["action_groups"]
    assert sorted({case.name for case in CASES}) == groups["proxmox"]


def plain(path):
    return path.partition("/tasks/UPID")[0]


def test_refused_login(lab, case):
    stage = Stage(lab, case)
    stage.set()
    result = lab.run(case.module, **case.arguments, api_token_secret="00000000-0000-0000-0000-000000000000")
    assert result["msg"].startswith("Unable to ")
    assert result["msg"].endswith("invalid token value!")
    assert result["failure"]["status"] == 401
    password = {**lab.as_root(), "api_password": "Tr0ub4dor"}
    result = lab.run(case.module, **case.arguments, **password)
    assert result["msg"].startswith("Unable to log in to Proxmox VE at 127.0.0.1:")
    assert result["msg"].endswith("user or password is wrong")
    assert lab.service.requests == []


@pytest.mark.parametrize(("status", "text", "errors"), [
    (403, "Permission check failed (/, Sys.Modify)", None),
    (500, "got no worker upid - start worker failed", None),
    (400, "Parameter verification failed.", {"name": "nonsense"}),
])  # fmt: skip
def test_refused_request(lab, case, status, text, errors):
    """A missing right, an error with a message, a parameter that is refused: at each request of the run."""
    stage = Stage(lab, case)
    for wanted in stage.requests():
        result = stage.run(wanted, lambda: ApiError(status, text, errors))
        assert text in result["msg"], wanted
        assert result["failure"]["status"] == status
        assert not errors or "name: nonsense" in result["msg"]


@pytest.mark.parametrize("body", [
    b"<html>Bad gateway</html>", b"", b'{"data": "nonsense"}', b'{"data": [7]}', b'{"data": [{}]}', b'{"other": 1}',
])  # fmt: skip
def test_malformed_answer(lab, case, body):
    """To each question. (What a write answers says nothing and is not looked at, as long as it is JSON.)"""
    stage = Stage(lab, case)
    for wanted in [request for request in stage.requests() if request[0] == "GET"]:
        if body == b'{"data": [{}]}' and not understood_only_with_names(stage, wanted):
            continue
        stage.run(wanted, lambda: body)


def understood_only_with_names(stage, wanted):
    """Whether a row without its name is nonsense there: not in lists that are only searched for one name."""
    stage.set()
    stage.lab.service.fault = lambda method, path: b'{"data": [{}]}' if (method, plain(path)) == wanted else None
    result = stage.lab.run(stage.case.module, check=True, **stage.case.arguments)
    assert "Traceback" not in json.dumps(result)
    assert not result.get("failed") or result["msg"].startswith("Unable to ")
    return bool(result.get("failed"))


def test_no_answer_in_time(lab, case):
    """To the first question and to the first write."""
    stage = Stage(lab, case)
    requests = stage.requests()
    firsts = {method == "GET": (method, path) for method, path in reversed(requests)}
    for wanted in firsts.values():
        result = stage.run(wanted, lambda: time.sleep(1.5), api_timeout=1)
        assert result["msg"].endswith(f"no answer from 127.0.0.1:{lab.port} in time")
        time.sleep(0.6)  # the late handler still works on the old world


def test_vanished_object(lab, case):
    if case.vanish is None:
        pytest.skip("only reads what is always there")
    stage = Stage(lab, case)
    stage.set()
    gone = []

    def fault(method, path):
        if not gone and method == case.at[0] and case.at[1] in path:
            gone.append(path)
            case.vanish(lab)

    lab.service.fault = fault
    result = lab.run(case.module, **case.arguments)
    assert gone, "the run never came there"
    assert result.get("failed"), result
    assert result["msg"].startswith("Unable to ")
    assert case.word in result["msg"]
