#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# kernel.sh FOLDER: everything of the ZFS machine that costs time, once: a Debian 13 tree with a compiler and QEMU, a cloud
# kernel, and zfs.ko compiled for it. Leaves root/ (QEMU runs out of it), vmlinuz and modules.tar.zst. Needs root, mmdebstrap.
#
# The cloud kernel has nvme, ext4, virtio-pci built in, so no initrd is needed. QEMU comes from Debian 13 because that of
# Debian 12 (7.2) corrupts flags on page faults when it emulates, and the machine dies after minutes.
set -euo pipefail
FOLDER=$1
MIRROR=${MEDIASERVER_ZFS_MIRROR:-http://deb.debian.org/debian}
ROOT=$FOLDER/root
PACKAGES=ca-certificates,make,gcc,libc6-dev,linux-headers-cloud-amd64,linux-image-cloud-amd64,libelf-dev,file,gawk,kmod,xz-utils
say() { printf '[zfs machine %(%T)T] %s\n' -1 "$*" >&2; }

if [ ! -e "$ROOT/.ready" ]; then
  say "Debian 13 tree with compiler, kernel and QEMU"
  rm -rf "$ROOT"
  mmdebstrap --quiet --variant=apt --format=directory --aptopt='Apt::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --include="$PACKAGES,qemu-system-x86" trixie "$ROOT" "deb $MIRROR trixie main contrib"
  touch "$ROOT/.ready"
fi
RELEASE=$(cd "$ROOT/lib/modules" && echo *-cloud-amd64)

if ! compgen -G "$ROOT/work/x/usr/src/zfs-*/module/zfs.ko" >/dev/null; then
  say "OpenZFS for kernel $RELEASE: 10 CPU minutes"
  mkdir -p "$ROOT/work"
  cp /etc/resolv.conf "$ROOT/etc/resolv.conf"
  mount -t proc proc "$ROOT/proc"
  trap 'umount "$ROOT/proc"' EXIT
  # shellcheck disable=SC2016
  chroot "$ROOT" bash -ec '
    cd /work
    apt-get update -qq
    [ -d x ] || { apt-get download -qq zfs-dkms 2>/dev/null; dpkg-deb -x zfs-dkms*.deb x; }
    cd x/usr/src/zfs-*
    ./configure --disable-dependency-tracking --prefix=/usr --with-config=kernel \
      --with-linux="/usr/src/linux-headers-${1%-cloud-amd64}-common" --with-linux-obj="/lib/modules/$1/build" >/work/configure.log 2>&1
    make -j"$(nproc)" >/work/make.log 2>&1
    strip -g module/zfs.ko module/spl.ko' bash "$RELEASE"
  umount "$ROOT/proc"
  trap - EXIT
fi

say "pack kernel and modules"
STAGE=$ROOT/work/stage
MODULES=$STAGE/lib/modules/$RELEASE
rm -rf "$STAGE"
mkdir -p "$MODULES/extra"
cp "$ROOT"/work/x/usr/src/zfs-*/module/{zfs,spl}.ko "$MODULES/extra/"
cp "$ROOT/lib/modules/$RELEASE"/modules.{builtin,builtin.modinfo,order} "$MODULES/"
for name in virtio_net net_failover failover virtio_blk loop virtio-rng; do
  file=$(find "$ROOT/lib/modules/$RELEASE/kernel" -name "$name.ko*" -print -quit)
  if [ -n "$file" ]; then install -D -m 644 "$file" "$MODULES/${file#"$ROOT/lib/modules/$RELEASE"/}"; fi
done
chroot "$ROOT" depmod -b /work/stage "$RELEASE"
cp "$ROOT/boot/vmlinuz-$RELEASE" "$FOLDER/vmlinuz"
tar -C "$STAGE" --sort=name --owner=0 --group=0 -c lib | zstd -q -19 -f -o "$FOLDER/modules.tar.zst"
rm -rf "$STAGE" "$ROOT"/var/cache/apt/archives/*.deb
touch "$FOLDER/.ready"
