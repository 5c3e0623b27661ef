#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Stand-in for ghcr.io/google/cadvisor:0.60.5: a handful of its metrics, read from Docker's API and /proc."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from standin import App, Reply, Request, fatal, log, mounted, real_path

NAME = "cadvisor"
SOCKET = "/var/run/docker.sock"
FLAGS = [
    "allow_dynamic_housekeeping",
    "application_metrics_count_limit",
    "boot_id_file",
    "collector_cert",
    "collector_key",
    "container_hints",
    "containerd",
    "containerd-namespace",
    "containerd_env_metadata_whitelist",
    "disable_metrics",
    "disable_root_cgroup_stats",
    "docker",
    "docker-tls",
    "docker-tls-ca",
    "docker-tls-cert",
    "docker-tls-key",
    "docker_env_metadata_whitelist",
    "docker_only",
    "enable_load_reader",
    "enable_metrics",
    "env_metadata_whitelist",
    "event_storage_age_limit",
    "event_storage_event_limit",
    "global_housekeeping_interval",
    "housekeeping_interval",
    "http_auth_file",
    "http_auth_realm",
    "http_digest_file",
    "http_digest_realm",
    "listen_ip",
    "log_backtrace_at",
    "log_cadvisor_usage",
    "log_dir",
    "logtostderr",
    "machine_id_file",
    "max_housekeeping_interval",
    "max_procs",
    "perf_events_config",
    "podman",
    "port",
    "profiling",
    "prometheus_endpoint",
    "raw_cgroup_prefix_whitelist",
    "referenced_read_only",
    "referenced_reset_interval",
    "resctrl_interval",
    "stderrthreshold",
    "storage_driver",
    "storage_duration",
    "store_container_labels",
    "update_machine_info_interval",
    "url_base_prefix",
    "v",
    "version",
    "vmodule",
    "whitelisted_container_labels",
]
SWITCHES = ["docker_only", "logtostderr", "store_container_labels", "disable_root_cgroup_stats", "profiling", "version",
            "enable_load_reader", "allow_dynamic_housekeeping", "log_cadvisor_usage", "docker-tls"]  # fmt: skip
app = App(NAME)
samples: dict[str, dict[str, float]] = {}
app.missing = lambda request: Reply(404, "404 page not found\n")


class Local(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(5)
        self.sock.connect(str(real_path(SOCKET)))


def docker(path: str) -> Any:
    connection = Local("docker")
    connection.request("GET", path)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.status != 200:
        raise OSError(f"{answer.status} {content[:100]!r}")
    return json.loads(content)


def sample(container: dict[str, Any]) -> dict[str, float]:
    """One container's figures, of which any may be missing."""
    figures: dict[str, float] = {"container_last_seen": time.time()}
    try:
        stats = docker(f"/containers/{container['Id']}/stats?stream=false&one-shot=true")
    except OSError:  # gone meanwhile
        return figures
    memory, cpu = stats.get("memory_stats", {}), stats.get("cpu_stats", {}).get("cpu_usage", {})
    figures["container_memory_usage_bytes"] = memory.get("usage", 0)
    inactive = memory.get("stats", {}).get("inactive_file", 0)
    figures["container_memory_working_set_bytes"] = max(memory.get("usage", 0) - inactive, 0)
    figures["container_cpu_usage_seconds_total"] = cpu.get("total_usage", 0) / 1e9
    networks = stats.get("networks", {}).values()
    figures["container_network_receive_bytes_total"] = sum(each["rx_bytes"] for each in networks)
    figures["container_network_transmit_bytes_total"] = sum(each["tx_bytes"] for each in networks)
    return figures


def seconds(text: str) -> float:
    """Go's durations: 30s, 1m30s, 500ms."""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    parts = re.findall(r"([\d.]+)(ms|s|m|h)", text)
    if "".join(number + unit for number, unit in parts) != text or not parts:
        fatal(NAME, f'invalid value "{text}" for flag: parse error', 2)
    return sum(float(number) * units[unit] for number, unit in parts)


def collect(interval: float) -> None:
    """Look at all containers again and again: Docker takes a second for each, a scrape must not."""
    global samples
    with ThreadPoolExecutor(16) as pool:
        while True:
            try:
                containers = docker("/containers/json")
                samples = dict(zip(map(labels, containers), pool.map(sample, containers), strict=True))
            except (OSError, ValueError, KeyError) as error:
                log(NAME, f"docker: {error}")
                samples = {}
            time.sleep(interval)


def machine() -> dict[str, float]:
    memory = next(line for line in open("/proc/meminfo") if line.startswith("MemTotal"))  # noqa: PTH123, SIM115
    return {"machine_cpu_cores": os.cpu_count() or 1, "machine_memory_bytes": int(memory.split()[1]) * 1024}


def labels(container: dict[str, Any]) -> str:
    pairs = {"id": f"/system.slice/docker-{container['Id']}.scope", "image": container["Image"],
             "name": container["Names"][0].lstrip("/")}  # fmt: skip
    for key, value in container.get("Labels", {}).items():
        if key.startswith(("com.docker.compose.service", "com.docker.compose.project")):
            pairs["container_label_" + "".join(c if c.isalnum() else "_" for c in key)] = value
    escaped = {key: value.replace("\\", "\\\\").replace('"', '\\"') for key, value in pairs.items()}
    return ",".join(f'{key}="{value}"' for key, value in sorted(escaped.items()))


def exposition() -> str:
    found: dict[str, list[str]] = {}
    for name, value in machine().items():
        found[name] = [f"{name} {value}"]
    found["container_last_seen"] = [f'container_last_seen{{id="/",image="",name=""}} {time.time()}']
    for text, figures in samples.items():
        for name, value in figures.items():
            more = ',interface="eth0"' if "_network_" in name else ""
            found.setdefault(name, []).append(f"{name}{{{text}{more}}} {value}")
    lines = ["# TYPE cadvisor_version_info gauge", 'cadvisor_version_info{cadvisorVersion="stand-in"} 1']
    for name, rows in found.items():
        lines += [f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}", *rows]
    return "\n".join([*lines, ""])


@app.route("GET", "/healthz", locked=False)
def health(request: Request) -> Any:
    return "ok"


@app.route("GET", "/metrics")
def metrics(request: Request) -> Any:
    return Reply(200, exposition(), {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


@app.route("GET", "/")
def root(request: Request) -> Any:
    return Reply(307, None, {"Location": "/containers/"})


@app.route("GET", "/containers(/.*)?")
def page(request: Request) -> Any:
    return Reply(200, "<html><title>cAdvisor (stand-in)</title></html>", {"Content-Type": "text/html"})


def flags(given: list[str]) -> dict[str, str]:
    """Go's way: -flag, --flag, -flag=value, -flag value."""
    found: dict[str, str] = {}
    rest = list(given)
    while rest:
        name, _, value = rest.pop(0).lstrip("-").partition("=")
        if name not in FLAGS:
            fatal(NAME, f"flag provided but not defined: -{name}", 2)
        if not value and name not in SWITCHES and rest:
            value = rest.pop(0)
        found[name] = value
    return found


def main() -> None:
    given = flags(sys.argv[1:])
    if os.getuid() != 0:
        fatal(NAME, "must run as root: permission denied on /sys/fs/cgroup and the container runtimes")
    for path in ("/rootfs", "/sys", "/var/run"):
        if not mounted(path):
            log(NAME, f"E: {path} of the host is not mounted: its figures will be missing")
    if not real_path(SOCKET).exists():
        log(NAME, "E: Registration of the docker container factory failed: Cannot connect to the Docker daemon")
    else:
        interval = seconds(given.get("housekeeping_interval") or "1s")
        threading.Thread(target=collect, args=(interval,), daemon=True).start()
    app.serve(int(given.get("port") or 8080), "ghcr.io/google/cadvisor:0.60.5")


if __name__ == "__main__":
    main()
