# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import cloudflare_tunnel
from ansible_collections.homelab.mediaserver.tests.unit.fakes.cloudflare_fake import ACCOUNT, TOKEN, CloudflareFake
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import run_module

PHOTOS = {"hostname": "photos.example.org", "service": "http://immich:2283"}
FILMS = {"hostname": "media.example.org", "service": "http://192.168.1.101:8096"}
END = {"service": "http_status:404"}


@pytest.fixture
def fake():
    return CloudflareFake()


@pytest.fixture
def run(monkeypatch, fake, tmp_path):
    def call(check=False, **more):
        arguments = {"api_token": TOKEN, "zone": "example.org", "name": "homelab", **more}
        return run_module(cloudflare_tunnel, fake, arguments, check=check, monkeypatch=monkeypatch)

    return call


@pytest.fixture
def token(tmp_path):
    return tmp_path / "secrets/cloudflared.token"


def config(fake):
    return next(iter(fake.configurations.values()))


def test_check_create_again_change_absent(run, fake, token):
    wanted = {"ingress": [PHOTOS, FILMS], "token_file": str(token)}
    checked = run(check=True, **wanted)
    assert checked["changed"] and fake.tunnels == {} and not token.exists()
    assert checked["target"] == "00000000-0000-0000-0000-000000000000.cfargotunnel.com"
    done = run(**wanted)
    assert done["steps"] == checked["steps"] == [
        "create tunnel homelab",
        "publish photos.example.org, media.example.org through tunnel homelab",
        f"write the token of tunnel homelab to {token}",
    ]  # fmt: skip
    assert done["diff"] == checked["diff"]
    assert done["diff"]["before"] is None
    number = next(iter(fake.tunnels))
    assert done["target"] == f"{number}.cfargotunnel.com"
    assert config(fake)["ingress"] == [PHOTOS, FILMS, END]
    assert token.read_text().strip() == fake.token_text(number)
    assert token.stat().st_mode & 0o777 == 0o600
    assert fake.token_text(number) not in str(done)
    for check in (True, False):
        again = run(check=check, **wanted)
        assert not again["changed"]
        assert again["diff"]["before"] == again["diff"]["after"] == done["diff"]["after"]
        assert len(fake.requests) == 4, "zone, tunnel, configuration, token"

    turned = {**wanted, "ingress": [FILMS, PHOTOS]}
    assert run(check=True, **turned)["changed"], "the order counts"
    run(**turned)
    assert config(fake)["ingress"] == [FILMS, PHOTOS, END]
    assert not run(**turned)["changed"]

    assert run(state="absent", check=True)["steps"] == ["delete tunnel homelab"]
    assert run(state="absent")["changed"]
    assert not run(state="absent")["changed"]
    assert run()["steps"] == ["create tunnel homelab"], "one that was deleted is not found again"


def test_an_existing_tunnel_is_adopted_and_its_other_settings_stay(run, fake):
    tunnel = fake.add_tunnel("homelab")
    fake.add_tunnel("homelab", deleted_at="2026-01-01")
    fake.configurations[tunnel["id"]] = {"ingress": [END], "warp-routing": {"enabled": True}}
    assert run(ingress=[PHOTOS])["id"] == tunnel["id"]
    assert config(fake) == {"ingress": [PHOTOS, END], "warp-routing": {"enabled": True}}


def test_what_is_not_given_is_not_asked(run, fake):
    run(ingress=[PHOTOS])
    assert not run()["changed"]
    assert len(fake.requests) == 2
    assert config(fake)["ingress"] == [PHOTOS, END]


def test_empty_keys_that_the_api_adds_are_no_difference(run, fake):
    run(ingress=[PHOTOS, FILMS])
    for rule in config(fake)["ingress"]:
        rule.update(originRequest={}, path="")
    assert not run(ingress=[PHOTOS, FILMS])["changed"]
    one = {**FILMS, "path": "^/web", "origin_request": {"noTLSVerify": True}}
    assert run(ingress=[PHOTOS, FILMS, one])["changed"]
    assert config(fake)["ingress"][2] == {**FILMS, "path": "^/web", "originRequest": {"noTLSVerify": True}}
    assert not run(ingress=[PHOTOS, FILMS, one])["changed"]


def test_nothing_is_published(run, fake):
    run(ingress=[PHOTOS])
    assert run(ingress=[])["steps"] == ["publish nothing through tunnel homelab"]
    assert config(fake)["ingress"] == [END]


def test_a_token_file_that_is_wrong_or_readable_is_written_anew(run, fake, token):
    run(token_file=str(token))
    token.chmod(0o644)
    assert run(token_file=str(token))["changed"]
    assert token.stat().st_mode & 0o777 == 0o600
    token.write_text("another\n")
    assert run(token_file=str(token))["changed"]
    assert not run(token_file=str(token))["changed"]


def test_locally_managed(run, fake):
    fake.add_tunnel("homelab", config_src="local")
    assert "it is locally managed" in run(ingress=[PHOTOS])["msg"]


def test_connected_tunnel_stays(run, fake):
    fake.add_tunnel("homelab", connections=[{"id": "x"}])
    message = run(state="absent")["msg"]
    assert message.startswith("Unable to delete tunnel homelab: Cannot delete tunnel because it has active connections")


def test_listed_twice(run, fake):
    assert "photos.example.org: it is listed twice" in run(ingress=[PHOTOS, PHOTOS])["msg"]
    assert fake.writes == []


@pytest.mark.parametrize("given", [
    {"account": "Home"}, {"account": ACCOUNT}, {"zone": None, "account": "Home"}, {"zone": None, "account": ACCOUNT},
])  # fmt: skip
def test_account_by_name_id_or_zone(run, fake, given):
    assert not run(**given).failed


@pytest.mark.parametrize(("given", "words"), [
    ({"zone": None}, "give zone or account"),
    ({"zone": "example.com"}, "the API token sees none. It needs Zone: Zone: Read"),
    ({"account": "Office"}, "the API token sees none in account Office"),
    ({"zone": None, "account": "Office"}, "the API token sees 0 of that name"),
])  # fmt: skip
def test_no_such_account(run, fake, given, words):
    result = run(**given)
    assert words in result["msg"] and fake.writes == []


def test_api_token_from_file(run, fake, tmp_path):
    file = tmp_path / "api.token"
    assert "is missing or empty" in run(api_token=None, api_token_file=str(file))["msg"]
    file.write_text(TOKEN + "\n")
    assert not run(api_token=None, api_token_file=str(file)).failed
    assert "give api_token, api_token_file or CLOUDFLARE_API_TOKEN" in run(api_token=None)["msg"]
    assert "odd characters" in run(api_token="two words")["msg"]
