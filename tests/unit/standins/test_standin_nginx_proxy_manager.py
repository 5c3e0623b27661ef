# SPDX-License-Identifier: MIT
"""nginx itself is a script here that refuses any file with the word bad_directive; the image runs the real one."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

PROGRAM, MOUNTS = "nginx-proxy-manager/manager.py", ["/data", "/etc/letsencrypt"]
ADMIN = {
    "name": "Admin",
    "nickname": "admin",
    "email": "Admin@example.org",
    "roles": ["admin"],
    "is_disabled": False,
    "auth": {"type": "password", "secret": "correct horse"},
}
HOST = {
    "domain_names": ["media.example.org"],
    "forward_scheme": "http",
    "forward_host": "192.168.1.101",
    "forward_port": 8096,
}
HOSTS = "/api/nginx/proxy-hosts"


@pytest.fixture
def fresh(standin: Any, tmp_path: Path) -> Any:
    nginx = tmp_path / "nginx"
    nginx.write_text(
        f"#!/bin/sh\nif grep -rqs bad_directive {tmp_path}/root0/data/nginx --include=*.conf; then\n"
        'echo "nginx: [emerg] unknown directive \\"bad_directive\\"" >&2; exit 1; fi\n'
        f'echo "$@" >> {tmp_path}/nginx.calls\n'
    )
    nginx.chmod(0o755)
    return standin(PROGRAM, MOUNTS, LAB_TEST_NGINX=str(nginx), LAB_TEST_CERTBOT="0").start()


@pytest.fixture
def admin(fresh: Any) -> dict[str, str]:
    assert fresh.call("POST", "/api/users", ADMIN).status == 201
    login = fresh.call("POST", "/api/tokens", {"identity": "admin@example.org", "secret": "correct horse"})
    return {"Authorization": "Bearer " + login.json["token"]}


def vhost(server: Any, number: int) -> str:
    return (server.root / f"data/nginx/proxy_host/{number}.conf").read_text()


@pytest.mark.parametrize("missing", MOUNTS)
def test_needs_its_mounts(standin: Any, missing: str) -> None:
    server = standin(PROGRAM, [path for path in MOUNTS if path != missing])
    assert f"{missing} is not mounted" in server.refuses_to_start()


def test_first_admin_without_login_then_never(fresh: Any) -> None:
    answer = fresh.call("GET", "/api/")
    assert answer.headers["Server"] == "nginx-proxy-manager-stand-in"
    assert answer.json["status"] == "OK" and answer.json["setup"] is False
    made = fresh.call("POST", "/api/users", ADMIN)
    assert made.status == 201 and made.json["email"] == "admin@example.org" and "auth" not in made.json
    assert fresh.call("GET", "/api/").json["setup"] is True
    assert fresh.call("POST", "/api/users", ADMIN).status == 404


def test_login(fresh: Any, admin: dict[str, str]) -> None:
    wrong = fresh.call("POST", "/api/tokens", {"identity": "admin@example.org", "secret": "wrong"})
    assert wrong.status == 400 and wrong.json["error"]["message"] == "Invalid email or password"
    assert fresh.call("GET", HOSTS).status == 403
    assert fresh.call("GET", HOSTS, headers=admin).json == []


def test_initial_password_is_in_the_log(standin: Any) -> None:
    server = standin(
        PROGRAM, MOUNTS, LAB_TEST_NGINX="true", INITIAL_ADMIN_EMAIL="a@b.c", INITIAL_ADMIN_PASSWORD="printed!"
    )
    server.start()
    assert "Creating a new user: a@b.c with password: printed!" in server.log.read_text()
    assert server.call("GET", "/api/").json["setup"] is True


def test_create_reads_back_and_renders(fresh: Any, admin: dict[str, str]) -> None:
    body = HOST | {"forward_port": "8096", "allow_websocket_upgrade": 1, "ssl_forced": True}
    made = fresh.call("POST", HOSTS, body, admin)
    assert made.status == 201 and made.json["meta"] == {} and made.json["forward_port"] == 8096
    read = fresh.call("GET", f"{HOSTS}/{made.json['id']}", headers=admin).json
    assert read["meta"] == {"nginx_online": True, "nginx_err": None}
    assert read["ssl_forced"] is False, "no certificate, no forced TLS"
    text = vhost(fresh, made.json["id"])
    assert "server_name media.example.org;" in text and "proxy_set_header Upgrade $http_upgrade;" in text
    assert 'set $server "192.168.1.101";' in text and 'set $port "8096";' in text


def test_refusals(fresh: Any, admin: dict[str, str]) -> None:
    assert fresh.call("POST", HOSTS, HOST, admin).status == 201
    again = fresh.call("POST", HOSTS, HOST | {"domain_names": ["other.example.org", "MEDIA.example.org"]}, admin)
    assert again.status == 400 and "already in use" in again.json["error"]["message"]
    assert fresh.call("POST", HOSTS, HOST | {"domain_names": []}, admin).status == 400
    unknown = fresh.call("POST", HOSTS, HOST | {"domain_names": ["x.y"], "color": "red"}, admin)
    assert unknown.status == 400 and "additional properties" in unknown.json["error"]["message"]
    assert fresh.call("POST", HOSTS, {"domain_names": ["x.y"]}, admin).status == 400
    assert fresh.call("GET", f"{HOSTS}/99", headers=admin).status == 404
    assert len(fresh.call("GET", HOSTS, headers=admin).json) == 1


def test_put_without_change_still_writes(fresh: Any, admin: dict[str, str], tmp_path: Path) -> None:
    before = fresh.call("POST", HOSTS, HOST, admin).json
    calls = (tmp_path / "nginx.calls").read_text().count("-s reload")
    time.sleep(1.1)
    after = fresh.call("PUT", f"{HOSTS}/{before['id']}", {"forward_port": 8096}, admin)
    assert after.status == 200 and after.json["modified_on"] > before["modified_on"]
    assert (tmp_path / "nginx.calls").read_text().count("-s reload") == calls + 1
    assert after.json["forward_host"] == "192.168.1.101"


def test_bad_advanced_config_is_accepted_but_offline(fresh: Any, admin: dict[str, str]) -> None:
    made = fresh.call("POST", HOSTS, HOST | {"advanced_config": "bad_directive;"}, admin)
    assert made.status == 201 and made.json["meta"] == {}
    path = f"{HOSTS}/{made.json['id']}"
    meta = fresh.call("GET", path, headers=admin).json["meta"]
    assert meta["nginx_online"] is False and "bad_directive" in meta["nginx_err"]
    assert not (fresh.root / f"data/nginx/proxy_host/{made.json['id']}.conf").exists()
    mended = fresh.call("PUT", path, {"advanced_config": ""}, admin)
    assert mended.json["meta"] == {"nginx_online": True, "nginx_err": None}


def test_broken_nginx_is_500_but_the_row_stays(fresh: Any, admin: dict[str, str]) -> None:
    snippet = fresh.root / "data/nginx/custom/http.conf"
    snippet.write_text("bad_directive;")
    assert fresh.call("POST", HOSTS, HOST, admin).status == 500
    rows = fresh.call("GET", HOSTS, headers=admin).json
    assert [(row["enabled"], row["meta"]) for row in rows] == [(True, {})]
    snippet.unlink()
    assert fresh.call("PUT", f"{HOSTS}/{rows[0]['id']}", {}, admin).json["meta"]["nginx_online"] is True


def test_enable_and_disable_twice(fresh: Any, admin: dict[str, str]) -> None:
    path = f"{HOSTS}/{fresh.call('POST', HOSTS, HOST, admin).json['id']}"
    assert "already enabled" in fresh.call("POST", path + "/enable", headers=admin).json["error"]["message"]
    assert fresh.call("POST", path + "/disable", headers=admin).status == 200
    assert fresh.call("POST", path + "/disable", headers=admin).status == 400
    assert fresh.call("GET", path, headers=admin).json["enabled"] is False
    assert fresh.call("DELETE", path, headers=admin).status == 200
    assert fresh.call("DELETE", path, headers=admin).status == 404


def multipart(parts: dict[str, bytes]) -> tuple[bytes, dict[str, str]]:
    body = b"".join(
        b'--XX\r\nContent-Disposition: form-data; name="%s"; filename="f.pem"\r\n\r\n%s\r\n' % (name.encode(), content)
        for name, content in parts.items()
    )
    return body + b"--XX--\r\n", {"Content-Type": "multipart/form-data; boundary=XX"}


def self_signed(folder: Path, name: str) -> dict[str, bytes]:
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},DNS:*.{name}",
         "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return {"certificate": certificate.read_bytes(), "certificate_key": key.read_bytes()}


def test_own_certificate(fresh: Any, admin: dict[str, str], tmp_path: Path) -> None:
    made = fresh.call("POST", "/api/nginx/certificates", {"provider": "other", "nice_name": "mine"}, admin)
    assert made.status == 201 and made.json["domain_names"] == []
    path = f"/api/nginx/certificates/{made.json['id']}"
    good, other = self_signed(tmp_path, "example.org"), self_signed(tmp_path, "other.org")
    body, headers = multipart(good | {"certificate_key": other["certificate_key"]})
    assert fresh.call("POST", path + "/upload", body, admin | headers).status == 400
    body, headers = multipart(good | {"certificate": b"nonsense"})
    assert fresh.call("POST", path + "/upload", body, admin | headers).status == 400
    body, headers = multipart(good)
    assert fresh.call("POST", path + "/upload", body, admin | headers).status == 200
    read = fresh.call("GET", path, headers=admin).json
    assert sorted(read["domain_names"]) == ["*.example.org", "example.org"] and read["expires_on"] > "2026"
    host = fresh.call("POST", HOSTS, HOST | {"certificate_id": read["id"], "ssl_forced": True}, admin).json
    assert host["ssl_forced"] is True and "force-ssl.conf" in vhost(fresh, host["id"])
    assert f"custom_ssl/npm-{read['id']}/fullchain.pem" in vhost(fresh, host["id"])


def test_lets_encrypt_fails_and_leaves_nothing(fresh: Any, admin: dict[str, str]) -> None:
    body = {"provider": "letsencrypt", "domain_names": ["media.example.org"], "meta": {}}
    assert fresh.call("POST", "/api/nginx/certificates", body, admin).status == 500
    assert fresh.call("GET", "/api/nginx/certificates", headers=admin).json == []


def test_access_list(fresh: Any, admin: dict[str, str]) -> None:
    body = {
        "name": "lan",
        "clients": [{"address": "192.168.1.0/24", "directive": "allow"}],
        "items": [{"username": "guest", "password": "wonder"}],
    }
    made = fresh.call("POST", "/api/nginx/access-lists", body, admin)
    assert made.status == 201
    path = f"/api/nginx/access-lists/{made.json['id']}?expand=items,clients"
    read = fresh.call("GET", path, headers=admin).json
    assert (read["items"][0]["password"], read["items"][0]["hint"]) == ("", "w*****")
    host = fresh.call("POST", HOSTS, HOST | {"access_list_id": read["id"]}, admin).json["id"]
    assert "allow 192.168.1.0/24;\n    deny all;" in vhost(fresh, host)
    secret = (fresh.root / f"data/access/{read['id']}").read_text()
    assert secret.startswith("guest:$apr1$") and "wonder" not in secret
    changed = {"items": [{"username": "guest", "password": ""}], "clients": []}
    assert fresh.call("PUT", path.split("?")[0], changed, admin).status == 200
    assert (fresh.root / f"data/access/{read['id']}").read_text() == secret
    assert "deny all" not in vhost(fresh, host)
    bad = body | {"clients": [{"address": "nowhere", "directive": "allow"}]}
    assert fresh.call("POST", "/api/nginx/access-lists", bad, admin).status == 400


def test_default_site(fresh: Any, admin: dict[str, str]) -> None:
    path = "/api/settings/default-site"
    assert fresh.call("GET", path, headers=admin).json["value"] == "congratulations"
    assert fresh.call("PUT", path, {"value": "444"}, admin).status == 200
    assert "return 444" in (fresh.root / "data/nginx/default_host/site.conf").read_text()
    assert fresh.call("PUT", path, {"value": "nonsense"}, admin).status == 400


def test_state_outlives_a_restart(fresh: Any, admin: dict[str, str]) -> None:
    fresh.call("POST", HOSTS, HOST, admin)
    fresh.restart()
    assert fresh.call("GET", "/api/").json["setup"] is True
    assert fresh.call("GET", HOSTS, headers=admin).json[0]["domain_names"] == ["media.example.org"]
