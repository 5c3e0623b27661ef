# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands on the host, whose whole output comes back.

Not AnsibleModule.run_command: that looks for output once a second, and loses what a command writes between such a look
and its end (https://github.com/ansible/ansible/issues/51393; seen on a slow machine). A list of datasets, containers or
rules that came out empty would be taken for none. It also expands ``~`` and ``$NAME`` in arguments.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure


def execute(argv: Sequence[str], **environment: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command, in English. FileNotFoundError when it is not installed."""
    words = [word.encode("utf-8", "surrogateescape") for word in argv]
    variables = {**os.environ, "LC_ALL": "C", **environment}
    # pylint: disable-next=ansible-bad-function
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, env=variables, check=False)
    out, err = (text.decode("utf-8", "surrogateescape") for text in (done.stdout, done.stderr))
    return done.returncode, out, err


def run(argv: Sequence[str], **environment: str) -> tuple[int, str, str]:
    """The same; Failure when it is not installed."""
    try:
        return execute(argv, **environment)
    except FileNotFoundError as error:
        raise Failure(f"Unable to run {argv[0]}: it is not installed", argv=list(argv)) from error
