"""Whether inotify can work on a folder: it sees only changes made through this machine's own kernel."""

from __future__ import annotations

from pathlib import Path

MOUNTS_FILE = Path("/proc/self/mountinfo")
NETWORK_TYPES = frozenset(
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb2",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "lustre",
        "gpfs",
        "beegfs",
        "vboxsf",
        "prl_fs",
    ]
)
LOCAL_FUSE_TYPES = frozenset({"fuseblk", "fuse.ntfs-3g", "fuse.exfat", "fuse.mergerfs", "fuse.fuse-overlayfs"})


def network_type(folder: Path, mounts: str | None = None) -> str | None:
    """The type of the network file system that `folder` lies on, None when it is a local one."""
    text = MOUNTS_FILE.read_text(encoding="utf-8", errors="surrogateescape") if mounts is None else mounts
    kind = mount_type(folder.resolve(), text)
    is_remote = kind in NETWORK_TYPES or (kind.startswith("fuse") and kind not in LOCAL_FUSE_TYPES)
    return kind if is_remote else None


def mount_type(folder: Path, mounts: str) -> str:
    """File system type of the mount that holds `folder` (proc(5), mountinfo); the last of equals lies on top."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        mount, separator, rest = line.partition(" - ")
        fields = mount.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = Path(_unescape(fields[4]))
        if folder.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), rest.split(" ")[0]
    return kind


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
