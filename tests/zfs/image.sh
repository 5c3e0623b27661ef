#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# image.sh KERNEL_FOLDER FOLDER: the ZFS machine's disk: Debian 13 with systemd, SSH, Python, OpenZFS, ZED and sanoid; an SSH key
# for it and its host key. Needs root, mmdebstrap, e2fsprogs, zstd.
set -euo pipefail
KERNEL=$1
FOLDER=$2
MIRROR=${MEDIASERVER_ZFS_MIRROR:-http://deb.debian.org/debian}
TREE=$FOLDER/tree
PACKAGES=zfsutils-linux,zfs-zed,sanoid,python3-minimal,libpython3-stdlib,openssh-server,openssh-sftp-server,iproute2,kmod,udev,procps,systemd-sysv,dbus,e2fsprogs,fdisk
say() { printf '[zfs machine %(%T)T] %s\n' -1 "$*" >&2; }

say "Debian 13 with OpenZFS"
rm -rf "$TREE"
mkdir -p "$FOLDER"
mmdebstrap --quiet --variant=minbase --format=directory --aptopt='Apt::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --include="$PACKAGES" trixie "$TREE" "deb $MIRROR trixie main contrib"
tar -C "$TREE" -xaf "$KERNEL/modules.tar.zst" --keep-directory-symlink

rm -f "$FOLDER"/id_ed25519*
ssh-keygen -q -t ed25519 -N '' -C 'ZFS test machine' -f "$FOLDER/id_ed25519"
install -d -m 700 "$TREE/root/.ssh"
install -m 600 "$FOLDER/id_ed25519.pub" "$TREE/root/.ssh/authorized_keys"
rm -f "$TREE"/etc/ssh/ssh_host_*
ssh-keygen -q -t ed25519 -N '' -f "$TREE/etc/ssh/ssh_host_ed25519_key"
cut -d' ' -f1,2 "$TREE/etc/ssh/ssh_host_ed25519_key.pub" > "$FOLDER/host_key.pub"
printf 'PermitRootLogin prohibit-password\nUseDNS no\nUsePAM no\n' > "$TREE/etc/ssh/sshd_config.d/machine.conf"

echo zfs-machine > "$TREE/etc/hostname"
printf '127.0.0.1 localhost zfs-machine\n' > "$TREE/etc/hosts"
printf 'nameserver 10.0.2.3\n' > "$TREE/etc/resolv.conf"
printf '\x01\x02\x03\x04' > "$TREE/etc/hostid"
echo 0123456789abcdef0123456789abcdef > "$TREE/etc/machine-id"
printf '/dev/nvme0n1 / ext4 defaults,noatime 0 0\n' > "$TREE/etc/fstab"
echo 'options zfs zfs_arc_max=268435456' > "$TREE/etc/modprobe.d/zfs.conf"
printf 'virtio_net\nvirtio_blk\nzfs\n' > "$TREE/etc/modules-load.d/machine.conf"
mkdir -p "$TREE/etc/systemd/network"
printf '[Match]\nName=e*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n' > "$TREE/etc/systemd/network/10.network"
chroot "$TREE" systemctl --quiet enable ssh systemd-networkd
chroot "$TREE" systemctl --quiet mask systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer \
  systemd-hwdb-update.service sanoid.timer 2>/dev/null
rm -rf "$TREE"/etc/systemd/system/sanoid.timer "$TREE"/var/lib/apt/lists/* "$TREE"/var/cache/apt/* "$TREE"/usr/share/{doc,man,locale,info}/*

say "disk image"
mke2fs -q -t ext4 -O ^has_journal,^metadata_csum -m 0 -E lazy_itable_init=1 -d "$TREE" "$FOLDER/root.ext4" \
  "$(($(du -sm "$TREE" | cut -f1) + 300))M"
rm -rf "$TREE"
touch "$FOLDER/.ready"
