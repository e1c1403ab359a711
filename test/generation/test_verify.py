"""A set that changed is found out, whatever changed."""

from __future__ import annotations

import shutil

import pytest

from monotakd_ros.errors import SourceError
from monotakd_ros.generation.generate import generate
from monotakd_ros.generation.local_engine import run_here
from monotakd_ros.generation.verify import count_files, verify_set


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return tmp_path_factory.mktemp("made") / "set"


@pytest.fixture
def a_set(made, request_for, drive, watcher, tmp_path):
    if not made.exists():
        generate(request_for(drive, out=made), run_here, watcher)
    return shutil.copytree(made, tmp_path / "copy")


def test_a_whole_set(a_set):
    counted = []
    found = verify_set(a_set, counted.append)
    assert found.problems == [] and found.files == len(counted) == count_files(a_set)


@pytest.mark.parametrize(
    "name",
    [
        "training/image_2/0000000004.png",
        "training/velodyne/0000000004.bin",
        "training/calib/0000000004.txt",
        "training/label_2/0000000004.txt",
        "training/depth_2/0000000004.png",
        "teacher/0000000004.txt",
        "frames/0000000004.json",
        "segments/000-00001.json",
        "sources/000.json",
        "set.json",
        "frames.csv",
        "poses.txt",
        "ImageSets/all.txt",
        "manifest.json",
    ],
)
@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_a_flipped_byte_is_found(a_set, name, place):
    path = a_set / name
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 0x01
    path.write_bytes(data)
    problems = verify_set(a_set).problems
    assert any(problem.startswith(name) for problem in problems)


def test_files_that_are_missing_or_strange(a_set):
    (a_set / "teacher" / "0000000004.txt").unlink()
    (a_set / "teacher" / "mine.txt").write_text("hello")
    assert verify_set(a_set).problems == ["teacher/0000000004.txt: missing", "teacher/mine.txt: not a file of this set"]


def test_no_set_at_all(tmp_path):
    with pytest.raises(SourceError, match="expected a generated set"):
        verify_set(tmp_path)
