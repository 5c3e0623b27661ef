# SPDX-License-Identifier: MIT
"""A stand-in for rclone: answers `config providers` with what the real one of a version said, `config dump` from the
file. The real rclone is in tests/integration/test_rclone_remotes.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _rclone_crypt as crypt
from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_file import Document
from ansible_collections.homelab.mediaserver.tests.unit.fakes.host_fake import Commands

PROVIDERS = json.loads(Path(__file__).with_name("rclone_providers.json").read_text())


class Rclone(Commands):
    def __init__(self, version: str) -> None:
        super().__init__()
        self.version = version
        self.calls: list[list[str]] = []
        self.answers: dict[str, Any] = {}

    def __call__(self, argv: list[str], **environment: str) -> tuple[int, str, str]:
        self.environment = environment
        return super().__call__(argv, **environment)

    def call(self, argv: list[str]) -> Any:
        self.calls.append(argv)
        program, flag, path, ask, *words = argv
        assert (program, flag, ask) == ("rclone", "--config", "--ask-password=false")
        name = " ".join(words)
        if name in self.answers:
            return self.answers[name]
        if name == "config providers":
            return json.dumps(PROVIDERS[self.version])
        if name == "config dump":
            text = Path(path).read_text()
            if crypt.is_encrypted(text):
                text = crypt.decrypt_file(text, self.environment.get("RCLONE_CONFIG_PASS"))
            return json.dumps(Document.parse(text).sections())
        return None
