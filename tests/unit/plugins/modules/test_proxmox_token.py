# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_token
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve.access import state
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve.errors import ApiError
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness

ROOT = Path(__file__).resolve().parents[4]
TOKEN = {"userid": "bob@pve", "tokenid": "site"}
IDENT = "bob@pve!site"
ROLE = f"/vms/100 token {IDENT} PVEAuditor"


@pytest.fixture
def lab(lab):
    state(lab.world)["users"]["bob@pve"] = {"enable": 1, "expire": 0, "groups": [], "tokens": {}}
    return lab


def tokens(lab):
    return state(lab.world)["users"]["bob@pve"]["tokens"]


def secret(lab):
    return state(lab.world)["secrets"][IDENT]


def works(lab, value):
    """Does the API take this secret?"""
    result = lab.run(
        proxmox_token, check=True, **TOKEN, api_user="bob@pve", api_token_id="site", api_token_secret=value
    )
    return not result.get("failed")


def test_check_create_again_changed_absent_again(lab):
    done = lab.order(proxmox_token, **TOKEN, privsep=False, comment="Site", expire=1900000000)
    assert done["steps"] == [f"create token {IDENT}"]
    assert done["full_tokenid"] == IDENT
    assert done["token"] == {"privsep": False, "expire": 1900000000, "comment": "Site"}
    assert done["secret"] == secret(lab)
    assert works(lab, done["secret"])
    shown = json.dumps({key: done[key] for key in ("steps", "diff", "token", "warnings")})
    assert done["secret"] not in shown, "the secret is in the key for it and nowhere else"
    done = lab.order(proxmox_token, **TOKEN, privsep=True, comment="", expire=0)
    assert done["steps"] == [f"set privsep, expire, comment of token {IDENT}"]
    assert "secret" not in done
    assert tokens(lab) == {"site": {"privsep": 1, "expire": 0}}
    lab.order(proxmox_token, **TOKEN, state="absent")
    assert tokens(lab) == {}


def test_bare_token_and_what_is_not_given_stays(lab):
    done = lab.order(proxmox_token, **TOKEN)
    assert done["token"] == {"privsep": True, "expire": 0, "comment": ""}
    tokens(lab)["site"]["comment"] = "by hand"
    lab.order(proxmox_token, **TOKEN, privsep=False)
    assert tokens(lab)["site"] == {"privsep": 0, "expire": 0, "comment": "by hand"}


@pytest.mark.parametrize("newer", [False, True], ids=["by making anew", "in place"])
def test_regenerate(lab, newer):
    if newer:
        lab.world.data["newer_token"] = {"regenerate": "bool", "delete": "text"}
    old = lab.run(proxmox_token, **TOKEN, comment="Site", expire=1900000000)["secret"]
    state(lab.world)["acl"][ROLE] = 0
    checked = lab.run(proxmox_token, check=True, **TOKEN, regenerate=True)
    assert checked["steps"] == [f"regenerate the secret of token {IDENT}"]
    assert secret(lab) == old
    done = lab.run(proxmox_token, **TOKEN, regenerate=True)
    assert done["secret"] == secret(lab) != old
    assert not works(lab, old)
    assert works(lab, done["secret"])
    assert tokens(lab)["site"] == {"privsep": 1, "expire": 1900000000, "comment": "Site"}
    assert state(lab.world)["acl"] == {ROLE: 0}, "the token's own rights are there again"


def test_a_token_does_not_lock_itself_out(lab):
    own = {"api_user": "bob@pve", "api_token_id": "site", "api_token_secret": lab.run(proxmox_token, **TOKEN)["secret"]}
    for arguments, verb in (({"regenerate": True}, "regenerate"), ({"state": "absent"}, "delete")):
        result = lab.run(proxmox_token, **TOKEN, **own, **arguments)
        assert result["msg"].startswith(f"Unable to {verb} token {IDENT}: it is the one that asks")
    whole = {**own, "api_user": "x@pve", "api_token_id": IDENT}
    assert "it is the one that asks" in lab.run(proxmox_token, **TOKEN, **whole, regenerate=True)["msg"]


def test_user_that_does_not_exist_yet(lab):
    missing = {**TOKEN, "userid": "new@pve"}
    checked = lab.run(proxmox_token, check=True, **missing)
    assert checked["steps"] == ["create token new@pve!site"], "an earlier task of the same dry run would make the user"
    assert checked["warnings"] == ["user new@pve does not exist yet"]
    assert lab.run(proxmox_token, **missing)["msg"] == (
        "Unable to create token new@pve!site: no such user ('new@pve')")  # fmt: skip
    assert not lab.run(proxmox_token, **missing, state="absent")["changed"]


def test_killed_before_the_acl_is_back(lab):
    lab.run(proxmox_token, **TOKEN)
    state(lab.world)["acl"][ROLE] = 1
    lab.service.fault = lambda method, path: ApiError(500, "killed") if method == "POST" else None
    result = lab.run(proxmox_token, **TOKEN, regenerate=True)
    assert result["msg"] == f"Unable to regenerate the secret of token {IDENT}: killed"
    lab.service.fault = None
    done = lab.run(proxmox_token, **TOKEN, regenerate=True)
    assert done["steps"] == [f"create token {IDENT}"]
    assert works(lab, done["secret"])


def test_missing_right(lab):
    lab.service.tokens[harness.TOKEN]["deny"] = ["User.Modify"]
    result = lab.run(proxmox_token, **TOKEN)
    assert result["msg"] == (
        "Unable to read the tokens of user bob@pve: Permission check failed (/access/groups, User.Modify)")  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b'{"data": {"info": {}}}', f"Unable to create token {IDENT}: the answer has no secret"),
        (b'{"data": null}', f"Unable to create token {IDENT}: the answer has no secret"),
        (ApiError(400, "Parameter verification failed.", {"tokenid": "Token already exists."}),
         "tokenid: Token already exists."),
    ],
)  # fmt: skip
def test_bad_answers(lab, answer, message):
    lab.service.fault = lambda method, path: answer if method == "POST" else None
    assert message in lab.run(proxmox_token, **TOKEN)["msg"]


def test_output_of_a_playbook_does_not_hold_the_secret(tmp_path, cert):
    with harness.lab(tmp_path, "9.1", cert) as lab:
        state(lab.world)["users"]["bob@pve"] = {"enable": 1, "expire": 0, "groups": [], "tokens": {}}
        arguments = {key: value for key, value in {**lab.credentials(), **TOKEN}.items() if value is not None}
        kept = tmp_path / "kept"
        tasks = [
            {"homelab.mediaserver.proxmox_token": arguments, "register": "made"},
            {"ansible.builtin.copy": {"content": "{{ made.secret }}", "dest": str(kept)}, "no_log": True,
             "when": "made.secret is defined"},
        ]  # fmt: skip
        play = tmp_path / "play.yml"
        play.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
        done = subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", "-vvvvv", "--diff", "-i", "localhost,", "-c", "local",
             "-e", f"ansible_python_interpreter={sys.executable}", play],
            env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks/collections"), "HOME": str(tmp_path)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert kept.read_text() == secret(lab)
        assert secret(lab) not in done.stdout + done.stderr
