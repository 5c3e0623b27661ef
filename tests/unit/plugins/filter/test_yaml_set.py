# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.homelab.mediaserver.plugins.filter.yaml_set import yaml_set

TEXT = """\
# a comment
site_domain: example.org # public names
hosts:
  pve: {address: 192.168.1.100, memory: 16G} # the node
  list: [192.168.1.1, other]
  block:
    - one
"""


def test_values_change_and_comments_stay() -> None:
    made = yaml_set(TEXT, {"site_domain": "example.net", "hosts.pve.memory": "24G", "hosts.list": ["a b", 2]})
    assert "site_domain: example.net # public names" in made
    assert "{address: 192.168.1.100, memory: 24G} # the node" in made
    assert yaml.safe_load(made)["hosts"]["list"] == ["a b", 2]
    assert made.startswith("# a comment\n")


def test_parts_of_values_are_renamed_where_nothing_else_was_set() -> None:
    made = yaml.safe_load(yaml_set(TEXT, {"hosts.list.0": "10.0.0.1"}, {"192.168.1.": "192.168.7."}))
    assert made["hosts"]["pve"]["address"] == "192.168.7.100"
    assert made["hosts"]["list"] == ["10.0.0.1", "other"]


@pytest.mark.parametrize(
    "value", ["yes", "1.10", "a: b", "x # y", "", "{a}", "it's", "über", None, True, 3, {"a": [1]}]
)
def test_whatever_is_set_is_read_back(value: object) -> None:
    assert yaml.safe_load(yaml_set(TEXT, {"hosts.pve.memory": value}))["hosts"]["pve"]["memory"] == value


@pytest.mark.parametrize("path", ["site_doman", "hosts.pve.cores", "hosts.list.9", "site_domain.x"])
def test_a_path_that_leads_nowhere_is_an_error(path: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"There is no {path}"):
        yaml_set(TEXT, {path: "x"})


def test_a_block_cannot_be_replaced() -> None:
    with pytest.raises(AnsibleFilterError, match="several lines"):
        yaml_set(TEXT, {"hosts.block": "x"})
