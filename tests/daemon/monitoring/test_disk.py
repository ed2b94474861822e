from pathlib import Path

from daemon.monitoring.disk import GB, DiskFloor, DiskUsage, disk_usage


def disk(path: Path, *, free_gb: float = 100, inodes_free: int = 900, inodes: int = 1000, device: int = 1) -> DiskUsage:
    return DiskUsage(path, device, int(free_gb * GB), 200 * GB, inodes_free, inodes)


def floor_over(*disks: DiskUsage) -> DiskFloor:
    by_path = {entry.path: entry for entry in disks}
    return DiskFloor(list(by_path), min_free_gb=2, min_free_inodes_percent=1, usage=by_path.__getitem__)


def test_enough_room_is_ok_and_gives_the_least_free_space() -> None:
    state = floor_over(disk(Path("/a"), free_gb=5), disk(Path("/b"), free_gb=3, device=2)).state()
    assert state.ok
    assert state.reason == ""
    assert state.free_bytes == 3 * GB


def test_too_little_space_names_the_folder_the_amount_and_the_setting() -> None:
    state = floor_over(disk(Path("/a"), free_gb=1.5)).state()
    assert not state.ok
    assert "/a: 1.5 GB free, floor is 2 GB (storage.min_free_gb)" in state.reason


def test_too_few_inodes_stop_as_well() -> None:
    state = floor_over(disk(Path("/a"), inodes_free=5)).state()
    assert not state.ok
    assert "0.50 % of the inodes free" in state.reason


def test_a_file_system_without_a_fixed_number_of_inodes_never_runs_out_of_them() -> None:
    assert floor_over(disk(Path("/a"), inodes_free=0, inodes=0)).state().ok


def test_two_folders_of_one_file_system_are_reported_once() -> None:
    state = floor_over(disk(Path("/a"), free_gb=1), disk(Path("/b"), free_gb=1)).state()
    assert len(state.disks) == 1
    assert "/b" not in state.reason


def test_a_disk_that_cannot_be_asked_is_not_ok() -> None:
    def gone(path: Path) -> DiskUsage:
        raise OSError(5, "Input/output error")

    state = DiskFloor([Path("/a")], 1, 1, usage=gone).state()
    assert not state.ok
    assert state.reason == "/a: cannot be asked for its free space: Input/output error"


def test_a_folder_that_does_not_exist_yet_is_judged_by_its_parent(tmp_path: Path) -> None:
    found = disk_usage(tmp_path / "not" / "yet")
    assert found.device == tmp_path.stat().st_dev
    assert 0 < found.free_bytes <= found.total_bytes
