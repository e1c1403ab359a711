"""KITTI object folders from frames, with `frames.csv` and `poses.txt` so that stamps, names and poses survive."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from monotakd_ros.data.frame_writers import FolderWriter
from monotakd_ros.data.image_codec import encode_compressed
from monotakd_ros.data.kitti_records import FRAMES_COLUMNS, FRAMES_FILE, POSES_FILE
from monotakd_ros.data.kitti_text import calibration_text, format_matrix, text_from_labels
from monotakd_ros.frame import Frame
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar


class KittiFrameWriter(FolderWriter):
    """Writes `training/{image_2,calib,label_2,velodyne}` and the list `ImageSets/all.txt`.

    A frame keeps its name when that is a number, else it gets its position. `poses.txt` holds world_T_lidar, one line
    of 12 numbers a frame as in KITTI's odometry benchmark, nan where unknown.
    """

    def _open(self, folder: Path) -> None:
        self._root = folder
        self._subset = folder / "training"
        for name in ("image_2", "calib"):
            (self._subset / name).mkdir(parents=True)
        self._rows: list[tuple[str, int, int | None, str, str]] = []
        self._poses: list[str] = []
        self._names: set[str] = set()

    def _write(self, frame: Frame) -> None:
        name = self._free_name(frame.name)
        cam_T_lidar = frame.cam_T_lidar
        if frame.labels is not None:
            cam_T_lidar = nominal_cam_T_lidar() if cam_T_lidar is None else cam_T_lidar
            self._put("label_2", f"{name}.txt", text_from_labels(frame.labels, cam_T_lidar).encode())
        if frame.points_lidar is not None:
            self._put("velodyne", f"{name}.bin", np.asarray(frame.points_lidar, dtype="<f4").tobytes())
        self._put("calib", f"{name}.txt", calibration_text(frame.camera.img_P_cam, cam_T_lidar).encode())
        self._put("image_2", f"{name}.png", encode_compressed(frame.image, "png"))
        pose = np.full((3, 4), np.nan) if frame.world_T_lidar is None else frame.world_T_lidar[:3]
        self._names.add(name)
        self._poses.append(format_matrix(pose))
        self._rows.append((name, frame.stamp_ns, frame.points_stamp_ns, frame.camera_frame_id, frame.lidar_frame_id))

    def _finish(self) -> None:
        lists = self._root / "ImageSets"
        lists.mkdir()
        (lists / "all.txt").write_text("".join(f"{row[0]}\n" for row in self._rows), encoding="utf-8")
        (self._root / POSES_FILE).write_text("".join(f"{pose}\n" for pose in self._poses), encoding="utf-8")
        with (self._root / FRAMES_FILE).open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(FRAMES_COLUMNS)
            table.writerows(self._rows)

    def _abort(self) -> None:
        """Nothing is open."""

    def _put(self, kind: str, name: str, data: bytes) -> None:
        path = self._subset / kind / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)

    def _free_name(self, name: str) -> str:
        wanted = name if name.isascii() and name.isdigit() else str(self.count)
        number = int(wanted)
        while (candidate := f"{number:06d}") in self._names:
            number += 1
        return candidate
