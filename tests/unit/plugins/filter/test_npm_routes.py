# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.homelab.mediaserver.plugins.filter.host_paths import host_paths
from ansible_collections.homelab.mediaserver.plugins.filter.npm_routes import npm_routes

UPSTREAM = {"address": "10.1.1.1", "port": 8096, "scheme": "http", "host": "intranet"}
MEDIA = {
    "service": "jellyfin", "domains": ["media.example.org"], "upstream": UPSTREAM, "allow": "any",
    "login": "application", "websockets": True,
}  # fmt: skip
GRAFANA = {**MEDIA, "service": "grafana", "domains": ["grafana.example.org"], "allow": ["192.168.1.0/24"]}


def test_own_authority():
    made = npm_routes([MEDIA, GRAFANA], "own_ca", certificate="PEM", key="KEY", advanced={"grafana": "x;"})
    assert made["certificates"] == [{"name": "mediaserver", "certificate": "PEM", "key": "KEY"}]
    assert made["lists"] == [
        {
            "name": "mediaserver: grafana",
            "clients": [{"address": "192.168.1.0/24", "directive": "allow"}],
            "users": [],
        }
    ]
    media, grafana = made["hosts"]
    assert (media["certificate"], media["ssl_forced"], media["hsts"], media["access_list"]) == (
        "mediaserver",
        True,
        False,
        "",
    )
    assert (grafana["access_list"], grafana["advanced_config"]) == ("mediaserver: grafana", "x;")


def test_lets_encrypt_names_certificates_by_their_domains():
    made = npm_routes([MEDIA], "letsencrypt", hsts=True)
    assert made["certificates"] == [{"domains": ["media.example.org"]}]
    assert (made["hosts"][0]["certificate"], made["hosts"][0]["hsts"]) == ("media.example.org", True)


def test_plain_http():
    made = npm_routes([MEDIA], "none", hsts=True)
    assert made["certificates"] == []
    assert (made["hosts"][0]["certificate"], made["hosts"][0]["ssl_forced"], made["hosts"][0]["hsts"]) == (
        "",
        False,
        False,
    )


def test_login_by_the_proxy():
    users = [{"username": "a", "password": "b"}]
    made = npm_routes([{**MEDIA, "login": "proxy"}], "none", users=users)
    assert made["lists"] == [{"name": "mediaserver: jellyfin", "clients": [], "users": users}]
    assert made["hosts"][0]["access_list"] == "mediaserver: jellyfin"


def test_only_some_services():
    made = npm_routes([MEDIA, GRAFANA], "letsencrypt", only=["jellyfin"])
    assert made["certificates"] == [{"domains": ["media.example.org"]}]
    assert made["lists"] == []
    assert len(made["hosts"]) == 2


@pytest.mark.parametrize(
    ("route", "issuer", "text"),
    [
        ({**MEDIA, "login": "proxy"}, "none", "nobody may log in"),
        ({**MEDIA, "allow": []}, "none", "allowed to nobody"),
        (MEDIA, "nobody", "Unknown issuer"),
    ],
)
def test_never_open_by_mistake(route, issuer, text):
    with pytest.raises(AnsibleFilterError, match=text):
        npm_routes([route], issuer)


def test_host_paths():
    volumes = {
        "media": {"host": "/mnt/media/library", "container": "/media"},
        "config": {"host": "/mnt/c", "container": "/config"},
    }
    paths = ["/media/films", "/media", "/elsewhere", "/media/films", "/media/../etc", "/config/a/b"]
    assert host_paths(paths, volumes) == ["/mnt/media/library/films", "/mnt/c/a/b"]


def test_what_is_for_prometheus_alone_is_not_shown():
    made = npm_routes([{**MEDIA, "hidden": ["/metrics"]}, GRAFANA], "own_ca", advanced={"jellyfin": "x;"})
    media, grafana = made["hosts"]
    assert media["advanced_config"] == "location ~* ^/metrics(/|$) { return 404; }\nx;"
    assert grafana["advanced_config"] == ""
