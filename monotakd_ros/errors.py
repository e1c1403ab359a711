"""Every error this package raises on purpose.

A message says what was expected, what came, and where (file, key, topic, stamp). The command line
prints it without a traceback and exits with 1; the ROS node logs it.
"""


class MonotakdError(Exception):
    """Base of all errors raised on purpose by this package."""


class ConfigError(MonotakdError):
    """A setting is unknown, of the wrong type or out of range."""


class CalibrationError(MonotakdError):
    """Camera intrinsics or extrinsics are missing, invalid or contradict the image."""


class CheckpointError(MonotakdError):
    """A weights file is unreadable, of another model, or has missing or mis-shaped keys."""


class SourceError(MonotakdError):
    """A data source (KITTI folder, raw drive, bag) cannot be read as a whole."""


class BagError(SourceError):
    """A rosbag is truncated, empty, or lacks or has ambiguous topics."""


class LabelError(SourceError):
    """A label or calibration text file is malformed; the message names file and line."""


class FrameError(MonotakdError):
    """One frame cannot be used (corrupt image, unknown encoding, size mismatch); others can.

    Sources hand these to the `on_error` callback, so that one bad frame is skipped and counted.
    """


class OutputError(MonotakdError):
    """An output exists already, or cannot be written (disk full, read-only)."""


class TrainingError(MonotakdError):
    """Training cannot start or go on (no labels, non-finite loss, resume mismatch)."""


class MissingDependencyError(MonotakdError):
    """An optional library is not installed; the message says what to install."""
