# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import packages
from ansible_collections.homelab.mediaserver.tests.unit.fakes.host_fake import Commands, run_module


class Dpkg(Commands):
    def __init__(self, **states: str) -> None:
        super().__init__()
        self.states = states

    def call(self, argv):
        if argv[0] == "dpkg-query":
            self.read(*argv)
            known = [name for name in argv[3:] if name in self.states]
            out = "".join(f"{name}\t{self.states[name]}\n" for name in known)
            return (0 if len(known) == len(argv[3:]) else 1), out, ""
        self.write(*argv)
        if "install" in argv:
            self.states.update(dict.fromkeys(argv[argv.index("install") + 1 :], "installed"))
        return 0


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "LISTS", str(tmp_path))

    def go(fake, *names, check=False, **args):
        return run_module(packages, fake, {"names": list(names), **args}, monkeypatch, check)

    return go


def test_missing_arguments(run):
    assert "not names of packages" in run(Dpkg(), "-o=x")["msg"]


def test_check_install_again(run):
    fake = Dpkg(ufw="installed")
    checked = run(fake, "ufw", "nftables", check=True)
    assert checked["missing"] == ["nftables"]
    created = run(fake, "ufw", "nftables")
    assert created["steps"] == checked["steps"] == ["renew the package lists", "install nftables"]
    assert fake.writes[-1].endswith("--no-install-recommends install nftables")
    for check in (True, False):
        assert not run(fake, "ufw", "nftables", check=check)["changed"]
        assert len(fake.reads) == 1


def test_fresh_lists_are_not_renewed(run, tmp_path):
    (tmp_path / "deb_Packages").touch()
    assert run(Dpkg(), "ufw", check=True)["steps"] == ["install ufw"]
    assert run(Dpkg(), "ufw", check=True, lists_valid_for=-1)["steps"][0] == "renew the package lists"


def test_half_installed_package_is_finished(run):
    steps = run(Dpkg(ufw="half-configured"), "ufw", check=True)["steps"]
    assert steps[0] == "finish what dpkg has left half done"


def test_removed_package_is_installed_again(run):
    assert run(Dpkg(ufw="config-files"), "ufw", check=True)["steps"][-1] == "install ufw"


def test_one_architecture_is_enough():
    assert packages.parse_states("libc6\tinstalled\nlibc6\tnot-installed\n") == {"libc6": "installed"}


def test_recommended_packages_on_demand(run):
    fake = Dpkg()
    run(fake, "ufw", recommends=True)
    assert "--no-install-recommends" not in fake.writes[-1]


def test_failures(run):
    fake = Dpkg()
    fake.fail["apt-get --quiet --yes -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold update"] = (
        "no network"
    )
    assert run(fake, "ufw")["msg"] == "Unable to renew the package lists: no network"


def test_nothing_asked(run):
    assert not run(Dpkg())["changed"]
