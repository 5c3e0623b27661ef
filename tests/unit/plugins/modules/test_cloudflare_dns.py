# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import cloudflare_dns
from ansible_collections.homelab.mediaserver.tests.unit.fakes.cloudflare_fake import TOKEN, CloudflareFake
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import run_module

MARK = "mediaserver homelab"
TARGET = "c1744f8b.cfargotunnel.com"
PHOTOS = {"name": "photos.example.org", "content": TARGET, "proxied": True}
FILMS = {"name": "media.example.org", "content": TARGET, "proxied": True}
HOME = {"name": "home.example.org", "type": "A", "content": "198.51.100.7", "ttl": 300}


@pytest.fixture
def fake():
    made = CloudflareFake()
    made.add_record(type="MX", name="example.org", content="mail.example.org")
    made.add_record(type="A", name="www.example.org", content="198.51.100.9", comment="by hand")
    made.add_record(type="CNAME", name="shop.example.org", content="elsewhere.example", comment="mediaserver office")
    return made


@pytest.fixture
def run(monkeypatch, fake):
    def call(*records, check=False, **more):
        arguments = {"api_token": TOKEN, "zone": "example.org", "mark": MARK, "records": list(records), **more}
        return run_module(cloudflare_dns, fake, arguments, check=check, monkeypatch=monkeypatch)

    return call


def names(fake, mark=MARK):
    return sorted(row["name"] for row in fake.records.values() if row["comment"] == mark)


def test_check_create_again_change_remove(run, fake):
    checked = run(PHOTOS, FILMS, HOME, check=True)
    assert checked["changed"] and names(fake) == []
    done = run(PHOTOS, FILMS, HOME)
    assert done["steps"] == checked["steps"] == [
        f"create CNAME photos.example.org -> {TARGET}", f"create CNAME media.example.org -> {TARGET}",
        "create A home.example.org -> 198.51.100.7",
    ]  # fmt: skip
    assert done["diff"] == checked["diff"] and done["diff"]["before"] == []
    assert fake.writes == [f"POST /zones/{'b' * 32}/dns_records/batch"], "one request, whole or not at all"
    assert names(fake) == ["home.example.org", "media.example.org", "photos.example.org"]
    for check in (True, False):
        again = run(PHOTOS, FILMS, HOME, check=check)
        assert not again["changed"] and again["steps"] == []
        assert again["diff"]["before"] == again["diff"]["after"] == done["diff"]["after"]
        assert len(fake.requests) == 2, "zone and records"

    moved = {**HOME, "content": "198.51.100.8"}
    assert run(PHOTOS, FILMS, moved, check=True)["steps"] == ["change A home.example.org: content"]
    run(PHOTOS, FILMS, moved)
    assert not run(PHOTOS, FILMS, moved)["changed"]

    assert run(PHOTOS, check=True)["steps"] == ["delete CNAME media.example.org", "delete A home.example.org"]
    left = run(PHOTOS)
    assert [one["name"] for one in left["records"]] == names(fake) == ["photos.example.org"]
    assert len(fake.records) == 4, "what is not ours stays"
    assert run()["changed"]
    assert not run()["changed"]
    assert names(fake, "mediaserver office") == ["shop.example.org"], "another site's mark is not ours"


def test_another_type_for_the_same_name_in_one_batch(run, fake):
    run({"name": "home.example.org", "content": TARGET, "proxied": True})
    done = run(HOME)
    assert done["steps"] == ["delete CNAME home.example.org", "create A home.example.org -> 198.51.100.7"]
    assert not run(HOME)["changed"]


def test_what_stands_in_the_way_is_not_taken(run, fake):
    for record in ({**PHOTOS, "name": "www.example.org"}, {**HOME, "name": "www.example.org"},
                   {"name": "www.example.org", "type": "AAAA", "content": "2001:db8::1"}):  # fmt: skip
        message = run(record)["msg"]
        assert "A www.example.org -> 198.51.100.9 is there and not ours" in message
        assert "setting its comment to 'mediaserver homelab'" in message
    assert fake.writes == []
    next(row for row in fake.records.values() if row["name"] == "www.example.org")["comment"] = MARK
    done = run({**HOME, "name": "www.example.org"})
    assert done["steps"] == ["change A www.example.org: content, ttl"], "handed over"


def test_texts_of_others_are_no_obstacle(run, fake):
    fake.add_record(type="TXT", name="example.org", content='"v=spf1 -all"')
    text = {"name": "@", "type": "TXT", "content": "Hello World"}
    run(text)
    assert not run(text)["changed"]
    next(row for row in fake.records.values() if row["content"] == "Hello World")["content"] = '"Hello World"'
    assert not run(text)["changed"], "Cloudflare may put texts in quotes"
    assert "is there and not ours" in run({"name": "@", "type": "TXT", "content": "v=spf1 -all"})["msg"]


def test_many_addresses_of_one_name(run, fake):
    second = {**HOME, "content": "198.51.100.8"}
    run(HOME, second)
    assert not run(second, HOME)["changed"], "their order means nothing"
    assert run(second)["steps"] == ["delete A home.example.org"]
    assert [row["content"] for row in fake.records.values() if row["comment"] == MARK] == ["198.51.100.8"]


def test_pages(run, fake):
    fake.page_size = 2
    run(PHOTOS, FILMS, HOME)
    assert not run(PHOTOS, FILMS, HOME)["changed"]
    assert len(fake.requests) == 4, "six records on three pages, all seen"


def test_same_record_in_other_words(run, fake):
    run(PHOTOS)
    words = {"name": "Photos.Example.Org.", "content": f"{TARGET}.".upper(), "proxied": True, "ttl": 300}
    assert not run(words)["changed"]


@pytest.mark.parametrize(("records", "words"), [
    ([{**PHOTOS, "name": "photos.example.com"}], "it is not in zone example.org"),
    ([{**PHOTOS, "name": "höhle.example.org"}], "write the name in its ASCII form"),
    ([PHOTOS, PHOTOS], "its name is listed twice"),
    ([PHOTOS, {**HOME, "name": "photos.example.org"}], "its name is listed twice"),
    ([{"name": "@", "type": "TXT", "content": "x", "proxied": True}], "only A, AAAA, CNAME can be proxied"),
    ([{**HOME, "name": f"h{number}.example.org"} for number in range(201)], "Cloudflare takes 200"),
])  # fmt: skip
def test_mistakes(run, fake, records, words):
    assert words in run(*records)["msg"]
    assert fake.writes == []


def test_names_are_short_for_proxied_records(run, fake):
    run(HOME, names=["photos.example.org", "media.example.org"], target=TARGET)
    assert not run(PHOTOS, FILMS, HOME)["changed"]
    assert "give target" in run(names=["photos.example.org"])["msg"]


def test_missing_zone_and_mark(run, fake):
    assert "give zone" in run(PHOTOS, zone=None)["msg"]
    assert "the mark is empty" in run(PHOTOS, mark=" ")["msg"]


def test_zone_of_two_accounts(run, fake):
    fake.zones.append({"id": "c" * 32, "name": "example.org", "account": {"id": "d" * 32, "name": "Office"}})
    assert "there are 2: name the account" in run(PHOTOS)["msg"]
    assert not run(PHOTOS, account="Home").failed
