# SPDX-License-Identifier: MIT
"""Jobs of the cluster: backups (their list only, nothing is backed up) and replications (nothing is copied)."""

from __future__ import annotations

import re
from typing import Any

from . import guests
from .errors import ApiError, invalid
from .firewall import only, truth
from .routing import Call, route
from .schema import NOT_DEFINED, parse
from .world import World, digest

ENUMS = {
    "compress": ("0", "1", "gzip", "lzo", "zstd"), "mode": ("snapshot", "suspend", "stop"),
    "mailnotification": ("always", "failure"), "notification-mode": ("auto", "legacy-sendmail", "notification-system"),
}  # fmt: skip
FLAGS = ("all", "enabled", "protected", "quiet", "remove", "repeat-missed", "stdexcludes", "stop")
NUMBERS = {"bwlimit": None, "ionice": 8, "lockwait": None, "pigz": None, "stopwait": None, "zstd": None}
STRINGS = ("comment", "dumpdir", "exclude", "exclude-path", "mailto", "node", "notes-template",
           "pbs-change-detection-mode", "pool", "schedule", "script", "storage", "tmpdir", "vmid")  # fmt: skip
PROPERTIES = {"prune-backups": "", "fleecing": "enabled", "performance": ""}  # kept and answered as objects
NOT_OF_VZDUMP = ("enabled", "schedule")  # what `delete` does not know
KEEP = ("keep-all", "keep-last", "keep-hourly", "keep-daily", "keep-weekly", "keep-monthly", "keep-yearly")
ID = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]+")
SID = re.compile(r"[1-9][0-9]{2,8}-\d{1,9}")


def _checked(params: dict[str, Any]) -> dict[str, Any]:
    """Values as the job's section would be read again."""
    errors: dict[str, str] = {}
    result: dict[str, Any] = {}
    for key, value in params.items():
        if key in ENUMS and value not in ENUMS[key]:
            errors[key] = f"value '{value}' does not have a value in the enumeration '{', '.join(ENUMS[key])}'"
        elif key in FLAGS:
            result[key] = int(truth(value))
        elif key in NUMBERS:
            most = NUMBERS[key]
            if not str(value).isdigit() or (most is not None and int(value) > most):
                errors[key] = f"value must have a maximum value of {most}"
            result[key] = int(value) if str(value).isdigit() else 0
        elif key in PROPERTIES:
            result[key] = parse(str(value), PROPERTIES[key])
        elif key in ENUMS or key in STRINGS:
            result[key] = str(value)
        else:
            errors[key] = NOT_DEFINED
    keep = result.get("prune-backups", {})
    wrong = [key for key in keep if key not in KEEP]
    if wrong:
        errors["prune-backups"] = f"invalid format - format error\nprune-backups.{wrong[0]}: {NOT_DEFINED}\n"
    elif truth(keep.get("keep-all")) and len(keep) > 1:
        errors["prune-backups"] = "keep-all cannot be set together with other options.\n"
    if re.search(r"[^a-z0-9 *.,:/~-]", result.get("schedule", "").lower()):
        errors["schedule"] = "invalid format - unable to parse calendar event - unexpected rest\n"
    if errors:
        raise invalid(errors)
    return result


def _verify(job: dict[str, Any], whole: bool) -> None:
    for key in ("all", "exclude", "pool"):
        if job.get(key) and job.get("vmid"):
            raise invalid({key: "option conflicts with option 'vmid'"})
    if "\n" in job.get("notes-template", ""):
        raise invalid({"notes-template": "contains a line feed"})
    if "exclude" in job and not job.get("pool"):
        job["all"] = 1
    if whole and not (job.get("all") or job.get("pool") or job.get("vmid")):
        raise invalid({"vmid": "property is missing"})
    if whole and job.get("notes-template") and not job.get("storage"):
        raise invalid({"storage": "missing property - 'notes-template' requires this property"})


def _may_write(call: Call, params: dict[str, Any], creating: bool) -> None:
    call.need("Sys.Modify", "/")
    if call.root:
        return
    for key in ("tmpdir", "dumpdir", "script"):
        if key in params:
            raise invalid({key: "Only root may set this option."})
    if creating or "storage" in params:
        call.need("Datastore.Allocate", f"/storage/{params.get('storage', 'local')}")
    if params.get("pool") and params["pool"] not in call.world.data["pools"]:
        raise ApiError(403, f"Permission check failed (No such pool '{params['pool']}')")


def _jobs(world: World) -> dict[str, Any]:
    return dict(world.data.setdefault("backup_jobs", {}))


def _row(ident: str, job: dict[str, Any]) -> dict[str, Any]:
    return {**job, "id": ident, "type": "vzdump", "next-run": 1_900_000_000}


@route("GET", "/cluster/backup")
def list_jobs(call: Call) -> Any:
    call.need("Sys.Audit", "/")
    return [_row(ident, job) for ident, job in _jobs(call.world).items()]


@route("POST", "/cluster/backup")
def create_job(call: Call) -> Any:
    params = dict(call.params)
    ident = str(params.pop("id", "backup-made-up"))
    if not ID.fullmatch(ident):
        raise invalid({"id": f"invalid format - invalid configuration ID '{ident}'\n"})
    job = _checked(params)
    _may_write(call, job, creating=True)
    if not job.get("schedule"):
        raise invalid({"schedule": "neither 'starttime' nor 'schedule' were set"})
    if ident in _jobs(call.world):
        raise ApiError(500, f"Job '{ident}' already exists")
    _verify(job, whole=True)
    call.world.data["backup_jobs"][ident] = {"enabled": 1, **job}


@route("GET", "/cluster/backup/{ident}")
def read_job(call: Call, ident: str) -> Any:
    call.need("Sys.Audit", "/")
    if ident not in _jobs(call.world):
        raise invalid({"id": f"No such job '{ident}'"})
    return _row(ident, _jobs(call.world)[ident])


@route("PUT", "/cluster/backup/{ident}")
def update_job(call: Call, ident: str) -> Any:
    params = dict(call.params)
    gone = [key for key in str(params.pop("delete", "")).split(",") if key]
    changes = _checked(params)
    _may_write(call, changes, creating=False)
    if not changes and not gone:
        raise ApiError(500, "no options specified")
    _verify(changes, whole=False)
    if ident not in _jobs(call.world):
        raise ApiError(500, "no such vzdump job")
    job = dict(_jobs(call.world)[ident])
    for key in gone:
        known = (*ENUMS, *FLAGS, *NUMBERS, *STRINGS, *PROPERTIES)
        if key not in known or key in NOT_OF_VZDUMP:
            raise invalid({"delete": f"unknown option '{key}'"})
        job.pop(key, None)
    job.update(changes)
    if "vmid" in changes:
        doomed: tuple[str, ...] = ("all", "exclude", "pool")
    elif changes.get("all"):
        doomed = ("vmid", "pool")
    else:
        doomed = ("vmid", "all", "exclude") if job.get("pool") else ()
    job = {key: value for key, value in job.items() if key not in doomed}
    _verify(job, whole=True)
    call.world.data["backup_jobs"][ident] = job


@route("DELETE", "/cluster/backup/{ident}")
def delete_job(call: Call, ident: str) -> Any:
    call.need("Sys.Modify", "/")
    if ident not in _jobs(call.world):
        raise invalid({"id": f"No such job '{ident}'"})
    del call.world.data["backup_jobs"][ident]


# Replication. The cluster's other nodes are names in world.data["other_nodes"].

REPLICATION = ("comment", "disable", "rate", "schedule", "source", "target")


def _replications(world: World) -> dict[str, Any]:
    return dict(world.data.setdefault("replication", {}))


def _may_replicate(call: Call, ident: str) -> None:
    if call.world.release.startswith("8"):
        call.need("Datastore.Allocate", "/storage")
    else:
        call.need("VM.Replicate", f"/vms/{ident.split('-')[0]}")


def _replication(ident: str, job: dict[str, Any]) -> dict[str, Any]:
    guest, _, number = ident.partition("-")
    return {**job, "id": ident, "guest": int(guest), "jobnum": int(number), "type": "local"}


def _settings(params: dict[str, Any]) -> dict[str, Any]:
    if "rate" in params and float(params["rate"]) < 1:
        raise invalid({"rate": "value must have a minimum value of 1"})
    found = {key: str(value) for key, value in params.items() if key in REPLICATION}
    return {**found, **({"disable": int(truth(found["disable"]))} if "disable" in found else {})}


@route("GET", "/cluster/replication")
def list_replications(call: Call) -> Any:
    if not call.may("VM.Audit"):
        return []
    return [_replication(ident, job) for ident, job in sorted(_replications(call.world).items())]


@route("GET", "/cluster/replication/{ident}")
def read_replication(call: Call, ident: str) -> Any:
    job = _replications(call.world).get(ident)
    if job is None:
        raise ApiError(500, f"no such replication job '{ident}'")
    call.need("VM.Audit", f"/vms/{ident.split('-')[0]}")
    return {**_replication(ident, job), "digest": digest(_replications(call.world))}


@route("POST", "/cluster/replication")
def create_replication(call: Call) -> Any:
    params = only(call, "id", "type", "remove_job", *REPLICATION)
    call.require("id", "type", "target")
    ident, world = str(params["id"]), call.world
    if not SID.fullmatch(ident):
        raise invalid({"id": "value does not match the regex pattern"})
    _may_replicate(call, ident)
    vmid = ident.split("-")[0]
    if guests.kind_of(world, vmid) is None:
        raise ApiError(500, f"Guest '{vmid}' does not exist.")
    if params["target"] not in (world.node, *world.data.get("other_nodes", [])):
        raise ApiError(500, f"Target '{params['target']}' does not exist.")
    if params["target"] == world.node:
        raise ApiError(500, "Source and target must not be identical")
    jobs = _replications(world)
    if ident in jobs:
        raise ApiError(500, f"replication job '{ident}' already exists")
    if any(job["target"] == params["target"] and name.split("-")[0] == vmid for name, job in jobs.items()):
        raise ApiError(500, f"replication job for guest '{vmid}' to target 'local/{params['target']}' already exists")
    world.data["replication"][ident] = {"source": world.node, **_settings(params)}


@route("PUT", "/cluster/replication/{ident}")
def update_replication(call: Call, ident: str) -> Any:
    params = only(call, "digest", "delete", "remove_job", *(key for key in REPLICATION if key != "target"))
    _may_replicate(call, ident)
    jobs = _replications(call.world)
    if params.get("digest") not in (None, digest(jobs)):
        raise ApiError(500, "detected modified configuration - file changed by other user? Try again.")
    if ident not in jobs:
        raise ApiError(500, f"no such job '{ident}'")
    gone = str(params.get("delete", "")).split(",")
    kept = {key: value for key, value in jobs[ident].items() if key not in gone}
    call.world.data["replication"][ident] = {**kept, **_settings(params)}


@route("DELETE", "/cluster/replication/{ident}")
def delete_replication(call: Call, ident: str) -> Any:
    params = only(call, "keep", "force")
    _may_replicate(call, ident)
    force, keep = truth(params.get("force")), truth(params.get("keep"))
    if force:
        if keep:
            raise invalid({"keep": "conflicts with parameter 'force'"})
        call.world.data.setdefault("replication", {}).pop(ident, None)
        return
    if ident not in _replications(call.world):
        raise ApiError(500, f"no such job '{ident}'")
    call.world.data["replication"][ident]["remove_job"] = "local" if keep else "full"  # its node does the rest
