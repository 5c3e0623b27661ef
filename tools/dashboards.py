#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# ruff: noqa: E501 (tables: one panel is one line)
# fmt: off
"""Make Grafana's dashboards from the tables below: `python3 tools/dashboards.py` (`--check` only compares).

The host and container boards show what the community's boards 1860 (Node Exporter Full) and 893 (Docker and system
monitoring) show; they are written anew, not copied.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "roles/services/catalog/grafana/templates/dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
RATE = "[$__rate_interval]"

Series = list[tuple[str, str]]


def n(metric: str, more: str = "") -> str:
    """A metric of the chosen host."""
    return f'{metric}{{host="$host"{"," + more if more else ""}}}'


def r(metric: str, more: str = "") -> str:
    return f"rate({n(metric, more)}{RATE})"


IDLE = 'mode="idle"'
FAILED = 'state="failed"'


def mode_is(mode: str) -> str:
    return f'mode="{mode}"'


class Board:
    """Lays panels out from left to right, row after row."""

    def __init__(self, uid: str, title: str, variables: list[dict[str, Any]], refresh: str = "1m") -> None:
        self.panels: list[dict[str, Any]] = []
        self.x = self.y = self.high = 0
        self.data: dict[str, Any] = {
            "uid": uid, "title": title, "tags": ["mediaserver"], "schemaVersion": 39, "version": 1, "editable": False,
            "graphTooltip": 1, "refresh": refresh, "time": {"from": "now-24h", "to": "now"}, "timezone": "browser",
            "templating": {"list": variables}, "annotations": {"list": []}, "links": [], "panels": self.panels,
        }  # fmt: skip

    def row(self, title: str) -> None:
        self._break()
        self.panels.append({
            "id": len(self.panels) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
            "gridPos": {"h": 1, "w": 24, "x": 0, "y": self.y},
        })  # fmt: skip
        self.y += 1

    def _break(self) -> None:
        self.y += self.high
        self.x = self.high = 0

    def add(self, kind: str, title: str, series: Series, unit: str, width: int, height: int, **more: Any) -> None:
        if self.x + width > 24:
            self._break()
        instant = kind in ("stat", "gauge", "bargauge", "table")
        targets = [
            {"refId": chr(65 + index), "datasource": SOURCE, "expr": expr, "legendFormat": legend, "instant": instant,
             **({"format": "table"} if kind == "table" else {})}
            for index, (expr, legend) in enumerate(series)
        ]  # fmt: skip
        self.panels.append({
            "id": len(self.panels) + 1, "type": kind, "title": title, "datasource": SOURCE, "targets": targets,
            "gridPos": {"h": height, "w": width, "x": self.x, "y": self.y},
            "fieldConfig": {"defaults": {"unit": unit, **more.pop("defaults", {})}, "overrides": more.pop("overrides", [])},
            "options": more.pop("options", {}), **more,
        })  # fmt: skip
        self.x += width
        self.high = max(self.high, height)

    def graph(self, title: str, unit: str, series: Series, width: int = 12, stack: bool = False, least: int | None = 0) -> None:
        custom = {"fillOpacity": 30 if stack else 10, "lineWidth": 1, "showPoints": "never", "stacking": {"mode": "normal" if stack else "none"}}
        defaults = {"custom": custom, **({} if least is None else {"min": least})}
        legend = {"displayMode": "table", "placement": "bottom", "calcs": ["mean", "max", "lastNotNull"]}
        self.add("timeseries", title, series, unit, width, 8, defaults=defaults, options={"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}})

    def stat(self, title: str, unit: str, expr: str, width: int = 3, legend: str = "", steps: list[tuple[float | None, str]] | None = None, **more: Any) -> None:
        thresholds = {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps or [(None, "green")]]}
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background" if steps else "value", "textMode": "auto", "graphMode": "none"}
        self.add("stat", title, [(expr, legend)], unit, width, 4, defaults={"thresholds": thresholds, **more}, options=options)

    def gauge(self, title: str, expr: str, width: int = 3, legend: str = "", kind: str = "gauge", height: int = 4) -> None:
        steps = [{"value": None, "color": "green"}, {"value": 80, "color": "orange"}, {"value": 90, "color": "red"}]
        defaults = {"min": 0, "max": 100, "thresholds": {"mode": "absolute", "steps": steps}}
        options: dict[str, Any] = {"reduceOptions": {"calcs": ["lastNotNull"]}}
        if kind == "bargauge":
            options.update(orientation="horizontal", displayMode="gradient")
        self.add(kind, title, [(expr, legend)], "percent", width, height, defaults=defaults, options=options)


def variable(name: str, label: str, query: str, many: bool = False) -> dict[str, Any]:
    return {
        "name": name, "label": label, "type": "query", "datasource": SOURCE, "query": {"query": query, "refId": name},
        "definition": query, "refresh": 2, "sort": 1, "multi": many, "includeAll": many, **({"allValue": ".*"} if many else {}),
    }  # fmt: skip


def node_overview(b: Board) -> None:
    b.row("Overview")
    b.gauge("CPU busy", f"100 * (1 - avg({r('node_cpu_seconds_total', IDLE)}))")
    b.gauge("Load (5 min)", f"100 * {n('node_load5')} / count(count by (cpu) ({n('node_cpu_seconds_total')}))")
    b.gauge("Memory used", f"100 * (1 - {n('node_memory_MemAvailable_bytes')} / {n('node_memory_MemTotal_bytes')})")
    b.gauge("Swap used", f"100 * (1 - {n('node_memory_SwapFree_bytes')} / ({n('node_memory_SwapTotal_bytes')} > 0))")
    root = 'mountpoint="/"'
    b.gauge("Root disk used", f"100 * (1 - {n('node_filesystem_avail_bytes', root)} / {n('node_filesystem_size_bytes', root)})")
    b.gauge("Pressure: CPU", f"100 * {r('node_pressure_cpu_waiting_seconds_total')}")
    b.gauge("Pressure: memory", f"100 * {r('node_pressure_memory_waiting_seconds_total')}")
    b.gauge("Pressure: disks", f"100 * {r('node_pressure_io_waiting_seconds_total')}")
    b.stat("Cores", "short", f"count(count by (cpu) ({n('node_cpu_seconds_total')}))")
    b.stat("Memory", "bytes", n("node_memory_MemTotal_bytes"))
    b.stat("Swap", "bytes", n("node_memory_SwapTotal_bytes"))
    b.stat("Root disk", "bytes", n("node_filesystem_size_bytes", root))
    b.stat("Up since", "s", f"{n('node_time_seconds')} - {n('node_boot_time_seconds')}")
    b.stat("Failed units", "short", f"sum({n('node_systemd_unit_state', FAILED)})", steps=[(None, "green"), (1, "red")])
    b.stat("Killed for memory (24 h)", "short", f"increase({n('node_vmstat_oom_kill')}[24h])", steps=[(None, "green"), (1, "red")])
    b.stat("Clock off by", "s", f"abs({n('node_timex_offset_seconds')})", steps=[(None, "green"), (0.5, "red")])


CPU_MODES = ["system", "user", "nice", "iowait", "irq", "softirq", "steal", "idle"]


def node_cpu(b: Board) -> None:
    b.row("CPU")
    modes = [(f"100 * avg({r('node_cpu_seconds_total', mode_is(mode))})", mode) for mode in CPU_MODES]
    b.graph("CPU by mode", "percent", modes, stack=True)
    b.graph("CPU by core", "percent", [(f"100 * (1 - {r('node_cpu_seconds_total', IDLE)})", "{{cpu}}")])
    b.graph("Load", "short", [(n(f"node_load{minutes}"), f"{minutes} min") for minutes in (1, 5, 15)])
    b.graph("Frequency", "hertz", [(n("node_cpu_scaling_frequency_hertz"), "core {{cpu}}")])
    b.graph("Guests' CPU", "percent", [(f"100 * sum by (mode) ({r('node_cpu_guest_seconds_total')})", "{{mode}}")])
    b.graph("Schedule: running and waiting", "s", [(f"sum({r('node_schedstat_running_seconds_total')})", "running"), (f"sum({r('node_schedstat_waiting_seconds_total')})", "waiting")])
    pressure = [(r(f"node_pressure_{what}_seconds_total"), what.replace("_", " ")) for what in ("cpu_waiting", "memory_waiting", "memory_stalled", "io_waiting", "io_stalled", "irq_stalled")]
    b.graph("Pressure (share of time)", "percentunit", pressure, width=24)


MEMORY = [
    ("Memory", ["MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapCached"]),
    ("Active and inactive", ["Active", "Inactive", "Active_anon", "Inactive_anon", "Active_file", "Inactive_file"]),
    ("Commitment", ["Committed_AS", "CommitLimit"]),
    ("Writeback and dirty", ["Dirty", "Writeback", "WritebackTmp", "NFS_Unstable"]),
    ("Shared and mapped", ["Mapped", "Shmem", "ShmemHugePages", "ShmemPmdMapped"]),
    ("Slab", ["Slab", "SReclaimable", "SUnreclaim"]),
    ("Kernel", ["KernelStack", "PageTables", "Percpu", "Bounce"]),
    ("vmalloc", ["VmallocTotal", "VmallocUsed", "VmallocChunk"]),
    ("Anonymous", ["AnonPages", "AnonHugePages"]),
    ("Huge pages' size", ["Hugepagesize"]),
    ("DirectMap", ["DirectMap4k", "DirectMap2M", "DirectMap1G"]),
    ("Locked", ["Unevictable", "Mlocked"]),
    ("Swap", ["SwapTotal", "SwapFree"]),
    ("Corrupted by hardware", ["HardwareCorrupted"]),
]


def node_memory(b: Board) -> None:
    b.row("Memory")
    total, free = n("node_memory_MemTotal_bytes"), n("node_memory_MemFree_bytes")
    cache = f"({n('node_memory_Cached_bytes')} + {n('node_memory_Buffers_bytes')} + {n('node_memory_SReclaimable_bytes')})"
    swap = f"{n('node_memory_SwapTotal_bytes')} - {n('node_memory_SwapFree_bytes')}"
    b.graph("Use", "bytes", [(f"{total} - {free} - {cache}", "used"), (cache, "cache and buffers"), (free, "free"), (swap, "swap used")], stack=True)
    b.graph("Faults", "ops", [(r("node_vmstat_pgmajfault"), "major"), (r("node_vmstat_pgfault") + " - " + r("node_vmstat_pgmajfault"), "minor")])
    for title, names in MEMORY:
        b.graph(title, "bytes", [(n(f"node_memory_{name}_bytes"), name) for name in names], width=8)
    huge = [(n(f"node_memory_HugePages_{name}"), name) for name in ("Total", "Free", "Rsvd", "Surp")]
    b.graph("Huge pages", "short", huge, width=8)
    b.graph("Paging", "ops", [(r("node_vmstat_pgpgin"), "in"), (r("node_vmstat_pgpgout"), "out")], width=8)
    b.graph("Swapping", "ops", [(r("node_vmstat_pswpin"), "in"), (r("node_vmstat_pswpout"), "out")], width=8)
    b.graph("Killed for memory", "short", [(f"increase({n('node_vmstat_oom_kill')}{RATE})", "kills")], width=8)


def node_storage(b: Board) -> None:
    b.row("File systems")
    real = 'fstype!~"tmpfs|overlay|squashfs|ramfs|nsfs"'
    b.graph("Used", "percent", [(f"100 * (1 - {n('node_filesystem_avail_bytes', real)} / {n('node_filesystem_size_bytes', real)})", "{{mountpoint}}")])
    b.graph("Available", "bytes", [(n("node_filesystem_avail_bytes", real), "{{mountpoint}}")])
    b.graph("Size and free", "bytes", [(n("node_filesystem_size_bytes", real), "{{mountpoint}} size"), (n("node_filesystem_free_bytes", real), "{{mountpoint}} free")])
    b.graph("Inodes", "short", [(n("node_filesystem_files", real), "{{mountpoint}} total"), (n("node_filesystem_files_free", real), "{{mountpoint}} free")])
    b.graph("Read-only or broken", "short", [(n("node_filesystem_readonly", real), "{{mountpoint}} read-only"), (n("node_filesystem_device_error", real), "{{mountpoint}} error")])
    b.graph("Open files", "short", [(n("node_filefd_allocated"), "open"), (n("node_filefd_maximum"), "maximum")])
    b.row("Disks")
    b.graph("Operations", "iops", [(r("node_disk_reads_completed_total"), "{{device}} read"), (r("node_disk_writes_completed_total"), "{{device}} written")])
    b.graph("Throughput", "Bps", [(r("node_disk_read_bytes_total"), "{{device}} read"), (r("node_disk_written_bytes_total"), "{{device}} written")])
    wait = [(f"{r(f'node_disk_{what}_time_seconds_total')} / {r(f'node_disk_{what}s_completed_total')}", f"{{{{device}}}} {what}") for what in ("read", "write")]
    b.graph("Average wait", "s", wait)
    b.graph("Queue", "short", [(r("node_disk_io_time_weighted_seconds_total"), "{{device}}")])
    b.graph("Busy", "percentunit", [(r("node_disk_io_time_seconds_total"), "{{device}}")])
    b.graph("Merged", "iops", [(r("node_disk_reads_merged_total"), "{{device}} read"), (r("node_disk_writes_merged_total"), "{{device}} written")])
    b.graph("In progress", "short", [(n("node_disk_io_now"), "{{device}}")])
    b.graph("Discards and flushes", "iops", [(r("node_disk_discards_completed_total"), "{{device}} discards"), (r("node_disk_discards_merged_total"), "{{device}} merged"), (r("node_disk_flush_requests_total"), "{{device}} flushes")])


NETWORK = [("Packets", "packets", "pps"), ("Errors", "errs", "pps"), ("Drops", "drop", "pps"), ("Compressed", "compressed", "pps"), ("FIFO errors", "fifo", "pps")]


def node_network(b: Board) -> None:
    b.row("Network")
    real = 'device!~"lo|veth.*|br-.*"'
    b.graph("Traffic", "bps", [(f"8 * {r('node_network_receive_bytes_total', real)}", "{{device}} in"), (f"8 * {r('node_network_transmit_bytes_total', real)}", "{{device}} out")], width=24)
    for title, name, unit in NETWORK:
        b.graph(title, unit, [(r(f"node_network_receive_{name}_total"), "{{device}} in"), (r(f"node_network_transmit_{name}_total"), "{{device}} out")], width=8)
    b.graph("Multicast, frame errors", "pps", [(r("node_network_receive_multicast_total"), "{{device}} multicast"), (r("node_network_receive_frame_total"), "{{device}} frame")], width=8)
    b.graph("Carrier, collisions", "pps", [(r("node_network_transmit_carrier_total"), "{{device}} carrier"), (r("node_network_transmit_colls_total"), "{{device}} collisions")], width=8)
    b.graph("Link", "short", [(n("node_network_up"), "{{device}} up"), (n("node_network_carrier"), "{{device}} carrier")], width=8)
    b.graph("Speed", "Bps", [(n("node_network_speed_bytes"), "{{device}}")], width=8)
    b.graph("MTU", "bytes", [(n("node_network_mtu_bytes"), "{{device}}")], width=8)
    b.graph("Transmit queue", "short", [(n("node_network_transmit_queue_length"), "{{device}}")], width=8)
    b.graph("ARP entries", "short", [(n("node_arp_entries"), "{{device}}")], width=8)
    b.graph("Tracked connections", "short", [(n("node_nf_conntrack_entries"), "entries"), (n("node_nf_conntrack_entries_limit"), "limit")], width=8)
    b.graph("Softnet", "pps", [(f"sum({r(f'node_softnet_{what}_total')})", what) for what in ("processed", "dropped", "times_squeezed")], width=8)


def node_sockets(b: Board) -> None:
    b.row("Sockets and protocols")
    tcp = [(n(f"node_sockstat_TCP_{what}"), what) for what in ("alloc", "inuse", "orphan", "tw")]
    b.graph("TCP sockets", "short", tcp, width=8)
    b.graph("UDP, RAW and fragments", "short", [(n(f"node_sockstat_{what}_inuse"), what) for what in ("UDP", "UDPLITE", "UDP6", "RAW", "RAW6", "FRAG", "FRAG6")], width=8)
    b.graph("Sockets in use", "short", [(n("node_sockstat_sockets_used"), "all"), (n("node_sockstat_TCP6_inuse"), "TCP6")], width=8)
    b.graph("Sockets' memory", "bytes", [(n("node_sockstat_TCP_mem_bytes"), "TCP"), (n("node_sockstat_UDP_mem_bytes"), "UDP"), (n("node_sockstat_FRAG_memory"), "fragments")], width=8)
    b.graph("IP octets", "Bps", [(r("node_netstat_IpExt_InOctets"), "in"), (r("node_netstat_IpExt_OutOctets"), "out"), (r("node_netstat_Ip6_InOctets"), "IPv6 in"), (r("node_netstat_Ip6_OutOctets"), "IPv6 out")], width=8)
    b.graph("TCP segments", "pps", [(r(f"node_netstat_Tcp_{what}"), what) for what in ("InSegs", "OutSegs", "RetransSegs", "InErrs", "OutRsts")], width=8)
    b.graph("TCP connections", "short", [(n("node_netstat_Tcp_CurrEstab"), "established"), (r("node_netstat_Tcp_ActiveOpens"), "opened/s"), (r("node_netstat_Tcp_PassiveOpens"), "accepted/s")], width=8)
    b.graph("TCP trouble", "pps", [(r(f"node_netstat_TcpExt_{what}"), what) for what in ("ListenOverflows", "ListenDrops", "TCPSynRetrans", "TCPTimeouts", "TCPRcvQDrop", "TCPOFOQueue")], width=8)
    b.graph("SYN cookies", "pps", [(r(f"node_netstat_TcpExt_Syncookies{what}"), what) for what in ("Failed", "Recv", "Sent")], width=8)
    b.graph("UDP datagrams", "pps", [(r(f"node_netstat_Udp_{what}"), what) for what in ("InDatagrams", "OutDatagrams", "InErrors", "NoPorts", "RcvbufErrors", "SndbufErrors")], width=8)
    b.graph("ICMP", "pps", [(r(f"node_netstat_Icmp_{what}"), what) for what in ("InMsgs", "OutMsgs", "InErrors")], width=8)


def node_system(b: Board) -> None:
    b.row("System")
    b.graph("Processes", "short", [(n("node_procs_running"), "running"), (n("node_procs_blocked"), "blocked"), (n("node_processes_pids"), "all"), (n("node_processes_threads"), "threads")], width=8)
    b.graph("Processes by state", "short", [(n("node_processes_state"), "{{state}}")], width=8)
    b.graph("Limits of processes", "short", [(n("node_processes_max_processes"), "processes"), (n("node_processes_max_threads"), "threads")], width=8)
    b.graph("Forks", "ops", [(r("node_forks_total"), "forks")], width=8)
    b.graph("Context switches and interrupts", "ops", [(r("node_context_switches_total"), "switches"), (r("node_intr_total"), "interrupts")], width=8)
    b.graph("Entropy", "short", [(n("node_entropy_available_bits"), "bits")], width=8)
    b.graph("Clock", "s", [(n("node_timex_offset_seconds"), "offset"), (n("node_timex_estimated_error_seconds"), "estimated error"), (n("node_timex_maxerror_seconds"), "maximum error")], width=8, least=None)
    b.graph("Clock in step", "short", [(n("node_timex_sync_status"), "in step"), (n("node_timex_frequency_adjustment_ratio"), "frequency ratio")], width=8)
    b.graph("Time zone and TAI", "s", [(n("node_time_zone_offset_seconds"), "zone"), (n("node_timex_tai_offset_seconds"), "TAI")], width=8, least=None)
    b.graph("Units by state", "short", [(f"sum by (state) ({n('node_systemd_unit_state')})", "{{state}}")], width=8)
    b.graph("Failed units", "short", [(f"{n('node_systemd_unit_state', FAILED)} == 1", "{{name}}")], width=8)
    b.graph("Sockets of systemd", "ops", [(r("node_systemd_socket_accepted_connections_total"), "{{name}}")], width=8)
    b.row("Hardware")
    b.graph("Temperature", "celsius", [(n("node_hwmon_temp_celsius"), "{{chip}} {{sensor}}"), (n("node_thermal_zone_temp"), "zone {{type}}"), (n("node_hwmon_temp_crit_celsius"), "{{chip}} {{sensor}} critical")], width=8)
    b.graph("Fans", "rotrpm", [(n("node_hwmon_fan_rpm"), "{{chip}} {{sensor}}")], width=8)
    b.graph("Throttling", "percent", [(f"100 * {n('node_cooling_device_cur_state')} / ({n('node_cooling_device_max_state')} > 0)", "{{name}} {{type}}")], width=8)
    b.graph("Power supply", "short", [(n("node_power_supply_online"), "{{power_supply}}")], width=8)
    b.row("node_exporter")
    b.graph("Collectors' time", "s", [(n("node_scrape_collector_duration_seconds"), "{{collector}}")])
    b.graph("Collectors that fail", "short", [(f"{n('node_scrape_collector_success')} == 0", "{{collector}}"), (n("node_textfile_scrape_error"), "text files")])


def node_board() -> Board:
    b = Board("mediaserver-host", "Host", [variable("host", "Host", "label_values(node_uname_info, host)")])
    for part in (node_overview, node_cpu, node_memory, node_storage, node_network, node_sockets, node_system):
        part(b)
    return b


PROJECT = "container_label_com_docker_compose_project"
SERVICE = "container_label_com_docker_compose_service"
CHOSEN = f'host=~"$host",{PROJECT}=~"$project",name!=""'
NAME = f"{{{{{PROJECT}}}}}/{{{{{SERVICE}}}}}"


def c(metric: str, more: str = "") -> str:
    return f"{metric}{{{CHOSEN}{',' + more if more else ''}}}"


def by(expr: str) -> str:
    return f"sum by ({PROJECT}, {SERVICE}) ({expr})"


def cr(metric: str, more: str = "") -> str:
    return by(f"rate({c(metric, more)}{RATE})")


def docker_board() -> Board:
    b = Board("mediaserver-containers", "Containers and system", [
        variable("host", "Host", "label_values(machine_cpu_cores, host)", many=True),
        variable("project", "Service", f'label_values(container_last_seen{{host=~"$host"}}, {PROJECT})', many=True),
    ])  # fmt: skip
    hosts = '{host=~"$host"}'
    b.row("Overview")
    b.stat("Containers", "short", f"count({c('container_last_seen')})", width=4)
    b.stat("CPU of containers", "percent", f"100 * sum(rate({c('container_cpu_usage_seconds_total')}{RATE})) / sum(machine_cpu_cores{hosts})", width=4)
    b.stat("Memory of containers", "bytes", f"sum({c('container_memory_working_set_bytes')})", width=4)
    b.stat("Host memory used", "percent", f"100 * (1 - sum(node_memory_MemAvailable_bytes{hosts}) / sum(node_memory_MemTotal_bytes{hosts}))", width=4)
    b.stat("Host load", "short", f"sum(node_load1{hosts})", width=4)
    b.stat("Host up since", "s", f"time() - max(node_boot_time_seconds{hosts})", width=4)
    disk = 'host=~"$host",mountpoint="/"'
    b.gauge("Root disk", f"100 * (1 - node_filesystem_avail_bytes{{{disk}}} / node_filesystem_size_bytes{{{disk}}})", width=6, legend="{{host}}")
    b.stat("Newest start", "s", f"time() - max({c('container_start_time_seconds')})", width=6)
    b.stat("Starts in 24 h", "short", f"sum(changes({c('container_start_time_seconds')}[24h]))", width=6, steps=[(None, "green"), (5, "orange")])
    b.stat("Memory limits hit in 24 h", "short", f"sum(increase({c('container_memory_failcnt')}[24h]))", width=6, steps=[(None, "green"), (1, "orange")])
    b.row("CPU")
    b.graph("CPU", "percent", [(f"100 * {cr('container_cpu_usage_seconds_total')}", NAME)], width=24, stack=True)
    b.graph("User", "percent", [(f"100 * {cr('container_cpu_user_seconds_total')}", NAME)], width=8)
    b.graph("System", "percent", [(f"100 * {cr('container_cpu_system_seconds_total')}", NAME)], width=8)
    b.graph("Throttled", "s", [(cr("container_cpu_cfs_throttled_seconds_total"), NAME)], width=8)
    b.row("Memory")
    b.graph("Working set", "bytes", [(by(c("container_memory_working_set_bytes")), NAME)], width=24, stack=True)
    limit = f"{by(c('container_memory_working_set_bytes'))} / ({by(c('container_spec_memory_limit_bytes'))} > 0)"
    b.graph("Share of the limit", "percentunit", [(limit, NAME)], width=8)
    b.graph("RSS", "bytes", [(by(c("container_memory_rss")), NAME)], width=8)
    b.graph("Cache", "bytes", [(by(c("container_memory_cache")), NAME)], width=8)
    b.graph("Swap", "bytes", [(by(c("container_memory_swap")), NAME)], width=8)
    b.graph("Whole use", "bytes", [(by(c("container_memory_usage_bytes")), NAME)], width=8)
    b.graph("Limit hit", "ops", [(cr("container_memory_failcnt"), NAME)], width=8)
    b.row("Network")
    for title, way in (("Received", "receive"), ("Sent", "transmit")):
        b.graph(title, "bps", [(f"8 * {cr(f'container_network_{way}_bytes_total')}", NAME)])
    for title, way in (("received", "receive"), ("sent", "transmit")):
        b.graph(f"Packets {title}: dropped and wrong", "pps", [(cr(f"container_network_{way}_packets_dropped_total"), f"{NAME} dropped"), (cr(f"container_network_{way}_errors_total"), f"{NAME} wrong")])
    b.row("Disks")
    b.graph("Read", "Bps", [(cr("container_fs_reads_bytes_total"), NAME)], width=8)
    b.graph("Written", "Bps", [(cr("container_fs_writes_bytes_total"), NAME)], width=8)
    b.graph("Own file system", "bytes", [(by(c("container_fs_usage_bytes")), NAME)], width=8)
    b.row("Host")
    b.graph("CPU", "percent", [(f'100 * (1 - avg by (host) (rate(node_cpu_seconds_total{{host=~"$host",mode="idle"}}{RATE})))', "{{host}}")], width=8)
    b.graph("Memory", "bytes", [(f"node_memory_MemTotal_bytes{hosts} - node_memory_MemAvailable_bytes{hosts}", "{{host}} used"), (f"node_memory_MemTotal_bytes{hosts}", "{{host}}")], width=8)
    b.graph("Traffic", "bps", [(f'8 * sum by (host) (rate(node_network_{way}_bytes_total{{host=~"$host",device!~"lo|veth.*|br-.*|docker.*"}}{RATE}))', "{{host}} " + way) for way in ("receive", "transmit")], width=8)
    b.graph("Disks", "Bps", [(f'sum by (host) (rate(node_disk_{what}_bytes_total{{host=~"$host"}}{RATE}))', "{{host}} " + what) for what in ("read", "written")], width=8)
    b.graph("File systems", "percent", [('100 * (1 - node_filesystem_avail_bytes{host=~"$host",fstype!~"tmpfs|overlay"} / node_filesystem_size_bytes{host=~"$host",fstype!~"tmpfs|overlay"})', "{{host}} {{mountpoint}}")], width=8)
    b.graph("Load", "short", [(f"node_load5{hosts}", "{{host}}")], width=8)
    return b


UP = [(None, "red"), (1.0, "green")]
SERVICES = [("Jellyfin", "jellyfin", "jellyfin"), ("Immich", "immich", "server"), ("Immich's database", "immich", "database"), ("Proxy", "nginx-proxy-manager", "nginx-proxy-manager"), ("Grafana", "grafana", "grafana"), ("Prometheus", "prometheus", "prometheus")]
STATE: dict[str, Any] = {"mappings": [{"type": "value", "options": {"0": {"text": "DOWN"}, "1": {"text": "up"}}}]}


def media_board() -> Board:
    b = Board("mediaserver", "Media server", [])
    b.row("Services")
    for title, project, service in SERVICES:
        seen = f'container_last_seen{{{PROJECT}="{project}",{SERVICE}="{service}"}}'
        b.stat(title, "short", f"clamp_max(count({seen} > time() - 180), 1) or vector(0)", width=4, steps=UP, **STATE)
    b.stat("VPN", "short", 'max(node_systemd_unit_state{name="openvpn-server@server.service",state="active"}) or vector(0)', width=4, steps=UP, **STATE)
    b.stat("Dynamic DNS", "short", 'max(node_systemd_unit_state{name="ddclient.service",state="active"}) or vector(0)', width=4, steps=UP, **STATE)
    b.stat("fail2ban", "short", 'min by (host) (node_systemd_unit_state{name="fail2ban.service",state="active"})', width=4, legend="{{host}}", steps=UP, **STATE)
    b.stat("Hosts", "short", 'min by (host) (up{job="node-exporter"})', width=4, legend="{{host}}", steps=UP, **STATE)
    b.stat("Alerts that fire", "short", 'count(ALERTS{alertstate="firing"}) or vector(0)', width=4, steps=[(None, "green"), (1, "red")])
    b.stat("Certificates end in", "s", "min by (certificate) (mediaserver_certificate_end_timestamp_seconds) - time()", width=4, legend="{{certificate}}", steps=[(None, "red"), (1209600, "orange"), (2592000, "green")])
    b.graph("Targets that answer", "short", [("up", "{{job}} {{host}}")])
    b.add("table", "Alerts", [('ALERTS{alertstate="firing"}', "")], "short", 12, 8)
    b.row("Media")
    for title, project in (("Jellyfin", "jellyfin"), ("Immich", "immich")):
        chosen = f'{PROJECT}="{project}"'
        b.graph(f"{title}: CPU", "percent", [(f"100 * sum by ({SERVICE}) (rate(container_cpu_usage_seconds_total{{{chosen}}}{RATE}))", f"{{{{{SERVICE}}}}}")], width=8)
        b.graph(f"{title}: memory", "bytes", [(f"sum by ({SERVICE}) (container_memory_working_set_bytes{{{chosen}}})", f"{{{{{SERVICE}}}}}")], width=8)
        b.graph(f"{title}: traffic", "bps", [(f"8 * sum(rate(container_network_{way}_bytes_total{{{chosen}}}{RATE}))", name) for way, name in (("transmit", "out"), ("receive", "in"))], width=8)
    b.row("Storage")
    mounts = 'mountpoint=~"/mnt/.*|/"'
    fill = f"100 * (1 - max by (host, mountpoint) (node_filesystem_avail_bytes{{{mounts}}}) / max by (host, mountpoint) (node_filesystem_size_bytes{{{mounts}}}))"
    b.gauge("Storage classes", fill, width=12, legend="{{host}} {{mountpoint}}", kind="bargauge", height=8)
    b.graph("Available", "bytes", [(f"max by (host, mountpoint) (node_filesystem_avail_bytes{{{mounts}}})", "{{host}} {{mountpoint}}")])
    b.row("Backups")
    b.stat("Unwise, and not accepted (make plan)", "short", "max by (warning) (mediaserver_backup_warning) or vector(0)", width=24, legend="{{warning}}", steps=[(None, "green"), (1, "red")], mappings=[{"type": "value", "options": {"0": {"text": "nothing"}, "1": {"text": "LOOK"}}}])
    age = "time() - max by (host, backup) (mediaserver_backup_last_success_timestamp_seconds)"
    b.stat("Since the last success", "s", age, width=12, legend="{{backup}}", steps=[(None, "green"), (2764800, "orange")])
    objective = "max by (host, backup) (mediaserver_backup_rpo_seconds)"
    b.stat("Age in parts of what is allowed (RPO)", "percentunit", f"({age}) / on (host, backup) {objective}", width=12, legend="{{backup}}", steps=[(None, "green"), (0.8, "orange"), (1, "red")])
    slow = "max by (host, service) (mediaserver_drill_last_duration_seconds) / on (host, service) max by (host, service) (mediaserver_drill_rto_seconds)"
    b.stat("Drill in parts of what is allowed (RTO)", "percentunit", slow, width=12, legend="{{service}}", steps=[(None, "green"), (0.8, "orange"), (1, "red")])
    b.stat("Repository whole", "short", "min by (host, repository) (mediaserver_backup_repository_whole)", width=12, legend="{{host}} {{repository}}", steps=UP, mappings=[{"type": "value", "options": {"0": {"text": "DAMAGED"}, "1": {"text": "whole"}}}])
    late = "clamp_min(time() - max by (host, backup) (mediaserver_backup_due_timestamp_seconds), 0)"
    b.stat("Overdue by", "s", late, width=12, legend="{{backup}}", steps=[(None, "green"), (3600, "orange"), (43200, "red")])
    b.stat("Last run", "short", "min by (host, backup) (mediaserver_backup_last_run_successful)", width=12, legend="{{backup}}", steps=UP, mappings=[{"type": "value", "options": {"0": {"text": "FAILED"}, "1": {"text": "good"}}}])
    b.stat("Repository checked", "s", "time() - max by (host, repository) (mediaserver_backup_last_check_timestamp_seconds)", width=12, legend="{{host}} {{repository}}", steps=[(None, "green"), (1209600, "red")])
    b.graph("Read by each run", "bytes", [("max by (host, backup) (mediaserver_backup_last_size_bytes)", "{{backup}}")], width=8)
    b.graph("Added by each run", "bytes", [("max by (host, backup) (mediaserver_backup_last_added_bytes)", "{{backup}}")], width=8)
    b.graph("Time of each run", "s", [("max by (host, backup) (mediaserver_backup_last_duration_seconds)", "{{backup}}")], width=8)
    return b


BOARDS = {"host": node_board, "containers": docker_board, "media-server": media_board}


def render() -> dict[str, str]:
    return {name: json.dumps(make().data, indent=1, sort_keys=True) + "\n" for name, make in BOARDS.items()}


def main() -> int:
    stale = []
    for name, text in render().items():
        path = TARGET / f"{name}.json"
        if not path.exists() or path.read_text() != text:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(text)
    print(f"{'differ' if '--check' in sys.argv else 'written'}: {', '.join(stale) or 'none'}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
