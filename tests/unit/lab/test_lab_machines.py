# SPDX-License-Identifier: MIT
"""Networks, fixed machines and test machines: what Docker is asked for and what the machines are told."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

import pytest
from mediaserver_lab import cli, fixed, layout, machines, networks, node, secrets, test_machines
from mediaserver_lab.shell import LabError

ALL = (layout.LAN, layout.WAN, layout.UPLINK, layout.TEST)
BY_NAME = {machine.name: machine for machine in layout.MACHINES}


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> secrets.Secrets:
    def ssh_key(self: secrets.Secrets, name: str = "id_ed25519") -> tuple[str, str]:
        return f"private {name}", f"ssh-ed25519 {name}"

    monkeypatch.setattr(secrets.Secrets, "ssh_key", ssh_key)
    return secrets.Secrets(tmp_path)


@pytest.mark.parametrize("network", ALL, ids=lambda network: network.name)
def test_automatic_addresses_lie_inside_and_beside_the_fixed_ones(network: layout.Network) -> None:
    subnet, automatic = ipaddress.ip_network(network.subnet), ipaddress.ip_network(network.automatic)
    subnet6, automatic6 = ipaddress.ip_network(network.subnet6), ipaddress.ip_network(network.automatic6)
    assert automatic.subnet_of(subnet) and automatic6.subnet_of(subnet6)  # type: ignore[arg-type]
    fixed_ones = [ipaddress.ip_address(a) for machine in layout.MACHINES for a in machine.addresses]
    for address in [*fixed_ones, ipaddress.ip_address(network.gateway), ipaddress.ip_address(network.gateway6)]:
        assert address not in automatic and address not in automatic6


def test_the_docker_host_hides_no_address_of_lan_and_wan() -> None:
    # it would do so for bridged packets too, and what the outsider sends would seem to come from the LAN
    for network in ALL:
        options = [value for value in networks.create_argv(network) if value.startswith("com.docker.network.bridge.")]
        name = next(value.partition("=")[2] for value in options if "bridge.name" in value)
        assert 0 < len(name) <= 15
        assert (
            f"com.docker.network.bridge.enable_ip_masquerade={str(network not in (layout.LAN, layout.WAN)).lower()}"
            in options
        )


def test_router_forwards_what_the_lab_says_and_drops_the_rest() -> None:
    rules = fixed.nftables_conf()
    for protocol, port in layout.FORWARDS:
        assert f"ip daddr 198.18.77.2 {protocol} dport {port} dnat to 10.77.1.111" in rules
        assert f"ip daddr 10.77.1.111 {protocol} dport {port} ct status dnat accept" in rules
    assert rules.count("policy drop") == 2
    assert rules.count("dnat to") == len(layout.FORWARDS)
    assert "flush ruleset" not in rules


def test_machines_of_the_lan_leave_through_the_router_and_the_outsider_knows_the_way_in() -> None:
    for name in ("pve", "registry", "lan-client"):
        assert [route["via"] for route in fixed.routes(BY_NAME[name])] == ["10.77.1.1", "fd77:77:1::1"]
    ways = {(route["to"], route["via"]) for route in fixed.routes(BY_NAME["outsider"])}
    assert [route["via"] for route in fixed.routes(BY_NAME["router"])] == ["198.18.77.1", "fd77:77:2::1"]
    assert {("10.77.1.0/24", "198.18.77.2"), ("fd77:77:1::/64", "fd77:77:2::2")} <= ways


def test_descriptions_carry_user_keys_and_addresses(keys: secrets.Secrets) -> None:
    told = fixed.description(BY_NAME["router"], keys)
    assert [interface["name"] for interface in told["interfaces"]] == ["lan0", "wan0"]
    assert told["interfaces"][1]["addresses"] == ["198.18.77.2/24", "fd77:77:2::2/64"]
    assert told["instance"]["ssh_keys"] == ["ssh-ed25519 id_ed25519"]
    assert told["instance"]["host_keys"]["ed25519"]["public"] == "ssh-ed25519 lab/host_keys/router"
    assert told["instance"]["root_ssh_keys"] == []
    assert fixed.description(BY_NAME["pve"], keys)["instance"]["root_ssh_keys"] == ["ssh-ed25519 id_ed25519"]


def test_only_the_node_gets_the_docker_socket_and_only_the_registry_is_published() -> None:
    for machine in layout.MACHINES:
        found = fixed.container(machine, "image")
        assert ("/var/run/docker.sock" in found.binds) is (machine.name == "pve")
        assert bool(found.publish) is (machine.name == "registry")
        assert all(port.startswith("127.0.0.1:") for port in found.publish)


@pytest.mark.parametrize(("version", "expected"), [("1", "--cgroupns=host"), ("2", "--cgroupns=private")])
def test_containers_are_machines_without_being_privileged(version: str, expected: str) -> None:
    container = machines.Container("n", "i", "vm", "lan", "10.77.1.9", memory=512, volumes={"v": "/d"})
    argv = machines.create_argv(container, version)
    assert expected in argv and "--privileged" not in argv
    assert argv[-1] == "i"
    assert argv[argv.index("--ip") + 1] == "10.77.1.9"
    assert argv[argv.index("--memory") + 1] == argv[argv.index("--memory-swap") + 1] == "512m"
    assert f"{layout.LABEL}=vm" in argv
    assert "--ip6" not in argv


def test_the_node_runs_the_api_with_the_labs_driver_and_its_token() -> None:
    files = node.programs("secret-token", "8.4")
    unit = files["/etc/systemd/system/pveproxy.service"][0].decode()
    assert "--release 8.4" in unit and "--driver mediaserver_lab.driver:ContainerDriver" in unit
    assert "secret-token" not in unit
    content, mode = files[node.TOKEN_FILE]
    assert mode == 0o600
    assert json.loads(content)["tokens"]["automation@pve!mediaserver"]["value"] == "secret-token"
    assert f"{node.PROGRAMS}/fake_pve/__main__.py" in files
    assert f"{node.PROGRAMS}/mediaserver_lab/driver.py" in files


def test_pinning_replaces_a_hosts_line_and_keeps_the_others() -> None:
    text = "10.77.1.101 ssh-ed25519 GUEST\n10.77.1.1 ssh-ed25519 OLD\n"
    assert secrets.pinned(text, [("10.77.1.1", "ssh-ed25519 NEW comment"), ("10.77.1.5", "ssh-ed25519 FIVE")]) == (
        "10.77.1.101 ssh-ed25519 GUEST\n10.77.1.1 ssh-ed25519 NEW\n10.77.1.5 ssh-ed25519 FIVE\n"
    )


def test_secrets_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    made = secrets.Secrets(tmp_path / "s")
    token = made.token()
    assert made.token() == token
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "s" / "pve_token_secret").stat().st_mode & 0o777 == 0o600


def test_inventory_of_test_machines_checks_host_keys() -> None:
    found = json.loads(test_machines.inventory_text({"one": "10.77.3.130"}, Path("/s")))["all"]
    assert found["hosts"] == {"one": {"ansible_host": "10.77.3.130"}}
    assert "StrictHostKeyChecking=yes" in found["vars"]["ansible_ssh_common_args"]


def test_disks_of_test_machines(keys: secrets.Secrets) -> None:
    told = test_machines.description("one", 131, keys, [test_machines.bytes_of("500M"), test_machines.bytes_of("1G")])
    assert [(disk["device"], disk["bytes"]) for disk in told["disks"]] == [
        ("/dev/sdb", 500 << 20),
        ("/dev/sdc", 1 << 30),
    ]
    other = test_machines.description("two", 132, keys, [1, 1, 1, 1, 1, 1, 1])
    assert not {disk["loop"] for disk in told["disks"]} & {disk["loop"] for disk in other["disks"]}
    with pytest.raises(LabError, match="500M or 4G, not 4T"):
        test_machines.bytes_of("4T")


def test_errors_of_the_lab_are_one_message(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object) -> None:
        raise LabError("no Docker here")

    monkeypatch.setattr(cli, "status", broken)
    assert cli.main(["status"]) == 1
    assert capsys.readouterr().out.strip() == "lab: no Docker here"
