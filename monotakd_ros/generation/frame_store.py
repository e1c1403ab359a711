"""Where the files of a segment's frames go: each into the set's folders, or all into one tar shard."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Protocol

from monotakd_ros.atomic import output_errors
from monotakd_ros.data.tar_shards import SHARD_DIR
from monotakd_ros.generation.segments import Segment
from monotakd_ros.generation.set_folder import SetFolder
from monotakd_ros.generation.settings import SetFormat
from monotakd_ros.provenance import file_sha256

PLAIN_FOLDERS = ("image_2", "frames")
"""Their files keep their names in a shard; others get their folder's between name and suffix."""


class FrameStore(Protocol):
    """Takes the files of one segment's frames."""

    def put(self, files: Mapping[str, bytes]) -> dict[str, str]:
        """Take the files of a frame, by their path in a KITTI set; returns SHA-256 by path of those that exist now."""
        ...

    def finish(self) -> dict[str, str]:
        """All frames were put; returns SHA-256 by path of the files that they share."""
        ...

    def abandon(self) -> None:
        """Give up what does not have its name yet."""
        ...


def open_store(folder: SetFolder, segment: Segment, format: SetFormat) -> FrameStore:
    """The store of a segment."""
    return _Shard(folder.root / SHARD_DIR / f"{segment.key}.tar") if format == "tar" else _Files(folder)


def member_name(path: str) -> str:
    """`training/velodyne/NAME.bin` -> `NAME.velodyne.bin`, `training/image_2/NAME.png` -> `NAME.png`."""
    place = PurePosixPath(path)
    name, _, kind = place.name.partition(".")
    folder = place.parent.name
    return place.name if folder in PLAIN_FOLDERS else f"{name}.{folder}.{kind}"


class _Files:
    def __init__(self, folder: SetFolder) -> None:
        self._folder = folder

    def put(self, files: Mapping[str, bytes]) -> dict[str, str]:
        return self._folder.put(files)

    def finish(self) -> dict[str, str]:
        return {}

    def abandon(self) -> None:
        """Every file has its name."""


class _Shard:
    """A tar file that gets its name when it is complete; the same frames make the same bytes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}")
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._archive = tarfile.open(self._temporary, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115

    def put(self, files: Mapping[str, bytes]) -> dict[str, str]:
        with output_errors(self._path):
            for path, content in files.items():
                member = tarfile.TarInfo(member_name(path))
                member.size, member.mode = len(content), 0o644
                self._archive.addfile(member, io.BytesIO(content))
        return {}

    def finish(self) -> dict[str, str]:
        with output_errors(self._path):
            self._archive.close()
            self._temporary.replace(self._path)
        return {f"{SHARD_DIR}/{self._path.name}": file_sha256(self._path)}

    def abandon(self) -> None:
        self._archive.close()
        self._temporary.unlink(missing_ok=True)
