# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _compose
from ansible_collections.homelab.mediaserver.plugins.module_utils._compose import (
    Container,
    Host,
    Network,
    Project,
    Unit,
)

ROOT = "/o"
GOOD = Unit(exists=True, active=True, enabled=True)


def container(project="a", service="main", state="running", status="Up 2 hours (healthy)", digest="d1"):
    return Container(f"{project}-{service}-1", project, service, state, status, digest, f"{ROOT}/{project}")


def project(name="a", **more):
    return Project(
        name, f"{ROOT}/{name}", **{"digest": "d1", "containers": ("main",), "unit": f"{name}.service", **more}
    )


def host(*containers, **more):
    return Host(list(containers), units={f"{n}.service": GOOD for n in "abc"}, **more)


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ([container()], ""),
        ([container(status="Up 2 hours")], ""),
        ([container(status="Up 2 seconds (health: starting)")], ""),
        ([], "not running"),
        ([container(project="b")], "not running"),
        ([container(digest="d0")], "changed"),
        ([container(), container(service="db", digest="d0")], "changed"),
        ([container(service="db")], "without main"),
        ([container(state="exited", status="Exited (0) 2 hours ago")], "main exited"),
        ([container(state="created", status="Created")], "main created"),
        ([container(state="restarting", status="Restarting (1) 2 seconds ago")], "main restarting"),
        ([container(status="Up 2 hours (unhealthy)")], "main unhealthy"),
        ([container(state="paused", status="Up 2 hours (Paused)")], "main paused"),
        ([container(), container(service="init", state="exited", status="Exited (0) 2 hours ago")], ""),
    ],
)
def test_reason(containers, expected):
    assert _compose.reason(project(), containers) == expected


def test_a_project_without_digest_or_with_restored_files_is_started():
    assert _compose.reason(project(digest=""), [container(digest="")]) == "changed"
    assert _compose.reason(project(stale=True), [container()]) == "started from other files"


def names(work):
    return [p.name for p in work.up]


def test_nothing_to_do():
    work = _compose.plan([project()], [], host(container()), ROOT)
    assert work == _compose.Work()


def test_brings_up_only_what_differs_and_waits_for_what_starts():
    containers = [container(), container("b", digest="d0"), container("c", status="Up 1 second (health: starting)")]
    work = _compose.plan([project(n) for n in "abc"], [], host(*containers), ROOT)
    assert names(work) == ["b"]
    assert [p.name for p in work.wait] == ["c"]


def test_removes_what_was_started_from_its_root_and_nothing_else():
    other = Container("x-main-1", "x", "main", "running", "Up 1 hour", "", "/home/somebody/x")
    work = _compose.plan([project()], [], host(container(), container("b"), other), ROOT)
    assert work.remove == ["b"]


def test_only_never_removes_and_never_looks_at_others():
    present = host(container("b"), container("c", digest="d0"), networks={"mediaserver-old": "10.0.0.0/24"})
    work = _compose.plan([project("a"), project("c")], [], present, ROOT, ["a"])
    assert (names(work), work.remove, work.drop_networks) == (["a"], [], [])


def test_units():
    present = host(container(), container("b"), container("c"))
    present.units = {"a.service": Unit(True, False, True), "b.service": Unit(True, True, False), "c.service": Unit()}
    work = _compose.plan([project(n) for n in "abc"], [], present, ROOT)
    assert work.start == ["a.service", "c.service"]
    assert work.enable == ["b.service", "c.service"]
    assert work.reload


def test_the_unit_of_a_project_that_is_brought_up_starts_after_it():
    present = host()
    present.units = {}
    work = _compose.plan([project()], [], present, ROOT)
    assert (names(work), work.start, work.enable) == (["a"], [], ["a.service"])


def test_networks():
    shared = Network("mediaserver-mon", "10.1.0.0/24")
    one = project(networks=("mon",))
    assert _compose.plan([one], [shared], host(container()), ROOT).make_networks == [shared]
    same = host(container(), networks={"mediaserver-mon": "10.1.0.0/24"})
    assert _compose.plan([one], [shared], same, ROOT) == _compose.Work()

    moved = host(
        container(), container("b"), networks={"mediaserver-mon": "10.2.0.0/24", "mediaserver-old": "10.3.0.0/24"}
    )
    work = _compose.plan([one, project("b")], [shared], moved, ROOT)
    assert work.down == ["a"]
    assert names(work) == ["a"]
    assert work.drop_networks == ["mediaserver-mon", "mediaserver-old"]
    assert work.make_networks == [shared]

    limited = _compose.plan([one, project("b")], [shared], moved, ROOT, ["a"])
    assert (limited.drop_networks, limited.make_networks, names(limited)) == ([], [], [])
    assert "mediaserver-mon" in limited.warnings[0]


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ([container()], (True, None)),
        ([container(status="Up 1 second")], (False, None)),
        ([container(status="Up Less than a second")], (False, None)),
        ([container(status="Up 5 seconds")], (True, None)),
        ([container(status="Up 1 second (health: starting)")], (False, None)),
        ([], (False, None)),
    ],
)
def test_verdict(containers, expected):
    assert _compose.verdict(project(), containers) == expected


def test_verdict_names_the_unhealthy_one():
    sick = container(status="Up 1 minute (unhealthy)")
    assert _compose.verdict(project(), [container(service="db"), sick]) == (False, sick)


def test_environment():
    text = "# x\nMEDIASERVER_DIGEST=abc\nEMPTY=\nA = b=c\n"
    assert _compose.parse_environment(text) == {"MEDIASERVER_DIGEST": "abc", "EMPTY": "", "A": "b=c"}
