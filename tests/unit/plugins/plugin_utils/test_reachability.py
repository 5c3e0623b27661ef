# SPDX-License-Identifier: MIT
"""Verify's questions and its verdict."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.mediaserver.plugins.plugin_utils import reachability

TARGETS = [{"name": "intranet", "address": "10.0.0.101"}, {"name": "extranet", "address": "10.0.0.111"}]
WEB = {"host": "intranet", "address": "10.0.0.101", "port": 8096, "protocol": "tcp", "zone": "lan", "speak": "http"}
SITE = {
    "host": "extranet", "address": "10.0.0.111", "port": 443, "protocol": "tcp", "zone": "lan",
    "speak": "https", "server_name": "media.example.org", "path": "/health",
}  # fmt: skip
VPN = {
    "host": "extranet",
    "address": "10.0.0.111",
    "port": 1194,
    "protocol": "udp",
    "zone": "internet",
    "payload": "38",
}
PROBES = [WEB, SITE, VPN]


def observation(zone: str = "lan", **changes: Any) -> dict[str, Any]:
    questions = reachability.questions(zone, [], TARGETS, PROBES)
    good = {probe["id"]: {"answered": probe["speak"] != "udp", "text": "x"} for probe in questions["probes"]}
    ports = {"10.0.0.101": [8096], "10.0.0.111": [443]} if zone == "lan" else {"10.0.0.101": [], "10.0.0.111": []}
    return {"prober": f"{zone}-client", "zone": zone, "open_ports": ports, "answers": good} | changes


def test_a_prober_scans_all_others_and_speaks_what_its_zone_may() -> None:
    questions = reachability.questions("lan", ["10.0.0.111"], TARGETS, PROBES)
    assert questions["scan"] == ["10.0.0.101"]
    assert [(probe["port"], probe["speak"]) for probe in questions["probes"]] == [(8096, "http")]


def test_udp_ports_are_asked_from_every_zone() -> None:
    questions = reachability.questions("edge", [], TARGETS, PROBES)
    assert [(probe["port"], probe["speak"]) for probe in questions["probes"]] == [(1194, "udp")]


def test_all_as_planned() -> None:
    verdict = reachability.judge(TARGETS, PROBES, [observation()])
    assert verdict.surprises == ()
    assert verdict.open_as_planned == 2
    assert verdict.made == 2 * 65535 + 3
    assert verdict.closed_as_planned == 2 * 65535 - 2 + 1
    assert verdict.not_probed == ("internet", "edge", "vpn")


def test_an_unplanned_open_port_is_a_surprise() -> None:
    seen = observation(open_ports={"10.0.0.101": [8096, 5432], "10.0.0.111": [443]})
    [row] = reachability.judge(TARGETS, PROBES, [seen]).surprises
    assert (row.target, row.port, row.expected, row.seen) == ("intranet", "tcp/5432", "closed", "OPEN")


def test_a_planned_port_that_does_not_answer_is_a_surprise() -> None:
    seen = observation()
    key = next(key for key in seen["answers"] if "8096" in key)
    seen["answers"][key] = {"answered": False, "text": "timed out"}
    [row] = reachability.judge(TARGETS, PROBES, [seen]).surprises
    assert (row.port, row.expected, row.seen) == ("tcp/8096", "open", "timed out")


def test_a_name_that_is_not_for_a_zone_must_be_refused() -> None:
    refused = SITE | {"expect": "refused", "server_name": "grafana.example.org", "status": [403]}
    probes = [*PROBES, refused]
    answers = observation()["answers"] | {
        reachability.probe_id("lan", "10.0.0.111", refused): {"answered": True, "text": "HTTP 403"}
    }
    assert reachability.judge(TARGETS, probes, [observation(answers=answers)]).surprises == ()
    answers[reachability.probe_id("lan", "10.0.0.111", refused)] = {"answered": False, "text": "HTTP 200"}
    [row] = reachability.judge(TARGETS, probes, [observation(answers=answers)]).surprises
    assert (row.service, row.expected, row.seen) == ("grafana.example.org", "refused", "HTTP 200")


def test_udp_that_answers_in_the_wrong_zone_is_a_surprise() -> None:
    seen = observation("edge")
    key = next(iter(seen["answers"]))
    seen["answers"][key] = {"answered": True, "text": "14 bytes"}
    [row] = reachability.judge(TARGETS, PROBES, [seen]).surprises
    assert (row.zone, row.port, row.expected) == ("edge", "udp/1194", "closed")


def test_an_unreachable_prober_leaves_its_zone_not_probed() -> None:
    verdict = reachability.judge(TARGETS, PROBES, [observation(open_ports={}, answers={})])
    assert "lan" in verdict.not_probed
    assert any("NOT PROBED" in line for line in reachability.table(verdict))


def test_the_table_marks_surprises_first_and_ends_with_the_sums() -> None:
    seen = observation(open_ports={"10.0.0.101": [8096, 22], "10.0.0.111": [443]})
    lines = reachability.table(reachability.judge(TARGETS, PROBES, [seen]))
    assert lines[1].endswith("<-- SURPRISE")
    assert lines[-1].endswith("surprises: 1")
