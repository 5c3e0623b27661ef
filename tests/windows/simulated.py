# SPDX-License-Identifier: MIT
"""A Windows machine that is a JSON file: what each module changes in it. A stand-in, by the modules' documentation.

Environment: SIMULATED_WINDOWS is the file. A change in check mode is told and not kept. What a real machine refuses and
a role may get wrong is refused here too: unknown users, folders that are not there, tasks without a time.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

State = dict[str, Any]
Parameters = dict[str, Any]
DURATION = re.compile(r"P(?=.)(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+S)?)?")
SIDS = {"S-1-5-18", "S-1-5-32-544", "S-1-5-32-545"}
EMPTY: State = {
    "boots": 1, "logged_on": "", "features": {}, "registry": {}, "users": {}, "folders": [], "files": {}, "acl": {},
    "inherits": {}, "shares": {}, "profiles": {}, "rules": {}, "hyperv": {}, "exclusions": [], "packages": [],
    "tasks": {}, "services": {}, "running": [], "wsl": False, "standby": 1800,
}  # fmt: skip
PROVIDERS = [{"Name": "onedrive", "Options": [{"Name": "token", "IsPassword": False}, {"Name": "drive_id"},
              {"Name": "drive_type"}]}]  # fmt: skip


class Refused(Exception):
    """What a real machine would not do."""


def key(path: str) -> str:
    return path.rstrip("\\").replace("/", "\\").lower()


def there(state: State, path: str) -> bool:
    return key(path) in state["folders"] or key(path) in state["files"]


def must_be_there(state: State, path: str) -> None:
    if not there(state, path):
        raise Refused(f"{path} does not exist")


def must_be_user(state: State, name: str) -> None:
    if name not in SIDS and name not in ("SYSTEM", *state["users"]):
        raise Refused(f"account {name} does not exist")


def add_folder(state: State, path: str) -> None:
    parts = key(path).split("\\")
    for end in range(1, len(parts) + 1):
        folder = "\\".join(parts[:end])
        if folder not in state["folders"]:
            state["folders"].append(folder)


def given(p: Parameters, *without: str) -> Parameters:
    return {name: value for name, value in p.items() if value is not None and name not in without}


# --- ansible.windows --------------------------------------------------------------------------------------------------
def win_optional_feature(s: State, p: Parameters) -> Parameters:
    new = [name for name in p["name"] if s["features"].get(name) != "on"]
    s["features"].update(dict.fromkeys(new, "on"))
    return {"reboot_required": bool(new)}


def win_regedit(s: State, p: Parameters) -> None:
    if not re.match(r"HK(LM|CU|CR|U|CC):\\", p["path"]):
        raise Refused(f"{p['path']} is no path of the registry")
    data = int(p["data"]) if p["type"] == "dword" else p["data"]
    s["registry"][f"{p['path']}\\{p['name']}"] = [p["type"], data]


def win_user(s: State, p: Parameters) -> None:
    known = s["users"].setdefault(p["name"], {})
    if p["password"] and ("password" not in known or p["update_password"] == "always"):
        known["password"] = p["password"]
    groups = set(p["groups"] or []) | (set(known.get("groups", [])) if p["groups_action"] == "add" else set())
    known.update(given(p, "password", "update_password", "groups", "groups_action", "state", "name"))
    known["groups"] = sorted(groups)


def win_auto_logon(s: State, p: Parameters) -> None:
    must_be_user(s, p["username"])
    s["autologon"] = given(p)


def win_stat(s: State, p: Parameters) -> Parameters:
    return {"stat": {"exists": there(s, p["path"])}}


def win_file(s: State, p: Parameters) -> None:
    if p["state"] != "directory":
        raise Refused(f"state {p['state']} is not simulated")
    add_folder(s, p["path"])


def win_acl(s: State, p: Parameters) -> None:
    must_be_there(s, p["path"])
    must_be_user(s, p["user"])
    s["acl"][f"{key(p['path'])} {p['user']} {p['type']}"] = [p["rights"], p["inherit"]]


def win_acl_inheritance(s: State, p: Parameters) -> None:
    must_be_there(s, p["path"])
    if p["state"] == "absent" and not p["reorganize"] and not s["acl"].get(f"{key(p['path'])} S-1-5-18 allow"):
        raise Refused(f"nobody could use {p['path']} any more")
    s["inherits"][key(p["path"])] = p["state"] == "present"


def win_share(s: State, p: Parameters) -> None:
    must_be_there(s, p["path"])
    for right in ("full", "change", "read", "deny"):
        for name in filter(None, (p[right] or "").split(",")):
            must_be_user(s, name)
    s["shares"][p["name"]] = given(p, "name", "state")


def win_firewall(s: State, p: Parameters) -> None:
    s["firewall"] = given(p)


def win_copy(s: State, p: Parameters) -> None:
    if p["content"] is not None:
        must_be_there(s, p["dest"].rpartition("\\")[0])
        s["files"][key(p["dest"])] = p["content"]
        return
    source = Path(p["src"])
    if not source.is_dir() or not p["src"].endswith("/") or not p["dest"].endswith("\\"):
        raise Refused("only the content of a folder is copied here")
    must_be_there(s, p["dest"])
    for path in sorted(source.rglob("*.py")):
        s["files"][f"{key(p['dest'])}\\{path.name}"] = hashlib.sha256(path.read_bytes()).hexdigest()


def win_service(s: State, p: Parameters) -> None:
    if p["state"] == "absent":
        s["services"].pop(p["name"], None)
        return
    known = s["services"].setdefault(p["name"], {"starts": 1})
    known.update(given(p, "name", "state"))
    known["starts"] += p["state"] == "restarted"


def win_user_profile(s: State, p: Parameters) -> Parameters:
    must_be_user(s, p["username"])
    path = f"C:\\Users\\{p['username']}"
    s["profiles"][p["username"]] = path
    add_folder(s, path)
    return {"path": path}


def win_reboot(s: State, p: Parameters) -> None:
    """Whoever is logged on automatically is so afterwards; then the tasks of his logon run."""
    s["boots"] += 1
    s["logged_on"] = (s.get("autologon") or {}).get("username", "")
    s["running"] = [name for name, task in s["tasks"].items() if task["username"] == s["logged_on"]
                    and any(one["type"] == "logon" for one in task["triggers"])]  # fmt: skip


def win_wait_for(s: State, p: Parameters) -> None:
    if "\\mediaserver\\debian" not in s["running"]:
        raise Refused(f"timeout: nothing answers on {p['host']}:{p['port']} after {p['timeout']} seconds")


# --- community.windows, chocolatey ------------------------------------------------------------------------------------
def win_firewall_rule(s: State, p: Parameters) -> None:
    s["rules"][p["name"]] = given(p, "name", "state")


def win_scheduled_task(s: State, p: Parameters) -> None:
    name = f"{p['path']}\\{p['name']}"
    if p["state"] == "absent":
        s["tasks"].pop(name, None)
        return
    must_be_user(s, p["username"])
    for trigger in p["triggers"]:
        if trigger["type"] in ("daily", "monthly", "time", "weekly") and not re.fullmatch(
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", trigger["start_boundary"] or ""
        ):
            raise Refused(f"trigger {trigger['type']} wants a start_boundary, not {trigger['start_boundary']}")
        for text in (trigger["repetition"] or {}).values():
            if isinstance(text, str) and not DURATION.fullmatch(text):
                raise Refused(f"{text} is no duration")
    if p["password"] and p["update_password"]:
        s["passwords_written"] = s.get("passwords_written", 0) + 1  # the real module changes it each time
    s["tasks"][name] = given(p, "name", "path", "state", "password", "update_password")


def win_chocolatey(s: State, p: Parameters) -> None:
    s["packages"] = sorted({*s["packages"], *p["name"]})


# --- our own scripts --------------------------------------------------------------------------------------------------
def never_sleep(s: State, _p: Parameters) -> None:
    s["standby"] = 0


def defender_exclusions(s: State, p: Parameters) -> None:
    s["exclusions"] = sorted({*s["exclusions"], *p["Paths"]})


def firewall_rules(s: State, p: Parameters) -> None:
    s["rules"] = {name: one for name, one in s["rules"].items()
                  if one.get("group") != "homelab.mediaserver" or name in p["Keep"]}  # fmt: skip
    s["hyperv"] = {one["name"]: one for one in json.loads(p["Debian"])}


def shares_left_over(s: State, p: Parameters) -> None:
    s["shares"] = {name: one for name, one in s["shares"].items() if name in p["Keep"]}


def program(s: State, p: Parameters) -> Parameters:
    must_be_there(s, f"{p['Folder']}\\lib\\{p['Name']}\\mediaserver_{p['Name']}.py")
    must_be_there(s, f"{p['Folder']}\\etc\\{p['Name']}.json")
    if p.get("Writes"):
        s["runs"] = s.get("runs", 0) + 1
    return {"result": {"lines": [f"simulated: {p['Name']} {p['Arguments']}"], "code": 0}}


def rclone_state(s: State, p: Parameters) -> Parameters:
    providers = json.dumps(PROVIDERS) if "rclone" in s["packages"] else ""
    return {"result": {"config": s["files"].get(key(p["Config"]), ""), "providers": providers}}


def wsl_package(s: State, _p: Parameters) -> None:
    s["wsl"] = True


def start_debian(s: State, _p: Parameters) -> Parameters:
    """A task that runs only in the session of its user starts where there is one."""
    task = s["tasks"]["\\mediaserver\\debian"]
    if s["logged_on"] == task["username"] and "\\mediaserver\\debian" not in s["running"]:
        s["running"].append("\\mediaserver\\debian")
    return {"result": {"restart": "\\mediaserver\\debian" not in s["running"]}}


SCRIPTS: dict[str, Callable[[State, Parameters], Parameters | None]] = {
    one.__name__: one
    for one in (
        never_sleep,
        program,
        defender_exclusions,
        firewall_rules,
        shares_left_over,
        rclone_state,
        wsl_package,
        start_debian,
    )
}


def win_powershell(s: State, p: Parameters) -> Parameters | None:
    name = re.match(r"# (\w+): ", p["script"] or "")
    if name is None or name[1] not in SCRIPTS:
        raise Refused("this script is not simulated")
    if "[CmdletBinding(SupportsShouldProcess)]" not in p["script"]:
        raise Refused(f"{name[1]}: check mode would not run it")
    declared = set(re.findall(r"\[(?:string|string\[\]|switch)\]\$(\w+)", p["script"].partition("$Ansible")[0]))
    if set(p["parameters"] or {}) - declared:
        raise Refused(f"{name[1]} has no parameter {', '.join(sorted(set(p['parameters']) - declared))}")
    return SCRIPTS[name[1]](s, p["parameters"] or {})


MODULES = {name: one for name, one in globals().items() if name.startswith("win_")}


def run(name: str, p: Parameters, check_mode: bool) -> Parameters:
    file = Path(os.environ["SIMULATED_WINDOWS"])
    state: State = {**copy.deepcopy(EMPTY), **(json.loads(file.read_text()) if file.exists() else {})}
    before = copy.deepcopy(state)
    try:
        result = MODULES[name](state, p) or {}
    except Refused as refused:
        return {"failed": True, "msg": str(refused)}
    if not check_mode and state != before:
        file.write_text(json.dumps(state, indent=2, sort_keys=True))
    return {"changed": state != before, **result}


class Simulated(ActionBase):
    """One module. Results show the arguments, as modules do: keeping secrets back is the role's matter."""

    NAME = ""
    SPEC: dict[str, Any] = {}

    def run(self, tmp: object = None, task_vars: object = None) -> Parameters:
        super().run(tmp, task_vars)
        checked = ArgumentSpecValidator(self.SPEC).validate(self._task.args)
        if checked.error_messages:
            return {"failed": True, "msg": "; ".join(checked.error_messages)}
        p = json.loads(json.dumps(checked.validated_parameters))
        return {**run(self.NAME, p, self._task.check_mode), "invocation": {"module_args": p}}
