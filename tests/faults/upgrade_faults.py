#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Upgrades under fire, on real Docker and a real PostgreSQL: new images that fail in every way, SIGKILL, a full disk.

    upgrade_faults.py [--kills 30] [--seed N] [--only NAME ...] [--keep]

The application and its images are this test's own (upgrade_app/), the database is Debian's PostgreSQL (17, and 15 for
the case `major`), the program is roles/upgrade's. After each failure the old image must run, and every file and row be
as before; after each kill and the recovery either that, or the new state whole. Needs root only for the full disk.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/lab"), str(Path(__file__).resolve().parent)]
from mediaserver_lab import standins
from mediaserver_lab.images import Images
from real_restic import CACHES, fetch

PROGRAM = ROOT / "roles/upgrade/files/mediaserver_upgrade.py"
LIBRARIES = f"{ROOT / 'roles/backup/files'}{os.pathsep}{ROOT / 'roles/upgrade/files'}"
NAME = "upgradefault"
APP, DATABASE = "localhost/upgrade-fault-app", "localhost/upgrade-fault-postgres"
OLD = "localhost/upgrade-fault-postgres:15"
FILES, ROWS = 40, 500
OLDER_SERVER = """
FROM {base}
RUN echo 'deb http://deb.debian.org/debian bookworm main' > /etc/apt/sources.list.d/bookworm.list \\
 && apt-get update && apt-get install -y --no-install-recommends postgresql-15 && rm -rf /var/lib/apt/lists/*
ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""


def run(*argv: str, text: str | None = None) -> str:
    done = subprocess.run(argv, input=text, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"upgrade-faults: {' '.join(argv[:6])}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def find_compose() -> None:
    """This machine's Compose v2, else Debian 13's, kept in .cache."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        configuration = CACHES / "docker-compose/config"
        plugin = configuration / "cli-plugins/docker-compose"
        if not plugin.exists():
            program = fetch("docker-compose") / "usr/libexec/docker/cli-plugins/docker-compose"
            plugin.parent.mkdir(parents=True, exist_ok=True)
            plugin.symlink_to(program)
        os.environ["DOCKER_CONFIG"] = str(configuration)


def make_images(older: bool) -> None:
    """The lab's PostgreSQL under a tag that says its version, and the application on top of it."""
    images = Images()
    images.get("debian")
    found = standins.load()
    digests = standins.digests(found, images.digest("debian"))
    wanted = [one for one in found if one.local or one.name == "immich-postgres"]
    base = {one.name: standins.build(one, digests[one.name]) for one in wanted}["immich-postgres"]
    run("docker", "tag", base, f"{DATABASE}:17")
    run("docker", "build", "--quiet", "--tag", f"{APP}:1.0.0", "--build-arg", f"BASE={DATABASE}:17",
        str(Path(__file__).parent / "upgrade_app"))  # fmt: skip
    if older:
        run("docker", "build", "--quiet", "--tag", OLD, "-", text=OLDER_SERVER.format(base=f"{DATABASE}:17"))


class World:
    """A service with files and rows, and what it should look like."""

    def __init__(self, folder: Path, server: str = f"{DATABASE}:17") -> None:
        self.folder = folder
        folder.chmod(0o755)
        self.services = folder / "services"
        self.files, self.cluster = folder / "appdata/app", folder / "database/app"
        self.server, self.version = server, "1.0.0"
        for path in (self.files, self.cluster, folder / "state", folder / "run", self.services / NAME):
            path.mkdir(parents=True, exist_ok=True)
        os.chown(self.cluster, 999, 999)
        self.write(self.services / NAME, "1.0.0", "good", server)
        self.compose("up", "--detach", "--wait")
        self.until_answering("1.0.0")
        self.sql("CREATE TABLE photo (id int PRIMARY KEY, hash text);"
                 f"INSERT INTO photo SELECT n, md5(n::text) FROM generate_series(1, {ROWS}) n;")  # fmt: skip
        dice = random.Random(1)
        for number in range(FILES):
            (self.files / f"file-{number}").write_bytes(dice.randbytes(20000))
        (self.files / "sub").mkdir(mode=0o750)
        (self.files / "sub/link").symlink_to("../file-1")
        os.link(self.files / "file-2", self.files / "sub/hard")

    def compose(self, *words: str) -> None:
        run("docker", "compose", "--project-name", NAME, "--project-directory", str(self.services / NAME), *words)

    def write(self, folder: Path, version: str, behaviour: str, server: str) -> None:
        """The project's files as config_tree writes them."""
        ask = "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health', timeout=2)"  # there is no curl
        health = "exit 1" if behaviour == "hang" else f'python3 -c "{ask}"'
        check = {"interval": "1s", "timeout": "5s", "retries": 3, "start_period": "60s"}
        body = {"name": NAME, "services": {
            "app": {"image": f"{APP}:1.0.0", "restart": "unless-stopped", "depends_on": {"database": {
                "condition": "service_healthy"}}, "environment": {"BEHAVIOUR": behaviour, "VERSION": version},
                "healthcheck": {"test": ["CMD-SHELL", health], **check},
                "volumes": [bind(self.files, "/data")]},
            "database": {"image": server, "restart": "unless-stopped", "environment": {
                "POSTGRES_HOST_AUTH_METHOD": "trust", "POSTGRES_DB": "app"},
                "healthcheck": {"test": ["CMD", "pg_isready", "--host=127.0.0.1"], **check},
                "volumes": [bind(self.cluster, "/var/lib/postgresql/data")]},
        }}  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "compose.yaml").write_text(json.dumps(body, indent=1))
        (folder / ".env").write_text(f"MEDIASERVER_DIGEST={version}{behaviour}\nMEDIASERVER_CONTAINERS=app,database\n")

    def stage(self, version: str, behaviour: str, server: str | None = None) -> None:
        server = server or self.server
        shutil.rmtree(self.services / ".next", ignore_errors=True)
        self.write(self.services / ".next" / NAME, version, behaviour, server)
        database = {"container": "database", "name": "app", "user": "postgres", "path": str(self.cluster),
                    "major": int(server.rpartition(":")[2])}  # fmt: skip
        request = {
            "service": NAME, "directory": str(self.services / NAME), "unit": None, "wait": 25,
            "volumes": [{"path": str(self.files)}, {"path": str(self.cluster)}], "databases": [database],
            "smoke": {"container": "app", "port": 8080, "path": "/"}, "changes": [version],
        }  # fmt: skip
        (self.services / f".next/{NAME}.json").write_text(json.dumps(request))

    def program(
        self, *words: str, wait: float | None = None, state: str = "", stdin: str = "", program: Path = PROGRAM
    ) -> tuple[int, str]:
        """Run it; with ``wait``, kill it so long after the journal says ``state``. Its children live on."""
        environment = {
            **os.environ, "PYTHONPATH": LIBRARIES, "PYTHONDONTWRITEBYTECODE": "1",
            "MEDIASERVER_UPGRADE_ROOT": str(self.services), "MEDIASERVER_UPGRADE_STATE": str(self.folder / "state"),
            "MEDIASERVER_UPGRADE_LOCKS": str(self.folder / "run"),
            "MEDIASERVER_BACKUP_CONFIG": str(self.folder / "no-backups"),
        }  # fmt: skip
        argv = [sys.executable, str(program), *words]
        with (
            (self.folder / "log").open("a") as log,
            subprocess.Popen(
                argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            ) as process,
        ):
            assert process.stdin
            process.stdin.write(stdin)
            process.stdin.close()
            if wait is not None:
                while state and process.poll() is None and self.journal().get("state") != state:
                    time.sleep(0.002)
                time.sleep(wait)
                process.send_signal(signal.SIGKILL)
                process.wait()
                return process.returncode, ""
            output = process.stdout.read() if process.stdout else ""
            process.wait()
            log.write(output)
            return process.returncode, output

    def journal(self) -> dict[str, Any]:
        file = self.folder / f"state/{NAME}.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def sql(self, text: str) -> str:
        argv = ["docker", "exec", "--interactive", f"{NAME}-database-1", "psql", "--username=postgres", "--dbname=app",
                "--no-align", "--tuples-only", "--quiet", "--set=ON_ERROR_STOP=1"]  # fmt: skip
        return run(*argv, text=text)

    def state(self) -> dict[str, str]:
        """Every file with owner, mode and hash, and every row, as one hash each."""
        tree = []
        for path in sorted(self.files.rglob("*")):
            info = path.lstat()
            body = str(path.readlink()) if path.is_symlink() else ""
            body = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not body else body
            tree.append(f"{path.relative_to(self.files)} {info.st_mode:o} {info.st_uid}:{info.st_gid} {body}")
        rows = self.sql("SELECT * FROM photo ORDER BY id; SELECT * FROM migration ORDER BY version;")
        found = {"files": "\n".join(tree), "rows": rows}
        return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in found.items()}

    def answer(self) -> str:
        address = run("docker", "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
                      f"{NAME}-app-1").strip()  # fmt: skip
        try:
            return run("curl", "--silent", "--max-time", "2", f"http://{address}:8080/") if address else ""
        except SystemExit:
            return ""

    def until_answering(self, version: str) -> None:
        deadline = time.monotonic() + 40
        while self.answer() != version:
            if time.monotonic() > deadline:
                raise SystemExit(f"upgrade-faults: version {version} does not answer")
            time.sleep(0.3)

    def wrong(self, before: dict[str, str], what: str) -> list[str]:
        """What is not as it was."""
        found = [] if self.answer() == self.version else [f"{what}: {self.answer() or 'nothing'} answers"]
        now = self.state()
        return found + [f"{what}: the {name} are not as before" for name in before if before[name] != now[name]]

    def started(self) -> str:
        names = [f"{NAME}-app-1", f"{NAME}-database-1"]
        return run("docker", "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", *names)

    def remove(self) -> None:
        names = run("docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={NAME}").split()
        if names:
            run("docker", "rm", "--force", "--volumes", *names)
        subprocess.run(["docker", "network", "rm", f"{NAME}_default"], capture_output=True, check=False)


def bind(source: Path, target: str) -> dict[str, Any]:
    return {"type": "bind", "source": str(source), "target": target, "bind": {"create_host_path": False}}


def last(output: str) -> dict[str, Any]:
    lines = output.splitlines()
    return json.loads(lines[-1]) if lines else {}


def failing(behaviour: str) -> Callable[[World, argparse.Namespace], list[str]]:
    """An upgrade to images that fail so: taken back, everything as before, the failed state kept aside."""

    def case(world: World, _options: argparse.Namespace) -> list[str]:
        before = world.state()
        world.stage("2.0.0", behaviour)
        code, output = world.program("run", NAME)
        told = last(output)
        print(f"upgrade-faults: {behaviour}: {told.get('seconds')} s: {told.get('reason')}", flush=True)
        wrong = [] if code == 1 and told.get("state") == "returned" else [f"exit code {code}: {told}"]
        # of this upgrade: what failed in the cases before it stays too, until an upgrade succeeds
        kept = [path for path in told.get("kept", []) if ".failed" in path and path.endswith(told["at"])]
        wrong += [f"not kept: {path}" for path in kept if not Path(path).exists()]
        wrong += [] if len(kept) == 3 else [f"the failed state is kept in {kept}"]
        return wrong + world.wrong(before, behaviour)

    return case


def good(world: World, _options: argparse.Namespace) -> list[str]:
    """Two upgrades that succeed: the old state is kept, the one before it goes, and `forget` removes the rest."""
    before, wrong = world.state(), []
    for version in ("2.0.0", "2.0.1"):
        world.stage(version, "good")
        code, output = world.program("run", NAME)
        wrong += [] if code == 0 and last(output)["state"] == "upgraded" else [f"{version}: {code} {output}"]
        wrong += [] if world.answer() == version else [f"{version}: {world.answer()} answers"]
    kept = [str(path) for path in (world.folder / "appdata").glob("app.before-*")]
    wrong += [] if len(kept) == 1 and kept[0] in last(output)["kept"] else [f"kept: {kept}"]
    wrong += [] if (world.files / "migrated-2.0.1").exists() else ["the new data are not in their place"]
    wrong += [] if world.state() != before else ["the upgrade changed nothing, so this test proves nothing"]
    world.program("forget", NAME)
    left = [path.name for folder in ("appdata", "database") for path in (world.folder / folder).iterdir()]
    return wrong + ([] if left == ["app", "app"] else [f"left after forget: {left}"])


def full_disk(world: World, _options: argparse.Namespace) -> list[str] | None:
    """No room for the copy: refused before anything stops."""
    disk = world.folder / "appdata"
    aside = world.folder / "aside"
    world.compose("down")
    shutil.copytree(disk, aside, symlinks=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150m", "tmpfs", str(disk)], check=False).returncode:
        return None
    try:
        shutil.copytree(aside, disk, symlinks=True, dirs_exist_ok=True)
        (disk / "app/ballast").write_bytes(bytes(60 * 2**20))
        world.compose("up", "--detach", "--wait")
        before, running = world.state(), world.started()
        world.stage("2.0.0", "good")
        code, output = world.program("run", NAME)
        told = last(output)
        print(f"upgrade-faults: full_disk: {told.get('reason')}", flush=True)
        wrong = [] if code == 1 and told.get("state") == "refused" else [f"exit code {code}: {told}"]
        wrong += [] if world.started() == running else ["a container was stopped or started"]
        return wrong + world.wrong(before, "full_disk")
    finally:
        world.remove()
        subprocess.run(["umount", str(disk)], check=False)


def kills(world: World, options: argparse.Namespace) -> list[str]:
    """SIGKILL at seeded moments of upgrades that would succeed or fail; then the next call settles it.

    Every second one comes within milliseconds of a step that the journal tells: renames would else hardly be met.
    """
    dice, wrong, ends = random.Random(options.seed), [], {"returned": 0, "upgraded": 0, "untouched": 0}
    states: dict[str, int] = {}
    length = 12.0
    for number in range(options.kills):
        behaviour = dice.choice(["good", "good", "ruin"])
        before, version = world.state(), f"3.0.{number}"
        world.stage(version, behaviour)
        steps = ["preparing", "switching", "trying", "verified" if behaviour == "good" else "returning"]
        state = dice.choice(steps) if number % 2 else ""
        moment = dice.expovariate(100) if state else dice.uniform(0.1, length)
        world.program("run", NAME, wait=moment, state=state)
        reached = world.journal().get("state", "none")
        states[reached] = states.get(reached, 0) + 1
        again = dice.random() < 0.3
        if again:
            world.program("recover", wait=dice.uniform(0.1, 3))
        world.program("recover")
        told = world.journal()
        end = told["state"] if told and told["request"]["changes"] == [version] else "untouched"
        ends[end if end in ends else "untouched"] += 1
        what = f"kill {number} ({behaviour}, {state} {moment:.3f} s, {reached}{', twice' if again else ''}, {end})"
        if end == "upgraded" and behaviour == "good":
            world.version = version
            wrong += [] if world.answer() == version else [f"{what}: {world.answer() or 'nothing'} answers"]
            rows = world.sql("SELECT count(*) FROM photo").strip()
            wrong += [] if rows == str(ROWS) else [f"{what}: {rows} rows"]
            files = len(list(world.files.glob("file-*")))
            wrong += [] if files == FILES else [f"{what}: {files} files"]
            wrong += [] if (world.files / f"migrated-{version}").exists() else [f"{what}: not the new files"]
        else:
            wrong += [f"{what}: {end}"] if end == "upgraded" else []
            wrong += world.wrong(before, what)
        world.program("forget", NAME)
        if wrong:
            return wrong
    print(f"upgrade-faults: kills: {options.kills} kills in {states}, ended {ends}", flush=True)
    return wrong


def major(world: World, options: argparse.Namespace) -> list[str]:
    """PostgreSQL 15 to 17: dumped, loaded, counted; with an application that fails, killed twice, and to its end."""
    before, wrong = world.state(), []
    world.stage("2.0.0", "ruin", f"{DATABASE}:17")
    code, output = world.program("run", NAME)
    wrong += [] if code == 1 and last(output)["state"] == "returned" else [f"failing: {code} {output}"]
    version = world.sql("SHOW server_version").strip()
    wrong += [] if version.startswith("15") else [f"after the return runs PostgreSQL {version}"]
    wrong += world.wrong(before, "major, failing")
    dice = random.Random(options.seed)
    for state in ("preparing", "trying"):
        world.stage("2.0.0", "good", f"{DATABASE}:17")
        world.program("run", NAME, wait=dice.uniform(0.2, 3), state=state)
        world.program("recover")
        version = world.sql("SHOW server_version").strip()
        wrong += [] if version.startswith("15") else [f"killed while {state}: after the return runs {version}"]
        wrong += world.wrong(before, f"major, killed while {state}")
    world.stage("2.0.0", "good", f"{DATABASE}:17")
    code, output = world.program("run", NAME)
    told = last(output)
    wrong += [] if code == 0 and told["state"] == "upgraded" else [f"good: {code} {output}"]
    version = world.sql("SHOW server_version").strip()
    wrong += [] if version.startswith("17") else [f"after the upgrade runs PostgreSQL {version}"]
    rows = world.sql("SELECT md5(string_agg(hash, ',' ORDER BY id)) FROM photo").strip()
    wanted = hashlib.md5(",".join(hashlib.md5(str(n).encode()).hexdigest() for n in range(1, ROWS + 1)).encode())
    wrong += [] if rows == wanted.hexdigest() else ["the rows are others than before"]
    print(f"upgrade-faults: major: 15 -> {version} in {told.get('seconds')} s, rows {told.get('rows')}", flush=True)
    world.stage("2.0.1", "good", OLD)
    code, output = world.program("run", NAME)
    return wrong + ([] if code == 1 and "no way back" in last(output).get("reason", "") else [f"downgrade: {output}"])


def retire(world: World, _options: argparse.Namespace) -> list[str]:
    """A retired service: killed once, then finished. Every byte is in the archive, the rows are in the dump."""
    tree = {str(path.relative_to(world.files)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in world.files.rglob("*") if path.is_file()}  # fmt: skip
    classes = [str(world.folder / name) for name in ("appdata", "database")]
    request = json.dumps({
        "service": NAME, "directory": str(world.services / NAME), "unit": None, "taken": [], "mounted": [],
        "volumes": [{"path": str(world.files), "mount": classes[0]}], "below": classes,
        "databases": [{"container": "database", "name": "app", "user": "postgres"}],
    })  # fmt: skip
    elsewhere = json.dumps({**json.loads(request), "service": "other", "directory": str(world.services / "other")})
    code, output = world.program(stdin=elsewhere, program=PROGRAM.with_name("mediaserver_retire.py"))
    if code or last(output)["archives"] or not world.files.exists() or not world.answer():
        return [f"a host that has not the service touched the folder that it shares: {code} {output}"]
    world.program(stdin=request, wait=1.0, program=PROGRAM.with_name("mediaserver_retire.py"))
    code, output = world.program(stdin=request, program=PROGRAM.with_name("mediaserver_retire.py"))
    told, wrong = last(output), []
    archives = [Path(one) for one in told.get("archives", [])]
    wrong += [] if code == 0 and len(archives) == 2 else [f"{code} {output}"]
    found = {str(path.relative_to(archives[0] / "app")): hashlib.sha256(path.read_bytes()).hexdigest()
             for path in (archives[0] / "app").rglob("*") if path.is_file()}  # fmt: skip
    wrong += [] if found == tree else ["the archive does not hold every file"]
    rows = (archives[0] / "app.sql").read_text().partition("COPY public.photo")[2].partition("\\.")[0].count("\n") - 1
    wrong += [] if rows == ROWS else [f"the dump holds {rows} rows"]
    wrong += [] if (archives[1] / "app/PG_VERSION").exists() else ["the cluster is not in the archive"]
    wrong += [] if not world.files.exists() and not world.cluster.exists() else ["the data are still in their place"]
    running = run("docker", "ps", "--quiet", "--filter", f"label=com.docker.compose.project={NAME}")
    wrong += ["it still runs"] if running else []
    code, output = world.program(stdin=request, program=PROGRAM.with_name("mediaserver_retire.py"))
    return wrong + ([] if code == 0 and not last(output)["archives"] else [f"again: {code} {output}"])


CASES: dict[str, Callable[[World, argparse.Namespace], list[str] | None]] = {
    **{name: failing(name) for name in ("ruin", "crash", "hang", "broken")},
    "good": good, "full_disk": full_disk, "kills": kills, "major": major,
    "retire": retire,
}  # fmt: skip
OWN_WORLD = ("good", "full_disk", "major", "retire")
"""Cases that begin with a service of their own; the others leave it as it was, or whole."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", choices=[*CASES], action="append", help="only these cases")
    parser.add_argument("--keep", action="store_true", help="keep the folders")
    options = parser.parse_args()
    chosen = options.only or [*CASES]
    print(
        f"upgrade-faults: seed {options.seed} (repeat with --kills {options.kills} --seed {options.seed})", flush=True
    )
    find_compose()
    make_images("major" in chosen)
    passed = failed = 0
    world: World | None = None
    for name in chosen:
        began = time.monotonic()
        world = world or World(Path(tempfile.mkdtemp(prefix="upgrade-")), OLD if name == "major" else f"{DATABASE}:17")
        try:
            wrong = CASES[name](world, options)
        except BaseException:
            world.remove()
            raise
        if wrong is None:
            print(f"NOT RUN: upgrade-faults {name}: no right to mount a small disk")
        for line in wrong or []:
            print(f"upgrade-faults: {name}: {line}")
        passed += wrong == []
        failed += bool(wrong)
        print(f"upgrade-faults: {name}: {'failed' if wrong else 'good'}, {time.monotonic() - began:.0f} s", flush=True)
        if wrong or name in OWN_WORLD or name == chosen[-1] or chosen[chosen.index(name) + 1] in OWN_WORLD:
            world.remove()
            if wrong:
                print(f"upgrade-faults: logs in {world.folder}")
            elif not options.keep:
                shutil.rmtree(world.folder)
            world = None
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
