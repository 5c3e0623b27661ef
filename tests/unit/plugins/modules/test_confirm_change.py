# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.homelab.mediaserver.plugins.action import confirm_change as action
from ansible_collections.homelab.mediaserver.plugins.module_utils._deadman import Deadman
from ansible_collections.homelab.mediaserver.plugins.modules import confirm_change
from ansible_collections.homelab.mediaserver.tests.unit.fakes.host_fake import Commands, deadman_in, run_module


@pytest.fixture
def run(tmp_path, monkeypatch):
    deadman_in(tmp_path, confirm_change, monkeypatch=monkeypatch)
    return lambda *changes, check=False: run_module(
        confirm_change, Commands(), {"changes": list(changes)}, monkeypatch, check
    )


@pytest.fixture
def armed(tmp_path):
    deadman = Deadman("ufw", Commands(), str(tmp_path / "revert"), str(tmp_path / "units"))
    (tmp_path / "units").mkdir(exist_ok=True)
    return deadman, {"name": "ufw", "id": deadman.arm(60, [], [])}


def test_missing_arguments(run):
    assert "name and id" in run({"name": "ufw"})["msg"]


def test_nothing_to_confirm(run):
    assert not run(None)["changed"]


def test_check_confirm_again(run, armed):
    deadman, change = armed
    assert run(change, check=True)["changed"]
    assert deadman.pending()
    result = run(change)
    assert result["changed"] and result["confirmed"] == ["ufw"]
    assert not deadman.directory.exists()
    again = run(change)
    assert not again["changed"] and not again.failed, "an answer that got lost may be asked for again"


def test_change_that_went_back_fails_and_is_tidied(run, armed):
    deadman, change = armed
    (deadman.directory / "armed").rename(deadman.directory / "reverted")
    result = run(change)
    assert result.failed and "put back" in result["msg"] and result["failure"]["reverted"] == ["ufw"]
    assert not deadman.directory.exists()


def test_change_of_another_run_is_left_to_it(run, armed):
    deadman, change = armed
    result = run({**change, "id": "0"})
    assert not result["changed"] and not result.failed
    assert deadman.pending()


class Connection:
    def __init__(self):
        self.resets = 0

    def reset(self):
        self.resets += 1


def make_action(monkeypatch, answers, **arguments):
    """The action on a scripted host: too many calls raise StopIteration."""
    script = iter(answers)
    made = action.ActionModule.__new__(action.ActionModule)
    made._task = type("Task", (), {"args": arguments, "async_val": 0, "check_mode": False})()
    made._connection = Connection()
    monkeypatch.setattr(action.ActionBase, "run", lambda *_args: {})
    monkeypatch.setattr(action, "PAUSE", 0)

    def execute(**_options):
        answer = next(script)
        if isinstance(answer, Exception):
            raise answer
        return answer

    made._execute_module = execute
    return made


def test_action_needs_no_connection_without_changes(monkeypatch):
    made = make_action(monkeypatch, [], changes=[None])
    assert made.run() == {"changed": False, "confirmed": [], "reverted": []}
    assert made._connection.resets == 0


def test_action_connects_anew_and_tries_on(monkeypatch):
    answers = [AnsibleConnectionFailure("timed out"), {"unreachable": True, "msg": "refused"}, {"changed": True}]
    made = make_action(monkeypatch, answers, changes=[{"name": "ufw", "id": "1"}])
    assert made.run() == {"changed": True}
    assert made._connection.resets == 3


def test_action_gives_up_in_the_end(monkeypatch):
    clock = iter([0, 50, 100])
    monkeypatch.setattr(action.time, "monotonic", lambda: next(clock))
    lost = AnsibleConnectionFailure("no route")
    made = make_action(monkeypatch, [lost, lost], changes=[{"name": "ufw", "id": "1"}], wait=90)
    result = made.run()
    assert result["failed"] and "no new connection (no route)" in result["msg"] and "ufw" in result["msg"]
