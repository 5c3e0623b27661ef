# SPDX-License-Identifier: MIT
"""A host with OpenZFS: zfs, zpool, zdb, blkid and systemctl with a memory. What it prints is taken from recordings of
OpenZFS 2.3.9 (zfs_recorded.json, made by tests/zfs/record.py); the real thing is tested by tests/zfs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _command, _lock, _zfs, _zfs_intent, _zfs_owner
from ansible_collections.homelab.mediaserver.tests.unit.fakes.host_fake import Commands, Result, run_module

RECORDED = json.loads((Path(__file__).parent / "zfs_recorded.json").read_text())
NOT_INHERITED = {"quota", "refquota", "reservation", "refreservation", "volsize", "canmount", "snapshot_limit",
                 "filesystem_limit", "volblocksize", "encryption", "keyformat", "keylocation"}  # fmt: skip
PRINTED = {"posixacl": "posix", "noacl": "off", "gzip-6": "gzip", "secure": "restricted"}


def defaults(record: str) -> dict[str, str]:
    rows = [line.split("\t") for line in RECORDED[record]["out"].splitlines()]
    return {row[1]: row[2] for row in rows if len(row) == 4 and row[3] in ("default", "-")}


DEFAULTS = {"filesystem": defaults("all of a file system"), "volume": defaults("all of a volume")}
SIZES = {"K": 1024, "M": 1024**2, "G": 1024**3}


def error(text: str, code: int = 1) -> tuple[int, str, str]:
    return code, "", f"{text}\n"


class ZfsFake(Commands):
    """``json`` False answers as a version before 2.3 does. ``installed`` False has no OpenZFS at all."""

    def __init__(self, json_status: bool = True) -> None:
        super().__init__()
        self.json_status = json_status
        self.installed = True
        self.pools: dict[str, dict[str, Any]] = {}
        self.exported: dict[str, dict[str, Any]] = {}
        self.datasets: dict[str, dict[str, Any]] = {}
        self.signatures: dict[str, str] = {}
        self.keys: set[str] = set()
        self.kill_after: int | None = None

    # --- the host -----------------------------------------------------------------------------------------------------
    def add_pool(self, name: str, vdevs: list[tuple[str, str, list[str]]] | None = None, **properties: str) -> None:
        self.pools[name] = {"vdevs": vdevs or [("", "disk", ["/dev/x"])], "health": "ONLINE", "states": {},
                            "properties": {"ashift": "12", **properties}}  # fmt: skip
        self.add(name)

    def add(self, name: str, kind: str = "filesystem", **local: str) -> dict[str, Any]:
        mounted = kind == "filesystem" and local.get("canmount", "on") == "on"
        self.datasets[name] = {"type": kind, "local": dict(local), "mounted": mounted, "snapshots": [], "holds": [],
                               "allow": {}}  # fmt: skip
        return self.datasets[name]

    def write(self, *words: str) -> None:
        if self.kill_after is not None:
            if self.kill_after == 0:
                raise KeyboardInterrupt
            self.kill_after -= 1
        super().write(*words)

    def call(self, argv: list[str]) -> Any:
        name = argv[0].rpartition("/")[2]
        options = [word for word in argv[2:] if word.startswith("-")]
        verb = argv[1].replace("-", "_")
        if name == "blkid":
            self.read(*argv)
            found = self.signatures.get(argv[-1])
            return (0, f"DEVNAME={argv[-1]}\n{found}\n", "") if found else (2, "", "")
        if name == "zdb":
            self.read(*argv)
            return f"    ashift: {self.pools[argv[-1]]['real_ashift']}\n"
        reading = verb in ("get", "list", "status") or "-n" in options
        reading |= (name, verb) == ("zpool", "import") and not argv[-1].isdigit()
        reading |= (name, verb) == ("zfs", "allow") and len(argv) == 3
        (self.read if reading else self.write)(name, *argv[1:])
        return getattr(self, f"{name}_{verb}")(argv[2:])

    def show(self, words: list[str], names: list[str]) -> str:
        assert "--property=Id,UnitFileState" in words
        return "\n".join(
            f"Id={name}\nUnitFileState={'enabled' if name in self.enabled else 'disabled'}\n" for name in names
        )

    # --- zfs ----------------------------------------------------------------------------------------------------------
    def value(self, name: str, prop: str) -> tuple[str, str]:
        body = self.datasets[name]
        fixed = {"type": body["type"], "used": "1", "available": "2",
                 "mounted": ("yes" if body["mounted"] else "no") if body["type"] == "filesystem" else "-"}  # fmt: skip
        if prop in fixed:
            return fixed[prop], "-"
        root = self.encryption_root(name)
        if prop == "encryptionroot":
            return root or "-", "-"
        if prop == "keystatus":
            return ("-" if not root else "available" if root in self.keys else "unavailable"), "-"
        if prop == "encryption" and root:
            return self.datasets[root]["local"]["encryption"], "-"
        if prop in body["local"]:
            value = body["local"][prop]
            return PRINTED.get(value, value), "local"
        parts = name.split("/")
        for end in range(len(parts) - 1, 0, -1):
            above = "/".join(parts[:end])
            local = self.datasets[above]["local"]
            if prop in local and prop not in NOT_INHERITED and "quota" not in prop:
                path = prop == "mountpoint" and local[prop].startswith("/")
                value = PRINTED.get(local[prop], local[prop])
                return value + (name.removeprefix(above) if path else ""), f"inherited from {above}"
        if prop == "mountpoint" and body["type"] == "filesystem":
            return f"/{name}", "default"
        if "quota@" in prop or (prop.startswith("default") and prop.endswith("quota")):
            return "0", "local"
        value = DEFAULTS[body["type"]].get(prop, "-")
        return value, "-" if value == "-" else "default"

    def encryption_root(self, name: str) -> str | None:
        tops = [top for top, body in self.datasets.items() if (name == top or name.startswith(f"{top}/"))
                and "encryption" in body["local"]]  # fmt: skip
        return max(tops, key=len, default=None)

    def zfs_get(self, words: list[str]) -> Any:
        where = words.index("-o")
        columns = words[where + 1].split(",")
        rest = words[where + 2 :]
        props, names, missing, rows = rest[0].split(","), rest[1:], [], []
        for prop in props:
            if prop == "quotta":
                return error(RECORDED["unknown property"]["err"], 2)
        if "-r" in words:
            names = [name for name in sorted(self.datasets) for top in names if f"{name}/".startswith(f"{top}/")]
        for name in names:
            if name not in self.datasets:
                missing.append(f"cannot open '{name}': dataset does not exist\n")
                continue
            for prop in props:
                value, source = self.value(name, prop)
                full = {"name": name, "property": prop, "value": value, "source": source}
                rows.append("\t".join(full[column] for column in columns) + "\n")
        return (1 if missing else 0), "".join(rows), "".join(missing)

    def zfs_list(self, words: list[str]) -> Any:
        rows, missing = [], []
        for top in words[words.index("-o") + 2 :]:
            if top not in self.datasets:
                missing.append(f"cannot open '{top}': dataset does not exist\n")
            for name, body in sorted(self.datasets.items()):
                if f"{name}/".startswith(f"{top}/"):
                    rows.append(f"{name}\t{body['type']}\t-\t-\n")
                    for snapshot in body["snapshots"]:
                        held, clones = body["holds"].count(snapshot), self.clones(f"{name}@{snapshot}")
                        rows.append(f"{name}@{snapshot}\tsnapshot\t{held}\t{','.join(clones) or '-'}\n")
        return (1 if missing else 0), "".join(rows), "".join(missing)

    def clones(self, snapshot: str) -> list[str]:
        return [name for name, body in sorted(self.datasets.items()) if body.get("origin") == snapshot]

    def stored(self, pair: str) -> tuple[str, str]:
        prop, _equal, value = pair.partition("=")
        unlimited = prop in ("quota", "refquota", "reservation", "refreservation") or "quota" in prop
        return prop, "0" if unlimited and value == "none" else value

    def zfs_set(self, words: list[str]) -> Any:
        name = words[-1]
        for pair in words[:-1]:
            if pair in ("quota=0", "refquota=0"):
                return error(RECORDED["quota zero"]["err"].replace("tank/a", name))
            prop, value = self.stored(pair)
            if value == "x" and prop == "compression":
                return error(RECORDED["bad value"]["err"].replace("tank/a", name))
            self.datasets[name]["local"][prop] = value
        return 0

    def zfs_inherit(self, words: list[str]) -> Any:
        prop, name = words
        if prop == "quota":
            return error(RECORDED["inherit quota"]["err"])
        self.datasets[name]["local"].pop(prop, None)
        return 0

    def zfs_create(self, words: list[str]) -> Any:
        name, local, kind = words[-1], {}, "filesystem"
        for number, word in enumerate(words):
            if word == "-o":
                prop, value = self.stored(words[number + 1])
                local[prop] = value
            if word == "-V":
                kind, local["volsize"] = "volume", words[number + 1]
        pool, parent = name.split("/")[0], name.rpartition("/")[0]
        if name in self.datasets:
            return error(f"cannot create '{name}': dataset already exists")
        if pool not in self.pools:
            return error(RECORDED["create in a missing pool"]["err"].replace("none", pool, 1).strip())
        if parent not in self.datasets:
            if "-p" not in words:
                return error(f"cannot create '{name}': parent does not exist")
            for end in range(2, len(name.split("/"))):
                missing = "/".join(name.split("/")[:end])
                if missing not in self.datasets:
                    self.add(missing)
        if any(prop.startswith("userquota@") for prop in local):
            return error(f"cannot create '{name}': invalid property 'userquota@'")
        body = self.add(name, kind, **local)
        body["mounted"] = body["mounted"] and "-u" not in words
        if "encryption" in local:
            self.keys.add(name)
        return 0

    def zfs_rename(self, words: list[str]) -> Any:
        old, new = words
        move = [name for name in self.datasets if f"{name}/".startswith(f"{old}/")]
        for name in move:
            self.datasets[new + name.removeprefix(old)] = self.datasets.pop(name)
        return 0

    def zfs_destroy(self, words: list[str]) -> Any:
        name, _at, marks = words[-1].partition("@")
        body = self.datasets[name]
        if marks:
            for snapshot in marks.split(","):
                if self.clones(f"{name}@{snapshot}"):
                    return error(f"cannot destroy '{name}@{snapshot}': snapshot has dependent clones")
                if snapshot in body["holds"]:
                    return error(f"cannot destroy snapshot {name}@{snapshot}: dataset is busy")
            body["snapshots"] = [snapshot for snapshot in body["snapshots"] if snapshot not in marks.split(",")]
            return 0
        if body["snapshots"] or any(other.startswith(f"{name}/") for other in self.datasets):
            return error(f"cannot destroy '{name}': filesystem has children")
        del self.datasets[name]
        return 0

    def zfs_mount(self, words: list[str]) -> Any:
        if self.datasets[words[-1]]["mounted"]:
            return error(RECORDED["mount again"]["err"].replace("tank/a", words[-1]))
        self.datasets[words[-1]]["mounted"] = True
        return 0

    def zfs_unmount(self, words: list[str]) -> Any:
        self.datasets[words[-1]]["mounted"] = False
        return 0

    def zfs_load_key(self, words: list[str]) -> Any:
        self.keys.add(words[-1])
        return 0

    def zfs_allow(self, words: list[str]) -> Any:
        if len(words) == 1:
            grants = self.datasets[words[0]]["allow"]
            lines = [f"---- Permissions on {words[0]} {'-' * 40}"] if any(grants.values()) else []
            for flags, heading in (({"-l"}, "Local"), ({"-d"}, "Descendent"), ({"-l", "-d"}, "Local+Descendent")):
                shown = []
                for who in sorted({who for _flag, who in grants}):
                    names = {name for (_flag, other), named in grants.items() if other == who for name in named}
                    mine = {name for name in names if {flag for flag in ("-l", "-d") if name in grants.get((flag, who), ())} == flags}  # fmt: skip  # noqa: E501
                    shown += [f"\t{who} {','.join(sorted(mine))}"] if mine else []
                lines += [f"{heading} permissions:", *shown] if shown else []
            return "\n".join(lines) + "\n"
        grants, keys, names = self.grant(words)
        for key in keys:
            grants[key] = grants.get(key, set()) | names
        return 0

    def zfs_unallow(self, words: list[str]) -> Any:
        grants, keys, names = self.grant(words)
        for key in keys:
            grants[key] = grants.get(key, set()) - names
        return 0

    def grant(self, words: list[str]) -> Any:
        scopes = [words[0]] if words[0] in ("-l", "-d") else ["-l", "-d"]
        flags = {"-u": "user", "-g": "group"}
        who = "everyone" if "-e" in words else next(f"{kind} {words[words.index(flag) + 1]}" for flag, kind in flags.items() if flag in words)  # fmt: skip  # noqa: E501
        return self.datasets[words[-1]]["allow"], [(scope, who) for scope in scopes], set(words[-2].split(","))

    # --- zpool --------------------------------------------------------------------------------------------------------
    def zpool_get(self, words: list[str]) -> Any:
        props = words[-1].split(",")
        if "autotrimm" in props:
            return error(RECORDED["unknown pool property"]["err"], 2)
        rows = []
        for name, pool in self.pools.items():
            known = {"health": pool["health"], "size": "100", "allocated": "1", "free": "99", "autotrim": "off",
                     "comment": "-", **pool["properties"]}  # fmt: skip
            rows += [f"{name}\t{prop}\t{known.get(prop, '-')}\tlocal\n" for prop in props]
        return "".join(rows)

    def zpool_set(self, words: list[str]) -> Any:
        prop, _equal, value = words[0].partition("=")
        self.pools[words[1]]["properties"][prop] = value
        return 0

    def zpool_status(self, words: list[str]) -> Any:
        names = [word for word in words if not word.startswith("-")]
        if "-j" not in words:
            return "".join(self.text(name) for name in names)
        if not self.json_status:
            return error(RECORDED["an option that status does not know"]["err"].replace("'Z'", "'j'"), 2)
        return json.dumps({"pools": {name: self.tree(name) for name in names}})

    def tree(self, name: str) -> dict[str, Any]:
        pool = self.pools[name]
        found: dict[str, Any] = {"name": name, "vdevs": {name: {"name": name, "vdev_type": "root", "vdevs": {}}}}
        headings = {"": None, "special": "special", "log": "logs", "cache": "l2cache", "spare": "spares"}
        for number, (group, kind, devices) in enumerate(pool["vdevs"]):
            where = found["vdevs"][name]["vdevs"] if not group else found.setdefault(headings[group], {})
            leaves = {
                path: {"name": path, "vdev_type": "disk", "path": path, "state": pool["states"].get(path, "ONLINE")}
                for path in devices
            }
            if kind == "disk":
                where.update(leaves)
            else:
                where[f"{kind}-{number}"] = {"name": f"{kind}-{number}", "vdev_type": kind, "state": "ONLINE", "vdevs": leaves}  # fmt: skip  # noqa: E501
        return found

    def text(self, name: str) -> str:
        pool = self.pools[name]
        lines = [f"  pool: {name}", f" state: {pool['health']}", "config:", "", "\tNAME  STATE  READ WRITE CKSUM",
                 f"\t{name}  {pool['health']}  0  0  0"]  # fmt: skip
        headings = {"special": "special", "log": "logs", "cache": "cache", "spare": "spares"}
        group_before = ""
        for number, (group, kind, devices) in enumerate(sorted(pool["vdevs"], key=lambda vdev: ["", *headings].index(vdev[0]))):  # fmt: skip  # noqa: E501
            lines += [f"\t{headings[group]}"] if group != group_before else []
            group_before = group
            lines += [] if kind == "disk" else [f"\t  {kind}-{number}  ONLINE  0  0  0"]
            indent = "  " if kind == "disk" else "    "
            lines += [f"\t{indent}{path}  {pool['states'].get(path, 'ONLINE')}  0  0  0" for path in devices]
        return "\n".join([*lines, "", "errors: No known data errors", ""])

    def zpool_create(self, words: list[str]) -> Any:
        properties, local, position = {}, {}, 0
        while words[position].startswith("-"):
            if words[position] == "-n":
                position += 1
                continue
            flag, pair = words[position], words[position + 1]
            if flag == "-m":
                local["mountpoint"] = pair
            else:
                prop, value = self.stored(pair)
                (properties if flag == "-o" else local)[prop] = value
            position += 2
        name, rest = words[position], words[position + 1 :]
        if "-n" not in words:
            self.add_pool(name, parse_vdevs(rest), **properties)
            self.datasets[name]["local"] = local
            for path in (word for word in rest if word.startswith("/")):
                self.signatures[str(Path(path).resolve())] = f"LABEL={name}\nTYPE=zfs_member"
        return 0

    def zpool_add(self, words: list[str]) -> Any:
        rest = [word for word in words if word not in ("-n", "-o") and not word.startswith("ashift=")]
        if "-n" not in words:
            self.pools[rest[0]]["vdevs"] += parse_vdevs(rest[1:])
        return 0

    def zpool_import(self, words: list[str]) -> Any:
        if words[-1].isdigit():
            name = next(name for name, pool in self.exported.items() if pool["id"] == words[-1])
            if self.exported[name].get("foreign") and "-f" not in words:
                return error(f"cannot import '{name}': pool was previously in use from another system.")
            self.pools[name] = self.exported.pop(name)
            self.add(name)
            return 0
        if not self.exported:
            return error(RECORDED["nothing to import"]["err"].strip())
        return "".join(
            f"  pool: {name}\n    id: {pool['id']}\n state: {pool['health']}\n"
            + ("status: The pool was last accessed by another system.\n" if pool.get("foreign") else "")
            + f"action: ..\nconfig:\n\n\t{name}  ONLINE\n"
            for name, pool in self.exported.items()
        )


def parse_vdevs(words: list[str]) -> list[tuple[str, str, list[str]]]:
    found: list[tuple[str, str, list[str]]] = []
    group, kind = "", "disk"
    for word in words:
        if word in ("special", "log", "cache", "spare"):
            group, kind = word, "disk"
        elif not word.startswith("/"):
            kind = word
            found.append((group, kind, []))
        elif kind == "disk":
            found.append((group, kind, [word]))
        else:
            found[-1][2].append(word)
    return found


class Runner:
    """Runs a module against the fake; in check mode the fake raises on every write."""

    def __init__(self, fake: ZfsFake, root: Path, monkeypatch: Any) -> None:
        self.fake, self.monkeypatch = fake, monkeypatch
        self.warnings: list[str] = []
        self.owners: dict[str, dict[str, str]] = {}
        monkeypatch.setattr(_lock, "FOLDER", root / "lock")
        monkeypatch.setattr(_zfs, "VERSION", root / "version")
        monkeypatch.setattr(_command, "execute", fake)
        monkeypatch.setattr(_zfs_intent, "FOLDER", root / "intent")
        monkeypatch.setattr(_zfs_owner, "has", self.has)
        from ansible.module_utils.basic import AnsibleModule

        monkeypatch.setattr(AnsibleModule, "get_bin_path", lambda _self, name, **_more: name if fake.installed or name in ("blkid", "systemctl") else None)  # fmt: skip  # noqa: E501
        monkeypatch.setattr(AnsibleModule, "warn", lambda _self, text, **_more: self.warnings.append(text))

    def has(self, path: str) -> dict[str, str]:
        return self.owners.setdefault(path, {"owner": "0", "group": "0", "mode": "0755"})

    def __call__(self, module: Any, check: bool = False, **arguments: Any) -> Result:
        self.warnings.clear()
        return run_module(module, self.fake, arguments, self.monkeypatch, check)

    def order(self, module: Any, **arguments: Any) -> Result:
        """Check, run, check again, run again."""
        checked = self(module, check=True, **arguments)
        assert not checked.failed, checked
        assert checked["changed"]
        done = self(module, **arguments)
        assert not done.failed, done
        assert (done["steps"], done["diff"]) == (checked["steps"], checked["diff"])
        for check in (True, False):
            again = self(module, check=check, **arguments)
            assert not again.failed, again
            assert not again["changed"], again["steps"]
            assert again["diff"]["before"] == again["diff"]["after"]
        return done
