# SPDX-License-Identifier: MIT
"""Microsoft's emulator of Azure Blob Storage (Azurite, from npm) as a product-style host with TLS, and a small client.

The client speaks to the emulator directly, so that what is compared was not read through the mount under test.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote, urlencode

VERSION = "3.35.0"
ACCOUNT, DOMAIN, CONTAINER = "berryphotos", "blob.azure.test", "photos"
HOST = f"{ACCOUNT}.{DOMAIN}"
KEY = base64.b64encode(hashlib.sha512(b"a test's account key").digest()).decode()


class Azurite:
    """The emulator on this machine; its blobs survive its stop."""

    def __init__(self, cache: Path, folder: Path, address: str, certificate: tuple[str, str]) -> None:
        self.cache, self.folder, self.address, self.certificate = cache, folder, address, certificate
        self.process: subprocess.Popen[bytes] | None = None

    def install(self) -> str:
        program = self.cache / "node_modules/.bin/azurite-blob"
        if not program.exists():
            npm = shutil.which("npm")
            if npm is None:
                raise SystemExit("azure: npm is missing, which brings Azurite")
            argv = [npm, "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(self.cache)]
            subprocess.run([*argv, f"azurite@{VERSION}"], check=True)
        return str(program)

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, text in zip(("key.pem", "cert.pem"), self.certificate, strict=True):
            (self.folder / name).write_text(text)
        argv = [self.install(), "--blobHost", self.address, "--blobPort", "443", "--location",
                str(self.folder / "data"),
                "--cert", str(self.folder / "cert.pem"), "--key", str(self.folder / "key.pem"), "--silent",
                "--skipApiVersionCheck", "--disableTelemetry"]  # fmt: skip
        with (self.folder / "azurite.log").open("ab") as log:
            environment = dict(os.environ, AZURITE_ACCOUNTS=f"{ACCOUNT}:{KEY}")
            self.process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                socket.create_connection((self.address, 443), timeout=1).close()
                return
            except OSError:
                time.sleep(0.3)
        raise SystemExit(f"azure: Azurite does not answer, see {self.folder}/azurite.log")

    def stop(self) -> None:
        """Like a far side that goes away: connections are cut, the blobs are kept."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(timeout=60)
            self.process = None

    # --- what is in it
    def request(self, method: str, path: str, query: dict[str, str] | None = None, body: bytes = b"") -> bytes:
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
        if method == "PUT" and not query:
            headers["x-ms-blob-type"] = "BlockBlob"
        named = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
        resource = f"/{ACCOUNT}{quote(path)}" + "".join(f"\n{k}:{v}" for k, v in sorted((query or {}).items()))
        length = str(len(body)) if body else ""
        text = f"{method}\n\n\n{length}\n\n\n\n\n\n\n\n\n{named}{resource}"
        signature = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
        headers |= {"Authorization": f"SharedKey {ACCOUNT}:{signature}", "Host": HOST, "Content-Length": str(len(body))}
        target = quote(path) + (f"?{urlencode(query)}" if query else "")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # our own process, by its address
        connection = http.client.HTTPSConnection(self.address, 443, timeout=60, context=context)
        try:
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= 300 and not (answer.status == 409 and query == {"restype": "container"}):
            raise SystemExit(f"azure: {method} {path}: {answer.status} {content[:300]!r}")
        return content

    def make_container(self) -> None:
        self.request("PUT", f"/{CONTAINER}", {"restype": "container"})

    def put(self, name: str, content: bytes) -> None:
        self.request("PUT", f"/{CONTAINER}/{name}", body=content)

    def get(self, name: str) -> bytes:
        return self.request("GET", f"/{CONTAINER}/{name}")

    def names(self, prefix: str) -> list[str]:
        found: list[str] = []
        marker = ""
        while True:
            query = {"restype": "container", "comp": "list", "prefix": prefix} | ({"marker": marker} if marker else {})
            page = self.request("GET", f"/{CONTAINER}", query).decode()
            found += re.findall(r"<Name>([^<]+)</Name>", page)
            marker = "".join(re.findall(r"<NextMarker>([^<]+)</NextMarker>", page))
            if not marker:
                return found

    def hashes(self, prefix: str) -> dict[str, str]:
        """SHA-256 of every blob below a prefix."""
        return {name: hashlib.sha256(self.get(name)).hexdigest() for name in self.names(prefix)}
