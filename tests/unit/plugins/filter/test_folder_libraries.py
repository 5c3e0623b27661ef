# SPDX-License-Identifier: MIT
from __future__ import annotations

from ansible_collections.homelab.mediaserver.plugins.filter.folder_libraries import FilterModule, folder_libraries


def test_what_is_not_said_is_left_out() -> None:
    folders = [
        {"name": "Family", "path": "/mnt/photographs/family", "read_only": True},
        {"name": "Ann", "path": "/mnt/photographs/ann", "read_only": True, "owner": "ann@example.org", "exclude": []},
    ]
    assert folder_libraries(folders) == [
        {"name": "Family", "paths": ["/mnt/photographs/family"]},
        {"name": "Ann", "paths": ["/mnt/photographs/ann"], "owner": "ann@example.org", "exclude": []},
    ]
    assert FilterModule().filters() == {"folder_libraries": folder_libraries}
