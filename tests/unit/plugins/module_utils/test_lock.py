# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils._lock import lock
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

HOLDER = """
import sys, time, pathlib
from ansible_collections.homelab.mediaserver.plugins.module_utils._lock import lock
with lock("x", folder=pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()


def test_names_the_holder_after_the_timeout(tmp_path, holder):
    begun = time.monotonic()
    with pytest.raises(Failure) as caught, lock("x", timeout=0.5, folder=tmp_path):
        pass
    assert time.monotonic() - begun >= 0.5
    assert str(caught.value).startswith(
        f"Unable to lock x: process {holder.pid} still holds {tmp_path}/mediaserver-x.lock"
    )
    assert caught.value.details["holder"] == str(holder.pid)


def test_other_names_do_not_wait(tmp_path, holder):
    with lock("y", timeout=0, folder=tmp_path):
        assert (tmp_path / "mediaserver-y.lock").read_text() == f"{os.getpid()}\n"


def test_a_killed_holder_holds_nothing(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with lock("x", timeout=0, folder=tmp_path):
        assert (tmp_path / "mediaserver-x.lock").read_text() == f"{os.getpid()}\n"


def test_waits_for_a_holder_that_ends(tmp_path, holder):
    subprocess.Popen(["sh", "-c", f"sleep 0.4; kill -9 {holder.pid}"]).wait()
    with lock("x", timeout=5, folder=tmp_path):
        holder.wait()
    with lock("x", timeout=0, folder=tmp_path):
        pass
