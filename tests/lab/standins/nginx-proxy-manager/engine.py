# SPDX-License-Identifier: MIT
"""The nginx behind the manager: virtual hosts as files below /data/nginx, test, reload, and what a failed test does."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from standin import log, real_path

NAME = "nginx-proxy-manager"
FOLDERS = ["nginx/proxy_host", "nginx/default_host", "nginx/custom", "nginx/redirection_host", "nginx/stream",
           "nginx/dead_host", "nginx/temp", "logs", "access", "custom_ssl", "letsencrypt-acme-challenge"]  # fmt: skip


class Broken(Exception):
    """nginx's own configuration test fails before we changed anything."""


class Engine:
    def __init__(self) -> None:
        self.program = os.environ.get("LAB_TEST_NGINX", "nginx")
        self.data = real_path("/data")
        self.ipv6 = Path("/proc/net/if_inet6").exists() and os.environ.get("DISABLE_IPV6", "") not in ("true", "1")
        for folder in FOLDERS:
            (self.data / folder).mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None

    # --- the process

    def start(self) -> None:
        if "LAB_TEST_NGINX" not in os.environ:
            _write_resolvers()
            threading.Thread(target=self._keep_running, daemon=True).start()
            for _ in range(20):
                if Path("/run/nginx.pid").exists():
                    break
                time.sleep(0.1)

    def _keep_running(self) -> None:
        while True:
            self.process = subprocess.Popen([self.program, "-g", "daemon off;"])
            log(NAME, f"nginx ended with {self.process.wait()}, starting it again")
            time.sleep(1)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)

    def test(self) -> str | None:
        """The error, or None."""
        done = subprocess.run([self.program, "-t"], capture_output=True, text=True, check=False)
        return None if done.returncode == 0 else (done.stderr or done.stdout).strip()

    def reload(self) -> None:
        if error := self.test():
            raise Broken(error)
        subprocess.run([self.program, "-s", "reload"], capture_output=True, check=False)

    # --- hosts

    def configure(self, host: dict[str, Any], access_list: dict[str, Any] | None, provider: str) -> dict[str, Any]:
        """Write and load one host; the new `meta`. A host that fails the test is taken out of nginx again."""
        if error := self.test():
            raise Broken(error)
        file = self.file(host)
        file.unlink(missing_ok=True)
        file.with_suffix(".conf.err").unlink(missing_ok=True)
        if host["enabled"]:
            file.write_text(self.render(host, access_list, provider))
        error = self.test()
        if error:
            file.rename(file.with_suffix(".conf.err"))
        self.reload()
        kept = {key: value for key, value in host["meta"].items() if key not in ("nginx_online", "nginx_err")}
        return kept | {"nginx_online": error is None, "nginx_err": error}

    def remove(self, host: dict[str, Any]) -> None:
        self.file(host).unlink(missing_ok=True)
        self.file(host).with_suffix(".conf.err").unlink(missing_ok=True)
        self.reload()

    def file(self, host: dict[str, Any]) -> Path:
        return self.data / "nginx/proxy_host" / f"{host['id']}.conf"

    def render(self, host: dict[str, Any], access_list: dict[str, Any] | None, provider: str) -> str:
        secure = bool(host["certificate_id"])
        lines = ["server {", *_target(host, "  "), *self._listen(80)]
        if secure:
            folder = {"letsencrypt": "/etc/letsencrypt/live"}.get(provider, str(self.data / "custom_ssl"))
            folder = f"{folder}/npm-{host['certificate_id']}"
            lines += [*self._listen(443, " ssl"), f"  ssl_certificate {folder}/fullchain.pem;",
                      f"  ssl_certificate_key {folder}/privkey.pem;"]  # fmt: skip
        lines += [f"  server_name {' '.join(host['domain_names'])};"]
        lines += ["  http2 on;"] * bool(secure and host["http2_support"])
        lines += ["  include /etc/nginx/include/force-ssl.conf;"] * bool(secure and host["ssl_forced"])
        logs = f"{self.data}/logs/proxy-host-{host['id']}"
        lines += [f"  access_log {logs}_access.log proxy;", f"  error_log {logs}_error.log warn;"]
        if host["allow_websocket_upgrade"]:
            lines += _websocket("  ")
        lines += ["  " + line for line in host["advanced_config"].splitlines()]
        for location in host["locations"]:
            lines += [f"  location {location['path']} {{", *_hsts(host), *self._access(access_list),
                      *_target(location, "    "),
                      *("    " + line for line in location.get("advanced_config", "").splitlines()),
                      *(_websocket("    ") if host["allow_websocket_upgrade"] else []),
                      "    include /etc/nginx/include/proxy.conf;", "  }"]  # fmt: skip
        if (
            not any(location["path"] == "/" for location in host["locations"])
            and "location / {" not in host["advanced_config"]
        ):
            lines += ["  location / {", *self._access(access_list), *_hsts(host),
                      *(_websocket("    ") if host["allow_websocket_upgrade"] else []),
                      "    include /etc/nginx/include/proxy.conf;", "  }"]  # fmt: skip
        return "\n".join([*lines, f"  include {self.data}/nginx/custom/server_proxy[.]conf;", "}", ""])

    def _listen(self, port: int, more: str = "") -> list[str]:
        return [f"  listen {port}{more};", *([f"  listen [::]:{port}{more};"] if self.ipv6 else [])]

    def _access(self, access_list: dict[str, Any] | None) -> list[str]:
        if not access_list:
            return []
        lines = []
        if access_list["items"]:
            lines += ['    auth_basic "Authorization required";',
                      f"    auth_basic_user_file {self.data}/access/{access_list['id']};"]  # fmt: skip
            lines += ['    proxy_set_header Authorization "";'] * (not access_list["pass_auth"])
        if access_list["clients"]:
            lines += [f"    {each['directive']} {each['address']};" for each in access_list["clients"]] + [
                "    deny all;"
            ]
        return [*lines, f"    satisfy {'any' if access_list['satisfy_any'] else 'all'};"]

    # --- what answers to unknown names

    def default_site(self, value: str, meta: dict[str, Any]) -> None:
        body = {
            "404": "return 404;",
            "444": "return 444;",
            "redirect": f"return 301 {meta.get('redirect', '/')};",
            "html": f"default_type text/html; return 200 '{meta.get('html', '')}';",
        }.get(value, "default_type text/html; return 200 'Congratulations! (nginx-proxy-manager-stand-in)';")
        plain = ["server {", *(line.replace(";", " default_server;") for line in self._listen(80)), "  server_name _;",
                 *_target({"forward_scheme": "http", "forward_host": "127.0.0.1", "forward_port": 80}, "  "),
                 f"  location / {{ {body} }}", "}"]  # fmt: skip
        secure = ["server {", *(line.replace(";", " default_server;") for line in self._listen(443, " ssl")),
                  "  server_name _;", "  ssl_reject_handshake on;", "}"]  # fmt: skip
        (self.data / "nginx/default_host/site.conf").write_text("\n".join(plain + secure) + "\n")


def _target(host: dict[str, Any], indent: str) -> list[str]:
    values = {"forward_scheme": host["forward_scheme"], "server": host["forward_host"], "port": host["forward_port"]}
    return [f'{indent}set ${key} "{value}";' for key, value in values.items()]


def _websocket(indent: str) -> list[str]:
    headers = {"Upgrade": "$http_upgrade", "Connection": "$http_connection"}
    lines = [f"{indent}proxy_set_header {key} {value};" for key, value in headers.items()]
    return [*lines, f"{indent}proxy_http_version 1.1;"]


def _hsts(host: dict[str, Any]) -> list[str]:
    if not (host["certificate_id"] and host["ssl_forced"] and host["hsts_enabled"]):
        return []
    more = "includeSubDomains; " if host["hsts_subdomains"] else ""
    return [f'    add_header Strict-Transport-Security "max-age=63072000; {more}preload" always;']


def _write_resolvers() -> None:
    """Upstreams are variables, so names are resolved at run time, by the container's own name servers."""
    servers = [
        line.split()[1] for line in Path("/etc/resolv.conf").read_text().splitlines() if line.startswith("nameserver")
    ]
    servers = [f"[{server}]" if ":" in server else server for server in servers]
    Path("/tmp/nginx-resolvers.conf").write_text(f"resolver {' '.join(servers)} valid=10s;\n" if servers else "")
