# SPDX-License-Identifier: MIT
"""Commands of modules: all of their output, and a clear word when one is not installed."""

from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _command
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure


def test_all_that_a_command_writes_is_read():
    script = "printf 'ü\\377'; sleep 1.3; echo late; echo bad >&2; exit 3"
    code, output, errors = _command.execute(["/bin/sh", "-c", script])
    assert (code, output, errors) == (3, "ü\udcfflate\n", "bad\n")


def test_it_speaks_english_waits_for_no_input_and_expands_nothing():
    script = 'echo "$LC_ALL $MORE $1"; cat'
    assert _command.execute(["/bin/sh", "-c", script, "-", "~$HOME"], MORE="more")[1] == "C more ~$HOME\n"


def test_a_command_that_is_not_installed():
    with pytest.raises(FileNotFoundError):
        _command.execute(["/none/zfs"])
    with pytest.raises(Failure, match="Unable to run /none/zfs: it is not installed"):
        _command.run(["/none/zfs"])
