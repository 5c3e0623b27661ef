# SPDX-License-Identifier: MIT
from __future__ import annotations

import json

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils._nft import (
    clean_rules,
    listing_digest,
    missing_table,
    parse_rules,
    render,
    select,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

FILMS = {"from": "192.168.1.0/24", "port": 8096, "protocol": "tcp", "service": "films", "comment": "lan"}
PHOTOS = {"from": "any", "port": 2283, "protocol": "tcp", "service": "photos", "comment": ""}


def elements(text: str, name: str) -> list[str]:
    part = text.partition(f"\tset {name} {{")[2].partition("\t}\n")[0]
    return [line.strip().rstrip(",") for line in part.splitlines() if " . " in line and "type" not in line]


def test_sources_go_into_their_sets():
    text = render(clean_rules([FILMS, PHOTOS, {**FILMS, "from": "fd00::/64", "protocol": "any"}]))
    assert elements(text, "open") == ["tcp . 2283"]
    assert elements(text, "allow4") == ["192.168.1.0/24 . tcp . 8096"]
    assert elements(text, "allow6") == ["fd00::/64 . tcp . 8096", "fd00::/64 . udp . 8096"]


def test_overlapping_sources_are_joined():
    """The kernel refuses overlapping intervals."""
    rules = [{**FILMS, "from": source} for source in ("192.168.1.111", "192.168.1.0/24", "192.168.0.0/24")]
    assert elements(render(clean_rules(rules)), "allow4") == ["192.168.0.0/23 . tcp . 8096"]


def test_without_rules_everything_published_is_dropped():
    text = render([])
    assert "elements" not in text
    assert "policy accept" in text, "what is not for containers is not ours to judge"
    published = text.partition("chain published {")[2]
    assert published.rstrip().rstrip("}").rstrip().rstrip("}").rstrip().endswith("drop")


def test_clients_are_judged_before_established_connections_are_let_through():
    text = render([])
    assert text.index("ct direction original goto published") < text.index("ct state established accept")


def test_loading_replaces_the_table_in_one_go():
    lines = render([]).splitlines()
    at = lines.index("table inet mediaserver")
    assert lines[at + 1 : at + 3] == ["delete table inet mediaserver", "table inet mediaserver {"]


def test_a_file_says_its_rules():
    rules = clean_rules([FILMS, {**PHOTOS, "marker": "/x"}])
    assert parse_rules(render(rules)) == rules
    assert parse_rules(None) == []


def test_only_some_services():
    current = clean_rules([FILMS, PHOTOS])
    wanted = clean_rules([{**FILMS, "port": 1}, {**PHOTOS, "port": 2}])
    assert {(r["service"], r["port"]) for r in select(wanted, current, ["films"])} == {("films", 1), ("photos", 2283)}
    assert select(wanted, current, None) == wanted


@pytest.mark.parametrize(("change", "message"), [({"port": 0}, "port 0"), ({"from": "lan"}, "rule 0: 'lan'")])
def test_rules_that_cannot_be(change, message):
    with pytest.raises(Failure, match=message):
        clean_rules([{**FILMS, **change}])


def listing(*items) -> str:
    return json.dumps({"nftables": [{"metainfo": {"version": "1.1.3"}}, *items]})


def test_digest_is_of_what_matters():
    one = listing(
        {"set": {"name": "open", "handle": 3, "elem": [{"concat": ["tcp", 1]}, {"concat": ["tcp", 2]}]}},
        {"rule": {"handle": 6, "expr": [{"counter": {"packets": 7, "bytes": 420}}, {"drop": None}]}},
    )
    same = listing(
        {"set": {"name": "open", "handle": 9, "elem": [{"concat": ["tcp", 2]}, {"concat": ["tcp", 1]}]}},
        {"rule": {"handle": 8, "expr": [{"counter": {"packets": 0, "bytes": 0}}, {"drop": None}]}},
    )
    other = listing({"set": {"name": "open", "elem": [{"concat": ["tcp", 1]}]}})
    reordered = listing(
        {"set": {"name": "open", "elem": [{"concat": ["tcp", 1]}, {"concat": ["tcp", 2]}]}},
        {"rule": {"expr": [{"drop": None}, {"counter": {"packets": 0, "bytes": 0}}]}},
    )
    assert listing_digest(one) == listing_digest(same)
    assert len({listing_digest(text) for text in (one, other, reordered)}) == 3


@pytest.mark.parametrize("text", ["", "[]", "{}", "nonsense"])
def test_a_listing_that_cannot_be_read_fails(text):
    with pytest.raises(Failure, match="Unable to read the table"):
        listing_digest(text)


def test_only_a_missing_table_is_missing():
    assert missing_table("Error: No such file or directory\nlist table inet mediaserver\n")
    assert not missing_table("Error: Could not process rule: Operation not permitted")
