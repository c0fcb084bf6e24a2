"""How much room is left: on disks, and in what only looks like one."""

import tempfile
from pathlib import Path

from core.doctor.finding import Finding
from core.doctor.machine import check


def looked(places: list[Path], mounts: Path) -> list[Finding]:
    return check(places=places, mounts=mounts).found


def test_what_is_in_memory_is_not_told_as_disk(tmp_path: Path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"none / ext4 rw 0 0\nnone {tmp_path} ext4 rw 0 0\nnone {tmp_path} tmpfs rw 0 0\n")
    [finding] = looked([tmp_path], mounts)
    assert (finding.subject, finding.what.endswith(f"free in {tmp_path}, which is in memory")) == ("memory", True)
    [finding] = looked([Path("/")], mounts)
    assert (finding.subject, finding.what.endswith("free in /")) == ("disk", True)


def test_a_place_is_on_the_mount_that_is_next_above_it(tmp_path: Path):
    mounts, below = tmp_path / "mounts", tmp_path / "memory" / "below"
    below.mkdir(parents=True)
    mounts.write_text(f"none / ext4 rw 0 0\nnone {tmp_path / 'mem'} ext4 rw 0 0\nnone {below.parent} tmpfs rw 0 0\n")
    assert [finding.subject for finding in looked([below], mounts)] == ["memory"]
    mounts.write_text(f"none / tmpfs rw 0 0\nnone {below.parent} ext4 rw 0 0\n")
    assert [finding.subject for finding in looked([below], mounts)] == ["disk"]


def test_where_no_list_of_mounts_is_kept_all_is_disk(tmp_path: Path):
    assert [finding.subject for finding in looked([tmp_path], tmp_path / "none")] == ["disk"]


def test_the_place_that_we_run_in_the_root_and_that_of_temporary_files_are_looked_at_each_file_system_once():
    places = [Path.cwd(), Path("/"), Path(tempfile.gettempdir())]
    found = check().found
    assert len(found) == len({place.stat().st_dev for place in places})
    assert f"in {Path.cwd()}" in found[0].what
