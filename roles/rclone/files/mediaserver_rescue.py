# SPDX-License-Identifier: MIT
"""Before a mount by rclone: send what a killed rclone left in its cache and would itself forget.

    mediaserver_rescue.py CACHE REMOTE

A bucket knows no empty folders. A new file in a new folder that had not reached the bucket when rclone died lies in the
cache, but rclone (1.60) does not find its folder again, says "failed to reload item" and never sends it. Such files are
copied here. Only whole ones that the far side has not got: what is there already rclone goes on with by itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def waiting(cache: Path, remote: str) -> list[str]:
    """Files, by their names below the remote, that were written, all of it, and not sent."""
    name, _colon, folder = remote.partition(":")
    top = Path(name, folder.strip("/"))
    found = []
    for path in sorted((cache / "vfsMeta" / top).rglob("*")):
        try:
            item = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except (OSError, ValueError):
            continue  # torn when rclone died: it begins such an item anew
        data = cache / "vfs" / path.relative_to(cache / "vfsMeta")
        size = item.get("Size", 0)
        whole = size == 0 or item.get("Rs") == [{"Pos": 0, "Size": size}]
        if item.get("Dirty") and whole and data.is_file() and data.stat().st_size == size:
            found.append(path.relative_to(cache / "vfsMeta" / top).as_posix())
    return found


def main() -> int:
    cache, remote = Path(sys.argv[1]), sys.argv[2]
    names = waiting(cache, remote)
    if not names:
        return 0
    name, _colon, folder = remote.partition(":")
    source = cache / "vfs" / name / folder.strip("/")
    argv = ["/usr/bin/rclone", "copy", "--ignore-existing", "--no-traverse", "--files-from-raw", "-"]
    argv += [str(source), remote]
    done = subprocess.run(argv, input="".join(f"{one}\n" for one in names), text=True, check=False)
    print(f"{len(names)} files of the cache were looked for at {remote}, rclone ended with {done.returncode}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
