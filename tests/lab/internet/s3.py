# SPDX-License-Identifier: MIT
"""Stand-in for S3, as much of it as restic asks for, over plain HTTP with buckets by path.

    s3.py ADDRESS PORT FOLDER        keys in the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY

Objects are files. Every request's signature (AWS4-HMAC-SHA256) is checked, that of a body's chunks is not. No versions,
no parts of big objects (501), lists are never cut.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sys
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.sax.saxutils import escape

KEY, SECRET = os.environ.get("AWS_ACCESS_KEY_ID", ""), os.environ.get("AWS_SECRET_ACCESS_KEY", "")


def signature(method: str, path: str, query: str, headers: dict[str, str], authorization: dict[str, str]) -> str:
    """What the Authorization header has to say (AWS' "create a signed request")."""
    signed = authorization["SignedHeaders"].split(";")
    pairs = sorted(part.partition("=")[::2] for part in query.split("&") if part)
    canonical = "\n".join([
        method, path, "&".join(f"{key}={value}" for key, value in pairs),
        *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in signed), "", ";".join(signed),
        headers.get("x-amz-content-sha256", ""),
    ])  # fmt: skip
    _key, date, region, service, end = authorization["Credential"].split("/")
    scope = f"{date}/{region}/{service}/{end}"
    told = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, told])
    key = f"AWS4{SECRET}".encode()
    for part in (date, region, service, end):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def unchunked(body: bytes) -> bytes:
    """The content of a body that is signed chunk by chunk: size;chunk-signature=…, content, …"""
    found = []
    while body:
        head, _end, body = body.partition(b"\r\n")
        size = int(head.partition(b";")[0], 16)
        if not size:
            break
        found.append(body[:size])
        body = body[size + 2 :]
    return b"".join(found)


class Bucket(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        text = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"
        self.answer(status, text.encode(), Content_Type="application/xml")

    def handle_one(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _mark, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        given = headers.get("authorization", "").removeprefix("AWS4-HMAC-SHA256 ")
        parts = dict(part.strip().partition("=")[::2] for part in given.split(","))
        if not parts.get("Credential", "").startswith(f"{KEY}/"):
            return self.refuse(403, "InvalidAccessKeyId")
        if not hmac.compare_digest(parts["Signature"], signature(self.command, path, query, headers, parts)):
            return self.refuse(403, "SignatureDoesNotMatch")
        if headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
            body = unchunked(body)
        bucket, _slash, key = urllib.parse.unquote(path).strip("/").partition("/")
        asked = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        if {"uploads", "uploadId"} & set(asked):
            return self.refuse(501, "NotImplemented")
        return self.on_object(bucket, key, body) if key else self.on_bucket(bucket, asked)

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = handle_one

    def on_bucket(self, bucket: str, asked: dict[str, str]) -> None:
        if self.command == "PUT":
            (self.folder / bucket).mkdir(exist_ok=True)
            return self.answer(200)
        if not (self.folder / bucket).is_dir():
            return self.refuse(404, "NoSuchBucket")
        if "location" in asked:
            return self.answer(200, b"<LocationConstraint></LocationConstraint>", Content_Type="application/xml")
        return self.answer(200, self.listing(bucket, asked).encode(), Content_Type="application/xml")

    def listing(self, bucket: str, asked: dict[str, str]) -> str:
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
        root, objects, folders = self.folder / bucket, [], set()
        for path in sorted(one for one in root.rglob("*") if one.is_file() and not one.name.endswith(".new")):
            key = path.relative_to(root).as_posix()
            rest = key.removeprefix(prefix)
            if not key.startswith(prefix):
                continue
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
            else:
                objects.append(
                    f"<Contents><Key>{escape(key)}</Key><Size>{path.stat().st_size}</Size>"
                    "<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;0&quot;</ETag></Contents>"
                )
        common = "".join(f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in sorted(folders))
        head = f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><IsTruncated>false</IsTruncated>"
        return f"<ListBucketResult>{head}{''.join(objects)}{common}</ListBucketResult>"

    def on_object(self, bucket: str, key: str, body: bytes) -> None:
        path = self.folder / bucket / key
        if not (self.folder / bucket).is_dir():
            return self.refuse(404, "NoSuchBucket")
        if self.command == "PUT":
            path.parent.mkdir(parents=True, exist_ok=True)
            new = path.with_name(f"{path.name}.new")
            new.write_bytes(body)
            new.rename(path)
            return self.answer(200, ETag=f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"')
        if self.command == "DELETE":
            path.unlink(missing_ok=True)
            return self.answer(204)
        if not path.is_file():
            return self.refuse(404, "NoSuchKey")
        content, size = path.read_bytes(), path.stat().st_size
        about = {"ETag": '"0"', "Last_Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "Accept_Ranges": "bytes"}
        if wanted := self.headers.get("Range", "").removeprefix("bytes="):
            first, _dash, last = wanted.partition("-")
            begin, end = int(first), min(int(last or size - 1), size - 1)
            return self.answer(206, content[begin : end + 1], Content_Range=f"bytes {begin}-{end}/{size}", **about)
        if self.command == "HEAD":
            about["Content_Length"] = str(size)
        return self.answer(200, content, **about)

    def log_message(self, *_arguments: object) -> None:
        return


def main() -> None:
    address, port, folder = sys.argv[1:]
    Bucket.folder = Path(folder)
    Bucket.folder.mkdir(parents=True, exist_ok=True)
    ThreadingHTTPServer((address, int(port)), Bucket).serve_forever()


if __name__ == "__main__":
    main()
