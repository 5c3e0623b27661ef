"""What the plan hands to the modules of Cloudflare, and what the tunnel changes about the proxy."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import plan_page, plan_text

from .test_plan_mistakes import through_cloudflare


@pytest.fixture
def planned(sample: Any) -> Any:
    def call(alone: bool = True, **more: Any) -> dict[str, Any]:
        """With the tunnel ``alone`` there is no proxy, as on a Raspberry Pi."""
        through_cloudflare(**more)(sample)
        if alone:
            del sample.site["site_services"]["proxy"]
        result = sample.plan()
        assert [problem.text() for problem in result.problems.found] == []
        return dict(result.plan)

    return call


def test_guards_ingress_and_names(planned: Any) -> None:
    plan = planned()
    slice_ = plan["cloudflare"]
    assert (slice_["zone"], slice_["mark"]) == ("example.org", "mediaserver home")
    assert slice_["tunnel"] == {"name": "home", "host": "front", "service": "cloud", "secret": "cloud.token"}
    assert slice_["policies"] == [{"name": "people", "decision": "allow", "emails": ["mum@example.org"]}]
    assert slice_["applications"] == [
        {"domain": "media.example.org", "policies": ["people"], "session_duration": "168h"}
    ]
    assert slice_["ingress"] == [{"hostname": "media.example.org", "service": "http://192.168.1.101:8096"}]
    assert plan["routes"] == [] and plan["names"] == []
    assert [one["name"] for one in plan["secrets"] if one.get("later")] == ["cloud.token"]
    assert "cloudflare.api_token" in [one["name"] for one in plan["secrets"] if one.get("ask")]


def test_only_what_allows_the_internet_is_published(planned: Any, sample: Any) -> None:
    sample.site["site_services"]["films"]["route"] = {"allow": ["lan"]}
    slice_ = planned()["cloudflare"]
    assert slice_["ingress"] == slice_["applications"] == slice_["policies"] == []


def test_every_name_has_its_guard_or_is_named_as_open(planned: Any, sample: Any) -> None:
    sample.site["site_services"]["photos"]["route"] = {"allow": ["internet"]}
    wanted = {"allow": ["mum@example.org"], "open": ["films"], "service_tokens": {"phones": ["photos"]}}
    slice_ = planned(**wanted)["cloudflare"]
    published = {rule["hostname"] for rule in slice_["ingress"]}
    guarded = {one["domain"] for one in slice_["applications"]}
    assert published == {"media.example.org", "photos.example.org"}
    assert published - guarded == {"media.example.org"}, "open by name"
    (photos,) = slice_["applications"]
    assert photos["policies"] == ["phones", "people"]
    assert slice_["policies"][1] == {"name": "phones", "decision": "non_identity", "service_tokens": ["phones"]}
    assert slice_["service_tokens"] == [{"name": "phones", "file": "cloudflare-phones.txt"}]


def test_nothing_is_opened_for_the_tunnel(planned: Any, sample: Any) -> None:
    sample.catalog["films"]["reach"] = ["edge"]
    plan = planned()
    assert [one for one in plan["forwards"] if one["service"] == "cloud"] == []
    front = plan["hosts"]["front"]
    assert [one for one in front["firewall"]["containers"] if one["service"] == "cloud"] == []
    back = [one["from"] for one in plan["hosts"]["back"]["firewall"]["containers"] if one["service"] == "films"]
    assert back == ["192.168.1.111/32"], "the tunnel's host, and nobody else, may ask the service"
    assert plan["zones"]["edge"] == ["192.168.1.111/32", "fd00:1::111/128"]
    reasons = {(one["service"], one["port"]): one["reason"] for one in plan["unprobed"]}
    assert reasons[("films", 443)] == "published by Cloudflare's tunnel"


def test_on_one_host_the_service_is_asked_by_its_name(planned: Any, sample: Any) -> None:
    sample.site["site_services"]["cloud"] = {"hosts": ["back"]}
    through = through_cloudflare()
    through(sample)
    sample.site["site_services"]["cloud"]["hosts"] = ["back"]
    del sample.site["site_services"]["proxy"]
    result = sample.plan()
    assert not result.problems.found
    assert result.plan["cloudflare"]["ingress"][0]["service"] == "http://films:8096"
    files = {one["path"]: one for one in result.plan["hosts"]["back"]["files"]}
    for name in ("films", "cloud"):
        compose = files[f"/opt/mediaserver/services/{name}/compose.yaml"]["yaml"]
        assert compose["networks"]["proxy"]["name"] == "mediaserver-proxy"
    token = files["/opt/mediaserver/services/cloud/secrets/cloud/token"]
    assert (token["secret_ref"], token["mode"]) == ("cloud.token", "0400")


def test_beside_a_proxy_the_internet_has_no_way_past_access(planned: Any) -> None:
    """The proxy serves published names to the home alone, and a prober outside must be refused there."""
    plan = planned(alone=False)
    route = next(one for one in plan["routes"] if one["service"] == "films")
    assert sorted(route["allow"]) == ["10.8.0.0/24", "192.168.1.0/24", "fd00:1::/64"]
    assert next(one for one in plan["names"] if one["service"] == "films")["public"] is True
    outside = [one for one in plan["probes"] if one["zone"] == "internet" and one["server_name"] == "media.example.org"]
    assert [one["expect"] for one in outside] == ["refused"]


def test_upstream_with_a_certificate_of_its_own(planned: Any, sample: Any) -> None:
    sample.catalog["films"]["route"]["scheme"] = "https"
    rule = planned()["cloudflare"]["ingress"][0]
    assert rule["service"].startswith("https://") and rule["origin_request"] == {"noTLSVerify": True}


def test_deep_names_are_warned_of(planned: Any, sample: Any) -> None:
    sample.site["site_domain"] = "home.example.org"
    plan = planned(zone="example.org")
    assert "name-without-free-certificate" in [one["name"] for one in plan["warnings"]]
    assert plan["cloudflare"]["ingress"][0]["hostname"] == "media.home.example.org"


def test_people_see_it(planned: Any) -> None:
    plan = planned(allow=["mum@example.org"])
    text = "\n".join(plan_text.lines(plan))
    assert "https://media.example.org" in text and "through tunnel home, login: Cloudflare Access" in text
    assert "Cloudflare Access" in plan_page.page(plan)
    assert "https://media.example.org" in str(plan["tiles"])


def test_without_cloudflare_there_is_none(sample: Any) -> None:
    assert sample.plan().plan["cloudflare"] is None


@pytest.mark.parametrize("value", [None, 7, "x y/..", [None], {"a": None}], ids=str)
def test_wrong_values_are_no_traceback(sample: Any, value: Any) -> None:
    record = {"name": "office.example.org", "type": "A", "content": "198.51.100.7", "proxied": False, "ttl": 60}
    through_cloudflare(open=["films"], service_tokens={"phones": ["photos"]}, records=[record], zone="example.org",
                       account="Home", tunnel="home", session="24h")(sample)  # fmt: skip
    whole = sample.site["site_cloudflare"]
    for key in whole:
        sample.site["site_cloudflare"] = {**whole, key: value}
        sample.plan()
    for key in record:
        sample.site["site_cloudflare"] = {**whole, "records": [{**record, key: value}]}
        sample.plan()
    for wrong in (value, {"phones": value}):
        sample.site["site_cloudflare"] = {**whole, "service_tokens": wrong}
        sample.plan()
    sample.site["site_cloudflare"] = value
    sample.plan()
