# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import container_firewall
from ansible_collections.homelab.mediaserver.tests.unit.fakes.host_fake import (
    Commands,
    deadman_in,
    files_below,
    run_module,
)

FILMS = {"from": "192.168.1.0/24", "port": 8096, "service": "films"}
PHOTOS = {"from": "any", "port": 2283, "service": "photos"}


class Nft(Commands):
    """The kernel holds the text of the file that was loaded last."""

    def __init__(self) -> None:
        super().__init__()
        self.table: str | None = None

    def call(self, argv):
        if argv[:2] == ["nft", "-j"]:
            self.read(*argv)
            if self.table is None:
                return 1, "", "Error: No such file or directory\nlist table inet mediaserver"
            return json.dumps({"nftables": [{"table": {"name": self.table}}]})
        if argv[:3] == ["nft", "-c", "-f"]:
            assert Path(argv[3]).exists()
            return 0
        if argv[:2] == ["nft", "-f"]:
            self.write(*argv)
            self.table = Path(argv[2]).read_text()
            return 0
        return None


@pytest.fixture
def nft(tmp_path, monkeypatch):
    monkeypatch.setattr(container_firewall, "FILE", str(tmp_path / "etc/containers.nft"))
    monkeypatch.setattr(container_firewall, "LOADED", str(tmp_path / "var/containers.loaded"))
    monkeypatch.setattr(container_firewall, "UNIT_FILE", str(tmp_path / "firewall.service"))
    deadman_in(tmp_path, container_firewall, monkeypatch=monkeypatch)
    return Nft()


@pytest.fixture
def run(nft, monkeypatch):
    def go(check=False, **args):
        return run_module(container_firewall, nft, {"revert_after": 0, **args}, monkeypatch, check)

    return go


def test_missing_arguments(run):
    assert run().failed
    assert run(rules=[{"from": "any"}]).failed


def test_check_create_again_update(run, nft, tmp_path):
    before = files_below(tmp_path)
    checked = run(check=True, rules=[FILMS])
    assert checked["changed"]
    assert files_below(tmp_path) == before

    created = run(rules=[FILMS])
    assert created["steps"] == checked["steps"]
    assert "192.168.1.0/24 . tcp . 8096" in nft.table
    assert container_firewall.UNIT_NAME in nft.enabled

    for check in (True, False):
        again = run(check=check, rules=[FILMS])
        assert not again["changed"]
        assert len(nft.reads) == 2 and not nft.writes

    assert run(rules=[])["changed"]
    assert "8096" not in nft.table


def test_flushed_table_comes_back(run, nft):
    run(rules=[FILMS])
    nft.table = None
    assert run(check=True, rules=[FILMS])["diff"]["before"]["loaded"] == "no"
    assert run(rules=[FILMS])["steps"] == ["load the table"]


def test_foreign_change_of_the_table_is_undone(run, nft):
    run(rules=[FILMS])
    wanted, nft.table = nft.table, nft.table.replace("drop", "accept")
    assert run(rules=[FILMS])["diff"]["before"]["loaded"] == "differs"
    assert nft.table == wanted


def test_run_killed_before_loading_converges(run, nft, tmp_path):
    run(rules=[FILMS])
    run(rules=[PHOTOS])
    new, nft.table = nft.table, "the former table"
    result = run(rules=[PHOTOS])
    assert result["changed"] and nft.table == new


def test_rules_wait_for_their_marker(run, nft, tmp_path):
    marked = {**FILMS, "marker": str(tmp_path / "marker")}
    assert [rule["port"] for rule in run(rules=[marked, PHOTOS])["waiting"]] == [8096]
    assert "8096" not in nft.table
    (tmp_path / "marker").touch()
    assert run(rules=[marked, PHOTOS])["waiting"] == []
    assert "8096" in nft.table
    (tmp_path / "marker").unlink()
    run(rules=[marked, PHOTOS])
    assert "8096" not in nft.table, "lost data closes the port again"


def test_only_leaves_other_services_alone(run, nft):
    run(rules=[FILMS, PHOTOS])
    run(rules=[{**FILMS, "port": 1}, {**PHOTOS, "port": 2}], only=["films"])
    assert "tcp . 1," in nft.table and "tcp . 2283," in nft.table and "tcp . 2," not in nft.table


def test_arms_first_and_the_revert_removes_what_was_not_there(run, nft, tmp_path):
    result = run(rules=[FILMS], revert_after=60)
    assert result["revert"]["name"] == "containers"
    script = (tmp_path / "revert/containers/revert").read_text()
    assert "nft delete table inet mediaserver" in script
    assert nft.writes.index("systemctl restart mediaserver-revert-containers.timer") < next(
        number for number, line in enumerate(nft.writes) if line.startswith("nft -f")
    )


def test_never_the_distribution_s_nftables_service(run, nft):
    run(rules=[FILMS])
    assert not any(" nftables" in line for line in nft.writes)


def test_rules_that_nft_refuses_replace_nothing(run, nft, tmp_path):
    run(rules=[FILMS])
    before = files_below(tmp_path)
    nft.fail["nft -c"] = "Error: syntax error"
    result = run(rules=[PHOTOS])
    assert result["msg"] == "Unable to check the rules for containers: Error: syntax error"
    assert files_below(tmp_path) == before


def test_failure_to_list_is_no_missing_table(run, nft):
    nft.fail["nft -j"] = "Operation not permitted"
    assert run(rules=[FILMS])["msg"] == "Unable to list the table inet mediaserver: Operation not permitted"
