# SPDX-License-Identifier: MIT
"""The lab's images, each tagged with the digest of what made it: what did not change is not built again."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from .layout import LAB_DIR, LABEL, PREFIX
from .shell import LabError, docker, docker_ok, run, step

SUITES = {"debian": "trixie", "ubuntu": "noble"}
"""Roots made by mmdebstrap."""
UBUNTU = "http://archive.ubuntu.com/ubuntu"
UBUNTU_KEYRING = (
    f"{UBUNTU}/pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1_all.deb",
    "36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8",
)
"""Ubuntu's keys and the SHA-256 of their package: Debian has none that is new enough."""
PACKAGES = {"debian": ("ca-certificates",), "ubuntu": ("ca-certificates", "apt", "ubuntu-keyring", "passwd")}
PARENTS = {
    "machine": "debian",
    "node": "machine",
    "router": "machine",
    "prober": "machine",
    "registry": "machine",
    "prepared": "machine",
    "ubuntu-machine": "ubuntu",
    "ubuntu-prepared": "ubuntu-machine",
}
"""Image -> the image it is built from; each has a folder tests/lab/images/<name> with a Dockerfile."""


def folder_digest(folder: Path, *more: str) -> str:
    """Digest of every file below a folder (path, executable bit, content) and of further texts."""
    state = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        executable = "x" if path.stat().st_mode & 0o100 else "-"
        state.update(f"{path.relative_to(folder).as_posix()}\0{executable}\0".encode())
        state.update(hashlib.sha256(path.read_bytes()).digest())
    for text in more:
        state.update(hashlib.sha256(text.encode()).digest())
    return state.hexdigest()[:16]


def debian_digest(base: str | None) -> str:
    return root_digest([SUITES["debian"], PACKAGES["debian"], base or "mmdebstrap"])


def root_digest(made_of: list[object]) -> str:
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]


def reference(name: str, digest: str) -> str:
    return f"{PREFIX}/{name}:{digest}"


def host_apt_exceptions() -> str:
    """Checks of Release files that this host's own apt leaves out; its mirror then needs the same of the lab."""
    try:
        text = run(["apt-config", "dump"], check=False).stdout
    except LabError:
        return ""
    wanted = ("Acquire::Check-Valid-Until ", "Acquire::Check-Date ")
    return "".join(f"{line}\n" for line in text.splitlines() if line.startswith(wanted) and '"false"' in line)


def docker_build(folder: Path, tags: list[str], parent: str | None, labels: dict[str, str] | None = None) -> None:
    """Build a folder's Dockerfile; the parent is given as the build argument PARENT."""
    argv = ["docker", "build", "--quiet", "--force-rm", "--label", f"{LABEL}=image"]
    if not docker_ok("buildx", "version"):
        os.environ.setdefault("DOCKER_BUILDKIT", "0")
    if parent:
        argv += ["--build-arg", f"PARENT={parent}"]
    for key, value in (labels or {}).items():
        argv += ["--label", f"{key}={value}"]
    for tag in tags:
        argv += ["--tag", tag]
    run([*argv, str(folder)])


@contextmanager
def ubuntu_sources() -> Iterator[list[str]]:
    """Arguments of mmdebstrap for Ubuntu; its keyring is there as long as it works."""
    url, digest = UBUNTU_KEYRING
    with tempfile.TemporaryDirectory() as folder, urllib.request.urlopen(url, timeout=60) as answer:
        package = Path(folder, "keyring.deb")
        package.write_bytes(answer.read())
        if hashlib.sha256(package.read_bytes()).hexdigest() != digest:
            raise LabError(f"{url} is not the file that it was")
        run(["dpkg-deb", "--extract", str(package), folder])
        Path(folder).chmod(0o755)
        keyring, suite = "/usr/share/keyrings/ubuntu-archive-keyring.gpg", SUITES["ubuntu"]
        sources = [
            f"deb [signed-by=KEYRING] {UBUNTU} {suite}{part} main universe" for part in ("", "-updates", "-security")
        ]
        kept = "\\n".join(sources).replace("KEYRING", keyring)
        hook = f"--customize-hook=printf '{kept}\\n' >\"$1/etc/apt/sources.list\""
        yield [hook, suite, "-", *(one.replace("KEYRING", folder + keyring) for one in sources)]


def _bootstrap(name: str, tags: list[str], base: str | None) -> None:
    exceptions = host_apt_exceptions()
    if base and name == "debian":
        docker("pull", "--quiet", base)
        for tag in tags:
            docker("tag", base, tag)
        return
    options = [f"--aptopt={line.strip().rstrip(';')}" for line in exceptions.splitlines()]
    plain = nullcontext([SUITES[name], "-"])
    sources: AbstractContextManager[list[str]] = ubuntu_sources() if name == "ubuntu" else plain
    with sources as more:
        _make_root(name, tags, [*options, *more])


def _make_root(name: str, tags: list[str], arguments: list[str]) -> None:
    maker = subprocess.Popen(
        ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES[name])}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert maker.stdout is not None and maker.stderr is not None
    change = ["--change", 'CMD ["/bin/bash"]', "--change", f"LABEL {LABEL}=image"]
    imported = subprocess.run(
        ["docker", "import", *change, "-", tags[0]], stdin=maker.stdout, capture_output=True, check=False
    )
    errors = maker.stderr.read().decode(errors="replace")
    if maker.wait() != 0:
        docker("rmi", tags[0], check=False)
        raise LabError(f"Unable to make the root {name} with mmdebstrap: {errors[-1500:]}")
    if imported.returncode != 0:
        raise LabError(f"Unable to import the root {name}: {imported.stderr.decode(errors='replace')}")
    for tag in tags[1:]:
        docker("tag", tags[0], tag)


class Images:
    """Builds images on demand, each at most once in a run."""

    def __init__(self, base: str | None = None, guest: str = "machine") -> None:
        self.base = base
        self.guest = guest
        """What guests boot."""
        self._done: dict[str, str] = {}

    def digest(self, name: str) -> str:
        if name == "debian":
            return debian_digest(self.base)
        if name == "ubuntu":
            return root_digest([SUITES[name], PACKAGES[name]])
        if name == "ubuntu-machine":  # what plays the firmware there is that of Debian's
            return folder_digest(LAB_DIR / "images" / name, self.digest(PARENTS[name]), self.digest("machine"))
        return folder_digest(LAB_DIR / "images" / name, self.digest(PARENTS[name]))

    def get(self, name: str) -> str:
        """The reference of an image that is there: built now, before, or in an earlier run."""
        if name in self._done:
            return self._done[name]
        ref = reference(name, self.digest(name))
        if not docker_ok("image", "inspect", ref):
            parent = self.get(PARENTS[name]) if name in PARENTS else None
            if name == "ubuntu-machine":
                self.get("machine")
            tags = [ref, f"{PREFIX}/{name}:latest"]
            with step(f"image {name}"):
                if parent is None:
                    _bootstrap(name, tags, self.base)
                else:
                    docker_build(LAB_DIR / "images" / name, tags, parent)
        docker("tag", ref, f"{PREFIX}/{name}:latest")
        self._done[name] = ref
        return ref
