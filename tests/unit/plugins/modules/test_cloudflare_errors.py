# SPDX-License-Identifier: MIT
"""Whatever goes wrong with any request of a Cloudflare module, it says what and writes nothing more; a run that is
killed before any of its writes leaves what the next one brings to the end of an undisturbed one."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible_collections.homelab.mediaserver.plugins.modules import (
    cloudflare_access,
    cloudflare_dns,
    cloudflare_tunnel,
)
from ansible_collections.homelab.mediaserver.tests.unit.fakes.cloudflare_fake import SECRET, TOKEN, CloudflareFake
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import no_sleep, run_module

COMMON = {"api_token": TOKEN, "zone": "example.org"}
MARK = {"mark": "mediaserver homelab"}
KEPT = ("records", "tunnels", "configurations", "policies", "apps", "tokens", "count")


@dataclass(frozen=True)
class Case:
    module: ModuleType
    old: dict[str, Any]  # a run before the run
    new: dict[str, Any]
    vanish: Callable[[CloudflareFake], Any]
    at: str  # the request before which the object vanishes
    word: str

    @property
    def name(self) -> str:
        return self.module.__name__.rpartition(".")[2]


def record(name: str, content: str = "a.cfargotunnel.com") -> dict[str, Any]:
    return {"name": f"{name}.example.org", "content": content, "proxied": True}


def guarded(*names: str) -> list[dict[str, Any]]:
    return [{"domain": f"{name}.example.org", "policies": ["phones", "people"]} for name in names]


def policies(*emails: str) -> list[dict[str, Any]]:
    return [{"name": "people", "emails": list(emails)},
            {"name": "phones", "decision": "non_identity", "service_tokens": ["phones"]}]  # fmt: skip


CASES = [
    Case(
        cloudflare_tunnel,
        {"name": "homelab", "ingress": [{"hostname": "a.example.org", "service": "http://a"}]},
        {"name": "homelab", "ingress": [{"hostname": "b.example.org", "service": "http://b"}], "token_file": "token"},
        lambda fake: next(iter(fake.tunnels.values())).update(deleted_at="2026-11-26"), "PUT", "Tunnel not found",
    ),
    Case(
        cloudflare_dns,
        {**MARK, "records": [record("a"), record("b")]},
        {**MARK, "records": [record("b", "b.cfargotunnel.com"), record("c")]},
        lambda fake: fake.records.clear(), "POST", "Not found",
    ),
    Case(
        cloudflare_access,
        {**MARK, "policies": policies("mum@example.org"), "applications": guarded("a", "b"),
         "service_tokens": [{"name": "phones", "file": "phones"}]},
        {**MARK, "policies": policies("dad@example.org"), "applications": guarded("b", "c"), "purge": True,
         "service_tokens": [{"name": "phones", "file": "other"}]},
        lambda fake: fake.policies.clear(), "PUT", "access.api.error.not_found",
    ),
]  # fmt: skip


class Stage:
    """The same start again and again."""

    def __init__(self, case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.case, self.folder, self.monkeypatch = case, folder, monkeypatch
        self.fake = CloudflareFake()
        self.fake.add_record(type="A", name="www.example.org", content="198.51.100.9")
        monkeypatch.chdir(folder)
        self.empty = self.kept()

    def kept(self) -> dict[str, Any]:
        return copy.deepcopy({name: getattr(self.fake, name) for name in KEPT})

    def set(self, first: bool = True) -> None:
        for name, value in copy.deepcopy(self.empty).items():
            setattr(self.fake, name, value)
        for file in self.folder.iterdir():
            file.unlink()
        self.fake.fault = None
        if first:
            assert self.go(self.case.old)["changed"]

    def go(self, arguments: dict[str, Any] | None = None, **more: Any) -> Any:
        given = {**COMMON, **(self.case.new if arguments is None else arguments), **more}
        result = run_module(self.case.module, self.fake, given, monkeypatch=self.monkeypatch)
        text = json.dumps(result)
        assert TOKEN not in text and SECRET not in text and "eyJhIjoi" not in text, "a secret in the result"
        assert "Traceback" not in text
        return result

    def requests(self) -> list[str]:
        """What an undisturbed run asks: each method and path once."""
        self.set()
        assert self.go()["changed"]
        return list(dict.fromkeys(self.fake.requests))

    def fail(self, wanted: str, answer: Callable[[], Any]) -> Any:
        """A run in which this request is answered so."""
        self.set()
        self.fake.fault = lambda method, path: answer() if f"{method} {path}" == wanted else None
        result = self.go()
        assert result.failed, (wanted, dict(result))
        assert result["msg"].startswith("Unable to "), result["msg"]
        after = self.fake.requests[self.fake.requests.index(wanted) + 1 :]
        assert not [one for one in after if not one.startswith("GET") and one != wanted], "it wrote on"
        return result


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def stage(request, tmp_path, monkeypatch):
    return Stage(request.param, tmp_path, monkeypatch)


def test_every_module_of_the_api_is_in_the_table():
    groups = yaml.safe_load((Path(__file__).resolve().parents[4] / "meta/runtime.yml").read_text())["action_groups"]
    assert sorted({case.name for case in CASES}) == groups["cloudflare"]


def test_refused_login(stage):
    stage.set()
    result = stage.go(api_token="wrong")
    assert result["msg"].endswith("Invalid API Token (code 1000); is the API token right and not expired? (HTTP 401)")
    assert "wrong" not in result["msg"] and len(stage.fake.requests) == 1


@pytest.mark.parametrize("permission", ["tunnel", "dns", "access", "service_tokens", "zone"])
def test_missing_permission(stage, permission):
    """The one that is missing is named, and nothing was changed."""
    names = {"tunnel": "Cloudflare Tunnel: Edit", "dns": "DNS: Edit", "access": "Access: Apps and Policies: Edit",
             "service_tokens": "Access: Service Tokens: Edit", "zone": "Zone: Read"}  # fmt: skip
    mine = {
        "cloudflare_tunnel": {"tunnel"},
        "cloudflare_dns": {"dns"},
        "cloudflare_access": {"access", "service_tokens"},
    }
    stage.set()
    stage.fake.permissions.discard(permission)
    result = stage.go()
    stage.fake.permissions.add(permission)
    if permission == "zone" or permission in mine[stage.case.name]:
        assert result.failed and names[permission] in result["msg"]
        assert stage.fake.writes == []
    else:
        assert result["changed"], "it asks for no more than it needs"


@pytest.mark.parametrize(("status", "body"), [
    (500, {"success": False, "errors": [{"code": 1002, "message": "Internal error"}], "messages": [], "result": None}),
    (403, {"success": False, "errors": [{"code": 10000, "message": "Authentication error"}], "result": None}),
    (502, b"<html>Bad gateway</html>"),
    (400, {"success": False, "errors": [{"code": 1004, "message": "Validation", "error_chain": [
        {"code": 9300, "message": "quota of 0"}]}], "result": None}),
])  # fmt: skip
def test_refused_request(stage, status, body):
    """At each request of the run."""
    for wanted in stage.requests():
        result = stage.fail(wanted, lambda: (status, body))
        assert result["failure"]["status"] == status
        errors = body["errors"] if isinstance(body, dict) else []
        assert all(one["message"] in result["msg"] and f"(code {one['code']})" in result["msg"] for one in errors)
        assert "quota of 0" in result["msg"] or not any("error_chain" in one for one in errors)


@pytest.mark.parametrize("body", [
    b"<html>Welcome</html>", b"", b"[]", b'{"success": true}', b'{"success": false, "result": []}',
    b'{"success": true, "result": "nonsense"}', b'{"success": true, "result": [7]}',
    b'{"success": true, "result": [{}]}', b'{"success": true, "result": {"other": 1}}',
    b'{"success": true, "result": [], "result_info": {"total_pages": "many"}}',
])  # fmt: skip
def test_malformed_answer(stage, body):
    """To each question. (What a write answers is looked at only where an id or a secret is wanted.)"""
    for wanted in [one for one in stage.requests() if one.startswith("GET")]:
        if wanted.endswith("/token") and b'"nonsense"' in body:
            continue  # any text is a token
        stage.fail(wanted, lambda: (200, body))


def test_no_answer_in_time(stage):
    for wanted in stage.requests():
        assert "no answer within 30 s" in stage.fail(wanted, lambda: raise_(TimeoutError()))["msg"]


def raise_(error: BaseException) -> Any:
    return error


def refused_times(number: int, seconds: str | None) -> Callable[[], Any]:
    """Too many requests, so often, then whatever the fake says."""
    left = [number]

    def answer() -> Any:
        left[0] -= 1
        text = "Please wait and consider throttling your request speed"
        body = {"success": False, "errors": [{"code": 971, "message": text}], "messages": [], "result": None}
        return (429, body, {"Retry-After": seconds} if seconds else {}) if left[0] >= 0 else None

    return answer


def test_rate_limit_is_waited_for(stage, monkeypatch):
    """Each request is sent again after the time that the answer names, writes too: a refused one did nothing."""
    requests = stage.requests()
    end = stage.fake.state()
    with no_sleep(monkeypatch) as now:
        for wanted in requests:
            for seconds, waited in (("7", 14), (None, 120)):
                stage.set()
                answer = refused_times(2, seconds)
                stage.fake.fault = lambda method, path, wanted=wanted, answer=answer: (
                    answer() if f"{method} {path}" == wanted else None
                )
                before = now[0]
                assert stage.go()["changed"]
                assert now[0] - before == waited
                assert stage.fake.state() == end


def test_rate_limit_that_lasts_too_long(stage, monkeypatch):
    wanted = stage.requests()[0]
    with no_sleep(monkeypatch) as now:
        before = now[0]
        result = stage.fail(wanted, refused_times(99, "120"))
        assert now[0] - before == 240, "two times 120 s are within 310 s, a third is not"
        assert "throttling your request speed (code 971); Cloudflare's rate limit: wait five minutes" in result["msg"]


def test_vanished_object(stage):
    stage.set()
    gone: list[str] = []

    def fault(method: str, path: str) -> None:
        if not gone and method == stage.case.at:
            gone.append(path)
            stage.case.vanish(stage.fake)

    stage.fake.fault = fault
    result = stage.go()
    assert gone, "the run never came there"
    assert result.failed and result["msg"].startswith("Unable to ") and stage.case.word in result["msg"]
    stage.fake.fault = None
    assert not stage.go().failed, "the next run makes it anew"
    assert not stage.go()["changed"]


@pytest.mark.parametrize("first", [True, False], ids=["change", "fresh"])
def test_killed_at_each_write_converges(stage, first):
    """Before it, or when it was done but its answer never came."""
    stage.set(first)
    assert stage.go()["changed"]
    end, writes = stage.fake.state(), len(stage.fake.writes)
    assert not stage.go()["changed"] and not stage.fake.writes
    for number in range(1, writes + 1):
        for lost in (False, True):
            stage.set(first)
            stage.fake.lost = number if lost else 0
            stage.fake.fault = None if lost else before_write(stage.fake, number)
            killed = stage.go()
            assert killed.failed and "no answer" in killed["msg"], killed
            stage.fake.fault, stage.fake.lost = None, 0
            again = stage.go()
            assert not again.failed, (number, lost, killed["msg"], again["msg"])
            assert stage.fake.state() == end, (number, lost, killed["msg"])
            assert not stage.go()["changed"]


def before_write(fake: CloudflareFake, number: int) -> Callable[[str, str], Any]:
    return lambda method, _path: TimeoutError() if method != "GET" and len(fake.writes) >= number - 1 else None
