#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The recovery kit, where no inventory is: open one, or show the passphrase of the kit that an inventory makes.

tools/recovery_kit.py open KIT INVENTORY      put the inventory back; asks for the passphrase (or reads one line)
tools/recovery_kit.py passphrase INVENTORY    show it, on a terminal only
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "playbooks" / "collections"))

from ansible.parsing.vault import VaultSecret
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import recovery_kit, vault


def typed_passphrase() -> str:
    """From the terminal without an echo, else one line of standard input: never an argument, which `ps` shows."""
    text = getpass.getpass("The kit's passphrase: ") if sys.stdin.isatty() else sys.stdin.readline()
    return recovery_kit.plain_words(text)


def open_kit(kit: Path, inventory: Path) -> str:
    if not kit.is_file():
        raise recovery_kit.KitError(f"Unable to open the kit: there is no file {kit}. Say where it is: KIT=…")
    files, about = recovery_kit.unpack(recovery_kit.unseal(kit.read_bytes(), typed_passphrase()))
    if not recovery_kit.put_back(files, inventory):
        return f"{inventory} is there already, just as in the kit"
    source = " at ".join(filter(None, (str(about.get("source") or ""), str(about.get("commit") or "")[:12])))
    return (
        f"{inventory} is back: {len(files)} files of the site {about['site']}.\n"
        f"Made by homelab.mediaserver {about.get('version')}{f' ({source})' if source else ''}; "
        f"docs/guides/disaster.md says what comes next."
    )


def passphrase(inventory: Path) -> str:
    if not sys.stdout.isatty():
        raise recovery_kit.KitError("The passphrase is shown on a terminal only, so that no log keeps it")
    told = os.environ.get("ANSIBLE_VAULT_PASSWORD_FILE")
    given = (VaultSecret(Path(told).read_bytes().strip()),) if told else ()
    found = vault.Store(inventory / recovery_kit.SECRETS, given).load().get("recovery_kit.passphrase")
    if not found:
        raise recovery_kit.KitError("There is no recovery kit yet: make recovery-kit")
    return "\n".join(f"  {number}. {word}" for number, word in enumerate(found.split("-"), start=1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    opening = verbs.add_parser("open")
    opening.add_argument("kit", type=Path)
    opening.add_argument("inventory", type=Path)
    verbs.add_parser("passphrase").add_argument("inventory", type=Path)
    options = parser.parse_args()
    try:
        print(open_kit(options.kit, options.inventory) if options.verb == "open" else passphrase(options.inventory))
    except (recovery_kit.KitError, vault.VaultError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
