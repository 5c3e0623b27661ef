# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _npm_hosts
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure
from ansible_collections.homelab.mediaserver.plugins.modules import npm_proxy_hosts
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import run_module
from ansible_collections.homelab.mediaserver.tests.unit.fakes.npm_fake import NpmFake

LOGIN = {"email": "admin@example.org", "password": "correct horse"}
MEDIA = {
    "service": "jellyfin",
    "domains": ["media.example.org"],
    "forward_host": "10.1.1.1",
    "forward_port": 8096,
    "websockets": True,
}
PHOTOS = {"service": "immich", "domains": ["photos.example.org"], "forward_host": "10.1.1.1", "forward_port": 2283}


@pytest.fixture
def run(monkeypatch):
    def call(fake, *hosts, check=False, **more):
        arguments = {**LOGIN, "hosts": list(hosts), **more}
        return run_module(npm_proxy_hosts, fake, arguments, check=check, monkeypatch=monkeypatch)

    return call


@pytest.fixture
def fake():
    return NpmFake()


def test_missing_arguments(run, fake):
    result = run(fake, {"domains": ["a.example.org"]})
    assert "forward_host" in result["msg"]


def test_check_create_again_update_absent(run, fake):
    checked = run(fake, MEDIA, PHOTOS, check=True)
    assert checked["steps"] == ["create proxy host media.example.org", "create proxy host photos.example.org"]
    assert fake.hosts == {}

    created = run(fake, MEDIA, PHOTOS)
    assert created["steps"] == checked["steps"]
    assert created["diff"] == checked["diff"]
    assert created["hosts"] == {"1": ["media.example.org"], "2": ["photos.example.org"]}
    assert fake.hosts[1]["meta"]["mediaserver"] == "jellyfin"
    assert fake.hosts[1]["allow_websocket_upgrade"] is True

    for check in (True, False):
        again = run(fake, MEDIA, PHOTOS, check=check)
        assert not again["changed"]
        assert again["diff"]["before"] == again["diff"]["after"]
    assert fake.requests == ["GET /", "POST /tokens", "GET /nginx/proxy-hosts"], "one login, one list"

    stamp = fake.hosts[2]["modified_on"]
    moved = {**MEDIA, "forward_port": 8920}
    assert run(fake, moved, PHOTOS, check=True)["steps"] == ["update proxy host media.example.org"]
    assert run(fake, moved, PHOTOS)["changed"]
    assert fake.writes == ["PUT /nginx/proxy-hosts/1"]
    assert fake.hosts[1]["forward_port"] == 8920
    assert fake.hosts[1]["meta"]["mediaserver"] == "jellyfin"
    assert fake.hosts[2]["modified_on"] == stamp, "the other one is not rewritten"

    assert run(fake, PHOTOS, check=True)["steps"] == ["delete proxy host media.example.org"]
    run(fake, PHOTOS)
    assert list(fake.hosts) == [2]
    assert not run(fake, PHOTOS)["changed"]


def test_hosts_made_by_hand_stay_unless_purged_or_listed(run, fake):
    fake.add_host(domain_names=["old.example.org"], forward_scheme="http", forward_host="x", forward_port=1)
    fake.add_host(domain_names=["media.example.org"], forward_scheme="http", forward_host="x", forward_port=1,
                  meta={"letsencrypt_email": "a@b.org"})  # fmt: skip
    assert run(fake, MEDIA)["steps"] == ["update proxy host media.example.org"]
    assert fake.hosts[2]["meta"] == {
        "letsencrypt_email": "a@b.org", "mediaserver": "jellyfin", "nginx_online": True, "nginx_err": None
    }  # fmt: skip
    assert not run(fake, MEDIA)["changed"]
    assert run(fake, MEDIA, purge=True)["steps"] == ["delete proxy host old.example.org"]


def test_only_named_services(run, fake):
    run(fake, MEDIA, PHOTOS)
    result = run(fake, {**MEDIA, "forward_port": 1}, {**PHOTOS, "forward_port": 2}, only=["immich"])
    assert result["steps"] == ["update proxy host photos.example.org"]
    assert run(fake, PHOTOS, only=["immich"])["steps"] == ["update proxy host photos.example.org"]
    assert run(fake, PHOTOS, only=["jellyfin"])["steps"] == ["delete proxy host media.example.org"]
    unready = {**MEDIA, "certificate": "not yet there"}
    assert run(fake, unready, PHOTOS, only=["immich"])["changed"] is False, "others' certificates need not exist"
    fake.add_host(domain_names=["old.example.org"], forward_scheme="http", forward_host="x", forward_port=1)
    assert not run(fake, PHOTOS, only=["immich"], purge=True)["changed"]


def test_refused_configuration_fails_by_name_until_corrected(run, fake):
    bad = {**MEDIA, "advanced_config": "broken;"}
    for _ in range(2):
        result = run(fake, bad, PHOTOS)
        assert result["msg"].startswith("Unable to serve proxy host media.example.org: unknown directive")
        assert list(result["failure"]["unserved"]) == ["media.example.org"]
        assert fake.hosts[2]["meta"]["nginx_online"], "the healthy one is served all the same"
    assert not run(fake, {**MEDIA, "advanced_config": ""}, PHOTOS).failed
    assert not run(fake, MEDIA, PHOTOS)["changed"]


def test_row_left_by_a_broken_nginx_is_written_again(run, fake):
    fake.nginx_broken = True
    result = run(fake, MEDIA)
    assert "create proxy host media.example.org: nginx: configuration file" in result["msg"]
    assert len(fake.hosts) == 1
    assert run(fake, MEDIA).failed
    fake.nginx_broken = False
    assert run(fake, MEDIA, check=True)["steps"] == ["update proxy host media.example.org"]
    assert run(fake, MEDIA)["changed"]
    assert not run(fake, MEDIA)["changed"]


def test_flags_without_a_certificate_converge(run, fake):
    wanted = {**MEDIA, "certificate": "", "ssl_forced": True, "http2": True, "hsts": True, "hsts_subdomains": True}
    run(fake, wanted)
    assert not run(fake, wanted)["changed"]
    fake.certificates[9] = {"id": 9, "nice_name": "home", "provider": "other", "domain_names": []}
    assert run(fake, {**wanted, "certificate": "home"})["changed"]
    assert fake.hosts[1]["certificate_id"] == 9
    assert fake.hosts[1]["hsts_subdomains"] is True
    assert not run(fake, {**wanted, "certificate": "home"})["changed"]


def test_access_list_by_name(run, fake):
    fake.lists[5] = {"id": 5, "name": "home", "items": [], "clients": []}
    run(fake, {**MEDIA, "access_list": "home"})
    assert fake.hosts[1]["access_list_id"] == 5
    assert not run(fake, {**MEDIA, "access_list": "home"})["changed"]
    run(fake, {**MEDIA, "access_list": ""})
    assert fake.hosts[1]["access_list_id"] == 0
    assert run(fake, {**MEDIA, "access_list": "gone"})["msg"] == "Unable to use access list gone: not found"


def test_locations_compare_in_any_order(run, fake):
    one = {"path": "/a", "forward_host": "h", "forward_port": 1}
    two = {"path": "/b", "forward_host": "h", "forward_port": 2}
    run(fake, {**MEDIA, "locations": [one, two]})
    assert not run(fake, {**MEDIA, "locations": [two, one]})["changed"]
    assert run(fake, {**MEDIA, "locations": []})["changed"]


def test_disabled_host_need_not_be_served(run, fake):
    fake.add_host(domain_names=["media.example.org"], forward_scheme="http", forward_host="10.1.1.1", forward_port=8096,
                  enabled=False, meta={"nginx_online": False, "mediaserver": "jellyfin"})  # fmt: skip
    wanted = {**MEDIA, "websockets": False, "enabled": False}
    assert not run(fake, wanted)["changed"]
    assert run(fake, {**wanted, "enabled": True})["changed"]
    assert not run(fake, {**wanted, "enabled": True})["changed"]


def test_domain_held_by_something_else(run, fake):
    fake.broken["POST /nginx/proxy-hosts"] = (400, fake.error(400, "media.example.org is already in use"))
    result = run(fake, MEDIA)
    assert (
        result["msg"] == "Unable to create proxy host media.example.org: media.example.org is already in use (HTTP 400)"
    )
    assert result["failure"]["step"] == "create proxy host media.example.org"


def test_killed_between_two_writes_converges(run, fake):
    fake.broken["POST /nginx/proxy-hosts"] = OSError("killed")
    run(fake, MEDIA, PHOTOS)
    del fake.broken["POST /nginx/proxy-hosts"]
    run(fake, MEDIA)
    assert run(fake, MEDIA, PHOTOS)["steps"] == ["create proxy host photos.example.org"]


def test_vanished_host(run, fake):
    run(fake, MEDIA)
    fake.broken["PUT /nginx/proxy-hosts/1"] = (404, fake.error(404, "Not Found - 1"))
    assert "update proxy host media.example.org: Not Found - 1" in run(fake, {**MEDIA, "forward_port": 1})["msg"]


def test_fresh_machine_in_check_mode(run):
    fake = NpmFake(None)
    result = run(fake, MEDIA, check=True)
    assert result["changed"]
    assert result["reachable"] is False
    assert "no administrator yet" in run(fake, MEDIA)["msg"]
    fake.running = False
    assert run(fake, MEDIA, check=True)["changed"]
    assert run(fake, MEDIA).failed


def test_wrong_login(run, fake):
    fake.users = {"admin@example.org": "changed"}
    assert "Invalid email or password" in run(fake, MEDIA)["msg"]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ((403, {"error": {"code": 403, "message": "Permission Denied"}}), "list proxy hosts: Permission Denied"),
        ((200, {"hosts": []}), "expected a list of objects, got dict"),
        (TimeoutError(), "no answer within 60 s"),
    ],
)
def test_bad_answers(run, fake, answer, text):
    fake.broken["GET /nginx/proxy-hosts"] = answer
    assert text in run(fake, MEDIA)["msg"]


@pytest.mark.parametrize(
    ("hosts", "text"),
    [
        ([{**MEDIA, "domains": []}], "has no domain"),
        ([MEDIA, {**PHOTOS, "domains": ["Media.example.org"]}], "media.example.org is also one of media.example.org's"),
    ],
)
def test_wrong_lists(hosts, text):
    with pytest.raises(Failure, match=text):
        _npm_hosts.plan_hosts(hosts, [], [], [], None, False)


def existing(number, *domains, mark=None):
    meta = {"nginx_online": True} | ({"mediaserver": mark} if mark else {})
    return {"id": number, "domain_names": list(domains), "meta": meta}


@pytest.mark.parametrize(
    ("hosts", "changes"),
    [
        ([], [("create", 0)]),
        ([existing(1, "MEDIA.example.org")], [("update", 1)]),
        (
            [existing(1, "media.example.org", mark="a"), existing(2, "m.example.org", mark="b")],
            [("delete", 2), ("update", 1)],
        ),
        ([existing(1, "media.example.org", mark="a"), existing(2, "m.example.org")], [("delete", 1), ("update", 2)]),
    ],
)
def test_which_host_becomes_which(hosts, changes):
    wanted = [{**MEDIA, "domains": ["media.example.org", "m.example.org"]}]
    planned, _before, _after = _npm_hosts.plan_hosts(wanted, hosts, [], [], None, False)
    assert [(change.kind, change.number) for change in planned] == changes


def test_two_foreign_hosts_share_the_wanted_domains():
    hosts = [existing(1, "media.example.org"), existing(2, "m.example.org")]
    with pytest.raises(Failure, match=r"in several hosts: #1 .*#2"):
        _npm_hosts.plan_hosts(
            [{**MEDIA, "domains": ["media.example.org", "m.example.org"]}], hosts, [], [], None, False
        )


def test_certificate_names():
    certificates = [
        {"id": 1, "nice_name": "b.org, a.org", "provider": "letsencrypt", "domain_names": ["b.org", "a.org"]},
        {"id": 2, "nice_name": "home", "provider": "other", "domain_names": []},
        {"id": 3, "nice_name": "twice", "provider": "other"},
        {"id": 4, "nice_name": "twice", "provider": "other"},
    ]
    assert _npm_hosts.find_certificate("a.org, b.org", certificates) == 1
    assert _npm_hosts.find_certificate("home", certificates) == 2
    with pytest.raises(Failure, match="several of that name"):
        _npm_hosts.find_certificate("twice", certificates)
    with pytest.raises(Failure, match="not found"):
        _npm_hosts.find_certificate("c.org", certificates)
