"""Which files decide what a source yields."""

from __future__ import annotations

from pathlib import Path

from monotakd_ros.data.source import SourceOptions
from monotakd_ros.data.source_files import files_beside, files_in


def put(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


class TestFilesIn:
    def test_a_file_is_its_own(self, tmp_path):
        put(tmp_path / "drive.mcap", tmp_path / "other.mcap")
        assert files_in(tmp_path / "drive.mcap") == [tmp_path / "drive.mcap"]

    def test_folders_of_all_depths_in_order(self, tmp_path):
        put(tmp_path / "b" / "c" / "1", tmp_path / "a", tmp_path / "b" / "0")
        assert files_in(tmp_path) == [tmp_path / "a", tmp_path / "b" / "0", tmp_path / "b" / "c" / "1"]

    def test_linked_folders_count(self, tmp_path):
        put(tmp_path / "disk" / "image_2" / "000000.png")
        (tmp_path / "kitti").mkdir()
        (tmp_path / "kitti" / "image_2").symlink_to(tmp_path / "disk" / "image_2")
        assert files_in(tmp_path / "kitti") == [tmp_path / "kitti" / "image_2" / "000000.png"]

    def test_a_link_to_the_folder_itself_ends(self, tmp_path):
        put(tmp_path / "a" / "1")
        (tmp_path / "a" / "again").symlink_to(tmp_path)
        assert files_in(tmp_path) == [tmp_path / "a" / "1"]

    def test_a_folder_that_two_names_lead_to_counts_under_the_first(self, tmp_path):
        put(tmp_path / "disk" / "1")
        (tmp_path / "drive").mkdir()
        for name in ("c", "a", "b"):
            (tmp_path / "drive" / name).symlink_to(tmp_path / "disk")
        assert files_in(tmp_path / "drive") == [tmp_path / "drive" / "a" / "1"]

    def test_an_empty_folder_has_none(self, tmp_path):
        assert files_in(tmp_path) == []


class TestFilesBeside:
    def test_what_options_name(self, tmp_path):
        bag = tmp_path / "bags" / "drive.mcap"
        put(bag, tmp_path / "labels" / "000000.txt", tmp_path / "calib.txt")
        options = SourceOptions(label_dir=tmp_path / "labels", calibration=tmp_path / "calib.txt")
        assert files_beside(bag, options) == [tmp_path / "labels" / "000000.txt", tmp_path / "calib.txt"]

    def test_labels_beside_a_bag_that_is_a_file(self, tmp_path):
        put(tmp_path / "drive.mcap", tmp_path / "label_2" / "000000.txt", tmp_path / "other.txt")
        assert files_beside(tmp_path / "drive.mcap") == [tmp_path / "label_2" / "000000.txt"]

    def test_the_calibration_of_a_raw_drive(self, tmp_path):
        put(tmp_path / "drive" / "image_02" / "data" / "0.png", tmp_path / "calib_cam_to_cam.txt", tmp_path / "b.txt")
        assert files_beside(tmp_path / "drive") == [tmp_path / "calib_cam_to_cam.txt"]

    def test_lists_and_records_of_kittis_training_folder(self, tmp_path):
        put(tmp_path / "training" / "image_2" / "0.png", tmp_path / "ImageSets" / "all.txt", tmp_path / "frames.csv")
        expected = [tmp_path / "ImageSets" / "all.txt", tmp_path / "frames.csv"]
        assert files_beside(tmp_path / "training") == expected

    def test_what_is_missing_is_left_out(self, tmp_path):
        options = SourceOptions(label_dir=tmp_path / "none", calibration=tmp_path / "none.txt")
        assert files_beside(tmp_path, options) == [] == files_beside(tmp_path / "none.mcap")
