# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import cloudflare_access
from ansible_collections.homelab.mediaserver.tests.unit.fakes.cloudflare_fake import SECRET, TOKEN, CloudflareFake
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import run_module

PEOPLE = {"name": "people", "emails": ["mum@example.org", "Dad@example.org"]}
PHONES = {"name": "phones", "decision": "non_identity", "service_tokens": ["phones"]}
PHOTOS = {"domain": "photos.example.org", "policies": ["phones", "people"]}
FILMS = {"domain": "media.example.org", "policies": ["people"]}


@pytest.fixture
def fake():
    return CloudflareFake()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "secrets/phones.txt"


@pytest.fixture
def whole(file):
    return {"service_tokens": [{"name": "phones", "file": str(file)}], "policies": [PEOPLE, PHONES],
            "applications": [PHOTOS, FILMS]}  # fmt: skip


@pytest.fixture
def run(monkeypatch, fake):
    def call(check=False, **more):
        arguments = {"api_token": TOKEN, "zone": "example.org", "mark": "mediaserver homelab", **more}
        return run_module(cloudflare_access, fake, arguments, check=check, monkeypatch=monkeypatch)

    return call


def named(things, name):
    return next(row for row in things.values() if row["name"] == f"mediaserver homelab: {name}")


def test_check_create_again(run, fake, whole, file):
    checked = run(check=True, **whole)
    assert checked["changed"] and not fake.apps and not file.exists()
    done = run(**whole)
    assert done["steps"] == checked["steps"] == [
        "create service token phones", "create policy people", "create policy phones",
        "create application photos.example.org", "create application media.example.org",
    ]  # fmt: skip
    assert done["diff"] == checked["diff"] and done["diff"]["before"] == {}
    kinds = [key.rpartition("/")[2] for key in fake.writes]
    assert kinds == ["service_tokens", "policies", "policies", "apps", "apps"], (
        "nothing is guarded by what is not there"
    )
    token = named(fake.tokens, "phones")
    assert named(fake.policies, "phones")["include"] == [{"service_token": {"token_id": token["id"]}}]
    photos = named(fake.apps, "photos.example.org")
    ids = [named(fake.policies, name)["id"] for name in ("phones", "people")]
    assert [one["id"] for one in photos["policies"]] == ids
    assert photos["type"] == "self_hosted"
    assert photos["self_hosted_domains"] == ["photos.example.org"]
    assert file.read_text() == (
        f"CF-Access-Client-Id: {token['client_id']}\nCF-Access-Client-Secret: {token['client_secret']}\n"
    )
    assert file.stat().st_mode & 0o777 == 0o600
    assert SECRET not in str(done)
    for check in (True, False):
        again = run(check=check, **whole)
        assert not again["changed"], again["steps"]
        assert again["diff"]["before"] == again["diff"]["after"] == done["diff"]["after"], "the diff was exact"
        assert len(fake.requests) == 4, "zone, service tokens, policies, applications"
        assert again["applications"].keys() == {"photos.example.org", "media.example.org"}


def test_allow_list_changes_in_one_place(run, fake, whole):
    run(**whole)
    whole["policies"] = [{**PEOPLE, "emails": ["mum@example.org"]}, PHONES]
    checked = run(check=True, **whole)
    assert checked["steps"] == ["update policy people"]
    assert "dad@example.org" in str(checked["diff"]["before"]) and "dad" not in str(checked["diff"]["after"])
    run(**whole)
    assert named(fake.policies, "people")["include"] == [{"email": {"email": "mum@example.org"}}]
    assert not run(**whole)["changed"]


def test_order_and_capitals_of_addresses_mean_nothing(run, fake, whole):
    run(**whole)
    whole["policies"] = [{**PEOPLE, "emails": ["DAD@example.org", "mum@example.org"]}, PHONES]
    assert not run(**whole)["changed"]


def test_what_somebody_added_by_hand(run, fake, whole):
    """Somebody let in besides is drift; a further condition, a logo and other settings stay."""
    run(**whole)
    policy, app = named(fake.policies, "people"), named(fake.apps, "media.example.org")
    policy["require"] = [{"geo": {"country_code": "FR"}}]
    app["logo_url"] = "https://example.org/logo.png"
    assert not run(**whole)["changed"]
    policy["include"].append({"everyone": {}})
    app["destinations"].append({"type": "public", "uri": "other.example.org"})
    done = run(**whole)
    assert done["steps"] == ["update policy people", "update application media.example.org"]
    assert {"everyone": {}} not in named(fake.policies, "people")["include"]
    assert named(fake.policies, "people")["require"] == [{"geo": {"country_code": "FR"}}]
    app = named(fake.apps, "media.example.org")
    assert app["self_hosted_domains"] == ["media.example.org"]
    assert app["logo_url"] == "https://example.org/logo.png"
    assert not run(**whole)["changed"]


def test_order_of_policies_counts(run, fake, whole):
    run(**whole)
    whole["applications"] = [{**PHOTOS, "policies": ["people", "phones"]}, FILMS]
    assert run(**whole)["steps"] == ["update application photos.example.org"]
    assert not run(**whole)["changed"]


def test_settings_of_an_application(run, fake, whole):
    run(**whole)
    more = {**FILMS, "session_duration": "168h", "settings": {"service_auth_401_redirect": True}}
    whole["applications"] = [PHOTOS, more]
    checked = run(check=True, **whole)
    done = run(**whole)
    assert checked["diff"] == done["diff"]
    app = named(fake.apps, "media.example.org")
    assert (app["session_duration"], app["service_auth_401_redirect"]) == ("168h", True)
    again = run(**whole)
    assert not again["changed"] and again["diff"]["before"] == done["diff"]["after"]
    whole["applications"] = [PHOTOS, {**FILMS, "settings": {"domain": "x"}}]
    assert "settings must not hold domain" in run(**whole)["msg"]


def test_a_name_that_moves_keeps_its_old_guard_until_purge(run, fake, whole):
    run(**whole)
    whole["applications"] = [PHOTOS, {**FILMS, "domain": "films.example.org"}]
    assert run(**whole)["steps"] == ["create application films.example.org"]
    assert len(fake.apps) == 3
    assert run(purge=True, check=True, **whole)["steps"] == ["delete application media.example.org"]
    run(purge=True, **whole)
    assert not run(purge=True, **whole)["changed"]
    assert len(fake.apps) == 2


def test_purge_leaves_what_is_not_ours(run, fake, whole):
    run(**whole)
    by_hand = fake.add_app(name="Wiki", type="self_hosted", domain="wiki.example.org")
    other = fake.add_app(name="mediaserver office: x.example.org", type="self_hosted", domain="x.example.org")
    by_hand["policies"] = [{"id": named(fake.policies, "people")["id"], "precedence": 1}]
    done = run(purge=True)
    assert done["steps"] == [
        "delete application photos.example.org", "delete application media.example.org", "delete policy phones",
        "delete service token phones",
    ]  # fmt: skip
    assert done["warnings"] == ["Policy people stays: applications that are not ours use it"]
    assert set(fake.apps) == {by_hand["id"], other["id"]}
    assert not run(purge=True)["changed"]


def test_an_application_by_hand_for_the_same_name(run, fake, whole):
    hand = fake.add_app(name="Films", type="self_hosted", domain="media.example.org")
    message = run(**whole)["msg"]
    assert "the application 'Films', which is not ours, does so already" in message
    assert fake.writes == []
    hand["name"] = "mediaserver homelab: media.example.org"
    assert "update application media.example.org" in run(**whole)["steps"], "handed over"


def test_lost_secret_of_a_token(run, fake, whole, file):
    run(**whole)
    first = named(fake.tokens, "phones")["client_secret"]
    file.unlink()
    assert run(**whole)["steps"] == ["rotate service token phones"], "nobody had used it"
    second = named(fake.tokens, "phones")["client_secret"]
    assert second != first and second in file.read_text()
    named(fake.tokens, "phones")["last_seen_at"] = "2026-11-20T10:00:00Z"
    assert not run(**whole)["changed"]
    file.unlink()
    message = run(**whole)["msg"]
    assert "is in use" in message and "rotate: true" in message and not fake.writes
    whole["service_tokens"][0]["rotate"] = True
    assert run(**whole)["steps"] == ["rotate service token phones"]
    assert not run(**whole)["changed"], "rotate: true rotates only what has no file"


def test_a_token_is_renewed_before_it_ends(run, fake, whole):
    run(**whole)
    named(fake.tokens, "phones")["expires_at"] = "2026-01-01T00:00:00Z"
    assert run(check=True, **whole)["steps"] == ["renew service token phones"]
    run(**whole)
    assert not run(**whole)["changed"]


def test_without_service_tokens_no_permission_for_them(run, fake):
    fake.permissions.discard("service_tokens")
    assert not run(policies=[PEOPLE], applications=[FILMS]).failed
    assert "Access: Service Tokens: Edit" in run(policies=[PEOPLE], purge=True)["msg"]


def test_pages(run, fake, whole):
    fake.page_size = 1
    run(**whole)
    assert not run(**whole)["changed"]
    assert len(fake.requests) == 6


@pytest.mark.parametrize(("given", "words"), [
    ({"policies": [{"name": "people"}]}, "policy people: it is about nobody"),
    ({"policies": [PEOPLE, PEOPLE]}, "people is listed twice"),
    ({"policies": [PEOPLE], "applications": [FILMS, FILMS]}, "media.example.org is listed twice"),
    ({"policies": [PEOPLE], "applications": [{**FILMS, "policies": []}]}, "so nobody could log in"),
    ({"policies": [PEOPLE], "applications": [{**FILMS, "policies": ["folk"]}]}, "no policy folk is listed"),
    ({"policies": [PHONES]}, "no service token phones is listed"),
    ({"policies": [{**PHONES, "decision": "allow"}]}, "service tokens want decision non_identity"),
    ({"mark": " "}, "the mark is empty"),
])  # fmt: skip
def test_mistakes(run, fake, given, words):
    assert words in run(**given)["msg"]
    assert fake.requests == [], "before anything is asked"


def test_two_of_a_name(run, fake):
    for _number in range(2):
        fake.create_policy(
            body={"name": "mediaserver homelab: people", "decision": "allow", "include": [{"everyone": {}}]}
        )
    assert "there are several of that name" in run(policies=[PEOPLE])["msg"]
