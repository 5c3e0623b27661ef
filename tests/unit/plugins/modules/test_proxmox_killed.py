# SPDX-License-Identifier: MIT
"""A run that is killed before any of its writes leaves what the next one brings to the end of an undisturbed one."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve.errors import ApiError
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve.cases import CASES, LONG

VOLATILE = ("tasks", "counter")


def state(lab):
    files = sorted(str(path.relative_to(lab.root)) for path in lab.root.rglob("*") if path.is_file())
    return {key: value for key, value in lab.world.data.items() if key not in VOLATILE}, files


@pytest.mark.parametrize(
    ("case", "release"),
    [
        pytest.param(case, release, id=f"{case.name}-{number}-{release}")
        for number, case in enumerate([*CASES, *LONG])
        if case.writes
        for release in case.releases
    ],
)
def test_killed_before_each_write_converges(case, release, tmp_path, cert):
    with harness.lab(tmp_path, release, cert) as lab:
        empty = copy.deepcopy(lab.world.data)

        def run(fail_at=None):
            """(result, number of writes); the write of that number and all after it are refused."""
            count = 0

            def fault(method, _path):
                nonlocal count
                if method == "GET":
                    return None
                count += 1
                return ApiError(500, "killed") if fail_at is not None and count > fail_at else None

            lab.service.fault = fault
            return lab.run(case.module, **case.arguments), count

        def start():
            lab.service.fault = None
            lab.world.data = copy.deepcopy(empty)
            case.before(lab)

        start()
        done, writes = run()
        assert done["changed"] and not done.get("failed"), done
        end = copy.deepcopy(state(lab))
        quiet, count = run()
        assert not quiet["changed"] and count == 0, quiet["steps"]
        for fail_at in range(writes):
            start()
            killed, _count = run(fail_at)
            assert killed.get("failed") and "killed" in killed["msg"], killed
            again, _count = run()
            assert not again.get("failed"), (fail_at, killed["msg"], again["msg"])
            assert state(lab) == end, (fail_at, killed["msg"])
