"""Which file systems inotify cannot be trusted on."""

from __future__ import annotations

from pathlib import Path

import pytest

from handlers.watch.mounts import mount_type, network_type

MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:35 / /mnt/photos rw shared:9 - nfs4 server:/photos rw
41 22 0:36 / /mnt/with\040space rw - cifs //server/share rw
42 22 0:37 / /mnt/sshfs rw - fuse.sshfs host:/ rw
43 22 8:17 / /mnt/stick rw - fuseblk /dev/sdb1 rw
44 40 8:33 / /mnt/photos/local rw - xfs /dev/sdc1 rw
45 22 8:49 / /mnt/stacked rw - ext4 /dev/sdd1 rw
46 22 0:50 / /mnt/stacked rw - 9p share rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/srv/data", None),
        ("/mnt/photos/2024", "nfs4"),
        ("/mnt/photosets", None),
        ("/mnt/with space/x", "cifs"),
        ("/mnt/sshfs", "fuse.sshfs"),
        ("/mnt/stick", None),
        ("/mnt/photos/local/a", None),
        ("/mnt/stacked/a", "9p"),
    ],
)
def test_network_file_systems_are_told_apart(folder: str, kind: str | None) -> None:
    assert network_type(Path(folder), MOUNTS) == kind


def test_this_machines_own_mounts_can_be_read(tmp_path: Path) -> None:
    assert mount_type(tmp_path, Path("/proc/self/mountinfo").read_text()) != ""
    assert network_type(tmp_path) is None
