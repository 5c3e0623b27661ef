# SPDX-License-Identifier: MIT
"""make new: questions, answers, and what they change in the reference inventories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.homelab.mediaserver.plugins.filter.yaml_set import find, yaml_set
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import environment

ROOT = Path(__file__).resolve().parents[4]
QUESTIONS = yaml.safe_load((ROOT / "playbooks/vars/questions.yml").read_text())["new_questions"]
SYSTEMS = yaml.safe_load((ROOT / "playbooks/new_environment.yml").read_text())[0]["vars"]["__new_systems"]


def value_in(system: str, file: str, path: str) -> str:
    text = (ROOT / "inventories" / system / file).read_text()
    return str(find(yaml.compose(text, Loader=yaml.SafeLoader), path).value)


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_default_is_what_the_reference_inventory_says(system: str) -> None:
    targets = 0
    for question in environment.asked(QUESTIONS, system):
        for file, paths in question.get("sets", {}).items():
            for path in paths:
                assert value_in(system, file, path) == question["default"], f"{question['name']}: {path}"
                targets += 1
    assert targets >= 8


@pytest.mark.parametrize("system", SYSTEMS)
def test_answers_change_their_values_and_nothing_else(system: str) -> None:
    answers = {"domain": "films.example.net", "lan": "10.20.30.0/24", "memory": "32G"}
    made = environment.changes(QUESTIONS, system, answers, "mine")
    for file in ("hosts.yml", "group_vars/all/site.yml"):
        old = (ROOT / "inventories" / system / file).read_text()
        new = yaml_set(old, made.values.get(file, {}), made.rename)
        assert yaml.safe_load(old).keys() == yaml.safe_load(new).keys()
        assert [line.partition("#")[2] for line in old.splitlines()] == [
            line.partition("#")[2] for line in new.splitlines()
        ]
        assert "192.168.1." not in "".join(str(value) for value in leaves(yaml.safe_load(new)))
        if file == "hosts.yml":
            paths = next(one for one in environment.asked(QUESTIONS, system) if one["name"] == "memory")["sets"][file]
            assert {find(yaml.compose(new, Loader=yaml.SafeLoader), path).value for path in paths} == {"32G"}
        else:
            assert yaml.safe_load(new)["site_domain"] == "films.example.net"
            assert yaml.safe_load(new)["site_email"] == "admin@films.example.net"
            assert yaml.safe_load(new)["site_name"] == "mine"


def leaves(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [leaf for value in tree.values() for leaf in leaves(value)]
    if isinstance(tree, list):
        return [leaf for value in tree for leaf in leaves(value)]
    return [tree]


def test_no_answer_leaves_everything_but_the_name() -> None:
    made = environment.changes(QUESTIONS, "homelab", {"domain": "", "email": " "}, "mine")
    assert made == environment.Changes(values={"group_vars/all/site.yml": {"site_name": "mine"}})


def test_a_password_goes_into_the_vault_only() -> None:
    made = environment.changes(QUESTIONS, "homelab", {"dyndns_password": "very-secret"}, "mine")
    assert made.secrets == {"ddclient.password": "very-secret"}
    assert "very-secret" not in str(made.values)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"domian": "x"}, "Did you mean domain"),
        ({"lan": "192.168.1.0/16"}, "lan: '192.168.1.0/16' is no network of three numbers"),
        ({"lan": "home"}, "as in 192.168.178.0/24"),
        (
            {"lan": "10.0.0.0/24", "node": "192.168.1.100"},
            "node: '192.168.1.100' is not in the network of your home, 10.0.0.0/24",
        ),
    ],
)
def test_an_answer_that_cannot_be_used_is_named(answers: dict[str, str], words: str) -> None:
    with pytest.raises(environment.AnswerError, match=words):
        environment.changes(QUESTIONS, "homelab", answers, "mine")


def test_what_one_system_does_not_ask_is_unknown_there() -> None:
    with pytest.raises(environment.AnswerError, match="No question of single-vm is called 'ssd'"):
        environment.changes(QUESTIONS, "single-vm", {"ssd": "/dev/x"}, "mine")
