"""A rosbag as a source of frames, streamed: nothing but a short window of messages is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monotakd_ros.data.bag_frames import LINGER_NS, FrameAssembler
from monotakd_ros.data.bag_reader import BagReader
from monotakd_ros.data.bag_topics import choose_topics
from monotakd_ros.data.source import DEFAULT_OPTIONS, OnError, SourceOptions, skip_bad_frames
from monotakd_ros.errors import BagError, FrameError
from monotakd_ros.frame import Frame


@dataclass(frozen=True, eq=False)
class ImageTimes:
    """When a bag's images were recorded.

    Attributes:
        log_stamps_ns: (N,) int64 bag times in their order.
        broken: why the bag cannot be read further; None when it is whole.
    """

    log_stamps_ns: np.ndarray
    broken: str | None


@dataclass(frozen=True)
class BagPart:
    """A stretch of a bag that is read without the rest.

    Attributes:
        start_ns: bag time of its first image.
        stop_ns: bag time behind its last image.
        first_index: number of images before it, by which frames are named.
        count: number of its images.
    """

    start_ns: int
    stop_ns: int
    first_index: int
    count: int


class BagSource:
    """A rosbag1 or rosbag2 recording.

    Args:
        path: the bag's folder, or a .mcap, .db3 or .bag file.
        options: topics where the bag has several; see `SourceOptions`.
        part: the stretch to read; None reads the whole. Its frames are those that the whole bag has there, as far as
            clouds and poses lie within `LINGER_NS` of their images in the bag.

    Images are rectified on reading when their camera has distortion and the topic is not named `...rect...`.
    Frame N is the N-th image in time order, "00000N", unless the bag names its frames.

    Raises:
        BagError: unreadable or empty bag; no camera topic or CameraInfo, or several.
    """

    def __init__(self, path: Path | str, options: SourceOptions = DEFAULT_OPTIONS, part: BagPart | None = None) -> None:
        self.path = Path(path)
        self.name = self.path.resolve().stem
        self._options = options
        self._part = part
        self._reader = BagReader(self.path, strict=not options.read_cut)
        try:
            self.topics = choose_topics(self._reader.topics, options, self.path)
        except BagError:
            self._reader.close()
            raise

    def __len__(self) -> int:
        return self.topics.image.count if self._part is None else self._part.count

    def image_times(self) -> ImageTimes:
        """Bag times of all images, read from the messages' headers alone; the bag's break, if it has one, is told.

        Takes one pass over the bag's storage, without decoding.
        """
        times: list[int] = []
        try:
            times.extend(message.log_stamp_ns for message in self._reader.messages({self.topics.image.name}))
        except BagError as error:
            return ImageTimes(np.array(times, dtype=np.int64), str(error))
        return ImageTimes(np.array(times, dtype=np.int64), "; ".join(self._reader.cuts) or None)

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
        part = self._part
        first, start_ns, stop_ns = (0, None, None) if part is None else (part.first_index, part.start_ns, part.stop_ns)
        assembler = FrameAssembler(self._reader, self.topics, self._options, first)
        window = (start_ns and start_ns - LINGER_NS, stop_ns and stop_ns + LINGER_NS)
        broken: BagError | None = None
        try:
            for message in self._reader.messages(self.topics.streamed, *window):
                is_image = message.topic == self.topics.image.name
                if part and is_image and not part.start_ns <= message.log_stamp_ns < part.stop_ns:
                    continue
                assembler.take(message)
                yield from assembler.ready(message.log_stamp_ns - LINGER_NS)
        except BagError as error:
            broken = error
        yield from assembler.ready(None)
        if broken:
            raise broken
