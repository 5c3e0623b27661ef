# SPDX-License-Identifier: MIT
from __future__ import annotations

import hashlib
import http.server
import threading

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_image
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness


@pytest.fixture(scope="module")
def cert(tmp_path_factory):
    return harness.certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["8.4", "9.1"])
def lab(request, tmp_path, cert):
    with harness.lab(tmp_path, request.param, cert) as made:
        yield made


BODY = b"QFI\xfb" + bytes(100)
SUM = "sha256:" + hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def url():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/image.qcow2" else 404)
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
