"""What follows from a valid site."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.plugin_utils import storage


def planned(sample: Any) -> dict[str, Any]:
    result = sample.plan()
    assert [problem.text() for problem in result.problems.found] == []
    return result.plan


def compose(plan: dict[str, Any], host: str, service: str) -> dict[str, Any]:
    path = f"/opt/mediaserver/services/{service}/compose.yaml"
    return next(one["yaml"] for one in plan["hosts"][host]["files"] if one["path"] == path)


def test_plan_is_plain_data(sample: Any) -> None:
    plan = planned(sample)
    assert json.loads(json.dumps(plan)) == plan


def test_two_runs_give_the_same_plan(make_sample: Any) -> None:
    one, two = make_sample(), make_sample()
    text = json.dumps(planned(one)).replace(str(one.folder), "X")
    assert text == json.dumps(planned(two)).replace(str(two.folder), "X")


def test_services_are_where_the_inventory_says(sample: Any) -> None:
    plan = planned(sample)
    assert plan["hosts"]["front"]["services"] == ["proxy", "tunnel", "gauge", "meter", "saver"]
    assert set(plan["hosts"]) == {"front", "back"}


def test_container_ports_open_to_their_zones_only(sample: Any) -> None:
    rules = planned(sample)["hosts"]["back"]["firewall"]["containers"]
    films = [(rule["from"], rule["port"], rule["marker"]) for rule in rules if rule["service"] == "films"]
    # the edge host lies in the LAN, so one rule covers both
    assert films == [("192.168.1.0/24", 8096, "/mnt/appdata/films/config/.ready")]
    assert [rule["from"] for rule in rules if rule["service"] == "watch"] == ["192.168.1.111/32"]
    assert not [rule for rule in rules if rule["port"] == 5432]


def test_metrics_open_to_prometheus_only(sample: Any) -> None:
    front = planned(sample)["hosts"]["front"]["firewall"]
    assert [rule["from"] for rule in front["containers"] if rule["service"] == "meter"] == ["192.168.1.101/32"]
    assert [rule["from"] for rule in front["host"] if rule["port"] == 9100] == ["192.168.1.101/32"]


def test_host_network_beside_prometheus_is_open_to_its_network_only(sample: Any) -> None:
    back = planned(sample)["hosts"]["back"]["firewall"]["host"]
    assert [rule["from"] for rule in back if rule["port"] == 9100] == ["172.20.0.0/24"]


def test_ssh_is_open_to_the_lan_by_both_protocols(sample: Any) -> None:
    rules = [rule["from"] for rule in planned(sample)["hosts"]["front"]["firewall"]["host"] if rule["port"] == 22]
    assert rules == ["192.168.1.0/24", "fd00:1::/64"]


def test_system_ports_are_the_hosts(sample: Any) -> None:
    rules = planned(sample)["hosts"]["front"]["firewall"]["host"]
    assert {"from": "any", "port": 1194, "protocol": "udp", "comment": "tunnel vpn"} in rules


def test_what_needs_no_port_publishes_none(sample: Any) -> None:
    plan = planned(sample)
    assert "ports" not in compose(plan, "back", "photos")["services"]["database"]
    assert "ports" not in compose(plan, "back", "meter")["services"]["meter"]
    assert compose(plan, "front", "meter")["services"]["meter"]["ports"][0]["published"] == "8080"


def test_a_port_that_only_a_role_needs_is_published_on_loopback(sample: Any) -> None:
    sample.catalog["films"]["reach"] = []
    del sample.catalog["films"]["route"]
    ports = compose(planned(sample), "back", "films")["services"]["films"]["ports"]
    assert [port["host_ip"] for port in ports] == ["127.0.0.1"]


def test_compose_file(sample: Any) -> None:
    films = compose(planned(sample), "back", "films")["services"]["films"]
    assert films["labels"]["mediaserver.digest"] == "${MEDIASERVER_DIGEST}"
    assert films["environment"] == {"TZ": "Europe/Paris", "URL": "https://media.example.org", "PRICE": "5$$"}
    assert films["volumes"][0] == {
        "type": "bind", "source": "/mnt/appdata/films/config", "target": "/config", "bind": {"create_host_path": False},
    }  # fmt: skip
    assert films["volumes"][1]["read_only"] is True
    assert films["restart"] == "unless-stopped"
    assert films["security_opt"] == ["no-new-privileges:true"]
    assert films["devices"] == [{"$late": "gpu_devices"}]
    assert films["logging"]["options"]["max-size"] == "10m"
    assert films["user"] == "1000:1000"


def test_containers_wait_for_healthy_ones(sample: Any) -> None:
    photos = compose(planned(sample), "back", "photos")["services"]
    assert photos["server"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert "user" not in photos["database"]
    assert "learning" not in photos


def test_optional_container_on_request(sample: Any) -> None:
    sample.site["site_services"]["photos"]["with"] = ["learning"]
    assert "learning" in compose(planned(sample), "back", "photos")["services"]


def test_options_are_merged_last(sample: Any) -> None:
    container = sample.catalog["films"]["containers"]["films"]
    container["options"] = {"shm_size": "128m", "security_opt": ["apparmor=unconfined"], "volumes": ["/:/host:ro"]}
    films = compose(planned(sample), "back", "films")["services"]["films"]
    assert films["shm_size"] == "128m"
    assert films["security_opt"] == ["no-new-privileges:true", "apparmor=unconfined"]
    assert len(films["volumes"]) == 4  # two volumes, one folder of files, one option


def test_registry_mirror_keeps_the_upstream_registry(sample: Any) -> None:
    sample.site["site_registry"] = "10.0.0.5:5000"
    image = compose(planned(sample), "back", "films")["services"]["films"]["image"]
    assert image == "10.0.0.5:5000/docker.io/example/films:2.1"


def test_files_and_secrets(sample: Any) -> None:
    files = {one["path"]: one for one in planned(sample)["hosts"]["back"]["files"]}
    root = "/opt/mediaserver/services"
    assert files[f"{root}/films/files/etc/films.conf"]["copy"].endswith("templates/etc/films.conf")
    rendered = files[f"{root}/films/files/etc/films.ini"]
    assert rendered["variables"]["settings"]["where"] == "192.168.1.0/24,fd00:1::/64"
    secret = files[f"{root}/photos/secrets/database/db_password"]
    assert (secret["mode"], secret["owner"], secret["secret_ref"]) == ("0400", 999, "photos.db_password")
    assert all(one["service"] for one in files.values())


def test_unit_is_bound_to_mounts(sample: Any) -> None:
    files = {one["path"]: one for one in planned(sample)["hosts"]["back"]["files"]}
    unit = files["/etc/systemd/system/mediaserver-films.service"]["content"]
    assert "BindsTo=mnt-appdata.mount mnt-media.mount\n" in unit
    assert "WantedBy=multi-user.target mnt-appdata.mount mnt-media.mount\n" in unit


def test_mount_units_are_escaped(sample: Any) -> None:
    sample.site["site_storage"]["media"]["mount"] = "/mnt/my-media"
    files = {one["path"]: one for one in planned(sample)["hosts"]["back"]["files"]}
    assert r"mnt-my\x2dmedia.mount" in files["/etc/systemd/system/mediaserver-films.service"]["content"]


def test_directories_belong_to_their_user_parents_first(sample: Any) -> None:
    found = planned(sample)["hosts"]["back"]["directories"]
    paths = [one["path"] for one in found]
    assert paths.index("/mnt/appdata/films") < paths.index("/mnt/appdata/films/config")
    config = next(one for one in found if one["path"] == "/mnt/appdata/films/config")
    assert (config["owner"], config["below"], config["service"]) == (1000, "/mnt/appdata", "films")


def test_a_database_folder_has_the_mode_that_postgresql_gives_it() -> None:
    def mode(storage_class: str, at: str, read_only: bool) -> str:
        volume = storage.Volume("data", storage_class, "/mnt/data", "/mnt")
        return storage.folder_mode(volume, {"at": at, "read_only": read_only})

    assert mode("database", "/data", False) == "0700"
    assert mode("appdata", "/var/lib/postgresql/data", False) == "0700", "wherever it lies"
    assert mode("appdata", "/config", False) == "0750"
    assert mode("media", "/media", True) == "0755"


def test_mounts_of_a_guest(sample: Any) -> None:
    mounts = {one["class"]: one for one in planned(sample)["hosts"]["back"]["mounts"]}
    assert (mounts["media"]["kind"], mounts["media"]["source"], mounts["media"]["fstype"]) == (
        "virtiofs",
        "media",
        "virtiofs",
    )
    assert mounts["database"]["source"] == "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_database"
    assert set(mounts) == {"appdata", "database", "media", "backups"}


def test_nfs_mount_is_the_nodes_export(sample: Any) -> None:
    sample.site["site_storage"]["media"]["as"] = "nfs"
    plan = planned(sample)
    mounts = {one["class"]: one for one in plan["hosts"]["back"]["mounts"]}
    assert mounts["media"]["source"] == "192.168.1.100:/hdd/media"
    rules = plan["nodes"]["pve"]["firewall"]["node"]["rules"]
    assert [rule["source"] for rule in rules if rule["dport"] == "2049"] == ["192.168.1.101/32"]


def test_guests_in_start_order(sample: Any) -> None:
    sample.hosts["back"]["guest"]["start_order"] = 0
    assert [guest["name"] for guest in planned(sample)["guests"]] == ["back", "front"]


def test_guest_arguments(sample: Any) -> None:
    guests = {guest["name"]: guest for guest in planned(sample)["guests"]}
    back = guests["back"]
    assert (back["machine"], back["bios"], back["memory"]) == ("q35", "ovmf", 10240)
    assert back["pci"] == {"hostpci0": {"mapping": "igpu", "pcie": True}}
    assert back["disks"]["scsi0"]["import_from"] == "local:import/f.qcow2"
    assert (back["disks"]["scsi1"]["storage"], back["disks"]["scsi1"]["serial"]) == ("ssd", "database")
    assert back["virtiofs"]["virtiofs0"] == {"mapping": "appdata", "cache": "auto"}
    front = guests["front"]
    assert "pci" not in front and "machine" not in front
    assert front["cloud_init"]["ipconfig"] == [
        {"ip": "192.168.1.111/24", "gateway": "192.168.1.1", "ip6": "fd00:1::111/64", "gateway6": "fd00:1::1"}
    ]
    assert front["cloud_init"]["vendor_snippet"] == "local:snippets/front-vendor.yml"


def test_node_needs(sample: Any) -> None:
    node = planned(sample)["nodes"]["pve"]
    assert {"id": "media", "path": "/hdd/media"} in node["dir_mappings"]
    assert node["pci_mappings"] == [{"id": "igpu", "path": "0000:00:02.0"}]
    assert [image["file"] for image in node["images"]] == ["d.qcow2", "f.qcow2"]
    keys = node["snippets"][0]["yaml"]["ssh_keys"]
    assert keys["ed25519_private"] == {"$secret": "ssh_host_key.front"}
    assert node["api"]["api_token_id"] == "mediaserver"


def test_token_may_use_what_the_node_gives_and_no_more(sample: Any) -> None:
    access = planned(sample)["nodes"]["pve"]["access"]
    assert (access["user"], access["token_id"]) == ("automation@pve", "mediaserver")
    held = {(entry["path"], entry["role"]) for entry in access["acl"]}
    assert {("/vms/101", "MediaserverGuest"), ("/storage/local", "MediaserverStore")} <= held
    assert {role for _path, role in held} == {role["roleid"] for role in access["roles"]}
    # an entry on the storage itself would replace what is inherited, and the token could not define it
    assert ("/storage", "MediaserverDefine") in held and "/storage/ssd" not in {path for path, _role in held}
    sample.site["site_storage"]["database"]["source"] = "local-lvm"
    sample.hosts["pve"]["node"]["disk_storage_size"] = "80G"
    narrow = planned(sample)["nodes"]["pve"]["access"]
    assert "MediaserverDefine" not in {role["roleid"] for role in narrow["roles"]}
    sample.hosts["pve"]["node"]["api"]["user"] = "root@pam"
    assert planned(sample)["nodes"]["pve"]["access"]["acl"] == []


def test_proxmox_firewall_repeats_the_guests_rules(sample: Any) -> None:
    rules = planned(sample)["nodes"]["pve"]["firewall"]["guests"]["101"]["rules"]
    assert {"8096", "2283", "9090", "22"} == {rule["dport"] for rule in rules}
    assert all(rule.get("source") for rule in rules)


def test_route_by_address_from_another_host(sample: Any) -> None:
    route = next(one for one in planned(sample)["routes"] if one["service"] == "films")
    assert route["upstream"] == {"host": "back", "address": "192.168.1.101", "port": 8096, "scheme": "http"}
    assert (route["domains"], route["allow"], route["host"]) == (["media.example.org"], "any", "front")


def test_route_by_name_on_the_proxys_own_host(sample: Any) -> None:
    sample.site["site_services"]["films"]["hosts"] = ["front"]
    sample.groups = {}
    sample.hosts["front"]["guest"]["memory"] = "4G"
    sample.hosts["back"]["guest"]["memory"] = "9G"
    plan = planned(sample)
    route = next(one for one in plan["routes"] if one["service"] == "films")
    assert (route["upstream"]["address"], route["upstream"]["port"]) == ("films", 8096)
    assert compose(plan, "front", "films")["services"]["films"]["networks"]["proxy"] == {"aliases": ["films"]}
    assert plan["hosts"]["front"]["networks"] == [{"name": "mediaserver-proxy", "subnet": "172.20.1.0/24"}]


def test_route_of_zones_becomes_networks(sample: Any) -> None:
    route = next(one for one in planned(sample)["routes"] if one["service"] == "photos")
    assert route["allow"] == ["192.168.1.0/24", "fd00:1::/64"]


def test_each_scraped_service_brings_its_own_target_file(sample: Any) -> None:
    files = {one["path"]: one for one in planned(sample)["hosts"]["back"]["files"]}
    folder = "/opt/mediaserver/services/watch/files/config/targets"
    gauge = files[f"{folder}/gauge.json"]
    assert gauge["service"] == "gauge"
    assert [group["targets"] for group in gauge["yaml"]] == [["192.168.1.111:9100"], ["host.docker.internal:9100"]]
    assert {group["labels"]["job"] for group in gauge["yaml"]} == {"gauge"}
    assert all(group["labels"]["__metrics_path__"].startswith("/") for group in gauge["yaml"])


def test_scrape_targets(sample: Any) -> None:
    scrape = {one["job"]: one["targets"] for one in planned(sample)["hosts"]["back"]["scrape"]}
    assert scrape["meter"] == ["192.168.1.111:8080", "meter:8080"]
    assert scrape["gauge"] == ["192.168.1.111:9100", "host.docker.internal:9100"]
    assert scrape["watch"] == ["watch:9090"]


def test_backup_jobs(sample: Any) -> None:
    backups = planned(sample)["hosts"]["back"]["backups"]
    jobs = {job["name"]: job for job in backups["jobs"]}
    assert jobs["films-config"]["paths"] == [{"path": "/mnt/appdata/films/config", "mount": "/mnt/appdata"}]
    assert jobs["photos-main"]["database"]["kind"] == "postgresql"
    assert jobs["films-media"]["schedule"] == "monthly"
    assert backups["repositories"] == [
        {"name": "local", "path": "/mnt/backups/restic-repo/back", "mount": "/mnt/backups"}
    ]


def test_sqlite_is_dumped_and_left_out_of_its_volume(sample: Any) -> None:
    sample.catalog["films"]["backup"]["databases"] = {
        "main": {"kind": "sqlite", "volume": "config", "file": "data/films.db"}
    }
    jobs = {job["name"]: job for job in planned(sample)["hosts"]["back"]["backups"]["jobs"]}
    assert jobs["films-main"]["database"] == {
        "kind": "sqlite", "file": "/mnt/appdata/films/config/data/films.db", "mount": "/mnt/appdata",
    }  # fmt: skip
    live = jobs["films-main"]["database"]["file"]
    assert jobs["films-config"]["exclude"] == [
        live, f"{live}-wal", f"{live}-shm", f"{live}-journal", "/mnt/appdata/films/config/.ready",
    ]  # fmt: skip
    assert "exclude" not in jobs["films-media"]


def test_secrets_are_names(sample: Any) -> None:
    plan = planned(sample)
    names = {one["name"] for one in plan["secrets"]}
    assert {"photos.db_password", "ssh_host_key.front", "tunnel.account", "pve.api_token_secret"} <= names
    assert plan["known_hosts"][0] == {
        "host": "front", "addresses": ["192.168.1.111", "fd00:1::111"], "port": 22, "secret": "ssh_host_key.front",
    }  # fmt: skip


def test_forwards_and_probes(sample: Any) -> None:
    plan = planned(sample)
    assert {(one["protocol"], one["port"], one["to"]) for one in plan["forwards"]} == {
        ("tcp", 443, "192.168.1.111"), ("udp", 1194, "192.168.1.111"),
    }  # fmt: skip
    probes = {(one["zone"], one["host"], one["port"], one["server_name"]) for one in plan["probes"]}
    assert ("lan", "back", 8096, None) in probes
    assert ("edge", "back", 9090, None) in probes
    assert ("lan", "back", 9090, None) not in probes
    assert ("internet", "router", 443, "media.example.org") in probes
    assert ("internet", "router", 443, "photos.example.org") in probes
    [refused] = [
        one for one in plan["probes"] if one["zone"] == "internet" and one["server_name"] == "photos.example.org"
    ]
    assert (refused["expect"], refused["status"]) == ("refused", [403])
    assert ("lan", "front", 443, "photos.example.org") in probes
    assert [one["port"] for one in plan["unprobed"]] == [1194]
    assert not [one for one in plan["probes"] if one["port"] == 1194]


def test_application_gets_what_its_role_needs(sample: Any) -> None:
    plan = planned(sample)
    films = plan["hosts"]["back"]["applications"][0]
    assert films["url"] == "http://127.0.0.1:8096"
    assert films["secrets"] == {"admin_password": "films.admin_password"}
    assert films["volumes"]["media"] == {"host": "/mnt/media/library", "container": "/media"}
    proxy = plan["hosts"]["front"]["applications"][0]
    assert proxy["url"] == "http://127.0.0.1:81"
    assert [route["service"] for route in proxy["routes"]] == ["films", "photos"]


def test_own_service_is_whole_from_its_one_file(sample: Any) -> None:
    sample.own["notes"] = {
        "summary": "Notes",
        "containers": {"notes": {"image": "docker.io/example/notes:1", "ports": {"web": 9777}}},
        "route": {"name": "notes", "port": "web", "allow": ["lan"]},
        "reach": ["lan", "edge"],
        "metrics": {"port": "web"},
    }
    sample.site["site_services"]["notes"] = {"hosts": ["back"]}
    plan = planned(sample)
    assert "notes" in compose(plan, "back", "notes")["services"]
    assert any(one["domains"] == ["notes.example.org"] for one in plan["routes"])
    assert any(rule["service"] == "notes" for rule in plan["hosts"]["back"]["firewall"]["containers"])
    assert any(one["job"] == "notes" for one in plan["hosts"]["back"]["scrape"])


def test_settings_of_the_inventory_win(sample: Any) -> None:
    sample.site["site_services"]["films"]["settings"] = {"list": [3], "more": {"a": 1}}
    settings = planned(sample)["hosts"]["back"]["applications"][0]["settings"]
    assert settings == {"where": "192.168.1.0/24,fd00:1::/64", "list": [3], "more": {"a": 1}}


def test_accepted_warning_is_marked(sample: Any) -> None:
    warnings = {one["name"]: one["accepted"] for one in planned(sample)["warnings"]}
    assert warnings == {"backup-without-off-site": True, "storage-shared-with-edge": True}


def test_a_folder_per_host_is_shared_with_nobody(sample: Any) -> None:
    for name in ("appdata", "backups"):
        sample.site["site_storage"][name]["per_host"] = True
    plan = planned(sample)
    assert [one["name"] for one in plan["warnings"]] == ["backup-without-off-site"]
    assert {"id": "appdata-front", "path": "/ssd/appdata/front"} in plan["nodes"]["pve"]["dir_mappings"]
    mounts = {one["class"]: one for one in plan["hosts"]["front"]["mounts"]}
    assert (mounts["appdata"]["source"], mounts["appdata"]["path"]) == ("appdata-front", "/mnt/appdata")


def test_backup_on_the_disk_it_protects_is_warned_about(sample: Any) -> None:
    sample.site["site_storage"]["backups"]["source"] = "hdd/backups"
    sample.hosts["pve"]["node"]["pools"]["hdd"]["datasets"]["backups"] = "50G"
    warnings = {one["name"]: one for one in planned(sample)["warnings"]}
    assert "media" in warnings["backup-on-protected-disk"]["message"]
    assert "50G" in warnings["backup-repository-too-small"]["message"]
    assert warnings["backup-on-protected-disk"]["accepted"] is False


def test_database_on_nfs_is_a_warning_once_accepted(sample: Any) -> None:
    sample.site["site_storage"]["database"] |= {"as": "nfs", "source": "ssd/appdata"}
    sample.site["site_accept"].append("database-on-network-storage")
    assert "database-on-network-storage" in {one["name"] for one in planned(sample)["warnings"]}


def test_a_host_with_a_gpu_says_whether_a_service_needs_it(sample: Any) -> None:
    assert [planned(sample)["hosts"][name]["gpu"] for name in ("front", "back")] == [None, "optional"]
    sample.catalog["films"]["containers"]["films"]["gpu"] = "required"
    assert planned(sample)["hosts"]["back"]["gpu"] == "required"
