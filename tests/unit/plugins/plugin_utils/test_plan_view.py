"""The plan as text, page and map; the published schemas."""

from __future__ import annotations

import json
import re
import xml.dom.minidom
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import (
    catalog,
    json_schema,
    plan_map,
    plan_page,
    plan_text,
    tags,
)

ROOT = Path(__file__).resolve().parents[4]


def test_text_says_what_matters(sample: Any) -> None:
    text = "\n".join(plan_text.lines(sample.plan().plan))
    assert "back (192.168.1.101)" in text
    assert "https://media.example.org" in text
    assert re.search(r"lan +-> back .*films 8096/tcp", text)
    assert "443/tcp -> 192.168.1.111 (proxy)" in text
    assert re.search(r"daily +back +dump of photos -> /mnt/backups/restic-repo/back", text)
    assert "backup-without-off-site (accepted)" in text
    assert re.search(r"pve +pool hdd: mirror of /dev/disk/by-id/ata-A, /dev/disk/by-id/ata-B", text)
    assert re.search(r"pve +dataset hdd/media: quota 100G, recordsize 1M, snapshots brief", text)


def test_map_is_xml_with_one_line_per_flow(sample: Any) -> None:
    plan = sample.plan().plan
    document = xml.dom.minidom.parseString(plan_map.svg(plan))
    titles = [node.firstChild.data for node in document.getElementsByTagName("title")]  # type: ignore[union-attr]
    assert "lan may reach films on back: 8096" in titles
    assert "internet may reach proxy on front: 443" in titles
    assert not [title for title in titles if title.startswith("internet may reach films")]
    words = [node.firstChild.data for node in document.getElementsByTagName("text")]  # type: ignore[union-attr]
    assert {"internet", "lan", "edge", "monitoring", "films", "photos"} <= set(words)


def test_page_is_one_file_and_escapes_what_it_shows(sample: Any) -> None:
    sample.catalog["films"]["summary"] = "<script>alert(1)</script>"
    page = plan_page.page(sample.plan().plan)
    assert "<script" not in page
    assert not re.search(r"""(src|href)\s*=|@import|url\((?!#)""", page)
    assert "<svg" in page and "media.example.org" in page


def test_published_schemas_are_current() -> None:
    """Write them anew: python -c "...json_schema.write(Path('docs/schemas'))"."""
    for name, schema in json_schema.schemas().items():
        assert (ROOT / "docs/schemas" / name).read_text(encoding="utf-8") == json_schema.text(schema), name


def test_schema_takes_the_sample_and_refuses_a_slip(sample: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema.schemas()["service.json"]
    jsonschema.validate(sample.catalog["films"], schema)
    sample.catalog["films"]["containers"]["films"]["imag"] = "x"
    with pytest.raises(jsonschema.ValidationError, match="imag"):
        jsonschema.validate(sample.catalog["films"], schema)
    jsonschema.validate(json.loads(json.dumps(sample.site)), json_schema.schemas()["site.json"])


@pytest.mark.parametrize("tag", ["films", "firewall", "all", "always"])
def test_known_tags(tag: str) -> None:
    assert tags.unknown([tag], ["films"]) == []


def test_unknown_tag_is_refused_with_what_was_meant() -> None:
    assert tags.unknown(["films", "filmz"], ["films"]) == [
        "--tags filmz: matches no service and no concern. Did you mean films"
    ]


def test_no_service_of_the_catalog_is_called_like_a_concern() -> None:
    found = catalog.names([ROOT / "roles/services/catalog"])
    assert "jellyfin" in found
    assert not set(found) & set(tags.CONCERNS)
