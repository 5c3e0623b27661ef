# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which questions each prober asks, and what their answers mean against the plan. Pure.

A prober stands in one zone (``internet``, ``lan``, ``edge``, ``vpn``). It scans every TCP port of every target and
holds the conversations that the plan expects to succeed there; named UDP ports are asked from every zone. Whatever is
open without being planned, or planned without answering, is a surprise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

ZONES = ("internet", "lan", "edge", "vpn")


@dataclass(frozen=True)
class Row:
    """One line of verify's table. ``seen`` is what the prober found, ``ok`` whether it is what the plan says.

    ``expected``: open, closed, or refused: the port is the proxy's, but this name must not be served here.
    """

    zone: str
    prober: str
    target: str
    address: str
    port: str
    service: str
    expected: str
    seen: str
    ok: bool


@dataclass(frozen=True)
class Verdict:
    """The table, and its sums: probes made, open as planned, closed as planned, surprises, zones without a prober."""

    rows: tuple[Row, ...]
    made: int
    open_as_planned: int
    closed_as_planned: int
    not_probed: tuple[str, ...]

    @property
    def surprises(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if not row.ok)

    def as_dict(self) -> dict[str, Any]:
        rows = [asdict(row) for row in self.rows]
        sums = {"made": self.made, "open_as_planned": self.open_as_planned, "closed_as_planned": self.closed_as_planned}
        return {
            **sums,
            "rows": rows,
            "not_probed": list(self.not_probed),
            "surprises": [asdict(row) for row in self.surprises],
        }


def addresses_of(probe: dict[str, Any]) -> list[str]:
    """The addresses a probe of the plan speaks of: IPv4 and, where the host has one, IPv6."""
    return [address for address in (probe.get("address"), probe.get("address6")) if address]


def probe_id(zone: str, address: str, probe: dict[str, Any]) -> str:
    # a proxy's port is asked once per name
    return "|".join((zone, address, probe["protocol"], str(probe["port"]), str(probe.get("server_name") or "")))


def questions(
    zone: str,
    own: Iterable[str],
    targets: Iterable[dict[str, str]],
    probes: Iterable[dict[str, Any]],
    authority: str = "",
) -> dict[str, Any]:
    """What one prober has to do: arguments of ``reachability_info``.

    ``own`` are the prober's own addresses, which it cannot judge from outside; ``targets`` are {name, address, zone?};
    ``authority`` are PEM certificates to trust besides the prober's own.
    UDP has no scan: a port that the plan opens in any zone is asked from every zone.
    """
    skip = set(own)
    asked: dict[str, dict[str, Any]] = {}
    for probe in probes:
        if probe["zone"] != zone and probe["protocol"] != "udp":
            continue
        for address in addresses_of(probe):
            if address not in skip:
                request = {
                    key: probe[key] for key in ("port", "path", "status", "server_name", "payload") if probe.get(key)
                }
                request |= {"ca_certificate": authority, "verify_certificate": probe.get("verify_certificate", True)}
                request |= {"id": probe_id(zone, address, probe), "address": address}
                request["speak"] = "udp" if probe["protocol"] == "udp" else probe.get("speak") or "tcp"
                asked[request["id"]] = request
    scan = [
        target["address"] for target in targets if target["address"] not in skip and target.get("zone", zone) == zone
    ]
    return {"scan": scan, "probes": list(asked.values())}


def judge(
    targets: Iterable[dict[str, str]], probes: list[dict[str, Any]], observations: Iterable[dict[str, Any]]
) -> Verdict:
    """Compare what the probers saw with the plan.

    ``observations``: one per prober, {prober, zone, own, open_ports: {address: [port] | None}, answers: {id: {answered,
    text}}}, as reachability_info returns them. An empty observation (a prober that could not be reached) makes its zone
    NOT PROBED.
    """
    names = {target["address"]: target["name"] for target in targets}
    rows: list[Row] = []
    closed = 0
    made = 0
    seen_zones: set[str] = set()
    for observation in observations:
        if not observation.get("open_ports"):
            continue
        seen_zones.add(observation["zone"])
        found = _conversations(observation, probes, names)
        rows += found
        expected_open = {(row.address, row.port) for row in found if row.expected != "closed"}
        for address, ports in observation["open_ports"].items():
            if ports is None:
                rows.append(_unreachable(observation, names, address))
                continue
            made += 65535
            surprising = [port for port in ports if (address, f"tcp/{port}") not in expected_open]
            rows += [_surprise(observation, names, address, port) for port in surprising]
            planned = sum(1 for known, port in expected_open if known == address and port.startswith("tcp/"))
            closed += 65535 - len(surprising) - planned
        made += len(found)
        closed += sum(1 for row in found if row.expected != "open" and row.ok)
    opened = sum(1 for row in rows if row.expected == "open" and row.ok)
    missing = tuple(zone for zone in ZONES if zone not in seen_zones)
    order = sorted(rows, key=lambda row: (row.ok, ZONES.index(row.zone), row.target, row.address, row.port))
    return Verdict(tuple(order), made, opened, closed, missing)


def _conversations(observation: dict[str, Any], probes: list[dict[str, Any]], names: dict[str, str]) -> list[Row]:
    rows: dict[tuple[str, str, str], Row] = {}
    for probe in probes:
        for address in addresses_of(probe):
            answer = observation["answers"].get(probe_id(observation["zone"], address, probe))
            if answer is None:
                continue
            expected = probe.get("expect", "open") if probe["zone"] == observation["zone"] else "closed"
            port = f"{probe['protocol']}/{probe['port']}"
            service = probe.get("server_name") or probe.get("service") or ""
            key = (address, port, service)
            if expected == "closed" and key in rows:
                continue  # the same port is planned open here by another probe
            rows[key] = Row(
                zone=observation["zone"],
                prober=observation["prober"],
                target=names.get(address, probe.get("host", "")),
                address=address,
                port=port,
                service=service,
                expected=expected,
                seen=answer["text"],
                ok=answer["answered"] == (expected != "closed"),
            )
    return list(rows.values())


def _unreachable(observation: dict[str, Any], names: dict[str, str], address: str) -> Row:
    """An address to which the prober has no way: nothing to reach, and nothing counted as probed."""
    return Row(
        observation["zone"], observation["prober"], names.get(address, ""), address, "tcp/*", "",
        expected="closed", seen="no route to it from here", ok=True,
    )  # fmt: skip


def _surprise(observation: dict[str, Any], names: dict[str, str], address: str, port: int) -> Row:
    return Row(
        observation["zone"], observation["prober"], names.get(address, ""), address, f"tcp/{port}", "",
        expected="closed", seen="OPEN", ok=False,
    )  # fmt: skip


def table(verdict: Verdict, unprobed: Iterable[dict[str, Any]] = ()) -> list[str]:
    """The verdict as lines for a person, surprises first. ``unprobed``: ports that answer no stranger, so not asked."""
    lines = [f"{'zone':<9} {'target':<12} {'address':<20} {'port':<10} {'service':<28} {'planned':<8} seen"]
    for row in verdict.rows:
        mark = "" if row.ok else "   <-- SURPRISE"
        lines.append(
            f"{row.zone:<9} {row.target:<12} {row.address:<20} {row.port:<10} {row.service:<28} {row.expected:<8} "
            f"{row.seen}{mark}"
        )
    lines += [f"{zone:<9} NOT PROBED (no prober stands in this zone)" for zone in verdict.not_probed]
    lines += [
        f"NOT PROBED {one['service']} {one['protocol']}/{one['port']} ({one.get('reason') or 'answers no stranger'})"
        for one in unprobed
    ]
    lines.append(
        f"probes made: {verdict.made}, open as planned: {verdict.open_as_planned}, closed as planned: "
        f"{verdict.closed_as_planned}, surprises: {len(verdict.surprises)}"
    )
    return lines
