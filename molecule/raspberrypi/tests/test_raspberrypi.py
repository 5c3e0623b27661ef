# SPDX-License-Identifier: MIT
"""What a host of role raspberrypi is like after what side_effect.yml tried. Reads only."""

from __future__ import annotations


def test_the_ssd_is_mounted_and_nothing_else(host):
    assert host.mount_point("/mnt/ssd").filesystem == "ext4"
    assert not host.file("/mnt/other").exists


def test_swap_is_compressed_memory_as_the_real_generator_reads_it(host):
    assert host.package("systemd-zram-generator").is_installed
    # its test mode: in a container it makes nothing otherwise
    made = host.check_output(
        "d=$(mktemp -d); mkdir -p $d/etc/systemd $d/proc $d/out;"
        "cp /etc/systemd/zram-generator.conf $d/etc/systemd/; cp /proc/meminfo $d/proc/; touch $d/proc/cmdline;"
        "ZRAM_GENERATOR_ROOT=$d /usr/lib/systemd/system-generators/zram-generator $d/out $d/out $d/out 2>&1;"
        "cat $d/out/dev-zram0.swap"
    )
    assert "What=/dev/zram0" in made and "Priority=100" in made


def test_nothing_is_swapped_onto_the_card(host):
    service = host.service("dphys-swapfile")
    assert not service.is_running and not service.is_enabled
