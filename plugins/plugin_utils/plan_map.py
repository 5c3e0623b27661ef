# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan's map as inline SVG: zones on the left, hosts with their services on the right, allowed flows between."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Any

Tree = dict[str, Any]

WIDTH, ZONE_X, HOST_X = 960, 20, 470
ZONE_WIDTH, HOST_WIDTH, ROW = 170, 460, 30
COLOURS = {
    "internet": "#c0392b",
    "edge": "#d68910",
    "lan": "#1e8449",
    "vpn": "#2471a3",
    "monitoring": "#7d3c98",
    "node": "#5d6d7e",
}


@dataclass
class Drawing:
    """Shapes, and where each zone and service stands."""

    shapes: list[str] = field(default_factory=list)
    zones: dict[str, float] = field(default_factory=dict)
    services: dict[tuple[str, str], float] = field(default_factory=dict)
    height: float = 0

    def box(self, x: float, y: float, width: float, height: float, colour: str, fill: str = "none") -> None:
        self.shapes.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" stroke="{colour}" fill="{fill}"/>'
        )

    def text(self, x: float, y: float, text: str, size: int = 13, weight: str = "normal") -> None:
        if not text:
            return
        style = f'font-size="{size}" font-weight="{weight}"'
        self.shapes.append(f'<text x="{x}" y="{y}" {style}>{escape(text)}</text>')


def machines(plan: Tree) -> Tree:
    """What runs services, by name: Linux hosts and Windows machines."""
    return {**plan["hosts"], **plan["windows"]}


def saved(plan: Tree) -> Tree:
    """Those of them that make backups."""
    return {name: body for name, body in machines(plan).items() if body["backups"]}


def svg(plan: Tree) -> str:
    """The map. All text is escaped; nothing is loaded from elsewhere."""
    drawing = Drawing()
    flows = wanted(plan)
    draw_hosts(drawing, plan, flows)
    draw_zones(drawing, flows)
    arrows = [arrow(drawing, flow) for flow in flows]
    body = "\n".join([*arrows, *drawing.shapes])
    tip = 'viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto"'
    markers = "".join(
        f'<marker id="tip-{escape(zone)}" {tip}><path d="M0,0 L8,4 L0,8 z" fill="{colour(zone)}"/></marker>'
        for zone in drawing.zones
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {drawing.height:.0f}" role="img" '
        f'aria-label="Zones, hosts, services and allowed flows"><defs>{markers}</defs>\n{body}\n</svg>'
    )


def colour(zone: str) -> str:
    return COLOURS.get(zone, "#34495e")


def wanted(plan: Tree) -> list[Tree]:
    """Flows to draw: each zone and service once, ports together; names through the proxy as flows of their own."""
    found: dict[tuple[str, str, str], Tree] = {}
    for flow in plan["flows"]:
        service = flow["service"] or "ssh"
        entry = found.setdefault(
            (flow["zone"], flow["host"], service),
            {"zone": flow["zone"], "host": flow["host"], "service": service, "ports": []},
        )
        entry["ports"].append(f"{flow['port']}{'/udp' if flow['protocol'] == 'udp' else ''}")
    return list(found.values())


def draw_hosts(drawing: Drawing, plan: Tree, flows: list[Tree]) -> None:
    y = 20.0
    for name, host in machines(plan).items():
        opened = [flow["service"] for flow in flows if flow["host"] == name]  # shares of Windows are no services
        services = list(dict.fromkeys([*host["services"], "ssh", *opened]))
        height = 34 + ROW * len(services)
        drawing.box(HOST_X, y, HOST_WIDTH, height, "#7f8c8d", "#fbfcfc")
        drawing.text(HOST_X + 12, y + 21, f"{name}  {host['address']}", 14, "bold")
        for index, service in enumerate(services):
            top = y + 30 + ROW * index
            drawing.box(HOST_X + 12, top, 190, ROW - 6, "#b3b6b7", "#ffffff")
            drawing.text(HOST_X + 20, top + 16, service, 12)
            drawing.services[(name, service)] = top + (ROW - 6) / 2
            drawing.text(HOST_X + 212, top + 16, beside(plan, flows, name, service), 11)
        y += height + 18
    drawing.height = max(y, 200)


def beside(plan: Tree, flows: list[Tree], host: str, service: str) -> str:
    """What stands beside a service: its ports and its public name."""
    ports = sorted(
        {port for flow in flows if (flow["host"], flow["service"]) == (host, service) for port in flow["ports"]}
    )
    domains = [
        route["domains"][0]
        for route in plan["routes"]
        if (route["upstream"]["host"], route["service"]) == (host, service)
    ]
    domains += [
        name["domain"]
        for name in (plan["cloudflare"] or {"names": []})["names"]
        if (name["upstream"]["host"], name["service"]) == (host, service) and name["domain"] not in domains
    ]
    return "  ".join([", ".join(ports), *domains]).strip()


def draw_zones(drawing: Drawing, flows: list[Tree]) -> None:
    order = {zone: index for index, zone in enumerate(COLOURS)}
    zones = sorted({flow["zone"] for flow in flows}, key=lambda zone: (order.get(zone, 99), zone))
    gap = drawing.height / (len(zones) + 1)
    for index, zone in enumerate(zones, start=1):
        middle = gap * index
        drawing.box(ZONE_X, middle - 20, ZONE_WIDTH, 40, colour(zone), "#ffffff")
        drawing.text(ZONE_X + 14, middle + 5, zone, 15, "bold")
        drawing.zones[zone] = middle


def arrow(drawing: Drawing, flow: Tree) -> str:
    start, end = drawing.zones[flow["zone"]], drawing.services[(flow["host"], flow["service"])]
    left, right = ZONE_X + ZONE_WIDTH, HOST_X + 10
    middle = (left + right) / 2
    label = escape(f"{flow['zone']} may reach {flow['service']} on {flow['host']}: {', '.join(flow['ports'])}")
    return (
        f'<path d="M{left},{start:.1f} C{middle},{start:.1f} {middle},{end:.1f} {right},{end:.1f}" fill="none" '
        f'stroke="{colour(flow["zone"])}" stroke-width="1.6" opacity="0.75" '
        f'marker-end="url(#tip-{escape(flow["zone"])})"><title>{label}</title></path>'
    )
