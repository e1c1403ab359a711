"""A rosbag as a source of frames, streamed: nothing but a short window of messages is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from monotakd_ros.data.bag_frames import LINGER_NS, FrameAssembler
from monotakd_ros.data.bag_reader import BagReader
from monotakd_ros.data.bag_topics import choose_topics
from monotakd_ros.data.source import DEFAULT_OPTIONS, OnError, SourceOptions, skip_bad_frames
from monotakd_ros.errors import BagError, FrameError
from monotakd_ros.frame import Frame


class BagSource:
    """A rosbag1 or rosbag2 recording.

    Args:
        path: the bag's folder, or a .mcap, .db3 or .bag file.
        options: topics where the bag has several; see `SourceOptions`.

    Images are rectified on reading when their camera has distortion and the topic is not named `...rect...`.
    Frame N is the N-th image in time order, "00000N", unless the bag names its frames.

    Raises:
        BagError: unreadable or empty bag; no camera topic or CameraInfo, or several.
    """

    def __init__(self, path: Path | str, options: SourceOptions = DEFAULT_OPTIONS) -> None:
        self.path = Path(path)
        self.name = self.path.resolve().stem
        self._options = options
        self._reader = BagReader(self.path)
        try:
            self.topics = choose_topics(self._reader.topics, options, self.path)
        except BagError:
            self._reader.close()
            raise

    def __len__(self) -> int:
        return self.topics.image.count

    def frames(self, on_error: OnError | None = None) -> Iterator[Frame]:
        """Yield the frames; see `FrameSource.frames`.

        Raises:
            BagError: the bag breaks; comes after the frames that could be read.
            CalibrationError: the camera is not calibrated, or a tf quaternion is zero.
        """
        return skip_bad_frames(self._attempts(), self.path, on_error)

    def close(self) -> None:
        """Close the bag's files."""
        self._reader.close()

    def _attempts(self) -> Iterator[Frame | FrameError]:
        assembler = FrameAssembler(self._reader, self.topics, self._options)
        broken: BagError | None = None
        try:
            for message in self._reader.messages(self.topics.streamed):
                assembler.take(message)
                yield from assembler.ready(message.log_stamp_ns - LINGER_NS)
        except BagError as error:
            broken = error
        yield from assembler.ready(None)
        if broken:
            raise broken
