#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The lab stage: site.yml whole, from an empty node to verified services, and what has to hold afterwards.

Each check prints its name, result and seconds. The stage stops at the first failure (later checks build on earlier
ones) and leaves the lab standing for a look; `make lab-destroy` removes it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
from faults import keep_reference
from mediaserver_lab.shell import docker
from mediaserver_lab.standins import registry_address
from runs import INVENTORY, LAB, ROOT, Run, guest, guest_python, play, secret_values, stream

OWN_IMAGE, NEWER_IMAGE = (f"docker.io/prom/node-exporter:{version}" for version in ("v1.12.1", "v2.0.0"))
OWN_SERVICE = {
    "summary": "A service of the user's own, beside the inventory",
    "containers": {
        "own-notes": {
            "image": OWN_IMAGE,
            "volumes": {"data": "/data"},
            "user": "65534:65534",
            "command": ["--web.listen-address=:9777"],
            "ports": {"web": 9777},
            "health": {"http": "/", "port": "web"},
        }
    },
    "route": {"name": "notes", "port": "web", "login": "application", "allow": ["lan"]},
    "volumes": {"data": {"class": "appdata"}},
    "backup": {"volumes": {"data": "daily"}},
    "upgrade": {"majors": ["own-notes"]},
    "reach": ["lan", "edge"],
    "metrics": {"port": "web", "path": "/metrics"},
}
OWN = ROOT / ".lab" / "own"
"""A copy of the inventory with that service."""
NOTE = "/mnt/appdata/own-notes/data/note"
AFTER_THE_UPGRADE = f"""
docker inspect --format '{{{{.Config.Image}}}} {{{{.State.Status}}}}' own-notes-own-notes-1
cat {NOTE} /mnt/appdata/own-notes/data.before-*/note
"""
AFTER_RETIRING = """
cat /mnt/appdata/retired/own-notes-*/own-notes_data/note
ls -d /opt/mediaserver/services/own-notes /etc/systemd/system/mediaserver-own-notes.service \
    /mnt/appdata/own-notes/data 2>/dev/null || true
docker ps -a --format {{.Names}} | grep own-notes || true
mediaserver-upgrade forget own-notes
rm -r /mnt/appdata/retired /mnt/appdata/own-notes
"""

DATABASE = "docker exec immich-database-1 psql -U postgres -qAt -v ON_ERROR_STOP=1"
MAKE_SOMETHING_TO_LOSE = f"""
mkdir -p /mnt/photos/immich/lab-probe
echo precious >/mnt/photos/immich/lab-probe/photo
{DATABASE} -d immich -c "CREATE TABLE lab_probe (v text)" -c "INSERT INTO lab_probe VALUES ('precious')"
"""
RUIN_IT = f"""
echo ruined >/mnt/photos/immich/lab-probe/photo
{DATABASE} -d immich -c "UPDATE lab_probe SET v = 'ruined'"
"""
LOOK_AT_IT = f"""
cat /mnt/photos/immich/lab-probe/photo
{DATABASE} -d immich -c "SELECT v FROM lab_probe"
cat /mnt/photos/immich.before-*/lab-probe/photo
old=$({DATABASE} -d postgres -c "SELECT datname FROM pg_database WHERE datname LIKE 'immich_before_%'")
{DATABASE} -d $old -c "SELECT v FROM lab_probe"
curl -fsS http://127.0.0.1:2283/api/server/ping | grep -c pong
"""
SWEEP = f"""
rm -r /mnt/photos/*.before-* /mnt/photos/immich/lab-probe
{DATABASE} -d immich -c "DROP TABLE lab_probe"
old=$({DATABASE} -d postgres -c "SELECT datname FROM pg_database WHERE datname LIKE 'immich_before_%'")
{DATABASE} -d postgres -c "DROP DATABASE $old"
"""


class Failed(Exception):
    """A check did not hold; the message says what was expected and what was seen."""


def expect(condition: bool, message: str) -> None:
    if not condition:
        raise Failed(message)


def proved(run: Run) -> str:
    """A run that built and proved the site: its line of probes."""
    expect(run.code == 0, f"site.yml ended with {run.code}, see {run.log}")
    expect(run.failed_total() == 0, f"failures in {run.log}")
    expect("surprises: 0" in run.probes_line(), f"not proved: {run.probes_line()}, see {run.log}")
    return run.probes_line()


def unchanged(run: Run, what: str) -> str:
    expect(run.code == 0, f"{what} ended with {run.code}, see {run.log}")
    expect(run.changed_total() == 0, f"changed={run.changed} in {what}, see {run.log}")
    return f"changed=0 on {len(run.changed)} hosts"


def tells_no_secret(run: Run, values: dict[str, str]) -> str:
    shown = [name for name, value in values.items() if value in run.text]
    expect(not shown, f"secrets printed by -vvv --diff: {', '.join(shown)}; see {run.log}")
    return f"{len(values)} secrets not in {len(run.text) // 1024} KiB of output"


def machines_up() -> str:
    # not `reset`: machines of another checkout know other keys
    stream([sys.executable, str(LAB), "destroy", "--keep-tests"])
    stream([sys.executable, str(LAB), "up"])
    return ""


def dry_run_on_an_empty_node() -> str:
    run = play("site.yml", "--check", "--diff")
    expect(run.code == 0, f"--check on an empty node ended with {run.code}, see {run.log}")
    for name in ("vm-extranet", "vm-intranet"):
        expect(f"{name} does not exist yet" in run.text, f"--check does not say that it would create {name}: {run.log}")
    return f"{run.changed_total()} changes announced"


def first_run() -> str:
    run = play("site.yml")
    line = proved(run)
    keep_reference(run.log)  # for the fault tests
    return line


def second_run_changes_nothing() -> str:
    return unchanged(play("site.yml", "--skip-tags", "verify"), "the second run")


def dry_run_shows_no_change_and_no_secret() -> str:
    run = play("site.yml", "--check", "--diff", "-vvv")
    unchanged(run, "a dry run on a configured site")
    values = secret_values()
    expect(len(values) >= 8, f"only {len(values)} secrets to look for: the search would prove nothing")
    return f"changed=0, {tells_no_secret(run, values)}"


def a_missing_rule_makes_verify_fail() -> str:
    opened = guest("vm-extranet", "nft delete table inet mediaserver")
    expect(opened.returncode == 0, f"cannot take the container firewall away: {opened.stderr}")
    run = play("verify.yml")
    expect(run.code != 0 and "SURPRISE" in run.text, f"verify stayed green without the container firewall: {run.log}")
    surprises = run.text.count("<-- SURPRISE")
    repair = play("site.yml", "--tags", "firewall")
    expect(repair.code == 0 and repair.changed_total() > 0, f"--tags firewall did not repair: {repair.log}")
    return f"{surprises} surprises without it; --tags firewall repairs (the next check proves it)"


def a_restore_brings_photos_and_database_back() -> str:
    """Immich's upload folder and its real PostgreSQL, ruined after a backup; the old state is kept beside them."""
    made = guest("vm-intranet", "sh -e", MAKE_SOMETHING_TO_LOSE)
    expect(made.returncode == 0, f"cannot make something to lose: {made.stderr}")
    saved = play("backup.yml")
    expect(
        saved.code == 0 and "immich-main: snapshot" in saved.text, f"backup.yml ended with {saved.code}: {saved.log}"
    )
    drilled = play("restore_drill.yml")
    expect(drilled.code == 0, f"the backups do not come back in the drill: {drilled.log}")
    expect("as many as were dumped" in drilled.text, f"the drill compared no database's rows: {drilled.log}")
    ruined = guest("vm-intranet", "sh -e", RUIN_IT)
    expect(ruined.returncode == 0, f"cannot ruin it: {ruined.stderr}")
    refused = play("restore.yml", "-e", "restore=true", "-e", "service=immich")
    expect(refused.code != 0 and "nothing was touched" in refused.text, f"restored without being asked: {refused.log}")
    run = play("restore.yml", "-e", "restore=true", "-e", "service=immich", "-e", "confirm=yes")
    expect(run.code == 0, f"restore.yml ended with {run.code}, see {run.log}")
    seen = guest("vm-intranet", "sh -e", LOOK_AT_IT)
    expected = ["precious", "precious", "ruined", "ruined", "1"]
    expect(seen.stdout.split() == expected, f"restored: {seen.stdout.split()}, expected {expected}; {seen.stderr}")
    after = play("site.yml", "--tags", "immich")
    expect(after.code == 0, f"--tags immich after the restore ended with {after.code}: {after.log}")
    swept = guest("vm-intranet", "sh -e", SWEEP)
    expect(swept.returncode == 0, f"cannot take the old state away: {swept.stderr}")
    return "drill passed; files, rows and service are back; the old state was kept; nothing without a yes"


def unknown_tag_is_refused() -> str:
    run = play("site.yml", "--tags", "jelyfin")
    expect(run.code != 0 and "jellyfin" in run.text, f"--tags jelyfin was not refused with a suggestion: {run.log}")
    return "refused, suggests jellyfin"


def own_service(inventory: Path = INVENTORY) -> str:
    """One file beside a copy of the inventory gets container, route, firewall rule, scrape target and tag."""
    shutil.rmtree(OWN, ignore_errors=True)
    shutil.copytree(inventory, OWN)
    (OWN / "catalog" / "own-notes").mkdir(parents=True)
    (OWN / "catalog" / "own-notes" / "service.yml").write_text(yaml.safe_dump(OWN_SERVICE))
    place_own_service({"hosts": ["vm-intranet"]})
    listed = play("site.yml", "--list-tags", inventory=OWN)
    expect("own-notes" in listed.text, f"--list-tags does not name own-notes: {listed.log}")
    run = play("site.yml", "--tags", "own-notes", inventory=OWN)
    expect(run.code == 0, f"--tags own-notes ended with {run.code}: {run.log}")
    verified = play("verify.yml", inventory=OWN)
    expect(verified.code == 0, f"verify is not green with the own service: {verified.log}")
    for words in ("tcp/9777", "notes."):
        expect(words in verified.text, f"verify's table does not show {words}: {verified.log}")
    targets = guest("vm-intranet", "curl -fsS http://127.0.0.1:9090/api/v1/targets?state=active")
    instances = [target["labels"]["job"] for target in json.loads(targets.stdout)["data"]["activeTargets"]]
    expect("own-notes" in instances, f"Prometheus does not scrape own-notes but {instances}")
    return "container, route, rule, target, tag"


def place_own_service(placement: dict[str, object] | None) -> None:
    site_file = OWN / "group_vars" / "all" / "site.yml"
    site = yaml.safe_load(site_file.read_text())
    site["site_services"].pop("own-notes", None)
    if placement is not None:
        site["site_services"]["own-notes"] = placement
    site_file.write_text(yaml.safe_dump(site))


def offer_newer_image(old: str, new: str) -> None:
    """The registry offers the stand-in under another version too."""
    names = [f"{registry_address()}/{image}" for image in (old, new)]
    docker("pull", "--quiet", names[0])
    docker("tag", *names)
    docker("push", "--quiet", names[1])
    docker("rmi", "--no-prune", *names, check=False)


def own_service_upgraded() -> str:
    """make upgrade: site.yml refuses a new image of a service with data; upgrade.yml brings it, and keeps what was."""
    offer_newer_image(OWN_IMAGE, NEWER_IMAGE)
    made = guest("vm-intranet", f"tee {NOTE}", "precious")
    expect(made.returncode == 0, f"cannot make something to lose: {made.stderr}")
    place_own_service({"hosts": ["vm-intranet"], "images": {"own-notes": NEWER_IMAGE}})
    refused = play("site.yml", "--tags", "own-notes", "--limit", "localhost,vm-intranet", inventory=OWN)
    expect(refused.code != 0 and "make upgrade" in refused.text, f"site.yml changed the image: {refused.log}")
    run = play("upgrade.yml", "-e", "service=own-notes", inventory=OWN)
    expect(run.code == 0, f"upgrade.yml ended with {run.code}: {run.log}")
    seen = guest("vm-intranet", "sh -e", AFTER_THE_UPGRADE)
    expected = [f"10.77.1.5:5000/{NEWER_IMAGE}", "running", "preciousprecious"]
    expect(seen.stdout.split() == expected, f"after the upgrade: {seen.stdout.split()}, {seen.stderr}; {run.log}")
    again = play("upgrade.yml", "-e", "service=own-notes", inventory=OWN)
    expect(again.code == 0 and again.changed_total() == 0, f"a second upgrade: changed={again.changed}: {again.log}")
    return "site.yml refused; upgraded, with the state before kept; a second run changed=0"


def own_service_removed() -> str:
    """Taken out of the inventory: all of it goes but its data, which the test then sweeps."""
    back = play("site.yml", "--skip-tags", "verify")
    expect(back.code == 0, f"taking the own service away ended with {back.code}: {back.log}")
    left = guest("vm-intranet", "docker ps -a --format {{.Names}}")
    expect("own-notes" not in left.stdout, "the container of the removed service is still there")
    kept = guest("vm-intranet", f"cat {NOTE}")
    expect(kept.stdout == "precious", f"its data did not stay: {kept.stderr}")
    guest("vm-intranet", "rm -rf /mnt/appdata/own-notes")
    return "removed again without a trace; its data stayed"


def own_service_retired() -> str:
    """make retire: its data lie in an archive, all else of it is gone."""
    place_own_service(None)
    run = play("retire.yml", "-e", "service=own-notes", "--skip-tags", "verify", inventory=OWN)
    expect(run.code == 0, f"retire.yml ended with {run.code}: {run.log}")
    expect("own-notes-data" in run.text, f"no last backup of it was made: {run.log}")
    seen = guest("vm-intranet", "sh -e", AFTER_RETIRING)
    expect(seen.stdout.split() == ["precious"], f"after retiring: {seen.stdout.split()}, {seen.stderr}; {run.log}")
    return "backed up once more, archived; removed without a trace"


PICTURE = "/mnt/photos/albums/lab.jpg"
SEEN = f"""
import json, pathlib, time, urllib.request
key = pathlib.Path("/var/lib/mediaserver/immich/api-key").read_text().strip()
def ask(path, data=None):
    request = urllib.request.Request("http://127.0.0.1:2283/api" + path, data=data, headers={{"x-api-key": key}})
    return urllib.request.urlopen(request, timeout=10).read()
picture = pathlib.Path("{PICTURE}")
picture.write_bytes(b"a picture")
try:
    library = next(one for one in json.loads(ask("/libraries")) if one["name"] == "Albums")
    ask("/libraries/" + library["id"] + "/scan", b"")
    for _ in range(60):
        found = json.loads(ask("/libraries/" + library["id"] + "/statistics"))
        if found["photos"]:
            break
        time.sleep(0.5)
    print(library["importPaths"], library["exclusionPatterns"], found["photos"])
finally:
    picture.unlink()
"""


def photographs_of_the_inventory() -> str:
    """A folder that the inventory calls photographs is a library; what lies in it is found, and safe."""
    seen = guest_python("vm-intranet", SEEN).strip()
    expect(seen == "['/mnt/photographs/albums'] ['**/Trash/**'] 1", f"Immich has of the folder Albums: {seen}")
    write = guest("vm-intranet", "docker exec -u 0 immich-server-1 touch /mnt/photographs/albums/mine")
    expect(write.returncode != 0 and "Read-only" in write.stderr, f"the server may write there: {write.stderr}")
    return "seen, imported (by the stand-in), read-only"


CHECKS: list[Callable[[], str]] = [
    machines_up,
    dry_run_on_an_empty_node,
    first_run,
    second_run_changes_nothing,
    dry_run_shows_no_change_and_no_secret,
    a_restore_brings_photos_and_database_back,
    a_missing_rule_makes_verify_fail,
    unknown_tag_is_refused,
    own_service,
    own_service_upgraded,
    own_service_removed,
    photographs_of_the_inventory,
]


def run_checks(
    checks: list[Callable[[], str]], parser: argparse.ArgumentParser, options: argparse.Namespace | None = None
) -> int:
    """The whole list, or what follows the one that ``--from`` names; stops at the first that does not hold.

    ``options``: where what the parser knows besides is put for the checks.
    """
    parser.add_argument(
        "--from", dest="start", choices=[check.__name__ for check in checks], help="go on from this check"
    )
    start = parser.parse_args(namespace=options).start
    skipping = start is not None
    done = 0
    for check in checks:
        skipping = skipping and check.__name__ != start
        if skipping:
            print(f"NOT RUN: {check.__name__} (--from {start})")
            continue
        began = time.monotonic()
        try:
            note = check()
        except Failed as failure:
            print(f"lab: {check.__name__}: FAILED after {time.monotonic() - began:.0f} s: {failure}")
            print(f"{done} passed, 1 failed")
            return 1
        done += 1
        print(f"lab: {check.__name__}: ok in {time.monotonic() - began:.0f} s  {note}", flush=True)
    print(f"{done} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(run_checks(CHECKS, argparse.ArgumentParser(description=__doc__)))
