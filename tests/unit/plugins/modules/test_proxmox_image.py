# SPDX-License-Identifier: MIT
from __future__ import annotations

import hashlib
import http.server
import threading

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_image
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness

BODY = b"QFI\xfb" + bytes(100)
SUM = "sha256:" + hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def url():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path in ("/image.qcow2", "/ct.tar.zst", "/x.iso") else 404)
            self.end_headers()
            self.wfile.write(BODY)

        def log_message(self, *_args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


IMAGE = {"node": "pve", "storage": "local", "file": "debian.qcow2"}


def test_check_download_again_absent_again(lab, url):
    done = lab.order(proxmox_image, **IMAGE, url=f"{url}/image.qcow2", checksum=SUM)
    assert done["volid"] == "local:import/debian.qcow2"
    file = lab.root / "var/lib/vz/import/debian.qcow2"
    assert file.read_bytes() == BODY
    lab.order(proxmox_image, **IMAGE, state="absent")
    assert not file.exists()


def test_wrong_checksum_leaves_no_file(lab, url):
    result = lab.run(proxmox_image, **IMAGE, url=f"{url}/image.qcow2", checksum="sha256:00")
    assert "Unable to download debian.qcow2 to storage local: checksum mismatch" in result["msg"]
    assert list((lab.root / "var/lib/vz/import").iterdir()) == []


def test_checksum_without_algorithm(lab):
    result = lab.run(proxmox_image, **IMAGE, url="http://127.0.0.1:1/x", checksum="abcd")
    assert "must be written as sha512:" in result["msg"]


def test_failed_download_is_a_failed_task(lab, url):
    result = lab.run(proxmox_image, **IMAGE, url=f"{url}/nothing.qcow2")
    assert result["msg"] == "Unable to download debian.qcow2 to storage local: download failed: Not Found"
    assert result["failure"]["log"][-1] == "TASK ERROR: download failed: Not Found"


def test_storage_not_made_for_images(lab, url):
    lab.world.data["storages"]["local"]["content"] = "iso"
    result = lab.run(proxmox_image, **IMAGE, url=f"{url}/image.qcow2")
    assert "storage 'local' is not configured for content-type 'import'" in result["msg"]


def test_missing_right(lab, url):
    lab.service.tokens[harness.TOKEN]["deny"] = ["Datastore.AllocateTemplate"]
    result = lab.run(proxmox_image, **IMAGE, url=f"{url}/image.qcow2")
    assert result["msg"] == "Unable to download debian.qcow2 to storage local: Permission check failed"


@pytest.mark.parametrize(
    ("content", "file", "folder"), [("vztmpl", "ct.tar.zst", "template/cache"), ("iso", "x.iso", "template/iso")]
)
def test_container_template_and_iso(lab, url, content, file, folder):
    done = lab.order(
        proxmox_image, node="pve", storage="local", content=content, file=file, url=f"{url}/{file}", checksum=SUM
    )
    assert done["volid"] == f"local:{content}/{file}"
    assert (lab.root / "var/lib/vz" / folder / file).read_bytes() == BODY


def test_a_name_is_written_as_proxmox_writes_it(lab, url):
    done = lab.order(
        proxmox_image, node="pve", storage="local", file="debian 13+x.qcow2", url=f"{url}/image.qcow2", checksum=SUM
    )
    assert done["volid"] == "local:import/debian_13_x.qcow2"


def test_another_file_of_that_name_is_told_and_replaced_on_request(lab, url):
    file = lab.root / "var/lib/vz/import/debian.qcow2"
    file.write_bytes(b"something else")
    arguments = {**IMAGE, "url": f"{url}/image.qcow2", "checksum": SUM}
    assert not lab.run(proxmox_image, **arguments)["changed"], "without a size nothing tells them apart"
    arguments["size"] = len(BODY)
    result = lab.run(proxmox_image, **arguments)
    assert result["msg"].startswith("Unable to use local:import/debian.qcow2: it has 14 bytes, 104 are wanted")
    done = lab.order(proxmox_image, **arguments, replace=True)
    assert done["steps"] == ["delete local:import/debian.qcow2", "download debian.qcow2 to storage local"]
    assert file.read_bytes() == BODY


def test_killed_between_delete_and_download_converges(lab, url):
    file = lab.root / "var/lib/vz/import/debian.qcow2"
    file.write_bytes(b"something else")
    arguments = {**IMAGE, "url": f"{url}/image.qcow2", "checksum": SUM, "size": len(BODY), "replace": True}

    def fault(method, path):
        if path.endswith("/download-url"):
            raise ConnectionAbortedError

    lab.service.fault = fault
    assert lab.run(proxmox_image, **arguments)["failed"]
    assert not file.exists()
    lab.service.fault = None
    lab.run(proxmox_image, **arguments)
    assert file.read_bytes() == BODY


def test_malformed_answer_and_wrong_token(lab, url):
    assert "invalid token value!" in lab.run(proxmox_image, **IMAGE, url=url, api_token_secret="wrong")["msg"]
    lab.service.fault = lambda method, path: b"<html>"
    assert lab.run(proxmox_image, **IMAGE, url=url)["msg"].startswith("Unable to list storage local: the answer")
