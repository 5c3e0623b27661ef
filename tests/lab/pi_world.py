# SPDX-License-Identifier: MIT
"""Around the stage raspberrypi: a machine that stands in for the Pi, who looks at it, a registry, Azurite, Cloudflare.

Nothing of it is the lab's site: it lives on the network of the role tests. The machine is amd64 and in a container, so
no arm64 image, no SD card and no zram is proved here. Cloudflare is a stand-in of its API, cloudflared one that
forwards nothing; rclone, FUSE, restic, PostgreSQL and Azurite are real.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
from ansible_collections.homelab.mediaserver.tests.unit.fakes.cloudflare_fake import TOKEN, CloudflareFake
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import serve
from azure import ACCOUNT, DOMAIN, HOST, KEY, Azurite
from end_to_end import expect
from mediaserver_lab import standins, test_machines
from mediaserver_lab.images import Images
from mediaserver_lab.layout import TEST, TEST_SECRETS
from mediaserver_lab.secrets import Secrets
from mediaserver_lab.shell import docker
from runs import ROOT, Run
from runs import play as play_in

HOME = ROOT / ".lab" / "raspberrypi"
INVENTORY = HOME / "inventories" / "berry"
KIT, NOTES = HOME / "stick" / "raspberrypi.kit", HOME / "notes.json"
PI, LAN, OUTSIDE, REGISTRY = "berry", "berry-lan", "berry-outside", "berry-registry"
SSD = "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_drive-scsi1"
MOUNT, RCLONE = "/mnt/azurephotos", "rclone-mnt-azurephotos.service"

secrets = Secrets(TEST_SECRETS)
azure = Azurite(ROOT / ".cache" / "azurite", HOME / "azure", TEST.gateway, secrets.certificate([TEST.gateway], HOST))
cloudflare = CloudflareFake()
KEPT = ("records", "tunnels", "configurations", "policies", "apps", "tokens", "count")
cloudflare_url = f"http://127.0.0.1:{serve(cloudflare).server_port}{cloudflare.prefix}"


def play(playbook: str, *arguments: str) -> Run:
    return play_in(playbook, "-e", f"cloudflare_api_url={cloudflare_url}", *arguments, inventory=INVENTORY)


def note(**values: Any) -> dict[str, Any]:
    """What later checks need; kept in a file, as --from begins anew."""
    known: dict[str, Any] = json.loads(NOTES.read_text()) if NOTES.exists() else {}
    NOTES.write_text(json.dumps({**known, **values}))
    return {**known, **values}


def keep_cloudflare() -> None:
    """The stand-in lives in this process; whoever goes on with --from finds what it held."""
    if HOME.is_dir():
        (HOME / "cloudflare.json").write_text(json.dumps({name: getattr(cloudflare, name) for name in KEPT}))


def find_cloudflare() -> None:
    for name, value in json.loads((HOME / "cloudflare.json").read_text()).items():
        setattr(cloudflare, name, value)


def inside(command: str, text: str = "", check: bool = True) -> str:
    """Run a shell command as root on the Pi."""
    argv = ["docker", "exec", "-i", test_machines.container_name(PI), "sh", "-c", command]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if check:
        expect(done.returncode == 0, f"{command[:200]} ended with {done.returncode}: {done.stderr.strip()[-800:]}")
    return done.stdout.strip()


def clear() -> None:
    azure.stop()
    test_machines.down([PI, LAN, OUTSIDE, REGISTRY])
    shutil.rmtree(HOME, ignore_errors=True)


def others() -> str:
    """Registry and probers; returns the registry's address for the Pi."""
    images = Images(None)
    where = test_machines.up([REGISTRY], images, "registry", publish=["127.0.0.1::5000"])
    test_machines.up([LAN, OUTSIDE], images, "prober")
    published = docker("port", test_machines.container_name(REGISTRY), "5000/tcp").splitlines()[0]
    standins.publish_all(images, published)
    return f"{where[REGISTRY]}:5000"


def flash() -> str:
    """A new Pi: an empty system with the owner's key and an empty SSD, in a world that has Azure and its authority."""
    address = test_machines.up([PI], Images(None), "prepared", disks=["8G"])[PI]
    inside(f"grep -q {HOST} /etc/hosts || echo '{TEST.gateway} {HOST}' >>/etc/hosts")
    inside("cat >/usr/local/share/ca-certificates/azure.crt", (TEST_SECRETS / "pve-ca.pem").read_text())
    inside("apt-get -qq install -y --no-install-recommends ca-certificates >/dev/null 2>&1; update-ca-certificates -f")
    return address


def new_inventory(address: str) -> None:
    """By `make new`, as its owner would write it."""
    answers = {"ssh_key": str(TEST_SECRETS / "id_ed25519.pub"), "lan": TEST.subnet, "gateway": TEST.gateway,
               "pi": address, "user": "ops", "usb_ssd": SSD, "azure_account": ACCOUNT, "azure_key": KEY,
               "cloudflare_token": TOKEN}  # fmt: skip
    (HOME / "answers.yml").write_text(json.dumps(answers))
    told = {"new_name": INVENTORY.name, "new_system": "raspberrypi", "new_answers": str(HOME / "answers.yml"),
            "new_root": str(INVENTORY.parent)}  # fmt: skip
    INVENTORY.parent.mkdir(parents=True, exist_ok=True)
    for playbook, inventory, extra in (("new_environment.yml", Path("localhost,"), ["-e", json.dumps(told)]),
                                       ("new_secrets.yml", INVENTORY, [])):  # fmt: skip
        run = play_in(playbook, *extra, inventory=inventory)
        expect(run.code == 0, f"{playbook} ended with {run.code}, see {run.log}")


def fit_to_the_lab(registry: str) -> None:
    """What differs in the lab, values only: its addresses and registry, Azurite's name, the processor, who looks."""
    sites, hosts, machines = (
        INVENTORY / name for name in ("group_vars/all/site.yml", "hosts.yml", "group_vars/machines.yml")
    )
    site = yaml.safe_load(sites.read_text())
    where = {name: str(test_machines.address_of(name)) for name in (LAN, OUTSIDE)}
    # whoever else is on the network is not at home
    site["site_zones"]["lan"] = [f"{TEST.gateway}/32", f"{where[LAN]}/32"]
    site["site_registry"] = registry
    site["site_rclone"]["azure"]["options"]["endpoint"] = DOMAIN
    sites.write_text(yaml.safe_dump(site, sort_keys=False))
    tree = yaml.safe_load(hosts.read_text())
    groups = tree["all"]["children"]
    groups["raspberrypi"]["hosts"]["pi"]["architecture"] = "amd64"
    groups["probers"] = {"hosts": {LAN: {"ansible_host": where[LAN], "prober_zone": "lan"},
                                   OUTSIDE: {"ansible_host": where[OUTSIDE], "prober_zone": "internet"}}}  # fmt: skip
    hosts.write_text(yaml.safe_dump(tree, sort_keys=False))
    variables = yaml.safe_load(machines.read_text())
    variables["ansible_ssh_private_key_file"] = str(TEST_SECRETS / "id_ed25519")
    variables["ansible_ssh_common_args"] = f"-o UserKnownHostsFile={TEST_SECRETS / 'known_hosts'}"
    machines.write_text(yaml.safe_dump(variables, sort_keys=False))
