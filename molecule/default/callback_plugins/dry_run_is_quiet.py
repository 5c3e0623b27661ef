# SPDX-License-Identifier: MIT
"""Fails molecule's `check` step after `converge` when it would change something. Before `converge` it may."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from ansible import context
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: dry_run_is_quiet
type: aggregate
short_description: A dry run on a configured machine reports no change
description: Ends ansible-playbook with an error when a dry run after molecule's converge step reports a change.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "dry_run_is_quiet"

    def v2_playbook_on_stats(self, stats: Any) -> None:
        state = Path(os.environ.get("MOLECULE_STATE_FILE", "/nonexistent"))
        if not context.CLIARGS.get("check") or not state.exists():
            return
        if (yaml.safe_load(state.read_text()) or {}).get("converged") and any(stats.changed.values()):
            self._display.error(f"A dry run on a configured machine would change something: {dict(stats.changed)}")
            # Ansible swallows ordinary exceptions of callbacks
            raise SystemExit(3)
