#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# machine.sh build | start | ssh COMMAND | stop | pid | paths: a throw-away Debian 13 machine with real OpenZFS.
#
# QEMU emulates it (no KVM, no kernel module on this host). Each start is a fresh machine: writes to its disk go away with it.
# Four empty disks have the serials ssd0, ssd1 (8 GB), hdd0, hdd1 (16 GB): /dev/disk/by-id/virtio-ssd0 and so on.
# All state is in $MEDIASERVER_ZFS_STATE (/var/lib/mediaserver-zfs), kept by the digest of the script that made it.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
STATE=${MEDIASERVER_ZFS_STATE:-/var/lib/mediaserver-zfs}
PORT=${MEDIASERVER_ZFS_PORT:-22922}
RUN=$STATE/run
digest() { cat "$@" | sha256sum | cut -c1-12; }
KERNEL=$STATE/kernel-$(digest "$HERE/kernel.sh")
IMAGE=$STATE/image-$(digest "$HERE/kernel.sh" "$HERE/image.sh")
SSH=(ssh -o UserKnownHostsFile="$RUN/known_hosts" -o StrictHostKeyChecking=yes -o BatchMode=yes -o ConnectTimeout=20 -o LogLevel=ERROR
  -i "$IMAGE/id_ed25519" -p "$PORT" root@127.0.0.1)
say() { printf '[zfs machine %(%T)T] %s\n' -1 "$*" >&2; }

build() {
  [ "$(uname -m)" = x86_64 ] || { say "this machine is emulated on x86_64 only"; exit 1; }
  [ "$(id -u)" = 0 ] || { say "run it as root: it makes Debian trees"; exit 1; }
  local missing=()
  command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
  command -v mke2fs >/dev/null || missing+=(e2fsprogs)
  command -v zstd >/dev/null || missing+=(zstd)
  command -v ssh >/dev/null || missing+=(openssh-client)
  [ -f /usr/share/keyrings/debian-archive-keyring.gpg ] || missing+=(debian-archive-keyring)
  if [ ${#missing[@]} -gt 0 ]; then
    say "install ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  fi
  mkdir -p "$STATE"
  exec 9>"$STATE/lock"
  flock 9
  if [ ! -e "$KERNEL/.ready" ]; then mkdir -p "$KERNEL"; bash "$HERE/kernel.sh" "$KERNEL"; fi
  if [ ! -e "$IMAGE/.ready" ]; then bash "$HERE/image.sh" "$KERNEL" "$IMAGE"; fi
  exec 9>&-
}

pid() { [ -e "$RUN/pid" ] && [ "$(cat "/proc/$(cat "$RUN/pid")/comm" 2>/dev/null)" = "ld-linux-x86-64" ] && cat "$RUN/pid"; }

start() {
  if pid >/dev/null; then say "already runs"; return; fi
  build
  mkdir -p "$RUN"
  echo "[127.0.0.1]:$PORT $(cat "$IMAGE/host_key.pub")" > "$RUN/known_hosts"
  local root=$KERNEL/root disks=() disk
  for disk in ssd0:8G ssd1:8G hdd0:16G hdd1:16G; do
    rm -f "$RUN/${disk%:*}.img"
    truncate -s "${disk#*:}" "$RUN/${disk%:*}.img"
    # virtio, so that nvme0n1 is always the machine's own disk
    disks+=(-drive "file=$RUN/${disk%:*}.img,if=none,id=${disk%:*},format=raw,cache=unsafe,discard=unmap"
      -device "virtio-blk-pci,drive=${disk%:*},serial=${disk%:*}")
  done
  TMPDIR=$RUN "$root/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu" "$root/usr/bin/qemu-system-x86_64" \
    -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" -name zfs-machine -nodefaults -no-user-config -display none \
    -machine q35,i8042=off -accel tcg,thread=multi,tb-size=512 -cpu max -smp 2 -m 1536 -kernel "$KERNEL/vmlinuz" \
    -append "root=/dev/nvme0n1 rootfstype=ext4 rw console=ttyS0 quiet loglevel=3 mitigations=off nokaslr tsc=reliable random.trust_cpu=on panic=5 net.ifnames=0 audit=0" \
    -drive "file=$IMAGE/root.ext4,if=none,id=root,format=raw,snapshot=on" -device nvme,drive=root,serial=root "${disks[@]}" \
    -netdev "user,id=net,hostfwd=tcp:127.0.0.1:$PORT-:22" -device virtio-net-pci,netdev=net,romfile= -device virtio-rng-pci \
    -serial "file:$RUN/console.log" -monitor none -pidfile "$RUN/pid" -daemonize
  local begun=$SECONDS
  while ((SECONDS - begun < 600)); do
    pid >/dev/null || { say "QEMU ended:"; tail -5 "$RUN/console.log" >&2; exit 1; }
    if timeout 30 "${SSH[@]}" 'test -d /sys/module/zfs && udevadm settle' 2>/dev/null; then say "up after $((SECONDS - begun)) s"; return; fi
    sleep 1
  done
  say "no SSH in 600 s:"
  tail -20 "$RUN/console.log" >&2
  exit 1
}

stop() {
  local number
  number=$(pid) || return 0
  kill "$number"
  for _ in $(seq 40); do
    if ! kill -0 "$number" 2>/dev/null; then break; fi
    sleep 0.25
  done
  rm -f "$RUN/pid" "$RUN"/*.img
}

case "${1:-}" in
  build | start | stop | pid) "$1" ;;
  ssh) shift; exec "${SSH[@]}" "$@" ;;
  paths) echo "key=$IMAGE/id_ed25519 known_hosts=$RUN/known_hosts port=$PORT" ;;
  *) sed -n '3,7s/^# //p' "$0" >&2; exit 2 ;;
esac
