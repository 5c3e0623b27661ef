# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest

CLIENT = 'MediaBrowser Client="test", Device="here", DeviceId="1", Version="1.0"'
MOUNTS = ["/config", "/cache", "/media"]


def token(value: str) -> dict[str, str]:
    return {"Authorization": f'{CLIENT}, Token="{value}"'}


@pytest.fixture
def fresh(standin: Any) -> Any:
    server = standin("jellyfin/jellyfin.py", MOUNTS)
    (server.root / "media/films").mkdir()
    return server.start()


def set_up(server: Any) -> dict[str, str]:
    assert server.call("POST", "/Startup/Configuration", {"UICulture": "en-US"}).status == 204
    server.call("GET", "/Startup/User")
    assert server.call("POST", "/Startup/User", {"Name": "boss", "Password": "pw"}).status == 204
    assert server.call("POST", "/Startup/RemoteAccess", {"EnableRemoteAccess": True}).status == 204
    assert server.call("POST", "/Startup/Complete").status == 204
    answer = server.call(
        "POST", "/Users/AuthenticateByName", {"Username": "Boss", "Pw": "pw"}, {"Authorization": CLIENT}
    )
    assert answer.status == 200
    return token(answer.json["AccessToken"])


def test_names_itself(fresh: Any) -> None:
    answer = fresh.call("GET", "/health")
    assert (answer.status, answer.text) == (200, "Healthy")
    assert answer.headers["Server"] == "jellyfin-stand-in"
    assert "this is a stand-in for jellyfin/jellyfin:10.11.11" in fresh.log.read_text()
    assert fresh.call("GET", "/healthz").status == 404


def test_only_health_answers_while_starting(standin: Any) -> None:
    server = standin("jellyfin/jellyfin.py", MOUNTS, LAB_TEST_BOOT="60").start()
    assert server.call("GET", "/health").status == 200
    assert server.call("GET", "/System/Info/Public").status == 503


@pytest.mark.parametrize("missing", ["/config", "/cache"])
def test_needs_its_mounts(standin: Any, missing: str) -> None:
    server = standin("jellyfin/jellyfin.py", [path for path in MOUNTS if path != missing])
    assert f"{missing} is not mounted" in server.refuses_to_start()


def test_needs_writable_config(standin: Any) -> None:
    server = standin("jellyfin/jellyfin.py", MOUNTS)
    (server.root / "config").rmdir()
    (server.root / "config").symlink_to("/proc")  # not even root can write there
    assert "Access to the path '/config' is denied" in server.refuses_to_start()


def test_wizard_wants_its_order(fresh: Any) -> None:
    assert fresh.call("GET", "/System/Info/Public").json["StartupWizardCompleted"] is False
    assert fresh.call("POST", "/Startup/User", {"Name": "boss", "Password": "pw"}).status == 404
    assert fresh.call("GET", "/Startup/User").status == 200
    assert fresh.call("POST", "/Startup/User", {"Name": "boss", "Password": ""}).status == 400
    set_up(fresh)
    assert fresh.call("GET", "/Startup/User").status == 401
    assert fresh.call("GET", "/System/Info/Public").json["StartupWizardCompleted"] is True
    fresh.restart()
    assert fresh.call("GET", "/System/Info/Public").json["StartupWizardCompleted"] is True


def test_login_and_authorization_header(fresh: Any) -> None:
    good = set_up(fresh)
    login = {"Username": "boss", "Pw": "pw"}
    assert fresh.call("POST", "/Users/AuthenticateByName", login).status == 400
    wrong = fresh.call("POST", "/Users/AuthenticateByName", login | {"Pw": "x"}, {"Authorization": CLIENT})
    assert wrong.status == 401
    value = good["Authorization"].split('Token="')[1].rstrip('"')
    assert fresh.call("GET", "/Users", headers=good).status == 200
    assert fresh.call("GET", "/Users").status == 401
    assert fresh.call("GET", "/Users", headers={"X-Emby-Token": value}).status == 401
    assert fresh.call("GET", "/Users", headers={"X-Emby-Authorization": good["Authorization"]}).status == 401


def test_libraries(fresh: Any) -> None:
    admin = set_up(fresh)
    new = "/Library/VirtualFolders?name=Films&collectionType=movies&paths="
    assert fresh.call("POST", new + "/nowhere", {}, admin).status == 400
    assert fresh.call("POST", new + "/media/films", {"LibraryOptions": {"EnablePhotos": False}}, admin).status == 204
    found = fresh.call("GET", "/Library/VirtualFolders", headers=admin).json
    assert [(each["Name"], each["Locations"], each["CollectionType"]) for each in found] == [
        ("Films", ["/media/films"], "movies")
    ]
    assert found[0]["LibraryOptions"]["EnablePhotos"] is False
    assert (
        fresh.call("POST", "/Library/VirtualFolders/Paths", {"Name": "Films", "Path": "/nowhere"}, admin).status == 404
    )
    assert fresh.call("POST", "/Library/VirtualFolders/Paths", {"Name": "Films", "Path": "/media"}, admin).status == 204
    # the same name again makes a second library
    assert fresh.call("POST", new + "/media/films", {}, admin).status == 204
    assert [each["Name"] for each in fresh.call("GET", "/Library/VirtualFolders", headers=admin).json] == [
        "Films",
        "Films2",
    ]
    (fresh.root / "media/films/a.mkv").write_text("")
    assert fresh.call("POST", "/Library/Refresh", headers=admin).status == 204
    assert fresh.call("GET", "/Items/Counts", headers=admin).json["MovieCount"] == 3
    assert fresh.call("DELETE", "/Library/VirtualFolders?name=Films2", headers=admin).status == 204
    assert fresh.call("DELETE", "/Library/VirtualFolders?name=Films2", headers=admin).status == 404


def test_configuration_is_replaced_whole(fresh: Any) -> None:
    admin = set_up(fresh)
    path = "/System/Configuration/encoding"
    document = fresh.call("GET", path, headers=admin).json
    assert document["HardwareAccelerationType"] == "none"
    wanted = document | {"HardwareAccelerationType": "qsv", "EnableTonemapping": True}
    assert fresh.call("POST", path, wanted, admin).status == 204
    fresh.restart()
    assert fresh.call("GET", path, headers=admin).json == wanted
    assert fresh.call("POST", path, {"HardwareAccelerationType": "magic"}, admin).status == 400
    assert fresh.call("POST", path, {"EncodingThreadCount": "many"}, admin).status == 400
    # a partial document resets the rest
    assert fresh.call("POST", path, {"EnableHardwareEncoding": False}, admin).status == 204
    assert fresh.call("GET", path, headers=admin).json["HardwareAccelerationType"] == "none"
    assert fresh.call("GET", "/System/Configuration/nothing", headers=admin).status == 404
    assert fresh.call("GET", path).status == 401


def test_metrics_only_when_enabled_and_restarted(fresh: Any) -> None:
    admin = set_up(fresh)
    assert fresh.call("GET", "/metrics").status == 404
    document = fresh.call("GET", "/System/Configuration", headers=admin).json
    assert fresh.call("POST", "/System/Configuration", document | {"EnableMetrics": True}, admin).status == 204
    assert fresh.call("GET", "/metrics").status == 404
    assert fresh.call("POST", "/System/Restart", headers=admin).status == 204
    answer = fresh.call("GET", "/metrics")
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/plain")
    assert fresh.call("GET", "/System/Info/Public").json["StartupWizardCompleted"] is True


def test_api_keys(fresh: Any) -> None:
    admin = set_up(fresh)
    assert fresh.call("POST", "/Auth/Keys?app=tests", headers=admin).status == 204
    keys = fresh.call("GET", "/Auth/Keys", headers=admin).json
    assert keys["TotalRecordCount"] == 1 and keys["Items"][0]["AppName"] == "tests"
    key = keys["Items"][0]["AccessToken"]
    assert fresh.call("GET", "/Auth/Keys", headers=token(key)).status == 200
    assert fresh.call("DELETE", f"/Auth/Keys/{key}", headers=admin).status == 204
    assert fresh.call("GET", "/Auth/Keys", headers=token(key)).status == 401
