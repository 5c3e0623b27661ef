#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The take-over of a set-up made by hand, with faults: nothing lost, and the old runs whenever the new does not.

    adopt_faults.py [--kills 3] [--seed N] [--keep]

On one machine of the lab (nested Docker, stand-ins of the services, real PostgreSQL; adopt_old.py), by the real
playbook: shown (nothing touched, no secret told), refused until the printed lines stand in the inventory, failed by an
image that crashes (the old runs as before), killed at seeded moments (the next run goes on or the old runs), taken over
(data equal by hash and rows), again (changed=0), brought back, taken over once more, and the old removed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
from adopt_old import PLANTED, ROOT, Machine

SITE: dict[str, Any] = {
    "site_name": "old",
    "site_domain": "example.org",
    "site_email": "admin@example.org",
    "site_timezone": "Europe/Paris",
    "site_admin": {
        "user": "ops",
        "ssh_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA x"],
    },
    "site_zones": {"lan": ["10.77.3.0/24"], "vpn": ["10.8.0.0/24"]},
    "site_network": {
        "gateway": "10.77.3.254",
        "prefix": 24,
        "nameservers": ["10.77.3.254"],
        "container_pool": "172.21.0.0/16",
    },
    "site_router": {"public_address": "home.example.org"},
    "site_tls": {"issuer": "own_ca"},
    "site_services": {
        # one machine is both: its proxy is no edge of the Internet's
        "nginx-proxy-manager": {"hosts": ["box"], "ports": {"http": {"reach": ["lan"]}, "https": {"reach": ["lan"]}}},
        "jellyfin": {"hosts": ["box"]},
        "immich": {"hosts": ["box"]},
        "prometheus": {"hosts": ["box"]},
        "grafana": {"hosts": ["box"]},
        "restic": {"hosts": ["box"]},
        "ddclient": {"hosts": ["box"]},
    },
    "site_storage": {
        name: {"as": "local", "mount": f"/mnt/{folder}"}
        for name, folder in {
            "appdata": "appdata",
            "database": "postgres",
            "media": "media",
            "photos": "photos",
            "backups": "backups",
        }.items()
    },
    "site_accept": ["backup-on-protected-disk", "backup-repository-too-small", "backup-without-off-site"],
}
JOURNALS = "cat /var/lib/mediaserver/adopt/*/journal.json 2>/dev/null || true"


class Site:
    """An inventory and a copy of the collection whose catalog has the database that the stand-in is."""

    def __init__(self, work: Path, machine: Machine) -> None:
        self.work, self.machine = work, machine
        collection = work / "collections/ansible_collections/homelab/mediaserver"
        for name in ("plugins", "roles", "playbooks", "meta"):
            shutil.copytree(ROOT / name, collection / name, ignore=shutil.ignore_patterns("collections", "__pycache__"))
        shutil.copy(ROOT / "galaxy.yml", collection)
        entry = collection / "roles/services/catalog/immich/service.yml"
        entry.write_text(entry.read_text().replace("postgres:14-vectorchord", "postgres:17-vectorchord"))
        self.playbook = collection / "playbooks/adopt.yml"
        self.inventory = work / "inventory"
        self.write({})

    def write(self, more: dict[str, Any]) -> None:
        site = json.loads(json.dumps(SITE))
        for key, body in more.items():
            for name, change in body.items():
                site[key][name] = {**site[key].get(name, {}), **change}
        (self.inventory / "group_vars/all").mkdir(parents=True, exist_ok=True)
        (self.inventory / "group_vars/all/site.yml").write_text(yaml.safe_dump(site))
        groups = {
            "proxmox": {},
            "extranet": {},
            "intranet": {"hosts": {"box": {**self.machine.variables, "memory": "16G"}}},
        }
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}))

    def start(self, output: Any = subprocess.DEVNULL, **extra: str) -> subprocess.Popen[str]:
        environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(self.work / "collections"), ANSIBLE_NOCOLOR="1")
        environment |= {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"}
        argv = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", str(self.inventory), str(self.playbook), "-v", "--diff"]
        argv += ["-e", json.dumps(extra)]
        return subprocess.Popen(
            argv, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def adopt(self, **extra: str) -> tuple[int, str]:
        process = self.start(subprocess.PIPE, **extra)
        text, _none = process.communicate(timeout=900)
        for secret in PLANTED.values():
            check(secret not in text, f"the output does not tell {secret}", text)
        return process.returncode, text

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Controller and module at once, as when the power goes."""
        with contextlib.suppress(ProcessLookupError):  # it may have ended in this very moment
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        pids = self.machine.run("pgrep -f 'adopt_services|async_wrapper' || true").split()
        self.machine.run(f"kill -9 {' '.join(pids)} || true" if pids else "true", check=False)


def check(good: bool, what: str, context: str = "") -> None:
    if not good:
        raise SystemExit(f"{context[-6000:]}\nFAILED: {what}")
    print(f"  {what}", flush=True)


def changed(text: str) -> int:
    return sum(int(number) for number in re.findall(r"changed=(\d+)", text))


def lines_of(text: str) -> dict[str, Any]:
    """What the playbook prints for the inventory."""
    found = text[text.rindex("For group_vars/all/site.yml") :].splitlines()[2:]
    body = []
    for line in found:
        if not line.strip() or line.strip().startswith(("Not yet", "CONFIRM")):
            break
        body.append(line)
    return dict(yaml.safe_load("\n".join(body)))


class Proof:
    def __init__(self, site: Site, machine: Machine, seed: int) -> None:
        self.site, self.machine, self.dice = site, machine, random.Random(seed)
        self.before, self.rows, self.hashes = machine.containers(), machine.rows(), machine.hashes()

    def same_data(self, container: str) -> None:
        check(self.machine.rows(container) == self.rows, "all rows of the database are as before")
        check(self.machine.hashes() == self.hashes, "all files are as before, by hash")

    def old_runs(self, text: str) -> None:
        now = self.machine.containers()
        wanted = {name: (one["id"], one["state"], one["restart"]) for name, one in self.before.items()}
        seen = {name: (one["id"], one["state"], one["restart"]) for name, one in now.items()}
        check(seen == wanted, "the same old containers run, with their restart policies", f"{text}\n{seen}\n{wanted}")
        check(self.machine.new() == [], "no new container is left", text)
        self.machine.healthy(9)
        self.same_data("intranet-database-1")

    def shown(self) -> None:
        print("shown", flush=True)
        state = "find /mnt/media /mnt/photos /etc /opt -newer /tmp/mark -type f"
        self.machine.run("touch /tmp/mark")
        code, text = self.site.adopt()
        check(code == 0 and changed(text) == 0, "the playbook ends well and changed nothing", text)
        touched = self.machine.run(state)
        check(touched == "", "no file was written", touched)
        check(self.machine.containers() == self.before, "every container is as before")
        check(not (self.site.inventory / ".secrets").exists(), "no vault was made")
        for word in ("1.144.1 -> 2.7.5 -> 3.1.0", "vectors 0.2.0", "port 5432", "immich-microservices", "watcher"):
            check(word in text, f"the table names {word}", text)
        code, text = self.site.adopt(confirm="yes")
        check(code != 0 and "Nothing was touched" in text, "it is refused while the plan has other places", text)
        self.site.write(lines_of(text))
        code, text = self.site.adopt()
        check(code == 0 and "CONFIRM=yes takes over" in text, "with the printed lines nothing hinders it", text)

    def failed(self) -> None:
        print("failed by an image that crashes", flush=True)
        self.machine.run(
            "docker tag jellyfin/jellyfin:10.11.11 lab/good:1; docker tag lab/crash:1 jellyfin/jellyfin:10.11.11"
        )
        code, text = self.site.adopt(confirm="yes")
        self.machine.run("docker tag lab/good:1 jellyfin/jellyfin:10.11.11")
        check(code != 0 and "jellyfin" in text, "the run fails and names the service", text)
        check("the old set-up runs again as before" in text, "and says that the old runs", text)
        self.old_runs(text)
        kept = self.machine.run("ls /mnt/appdata/jellyfin; ls /mnt/appdata/jellyfin/config")
        check("after-adopt" in kept and "half-migrated" not in kept.splitlines(), "what it wrote is kept aside", kept)

    def killed(self, number: int) -> None:
        """At a seeded moment of a phase; then the next run must end the matter."""
        phase = ("begun", "switching", "begun", "switching")[number % 4]
        pause = self.dice.uniform(0, 8)
        print(f"killed {pause:.1f} s into phase {phase}", flush=True)
        process = self.site.start(confirm="yes")
        while f'"phase": "{phase}"' not in self.machine.run(JOURNALS) and process.poll() is None:
            time.sleep(0.2)
        check(process.poll() is None, "it runs", self.machine.run(JOURNALS))
        time.sleep(pause)
        self.site.kill(process)
        code, text = self.site.adopt(confirm="yes")
        check(code == 0, "the next run goes on to the end", text)
        self.taken(text)
        self.back()

    def taken(self, text: str) -> None:
        new = self.machine.new()
        check(len(new) == 7, f"the new containers run: {len(new)}", f"{text}\n{new}")
        check(
            "Up" not in self.machine.run("docker ps --filter name=intranet- --format '{{.Status}}'"), "no old one does"
        )
        self.same_data("immich-database-1")
        old = {name: one for name, one in self.machine.containers().items() if "watcher" not in name}
        check({one["restart"] for one in old.values()} == {"no"}, "nothing starts the old ones again")
        check(self.machine.containers()["extranet-watcher-1"]["state"] == "running", "what has no counterpart runs on")

    def again(self) -> None:
        print("again", flush=True)
        code, text = self.site.adopt(confirm="yes")
        check(code == 0 and changed(text) == 0, "the second run changed nothing", text)

    def back(self) -> None:
        print("brought back", flush=True)
        code, text = self.site.adopt(confirm="yes", old="back")
        check(code == 0, "the run ends well", text)
        self.old_runs(text)

    def vault(self) -> None:
        folder = self.site.inventory / ".secrets"
        argv = [str(ROOT / ".venv/bin/ansible-vault"), "view", "--vault-password-file", str(folder / "vault.key")]
        text = subprocess.run([*argv, str(folder / "vault.yml")], check=True, capture_output=True, text=True).stdout
        check(all(one in text for one in PLANTED.values()), "the running services' secrets are in the vault")

    def removed(self) -> None:
        print("removed", flush=True)
        code, text = self.site.adopt(confirm="yes", old="remove")
        check(code == 0, "the run ends well", text)
        check(
            list(self.machine.containers()) == ["extranet-watcher-1"], "of the old only what has no counterpart is left"
        )
        left = self.machine.run(
            "find /mnt /var/lib/mediaserver/adopt -name '*.before-adopt-*' -o -path '*/adopt/*/data/*'"
        )
        check(left == "", "the copies are gone", left)
        check(self.machine.run("ls /var/lib/mediaserver/adopt/*/dumps/*.sql") != "", "the dumps are kept")
        self.same_data("immich-database-1")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--keep", action="store_true", help="leave the machine and the folder")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    work = Path(tempfile.mkdtemp(prefix="adopt-"))
    machine = Machine("adopt", work)
    begin = time.monotonic()
    try:
        machine.up()
        play = work / "docker.yml"
        play.write_text(yaml.safe_dump([{"hosts": "all", "become": True, "roles": ["homelab.mediaserver.docker"]}]))
        site = Site(work, machine)
        environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(work / "collections"))
        argv = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", str(site.inventory), str(play)]
        subprocess.run(argv, check=True, env=environment, stdout=subprocess.DEVNULL)
        machine.images()
        machine.old()
        print(f"the old set-up runs after {time.monotonic() - begin:.0f} s", flush=True)
        proof = Proof(site, machine, options.seed)
        proof.shown()
        proof.failed()
        for number in range(options.kills):
            proof.killed(number)
        print("taken over", flush=True)
        code, text = site.adopt(confirm="yes")
        check(code == 0, "the run ends well", text)
        proof.taken(text)
        proof.vault()
        proof.again()
        proof.removed()
        proof.again()
        print(f"adopt: passed in {time.monotonic() - begin:.0f} s")
    finally:
        if not options.keep:
            machine.down()
            shutil.rmtree(work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
