# SPDX-License-Identifier: MIT
"""Parts of mediaserver_ingest.py that know neither rclone nor restic: hashes, names, decisions, the file system.

They run on Linux and on Windows; what only one of the two has is in the last section.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

CHUNK = 1 << 20
STAGING = ".mediaserver-ingest"
PHOTO_ENDINGS = (
    ".jpg .jpeg .jpe .png .gif .webp .heic .heif .hif .avif .jxl .jp2 .tif .tiff .bmp .psd .svg .insp .mpo .dng .cr2 "
    ".cr3 .crw .nef .nrw .arw .srf .sr2 .raf .rw2 .orf .ori .pef .srw .x3f .rwl .3fr .fff .iiq .erf .dcr .k25 .kdc .mrw"
)
VIDEO_ENDINGS = (
    ".mp4 .mov .m4v .mkv .avi .3gp .3gpp .3g2 .webm .mts .m2ts .m2t .mpg .mpeg .mpe .wmv .flv .insv .ts .vob .mxf .ogv"
)
PHOTOS, VIDEOS = frozenset(PHOTO_ENDINGS.split()), frozenset(VIDEO_ENDINGS.split())
UNSETTLED = "not seen unchanged for long enough"
UNFINISHED = (
    ".partial",
    ".part",
    ".tmp",
    ".temp",
    ".crdownload",
    ".download",
    ".opdownload",
    ".filepart",
    ".upload",
    "~",
)
UNFINISHED_FRONT = ("~$", ".~", "._", ".pending-", ".trashed-")


class Problem(Exception):
    """Why something was not done, in words for the owner."""


# --- hashes ---------------------------------------------------------------------------------------------------------
class Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class QuickXor:
    """OneDrive's hash: byte i is XORed in at bit 11*i of 160, so rows of 160 bytes can be folded first."""

    ROW = 160

    def __init__(self) -> None:
        self.row, self.rest, self.length = 0, b"", 0

    def update(self, data: bytes, /) -> None:
        self.length += len(data)
        data = self.rest + data
        rows = len(data) // self.ROW
        self.rest = data[rows * self.ROW :]
        value, bits = int.from_bytes(data[: rows * self.ROW], "little"), self.ROW * 8
        while rows > 1:
            half = rows // 2
            low = value & ((1 << bits * half) - 1)
            if rows % 2:
                self.row ^= value >> (bits * (rows - 1))
                value &= (1 << bits * (rows - 1)) - 1
            value, rows = low ^ (value >> (bits * half)), half
        self.row ^= value

    def hexdigest(self) -> str:
        whole = self.row ^ int.from_bytes(self.rest, "little")
        result = 0
        for index, byte in enumerate(whole.to_bytes(self.ROW, "little")):
            result ^= byte << (11 * index % 160)
        result = (result & ((1 << 160) - 1)) ^ (result >> 160) ^ (self.length << 96)
        return (result & ((1 << 160) - 1)).to_bytes(20, "little").hex()


class DropboxHash:
    """SHA-256 of the SHA-256 of each block of 4 MiB."""

    BLOCK = 4 << 20

    def __init__(self) -> None:
        self.whole, self.block, self.filled = hashlib.sha256(), hashlib.sha256(), 0

    def update(self, data: bytes, /) -> None:
        while data:
            piece, data = data[: self.BLOCK - self.filled], data[self.BLOCK - self.filled :]
            self.block.update(piece)
            self.filled += len(piece)
            if self.filled == self.BLOCK:
                self.whole.update(self.block.digest())
                self.block, self.filled = hashlib.sha256(), 0

    def hexdigest(self) -> str:
        whole = self.whole.copy()
        if self.filled:
            whole.update(self.block.digest())
        return whole.hexdigest()


# Best first. rclone's other kinds (crc32, mailru, hidrive, whirlpool) are weak, or nothing here computes them.
HASHES: dict[str, Callable[[], Hash]] = {
    "sha256": hashlib.sha256,
    "dropbox": DropboxHash,
    "sha1": hashlib.sha1,
    "md5": hashlib.md5,
    "quickxor": QuickXor,
}


def choose_hash(offered: dict[str, str]) -> tuple[str, str]:
    """The best hash of those a remote tells; two empty texts when it tells none that counts."""
    known = {
        re.sub("[^a-z0-9]|hash$", "", kind.lower()): str(value).lower() for kind, value in offered.items() if value
    }
    return next(((kind, known[kind]) for kind in HASHES if known.get(kind)), ("", ""))


def digest(stream: IO[bytes], *kinds: str) -> tuple[int, dict[str, str]]:
    size, hashes = 0, {kind: HASHES[kind]() for kind in kinds}
    while data := stream.read(CHUNK):
        size += len(data)
        for one in hashes.values():
            one.update(data)
    return size, {kind: one.hexdigest() for kind, one in hashes.items()}


def digest_file(path: Path, *kinds: str) -> tuple[int, dict[str, str]]:
    """Size and hashes of a regular file as it lies on the disk; the memory's copy of it is dropped first."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise Problem(f"{path} is no regular file")
    with path.open("rb") as stream:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return digest(stream, *kinds)


# --- entries and decisions --------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Entry:
    """A file of a remote as rclone lists it. ``path`` is below the remote, ``name`` below the job's source path."""

    path: str
    name: str
    size: int
    modtime: str
    number: str = ""
    mime: str = ""
    kind: str = ""
    hash: str = ""

    @property
    def identity(self) -> tuple[Any, ...]:
        return (self.size, self.modtime, self.number, self.kind, self.hash)


def agree(one: Entry, other: Entry) -> bool:
    """Whether both are the same file: a look at one file may leave out the number that a listing has."""
    same_number = one.number == other.number or not (one.number and other.number)
    return same_number and (one.size, one.modtime, one.kind, one.hash) == (
        other.size, other.modtime, other.kind, other.hash
    )  # fmt: skip


def entry_of(item: dict[str, Any], root: str, name: str | None = None) -> Entry:
    """From one object of `rclone lsjson`."""
    name = str(item["Path"]) if name is None else name
    kind, value = choose_hash(item.get("Hashes") or {})
    return Entry(
        "/".join(part for part in (root.strip("/"), name) if part), name, int(item["Size"]), str(item["ModTime"]),
        str(item.get("ID") or ""), str(item.get("MimeType") or ""), kind, value,
    )  # fmt: skip


def family(name: str, mime: str) -> str:
    """photos, videos or other: by the name's ending, else by what the remote says."""
    ending = PurePosixPath(name).suffix.lower()
    if ending in PHOTOS or ending in VIDEOS:
        return "photos" if ending in PHOTOS else "videos"
    return {"image": "photos", "video": "videos"}.get(mime.partition("/")[0], "other")


def unfinished(name: str) -> bool:
    last = name.rpartition("/")[2].lower()
    return last.endswith(UNFINISHED) or last.startswith(UNFINISHED_FRONT)


@dataclass
class Row:
    """What the journal knows of an entry."""

    identity: tuple[Any, ...] = ()
    seen: float = 0.0
    state: str = "seen"  # seen, copied, deleting, deleted
    local: str = ""
    sha256: str = ""
    copied: float = 0.0
    proofs: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Rules:
    """What of a job's declaration decides about a single file."""

    copy: tuple[str, ...] = ("photos",)
    move: tuple[str, ...] = ("videos",)
    min_age: float = 3600
    settle: float = 60


def decide(entry: Entry, row: Row, rules: Rules, now: float, twins: frozenset[str]) -> tuple[str, str]:
    """What happens to a listed file next, and why: skip, leave, wait, copy, done, keep or move.

    ``move`` only says that the remote's side is fit for it; local copy and backup are looked at then.
    """
    group = family(entry.name, entry.mime)
    if group not in rules.copy and group not in rules.move:
        return "skip", f"{group} are not wanted"
    if unfinished(entry.name):
        return "leave", "an unfinished upload by its name"
    if entry.size < 0:
        return "leave", "it has no size (a document that only lives in the cloud)"
    if entry.path in twins:
        return "leave", "the remote has several files of this name"
    if now - parse_time(entry.modtime) < rules.min_age:
        return "wait", "younger than the minimum age"
    if row.identity != entry.identity or now - row.seen < rules.settle:
        return "wait", UNSETTLED
    if row.state in ("seen", "deleted"):
        return "copy", ""
    if group not in rules.move:
        return "done", ""
    if not entry.kind:
        return "keep", "the remote gives no hash: it is copied, and never deleted there"
    return "move", ""


def parse_time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def parse_number(value: Any, units: dict[str, float]) -> float:
    """A number with a unit: a size (10G) or a time (1h)."""
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]?)\s*", str(value))
    if found is None or found[2].lower() not in units:
        raise Problem(f"{value!r} is no number with one of the units {', '.join(filter(None, units))}")
    return float(found[1]) * units[found[2].lower()]


SIZES: dict[str, float] = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
TIMES: dict[str, float] = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


# --- names ------------------------------------------------------------------------------------------------------------
LONGEST = 245  # bytes; 255 are possible, and a number may have to go in
WINDOWS_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)


def local_name(name: str, windows: bool) -> str:
    """The path below the target. On Windows letters that it refuses become the look-alikes that rclone uses too."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts) or parts[0] == STAGING:
        raise Problem(f"{name!r} is no name that may be written")
    if any(len(part.encode()) > LONGEST for part in parts):
        raise Problem(f"{name!r} is longer than names may be here")
    return "/".join(map(windows_name, parts)) if windows else name


def windows_name(part: str) -> str:
    table = {ord(letter): ord(letter) + 0xFEE0 for letter in '<>:"|?*\\'}
    table.update({code: 0x2400 + code for code in range(1, 32)})
    part = part.translate({**table, 0x7F: 0x2421})
    if part[-1] in " .":
        part = part[:-1] + {" ": "\u2420", ".": "\uff0e"}[part[-1]]
    return f"_{part}" if WINDOWS_RESERVED.fullmatch(part) else part


def numbered(path: Path) -> Iterator[Path]:
    """The path itself, then `name (2).ext`, `name (3).ext`, ..."""
    yield path
    for number in range(2, 10_000):
        yield path.with_name(f"{path.stem} ({number}){path.suffix}")


def snapshot_path(local: str) -> str:
    """How restic names a local path inside a snapshot: drives of Windows become folders."""
    drive = re.match(r"([A-Za-z]):[\\/]", local)
    return f"/{drive[1].upper()}/{local[3:]}".replace("\\", "/") if drive else local


def lies_below(path: str, folder: str) -> bool:
    path, folder = snapshot_path(path), snapshot_path(folder).rstrip("/")
    return path == folder or path.startswith(f"{folder}/")


# --- the file system --------------------------------------------------------------------------------------------------
def sync_file(path: Path) -> None:
    with path.open("r+b") as stream:
        os.fsync(stream.fileno())


def sync_folder(path: Path) -> None:
    """Make a name durable. Windows has no such call: NTFS journals names itself."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def make_folders(path: Path, top: Path, owner: tuple[int, int] | None) -> None:
    if path == top or path.is_dir():
        return
    make_folders(path.parent, top, owner)
    path.mkdir(exist_ok=True)
    give_to(path, owner)
    sync_folder(path.parent)


def give_to(path: Path, owner: tuple[int, int] | None) -> None:
    if owner is not None and hasattr(os, "chown"):
        os.chown(path, *owner)


def place(staged: Path, final: Path) -> bool:
    """Give a staged file its name unless there is something of that name: False then. Nothing is ever replaced."""
    try:
        if os.name == "posix":
            os.link(staged, final)  # rename would replace
            staged.unlink()
        else:
            staged.rename(final)  # refuses an existing name on Windows
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV):
            raise Problem(f"Unable to place {final}: its file system has no hard links") from error
        raise
    sync_folder(final.parent)
    return True


def numbered_existing(path: Path) -> list[Path]:
    found = []
    for one in numbered(path):
        if not os.path.lexists(one):
            break
        found.append(one)
    return found


def folder_size(folder: Path) -> int:
    total = 0
    for place_here, folders, files in os.walk(folder):
        if STAGING in folders:
            folders.remove(STAGING)
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(Path(place_here) / name).st_size
    return total


def append_line(path: Path, text: str) -> None:
    """Append a line durably. A line that a power cut left half is ended first."""
    with path.open("ab+") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            text = text if stream.read(1) == b"\n" else f"\n{text}"
        stream.write(f"{text}\n".encode())
        stream.flush()
        os.fsync(stream.fileno())
    sync_folder(path.parent)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.chmod(0o644)
    temporary.replace(path)


class Lock:
    """A file's lock, gone with its process. ``wait`` in seconds."""

    def __init__(self, path: Path, what: str, wait: float = 0) -> None:
        self.path, self.what, self.wait = path, what, wait

    def __enter__(self) -> Lock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.stream = self.path.open("a", encoding="ascii")
        end = time.monotonic() + self.wait
        while not self.take():
            if time.monotonic() >= end:
                self.stream.close()
                raise Problem(f"{self.what} ({self.path} is locked)")
            time.sleep(0.2)
        return self

    def take(self) -> bool:
        try:
            if fcntl is not None:
                fcntl.flock(self.stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                import msvcrt  # Windows

                self.stream.seek(0)
                msvcrt.locking(self.stream.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            return False
        return True

    def __exit__(self, *_error: object) -> None:
        self.stream.close()
