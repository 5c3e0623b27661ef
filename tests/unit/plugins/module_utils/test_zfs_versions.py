# SPDX-License-Identifier: MIT
"""What OpenZFS 2.1, 2.2 and 2.4 say otherwise than 2.3.9, which alone was recorded and run (tests/zfs).

Not run: the texts here are derived from recordings of 2.3.9 and from what people showed in public of other versions.
"""

from __future__ import annotations

import json

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _zfs, _zfs_pools_run, _zfs_status
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure
from ansible_collections.homelab.mediaserver.plugins.modules import zfs_datasets
from ansible_collections.homelab.mediaserver.tests.unit.fakes.zfs_fake import RECORDED, Runner, ZfsFake

# a disk that is gone is being replaced, in a pool that was expanded: 2.1 and 2.2 only have text
REPLACING = """\
  pool: tank
 state: DEGRADED
status: One or more devices is currently being resilvered.  The pool will
\tcontinue to function, possibly in a degraded state.
action: Wait for the resilver to complete.
  scan: resilver in progress since Mon Jan 20 14:53:56 2020
\t590G scanned at 202M/s, 233G issued at 79.8M/s, 14.4T total
\t32.2G resilvered, 1.58% done, 2 days 03:53:34 to go
remove: Removal of vdev 1 copied 2.66G in 0h0m, completed on Wed May  3 02:27:39 2017
checkpoint: created Sat Apr 22 08:46:54 2023, consumes 1.14M
config:

\tNAME                                   STATE     READ WRITE CKSUM
\ttank                                   DEGRADED     0     0     0
\t  raidz2-0                             DEGRADED     0     0     0
\t    /dev/disk/by-id/ata-A-part1        ONLINE       0     0     0
\t    /dev/disk/by-id/ata-B-part1        ONLINE       0     0     0  block size: 512B configured, 4096B native
\t    replacing-2                        DEGRADED     0     0     0
\t      9593279170455378102              UNAVAIL      0     0     0  was /dev/disk/by-id/ata-C-part1
\t      /dev/disk/by-id/ata-D-part1      ONLINE       0     0     0  (resilvering)
\tlogs\t
\t  /dev/disk/by-id/nvme-E-part3         ONLINE       0     0     0
\tspares
\t  /dev/disk/by-id/ata-F                INUSE     currently in use

errors: No known data errors
"""
# 2.1 and 2.2 know no option -j
USAGES = {
    "2.1": "invalid option 'j'\nusage:\n\tstatus [-c [script1,script2,...]] [-igLpPstvxD]  [-T d|u] [pool] ... \n",
    "2.2": "invalid option 'j'\nusage:\n\tstatus [--power] [-c [script1,script2,...]] [-DeigLpPstvx] [-T d|u] [pool]\n",
}


def test_text_of_a_pool_that_is_being_repaired():
    vdevs = _zfs_status.parse_text(REPLACING)["tank"]
    assert [(vdev.group, vdev.kind, len(vdev.devices)) for vdev in vdevs] == [
        ("", "raidz2", 4), ("log", "disk", 1), ("spare", "disk", 1)]  # fmt: skip
    gone = vdevs[0].devices[2]
    assert gone.missing and gone.path == "/dev/disk/by-id/ata-C-part1" and gone.state == "UNAVAIL"


@pytest.mark.parametrize("version", USAGES)
def test_text_where_there_is_no_json(version):
    def run(argv):
        return (2, "", USAGES[version]) if "-j" in argv else (0, REPLACING, "")

    host = _zfs_pools_run.Host.__new__(_zfs_pools_run.Host)
    host.zfs = _zfs.Zfs(run)
    assert host.read_vdevs(["tank"])["tank"][0].kind == "raidz2"
    host.zfs = _zfs.Zfs(lambda _argv: (1, "", "cannot open 'tank': no such pool\n"))
    with pytest.raises(Failure, match="no such pool"):
        host.read_vdevs(["tank"])


def test_json_with_more_in_it():
    """2.4 tells more of each pool and vdev."""
    body = json.loads(RECORDED["full status json"]["out"])
    for pool in body["pools"].values():
        pool |= {"scan_stats": {"function": "SCRUB"}, "new": [1], "removal_stats": {}}
        pool["vdevs"]["tank"]["vdevs"]["mirror-0"]["not_yet_known"] = "x"
    assert _zfs_status.parse_json(json.dumps(body)) == _zfs_status.parse_json(RECORDED["full status json"]["out"])


@pytest.mark.parametrize(
    ("text", "version", "on_means"),
    [
        ("2.1.11-1+deb12u1", (2, 1), "dir"),
        ("2.2.7-2~bpo12+1", (2, 2), "dir"),
        ("2.3.9-0+deb13u1", (2, 3), "sa"),
        ("2.4.0-rc1", (2, 4), "sa"),
        ("2.4.0-pve1", (2, 4), "sa"),
        ("unknown", (2, 3), "sa"),
    ],
)
def test_versions(tmp_path, monkeypatch, text, version, on_means):
    zfs = ZfsFake()
    zfs.add_pool("tank")
    zfs.add("tank/a", xattr="on")
    lab = Runner(zfs, tmp_path, monkeypatch)
    (tmp_path / "version").write_text(f"{text}\n")
    assert _zfs.version() == version
    assert not lab(zfs_datasets, datasets=[{"name": "tank/a", "properties": {"xattr": on_means}}])["changed"]


def test_default_quotas_of_2_4(tmp_path, monkeypatch):
    zfs = ZfsFake()
    zfs.add_pool("tank")
    lab = Runner(zfs, tmp_path, monkeypatch)
    dataset = {"name": "tank/a", "properties": {"defaultuserquota": "1G", "defaultgroupobjquota": "none"}}
    done = lab.order(zfs_datasets, datasets=[dataset])
    assert done["steps"][1] == "set defaultuserquota=1073741824, defaultgroupobjquota=none on tank/a"
    below = [dataset, {"name": "tank/a/b", "properties": {"defaultuserquota": 0}}]
    lab.order(zfs_datasets, datasets=below)
    assert (
        "cannot be inherited"
        in lab(zfs_datasets, datasets=[{"name": "tank/a", "inherit": ["defaultuserquota"]}])["msg"]
    )
