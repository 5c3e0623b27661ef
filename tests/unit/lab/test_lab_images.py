# SPDX-License-Identifier: MIT
"""Images are built again exactly when something that made them changed; stand-ins are ordered and published whole."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from mediaserver_lab import images, standins
from mediaserver_lab.layout import LAB_DIR
from mediaserver_lab.shell import LabError


def standin(folder: Path, name: str, image: str, base: str | None = None) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "Dockerfile").write_text(f"FROM {base or 'mediaserver-lab/debian'}\n")
    data = {"image": image} | ({"base": base} if base else {})
    (folder / name / "standin.json").write_text(json.dumps(data))


def test_digest_follows_content_names_and_mode(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM x\n")
    first = images.folder_digest(tmp_path)
    assert first == images.folder_digest(tmp_path)
    (tmp_path / "boot").write_text("1")
    second = images.folder_digest(tmp_path)
    (tmp_path / "boot").chmod(0o755)
    third = images.folder_digest(tmp_path)
    (tmp_path / "boot").rename(tmp_path / "start")
    assert len({first, second, third, images.folder_digest(tmp_path)}) == 4
    assert images.folder_digest(tmp_path, "parent") != images.folder_digest(tmp_path, "other parent")


def test_caches_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = images.folder_digest(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("x")
    assert images.folder_digest(tmp_path) == before


def test_another_debian_root_changes_every_image() -> None:
    ours, theirs = images.Images(), images.Images("docker.io/library/debian:trixie")
    for name in ("debian", *images.PARENTS):
        assert ours.digest(name) != theirs.digest(name)


def test_every_image_has_its_folder_and_takes_its_parent() -> None:
    for name in images.PARENTS:
        text = (LAB_DIR / "images" / name / "Dockerfile").read_text()
        assert "FROM ${PARENT}" in text
    assert {path.name for path in (LAB_DIR / "images").iterdir()} == set(images.PARENTS)


def test_stand_ins_come_after_what_they_are_built_upon(tmp_path: Path) -> None:
    standin(tmp_path, "a", "docker.io/a/a:1", "mediaserver-lab/zbase")
    standin(tmp_path, "z", "mediaserver-lab/zbase")
    found = standins.load(tmp_path)
    assert [item.name for item in found] == ["z", "a"]
    assert [item.local for item in found] == [True, False]


def test_a_changed_base_changes_what_is_built_upon_it(tmp_path: Path) -> None:
    standin(tmp_path, "a", "docker.io/a/a:1", "mediaserver-lab/zbase")
    standin(tmp_path, "z", "mediaserver-lab/zbase")
    standin(tmp_path, "b", "docker.io/b/b:1")
    before = standins.digests(standins.load(tmp_path), "debian1")
    (tmp_path / "z" / "more").write_text("x")
    after = standins.digests(standins.load(tmp_path), "debian1")
    assert {name for name in before if before[name] != after[name]} == {"a", "z"}
    debian = standins.digests(standins.load(tmp_path), "debian2")
    assert all(debian[name] != after[name] for name in after)


def test_stand_ins_that_need_each_other_are_refused(tmp_path: Path) -> None:
    standin(tmp_path, "a", "mediaserver-lab/a", "mediaserver-lab/b")
    standin(tmp_path, "b", "mediaserver-lab/b", "mediaserver-lab/a")
    with pytest.raises(LabError, match="built upon each other"):
        standins.load(tmp_path)


def test_the_labs_own_stand_ins_name_a_registry_and_a_version() -> None:
    found = [item for item in standins.load() if not item.local]
    assert found
    for item in found:
        host, _, rest = item.image.partition("/")
        assert "." in host and ":" in rest, item.image


@pytest.mark.parametrize("name", sorted(standins.VM_IMAGES))
def test_vm_images_are_valid_qcow2_and_say_what_they_are(name: str) -> None:
    size = standins.VM_IMAGES[name]
    content = standins.vm_image(name, size)
    magic, version, _, _, bits, virtual, _, l1_size, l1_at, counts_at, _, _, _ = struct.unpack(
        ">4sIQIIQIIQQIIQ", content[:72]
    )
    assert (magic, version, virtual) == (b"QFI\xfb", 2, size)
    cluster = 1 << bits
    assert len(content) == 4 * cluster
    assert l1_size * (cluster // 8) * cluster >= size
    assert not any(content[l1_at : l1_at + cluster]), "every cluster is empty"
    (block,) = struct.unpack(">Q", content[counts_at : counts_at + 8])
    assert struct.unpack(">5H", content[block : block + 10]) == (1, 1, 1, 1, 0)
    assert f"stand-in of the mediaserver lab for {name}".encode() in content
    assert content == standins.vm_image(name, size)


def test_a_program_of_the_test_tools_must_be_there() -> None:
    with pytest.raises(LabError, match="no-such-tool is missing: tools/setup"):
        standins.tool("no-such-tool")
