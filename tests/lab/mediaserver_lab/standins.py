# SPDX-License-Identifier: MIT
"""Build the stand-ins of service images and offer them, and those of virtual machine images, on the LAN's registry.

``tests/lab/standins/<name>/`` holds a Dockerfile and ``standin.json``:
``{"image": "docker.io/jellyfin/jellyfin:10.11.11", "base": "mediaserver-lab/standin-base"}``.
A guest asks for ``10.77.1.5:5000/docker.io/jellyfin/jellyfin:10.11.11``. ``"program"`` names a program of the test
tools (.venv/bin) that lies beside the Dockerfile while the image is built.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import sys
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .images import Images, docker_build, folder_digest, reference
from .layout import LAB_DIR, PREFIX, REGISTRY, REGISTRY_PORT
from .shell import LabError, docker, docker_ok, put_files, step

ACCEPT = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
DIGEST_LABEL = "mediaserver.lab.digest"
VM_IMAGES: dict[str, int] = {
    "debian-13-genericcloud-amd64.qcow2": 3 << 30,
    "debian-13-generic-amd64.qcow2": 3 << 30,
    "noble-server-cloudimg-amd64.qcow2": 3 << 30,
}
"""Stand-ins of cloud images: name -> virtual size. The lab boots its own machine image whatever they hold."""


@dataclass(frozen=True)
class StandIn:
    name: str
    image: str
    base: str
    folder: Path
    program: str = ""

    @property
    def local(self) -> bool:
        """A layer for others, not a service."""
        return self.image.startswith(f"{PREFIX}/")


def load(folder: Path = LAB_DIR / "standins") -> list[StandIn]:
    """All stand-ins, each after the one it is built upon."""
    found: list[StandIn] = []
    for path in sorted(folder.glob("*/standin.json")):
        data = json.loads(path.read_text())
        base = data.get("base", f"{PREFIX}/debian")
        found.append(StandIn(path.parent.name, data["image"], base, path.parent, data.get("program", "")))
    ordered: list[StandIn] = []
    while found:
        waiting = {standin.image for standin in found}
        ready = [standin for standin in found if standin.base not in waiting]
        if not ready:
            raise LabError(f"Unable to order the stand-ins {sorted(waiting)}: they are built upon each other")
        ordered += ready
        found = [standin for standin in found if standin not in ready]
    return ordered


def digests(standins: list[StandIn], debian: str) -> dict[str, str]:
    """Stand-in's name -> digest of its folder and of everything below it."""
    of_image = {f"{PREFIX}/debian": debian}
    result: dict[str, str] = {}
    for standin in standins:
        digest = folder_digest(standin.folder, of_image.get(standin.base, standin.base))
        of_image[standin.image] = result[standin.name] = digest
    return result


def registry_address() -> str:
    """Where the Docker host reaches the registry."""
    return docker("port", REGISTRY.container, f"{REGISTRY_PORT}/tcp").splitlines()[0]


def pushed_digest(address: str, standin: StandIn) -> str | None:
    """The digest that the registry's image of this stand-in was built from, or None."""
    repository, _, tag = standin.image.rpartition(":")
    base = f"http://{address}/v2/{repository}"
    try:
        request = urllib.request.Request(f"{base}/manifests/{tag}", headers={"Accept": ACCEPT})
        config = json.load(urllib.request.urlopen(request, timeout=10))["config"]["digest"]
        labels = json.load(urllib.request.urlopen(f"{base}/blobs/{config}", timeout=10))["config"].get("Labels") or {}
        return str(labels.get(DIGEST_LABEL, ""))
    except urllib.error.HTTPError as exc:
        if exc.code == 404:
            return None
        raise LabError(f"Unable to ask the lab's registry for {standin.image}: {exc}") from exc


def wait_for_registry(address: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(f"http://{address}/v2/", timeout=5).close()
            return
        except OSError as exc:
            if time.monotonic() > end:
                raise LabError(f"The lab's registry does not answer at {address}: {exc}") from exc
            time.sleep(0.3)


def tool(name: str) -> Path:
    """A program of the test tools."""
    found = Path(sys.executable).parent / name
    if not found.exists():
        raise LabError(f"{found} is missing: tools/setup --lab installs it")
    return found


def build(standin: StandIn, digest: str) -> str:
    """The stand-in's image, built if it is not there; returns the reference."""
    ref = reference(f"standin-{standin.name}", digest)
    if not docker_ok("image", "inspect", ref):
        begin = time.monotonic()
        with tempfile.TemporaryDirectory() as context:
            folder = shutil.copytree(standin.folder, Path(context, standin.name))
            if standin.program:
                shutil.copy(tool(standin.program), folder)
            docker_build(folder, [ref], None, {DIGEST_LABEL: digest})
        print(f"  stand-in {standin.image} ... {time.monotonic() - begin:.1f} s", flush=True)
    if standin.local:
        docker("tag", ref, f"{standin.image}:latest")
    return ref


def build_all(images: Images) -> dict[str, str]:
    """Build every stand-in, those that others are built upon first; returns name -> reference."""
    images.get("debian")
    standins = load()
    wanted = digests(standins, images.digest("debian"))
    built = {standin.name: build(standin, wanted[standin.name]) for standin in standins if standin.local}
    services = [standin for standin in standins if not standin.local]
    with ThreadPoolExecutor(2) as pool:
        references = pool.map(lambda standin: build(standin, wanted[standin.name]), services)
    return built | {standin.name: ref for standin, ref in zip(services, references, strict=True)}


def publish_all(images: Images, address: str | None = None) -> None:
    """Build every stand-in and push what the registry (of the LAN, or at this address) has not got yet."""
    references = build_all(images)
    address = address or registry_address()
    wait_for_registry(address)
    standins = load()
    wanted = digests(standins, images.digest("debian"))
    missing = [s for s in standins if not s.local and pushed_digest(address, s) != wanted[s.name]]
    if not missing:
        return

    def push(standin: StandIn) -> None:
        target = f"{address}/{standin.image}"
        docker("tag", references[standin.name], target)
        try:
            docker("push", "--quiet", target)
        finally:
            docker("rmi", "--no-prune", target, check=False)

    with step(f"{len(missing)} stand-ins into the registry"), ThreadPoolExecutor(2) as pool:
        list(pool.map(push, missing))


def vm_image(name: str, size: int) -> bytes:
    """An empty but valid qcow2 image, the same bytes each time, that says in clear that it is a stand-in."""
    cluster = 16
    clusters = -(-size // (1 << cluster))
    l1_entries = -(-clusters // (1 << (cluster - 3)))
    note = f"stand-in of the mediaserver lab for {name}".encode()
    header = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, cluster, size, 0, l1_entries, 3 << cluster, 1 << cluster, 1, 0, 0
    )
    table = struct.pack(">Q", 2 << cluster)
    counts = struct.pack(">4H", 1, 1, 1, 1)
    parts = [header + b"\0" * 8 + note, table, counts, b""]
    return b"".join(part.ljust(1 << cluster, b"\0") for part in parts)


def publish_vm_images() -> None:
    files = {f"/srv/www/images/{name}": (vm_image(name, size), 0o644) for name, size in VM_IMAGES.items()}
    for algorithm in ("sha256", "sha512"):
        sums = "".join(
            f"{hashlib.new(algorithm, vm_image(name, size)).hexdigest()}  {name}\n" for name, size in VM_IMAGES.items()
        )
        files[f"/srv/www/images/{algorithm.upper()}SUMS"] = (sums.encode(), 0o644)
    put_files(REGISTRY.container, files)
