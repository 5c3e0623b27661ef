# SPDX-License-Identifier: MIT
"""site.yml's plays for Cloudflare, with plan and vault, over HTTP: check, converge, again, check, one name less.

Cloudflare is a stand-in written from its documentation (tests/unit/fakes/cloudflare_fake.py), never the real one. The
hosts' plays are left out: what they do with the tunnel's token is proved by the services' own tests.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.homelab.mediaserver.tests.unit.fakes.cloudflare_fake import SECRET, TOKEN, CloudflareFake
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import serve

ROOT = Path(__file__).parents[2]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMT/Mynhb8Ir4ZXKtM7HmzosC6ru7gHq15s5U3XV4WtE a@b"
SITE: dict[str, Any] = {
    "site_name": "pi",
    "site_domain": "example.org",
    "site_email": "admin@example.org",
    "site_admin": {"user": "ops", "ssh_keys": [KEY]},
    "site_zones": {"lan": ["192.168.1.0/24"], "vpn": ["10.8.0.0/24"]},
    "site_network": {"gateway": "192.168.1.1", "nameservers": ["192.168.1.1"]},
    "site_services": {"cloudflared": {"hosts": ["pi"]}, "jellyfin": {"hosts": ["pi"]}, "immich": {"hosts": ["pi"]}},
    "site_storage": {
        name: {"as": "local", "mount": f"/mnt/ssd/{name}"} for name in ("appdata", "database", "media", "photos")
    },
    "site_cloudflare": {"allow": ["mum@example.org"], "service_tokens": {"phones": ["immich"]}},
    "site_accept": ["backup-without-restic", "backup-without-off-site", "gpu-optional-missing"],
    "site_secrets": {"cloudflare": {"api_token": TOKEN}},
}


class Home:
    def __init__(self, folder: Path) -> None:
        self.folder, self.fake = folder, CloudflareFake()
        self.server = serve(self.fake)
        pi = {"ansible_host": "192.168.1.50", "memory": "12G"}
        # localhost is written down only so that --limit finds a host
        hosts = {"all": {"hosts": {"localhost": {}}, "children": {"intranet": {"hosts": {"pi": pi}}}}}
        (folder / "group_vars").mkdir()
        (folder / "hosts.yml").write_text(yaml.safe_dump(hosts))

    def play(self, site: dict[str, Any], *options: str, good: bool = True) -> str:
        (self.folder / "group_vars/all.yml").write_text(yaml.safe_dump(site))
        self.fake.read_only = "--check" in options
        self.fake.writes.clear()
        url = f"http://127.0.0.1:{self.server.server_port}{self.fake.prefix}"
        result = subprocess.run(
            [str(ROOT / ".venv/bin/ansible-playbook"), str(ROOT / "playbooks/site.yml"), "-i",
             str(self.folder / "hosts.yml"), "--limit", "localhost", "--tags", "cloudflare", "-vvv", "--diff",
             "-e", f"cloudflare_api_url={url}", *options],
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_STDOUT_CALLBACK": "default",
                 "ANSIBLE_PYTHON_INTERPRETER": sys.executable},
            capture_output=True, text=True, check=False, cwd=self.folder, timeout=240,
        )  # fmt: skip
        output = result.stdout + result.stderr
        assert (result.returncode == 0) == good, output[-6000:]
        for secret in (TOKEN, SECRET, *map(self.fake.token_text, self.fake.tunnels)):
            assert secret not in output, "a secret is told"
        return output


def changed(output: str) -> int:
    return int(re.findall(r"changed=(\d+)", output)[-1])


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path)
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_from_nothing_to_published_and_back(home: Home) -> None:
    assert changed(home.play(SITE, "--check")) > 0 and home.fake.tunnels == {}

    assert changed(home.play(SITE)) > 0
    made = [re.sub(r"/(accounts|zones)/\w+|/[0-9a-f-]{36}", "", write) for write in home.fake.writes]
    assert made == [
        "POST /cfd_tunnel", "POST /access/service_tokens", "POST /access/policies", "POST /access/policies",
        "POST /access/apps", "POST /access/apps", "PUT /cfd_tunnel/configurations", "POST /dns_records/batch",
    ], "guards before ingress before DNS"  # fmt: skip
    assert {app["domain"] for app in home.fake.apps.values()} == {"media.example.org", "photos.example.org"}
    (config,) = home.fake.configurations.values()
    assert config["ingress"][0]["service"] == "http://immich-server:2283", "by its name on the common network"
    assert {row["name"] for row in home.fake.records.values()} == {"media.example.org", "photos.example.org"}
    phones = home.folder / ".secrets/cloudflare-phones.txt"
    assert "CF-Access-Client-Secret" in phones.read_text() and phones.stat().st_mode & 0o777 == 0o600
    vault = (home.folder / ".secrets/vault.yml").read_text()
    assert "eyJhIjoi" not in vault and vault.startswith("$ANSIBLE_VAULT")

    for options in ([], ["--check"]):
        assert changed(home.play(SITE, *options)) == 0
        assert home.fake.writes == []

    less = {**SITE, "site_services": {name: body for name, body in SITE["site_services"].items() if name != "jellyfin"}}
    home.play(less)
    gone = [re.sub(r"/(accounts|zones)/\w+|/[0-9a-f-]{36}", "", write) for write in home.fake.writes]
    assert gone == ["PUT /cfd_tunnel/configurations", "POST /dns_records/batch", "DELETE /access/apps"], "guard last"


def test_without_cloudflare_the_hosts_are_still_built_and_the_run_fails_at_its_end(home: Home) -> None:
    nowhere = ("-e", "cloudflare_api_url=http://127.0.0.1:9")
    output = home.play(SITE, *nowhere, good=False)
    assert "there is no tunnel yet" in output and "Guard and publish the names" not in output

    home.play(SITE)
    output = home.play(SITE, *nowhere, good=False)
    assert "so the hosts are built; their names are as they were" in output
    assert output.index("Keep its token in the vault") < output.index("Guard and publish the names")
    assert home.fake.writes == []
