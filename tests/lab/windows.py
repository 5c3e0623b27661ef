#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The stage windows: reference system 4 from `make new` to proof.

    windows.py [--from CHECK]

There is no Windows here. Real: the Debian inside (a machine in a container that role windows' own script prepared), all
roles on it, its services' data, restic, who looks from outside. Simulated: what role windows does to Windows
(tests/windows), Cloudflare's API and cloudflared. Different from a real home: Windows has an address of its own here,
that of a second machine which listens where Windows would; the rules that Windows' firewall was told guard it, as
nftables. Windows' drives are folders. The programs for Windows run in Debian, on the drives' folders.
"""

from __future__ import annotations

import argparse
import atexit
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
from ansible_collections.homelab.mediaserver.tests.unit.fakes.cloudflare_fake import TOKEN, CloudflareFake
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import serve
from end_to_end import expect, proved, run_checks, tells_no_secret, unchanged
from mediaserver_lab import standins, test_machines
from mediaserver_lab.images import Images
from mediaserver_lab.layout import TEST, TEST_SECRETS
from mediaserver_lab.shell import docker
from runs import ROOT, Run, secret_values
from runs import play as play_in

HOME = ROOT / ".lab" / "windows"
INVENTORY = HOME / "inventories" / "minihome"
STATE = HOME / "windows.json"
DEBIAN, WINDOWS, LAN, OUTSIDE, REGISTRY = "wsl", "wsl-windows", "wsl-lan", "wsl-outside", "wsl-registry"
DRIVES = ("/mnt/c/Backups", "/mnt/d/Films/library", "/mnt/d/Photos/cloud")
KEYS = "/mnt/c/ProgramData/mediaserver/key"
PREPARE = "/mnt/c/ProgramData/mediaserver/debian/prepare.sh"
DATA, ETC, CLOUD = "/mnt/c/ProgramData/mediaserver", "c:\\programdata\\mediaserver\\etc\\", "/srv/cloud"
PYTHON = "python3 -X utf8 -B"
BACKUP = f"MEDIASERVER_BACKUP_CONFIG={DATA}/etc/backup.json {PYTHON} {DATA}/lib-backup/mediaserver_backup.py"
INGEST = f"MEDIASERVER_INGEST_CONFIG={DATA}/etc/ingest.json {PYTHON} {DATA}/lib-ingest/mediaserver_ingest.py"
LISTEN = """
import socket, threading
def serve(port):
    listening = socket.create_server(("", port))
    while True:
        listening.accept()[0].close()
serve(445)
"""
TABLE = """
flush ruleset
table inet windows {
    chain input {
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iif lo accept
        meta l4proto { icmp, ipv6-icmp } accept
        %s
    }
}
"""
cloudflare = CloudflareFake()
KEPT = ("records", "tunnels", "configurations", "policies", "apps", "tokens", "count")
cloudflare_url = f"http://127.0.0.1:{serve(cloudflare).server_port}{cloudflare.prefix}"

os.environ["SIMULATED_WINDOWS"] = str(STATE)
os.environ["ANSIBLE_COLLECTIONS_PATH"] = f"{HOME / 'stubs'}{os.pathsep}{ROOT / 'playbooks/collections'}"


def play(playbook: str, *arguments: str) -> Run:
    return play_in(playbook, "-e", f"cloudflare_api_url={cloudflare_url}", *arguments, inventory=INVENTORY)


def state() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(STATE.read_text())
    return found


def inside(name: str, command: str, text: str = "", codes: tuple[int, ...] = (0,)) -> str:
    """Run a shell command as root on a machine."""
    argv = ["docker", "exec", "-i", test_machines.container_name(name), "sh", "-c", command]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    expect(done.returncode in codes, f"{command[:200]} ended with {done.returncode}: {done.stderr.strip()[-800:]}")
    return done.stdout.strip()


def clear() -> None:
    test_machines.down([DEBIAN, WINDOWS, LAN, OUTSIDE, REGISTRY])
    shutil.rmtree(HOME, ignore_errors=True)


def keep_cloudflare() -> None:
    if HOME.is_dir():
        (HOME / "cloudflare.json").write_text(json.dumps({name: getattr(cloudflare, name) for name in KEPT}))


def find_cloudflare() -> None:
    file = HOME / "cloudflare.json"
    for name, value in json.loads(file.read_text()).items() if file.exists() else ():
        setattr(cloudflare, name, value)


def simulated_windows() -> str:
    clear()
    path = ROOT / "tests/windows/generate.py"
    specification = importlib.util.spec_from_file_location("generate", path)
    expect(specification is not None and specification.loader is not None, f"{path} is missing")
    module = importlib.util.module_from_spec(specification)  # type: ignore[arg-type]
    specification.loader.exec_module(module)  # type: ignore[union-attr]
    return (
        f"{len(module.make(HOME / 'stubs'))} modules check their arguments against the documentation of the real ones"
    )


def machines() -> str:
    images = Images(None)
    where = test_machines.up([REGISTRY], images, "registry", publish=["127.0.0.1::5000"])
    where |= test_machines.up([LAN, OUTSIDE], images, "prober")
    where |= test_machines.up([WINDOWS], images, "machine")
    where |= test_machines.up([DEBIAN], images, "prepared")
    published = docker("port", test_machines.container_name(REGISTRY), "5000/tcp").splitlines()[0]
    standins.publish_all(images, published)
    for drive in ("/mnt/c", "/mnt/d"):  # file systems of their own, as drives are
        inside(DEBIAN, f"mkdir -p {drive}; mountpoint -q {drive} || mount -t tmpfs -o size=400m drive {drive}")
    inside(DEBIAN, f"mkdir -p {' '.join(DRIVES)} {PREPARE.rpartition('/')[0]}")
    return ", ".join(f"{name} {address}" for name, address in where.items())


def new_inventory() -> str:
    """By `make new`, as its owner would write it; then what the lab has different, values only."""
    addresses = {name: str(test_machines.address_of(name)) for name in (DEBIAN, WINDOWS, LAN, OUTSIDE, REGISTRY)}
    answers = {"ssh_key": str(TEST_SECRETS / "id_ed25519.pub"), "lan": TEST.subnet, "gateway": TEST.gateway,
               "minipc": addresses[WINDOWS], "cloudflare_token": TOKEN,
               "onedrive_token": '{"access_token": "lab-only-token-of-onedrive"}'}  # fmt: skip
    (HOME / "answers.yml").write_text(json.dumps(answers))
    told = {"new_name": INVENTORY.name, "new_system": "windows", "new_answers": str(HOME / "answers.yml"),
            "new_root": str(INVENTORY.parent)}  # fmt: skip
    INVENTORY.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    for playbook, inventory, extra in (("new_environment.yml", Path("localhost,"), ["-e", json.dumps(told)]),
                                       ("new_secrets.yml", INVENTORY, [])):  # fmt: skip
        run = play_in(playbook, *extra, inventory=inventory)
        expect(run.code == 0, f"{playbook} ended with {run.code}, see {run.log}")
    seconds = time.monotonic() - began
    sites, hosts, connection = (
        INVENTORY / name for name in ("group_vars/all/site.yml", "hosts.yml", "group_vars/machines.yml")
    )
    site, tree, variables = (yaml.safe_load(path.read_text()) for path in (sites, hosts, connection))
    site["site_zones"]["lan"] = [f"{TEST.gateway}/32", f"{addresses[LAN]}/32"]
    site["site_registry"] = f"{addresses[REGISTRY]}:5000"
    groups = tree["all"]["children"]
    groups["windows"]["vars"] = {"ansible_connection": "local"}
    groups["single"]["hosts"]["services"]["ansible_host"] = addresses[DEBIAN]
    zones = {LAN: "lan", OUTSIDE: "internet"}
    groups["probers"] = {
        "hosts": {name: {"ansible_host": addresses[name], "prober_zone": zone} for name, zone in zones.items()}
    }
    variables["ansible_ssh_private_key_file"] = str(TEST_SECRETS / "id_ed25519")
    variables["ansible_ssh_common_args"] = (
        f"-o UserKnownHostsFile='{INVENTORY}/.secrets/known_hosts {TEST_SECRETS}/known_hosts'"
    )
    for path, value in ((sites, site), (hosts, tree), (connection, variables)):
        path.write_text(yaml.safe_dump(value, sort_keys=False))
    return f"from make new to a validated plan: {seconds:.0f} s"


def dry_run_on_a_new_machine() -> str:
    run = play("site.yml", "--check", "--diff", "--skip-tags", "verify")
    expect(run.code == 0, f"--check on a new machine ended with {run.code}, see {run.log}")
    expect(
        "was never set up" in run.text and "services does not exist yet" in run.text, f"it does not say so: {run.log}"
    )
    expect(not STATE.exists(), "a dry run changed Windows")
    return f"{run.changed_total()} changes announced"


def windows_first_and_its_script_prepares_debian() -> str:
    """The real script, on a real Debian: 3 when it must be started anew, then 0."""
    run = play("site.yml", "--limit", "localhost,windows")
    expect(run.code == 0, f"--limit windows ended with {run.code}, see {run.log}")
    script = state()["files"]["c:\\programdata\\mediaserver\\debian\\prepare.sh"]
    inside(DEBIAN, f"cat >{PREPARE}", script)
    key = state()["files"]["c:\\programdata\\mediaserver\\key\\ssh_host_ed25519_key"]
    inside(DEBIAN, f"mkdir -p {KEYS}; umask 77; cat >{KEYS}/ssh_host_ed25519_key", key)
    inside(DEBIAN, f"sh {PREPARE}", codes=(3,))
    before = inside(
        DEBIAN, "sha256sum /etc/wsl.conf /etc/sudoers.d/90-mediaserver /etc/ssh/sshd_config.d/* /etc/ssh/*_key"
    )
    inside(DEBIAN, f"sh {PREPARE}")
    after = inside(
        DEBIAN, "sha256sum /etc/wsl.conf /etc/sudoers.d/90-mediaserver /etc/ssh/sshd_config.d/* /etc/ssh/*_key"
    )
    expect(before == after, f"its second run changed something:\n{before}\n{after}")
    inside(DEBIAN, "systemctl restart ssh")
    return "prepare.sh ended with 3, then with 0"


def guard_the_listener() -> str:
    """What Windows' firewall was told, as nftables on the machine that listens for Windows."""
    rules = []
    for rule in state()["rules"].values():
        sources = [one for one in rule["remoteip"].split(",") if ":" not in one]
        expect(rule["action"] == "allow" and rule["direction"] == "in" and rule["enabled"], f"no rule of ours: {rule}")
        where = "" if "any" in sources else f"ip saddr {{ {', '.join(sources)} }} "
        rules.append(f"{where}{rule['protocol']} dport {rule['localport']} accept")
    table = TABLE % "\n".join(rules)
    inside(WINDOWS, "cat >/srv/listen.py", LISTEN)
    inside(WINDOWS, "systemctl is-active -q listen || systemd-run --unit=listen python3 /srv/listen.py")
    inside(WINDOWS, "nft -f -", table)
    return f"{len(rules)} rules"


def first_run() -> str:
    return proved(play("site.yml"))


def second_run_and_dry_run_change_nothing() -> str:
    second = unchanged(play("site.yml", "--skip-tags", "verify"), "the second run")
    before = STATE.read_text()
    dry = play("site.yml", "--check", "--diff", "-vvv", "--skip-tags", "verify")
    unchanged(dry, "a dry run on a configured site")
    expect(before == STATE.read_text(), "a dry run changed Windows")
    return f"{second}, twice, {tells_no_secret(dry, secret_values(INVENTORY))}"


def everything_lies_where_it_should() -> str:
    form = "{{range .Mounts}}{{.Destination}}={{.Source}} {{end}}"
    binds = dict(
        word.split("=", 1)
        for name in ("jellyfin-jellyfin-1", "immich-server-1", "immich-database-1")
        for word in inside(DEBIAN, f"docker inspect -f '{form}' {name}").split()
    )
    wanted = {
        "/media": "/mnt/media/library",
        "/mnt/photographs/cloud": "/mnt/library/cloud",
        "/data": "/srv/photos/immich",
        "/var/lib/postgresql/data": "/srv/database/immich",
    }
    wrong = {at: binds.get(at) for at, source in wanted.items() if binds.get(at) != source}
    expect(not wrong, f"elsewhere: {wrong}")
    expect(inside(DEBIAN, "findmnt -no TARGET /mnt/media") == "/mnt/media", "the films are no mount")
    domains = {app["domain"] for app in cloudflare.apps.values()}
    expect(domains == {"media.example.org", "photos.example.org"}, f"Access guards {domains}")
    settings = json.loads(inside(DEBIAN, "cat /etc/docker/daemon.json"))
    expect(settings["userland-proxy"] is False, f"Docker's settings: {settings}")
    return f"Access guards {', '.join(sorted(domains))} (stand-in)"


def debian_saves_itself() -> str:
    run = play("backup.yml")
    expect(run.code == 0 and "immich-main: snapshot" in run.text, f"backup.yml ended with {run.code}: {run.log}")
    debian, _title, windows = run.text.partition("Back up what lies on Windows' drives")
    expect("jellyfin-media" not in debian, f"Debian saves the drives too: {run.log}")
    expect("simulated: backup run jellyfin-media" in windows, f"Windows is not told to save its drives: {run.log}")
    return "its settings and databases, not the drives; Windows is told to save those"


def what_windows_was_told_fetches_and_saves() -> str:
    """Its configuration and its copies of the programs, in Debian: folders for drives, a folder for OneDrive."""
    files = state()["files"]
    for name in ("backup.json", "ingest.json", "restic-password", "restic-environment.json"):
        text = re.sub(r"\b([CD]):/", lambda drive: f"/mnt/{drive[1].lower()}/", files[f"{ETC}{name}"])
        text = re.sub(r'"C:[^"]*?(restic|rclone)\.exe"', r'"\1"', text).replace('"settle": 60', '"settle": 1')
        text = text.replace('"min_free": "5G"', '"min_free": "1M"')
        inside(DEBIAN, f"mkdir -p {DATA}/etc {DATA}/run; umask 77; cat >{DATA}/etc/{name}", text)
    inside(DEBIAN, f"cat >{DATA}/etc/rclone.conf", f"[onedrive]\ntype = alias\nremote = {CLOUD}\n")
    inside(DEBIAN, "apt-get -qq install -y --no-install-recommends rclone >/dev/null 2>&1")
    for role in ("backup", "ingest"):
        inside(DEBIAN, f"mkdir -p {DATA}/lib-{role}")
        for path in (ROOT / f"roles/{role}/files").glob("*.py"):
            inside(DEBIAN, f"cat >{DATA}/lib-{role}/{path.name}", path.read_text())
    roll, film = f"'{CLOUD}/Pictures/Camera Roll'", "/mnt/d/Films/library/film.mkv"
    inside(DEBIAN, f"mkdir -p {roll} {DATA}/ingest/manifest; cd {roll}; echo photo >a.jpg; echo video >b.mp4; "
                   f"touch -d 2020-01-01 *; head -c 3000000 /dev/urandom >{film}")  # fmt: skip
    inside(DEBIAN, f"{INGEST} run")
    both = inside(DEBIAN, f"ls {roll} /mnt/d/Photos/cloud")
    expect(both.count("a.jpg") == 2 and both.count("b.mp4") == 2, f"before any backup: {both}")
    inside(DEBIAN, f"{BACKUP} run all; {BACKUP} check")
    drill = inside(DEBIAN, f"{BACKUP} drill")
    expect("jellyfin-media: of" in drill and "1 files came back, 1 equal" in drill, f"the drill says: {drill}")
    inside(DEBIAN, f"{INGEST} run")
    expect(inside(DEBIAN, f"ls {roll}") == "a.jpg", "the video is still in the cloud, or the photograph is not")
    expect(inside(DEBIAN, "cat /mnt/d/Photos/cloud/b.mp4") == "video", "the video is not here")
    return "photograph copied, video moved after backup and check; drill: films came back"


CHECKS = [
    simulated_windows, machines, new_inventory, dry_run_on_a_new_machine, windows_first_and_its_script_prepares_debian,
    guard_the_listener, first_run, second_run_and_dry_run_change_nothing, everything_lies_where_it_should,
    debian_saves_itself, what_windows_was_told_fetches_and_saves,
]  # fmt: skip


def main() -> int:
    find_cloudflare()
    atexit.register(keep_cloudflare)
    code = run_checks(CHECKS, argparse.ArgumentParser(description=__doc__))
    if code == 0:
        clear()
    return code


if __name__ == "__main__":
    sys.exit(main())
