"""The files of a bag, opened with `rosbags`; those that were cut off with what reads them up to there."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from rosbags.rosbag1 import Reader as Reader1
from rosbags.rosbag2 import Reader as Reader2
from rosbags.rosbag2.reader import zstd

from monotakd_ros.data.cut_bag1 import CutBag1
from monotakd_ros.data.cut_db3 import CutDb3, what_is_left
from monotakd_ros.data.cut_mcap import CutMcap, is_closed
from monotakd_ros.data.source import BAG_ENDINGS
from monotakd_ros.errors import BagError

Reader = Reader1 | Reader2 | CutDb3
_ROS1 = (".bag", ".bag.active")
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_BLOCK = 1 << 20


def storage_paths(path: Path) -> list[Path]:
    """What to hand to rosbags' readers: a rosbag2 folder as a whole, or bare storage files."""
    if path.is_file() or (path / "metadata.yaml").exists():
        return [path]
    return storage_files(path)


def storage_files(path: Path) -> list[Path]:
    """The files that hold messages, in their order.

    Raises:
        BagError: there is none.
    """
    if path.is_file():
        return [path]
    files = [item for item in path.iterdir() if item.name.endswith(BAG_ENDINGS)]
    if not files:
        raise BagError(f"{path}: expected metadata.yaml or files ending in {', '.join(BAG_ENDINGS)}")
    names = {item.name for item in files}  # a recorder that was killed while it compressed a file leaves both
    files = [item for item in files if item.suffix != ".zstd" or item.stem not in names]
    return sorted(files, key=lambda item: (len(_stem(item)), item))


def open_storage(path: Path, stack: ExitStack, may_be_cut: bool) -> tuple[Reader, str | None]:
    """A reader of a bag's file or folder.

    Args:
        path: what `storage_paths` or, for what may be cut, `storage_files` gave.
        stack: closes it.
        may_be_cut: whether a file that was cut off is read up to there.

    Returns:
        The reader, and where the file ends, if it was cut off.

    Raises:
        Exception: of whatever kind; a damaged file makes rosbags raise almost anything.
    """
    plain, cut = (path, None) if path.suffix != ".zstd" else _unpack(path, stack, may_be_cut)
    if not may_be_cut:
        _refuse_unfinished(plain)
        return stack.enter_context(Reader1(plain) if path.name.endswith(_ROS1) else Reader2(plain)), None
    reader, cut_inside = _open_cut(plain, stack)
    cut = cut or cut_inside
    return reader, cut and f"{path.name}: {cut}"


def plain_message(data: bytes) -> bytes:
    """A ROS 2 message's bytes, which rosbag2 may have compressed one by one: only metadata.yaml would say so."""
    return zstd.decompress(data) if data[:4] == _ZSTD_MAGIC else data


def repair_hint(path: Path) -> str:
    """What to do with a bag that cannot be opened."""
    if path.is_file() and not path.stat().st_size:
        return "; the file is empty"
    if path.name.endswith(_ROS1):
        tool = "`rosbag reindex` can repair it"
    else:
        tool = "`mcap recover` (MCAP) or `sqlite3 FILE .recover` (sqlite3) can repair it"
    return f"; if the recording was cut off, `monotakd inspect` and `generate` read it up to there, and {tool}"


def _stem(path: Path) -> str:
    return path.name.removesuffix(max((item for item in BAG_ENDINGS if path.name.endswith(item)), key=len))


def _open_cut(path: Path, stack: ExitStack) -> tuple[Reader, str | None]:
    if path.name.endswith(_ROS1):
        try:
            return stack.enter_context(Reader1(path)), None
        except Exception:  # as above
            bag = CutBag1(path)
            return stack.enter_context(Reader1(bag)), _bytes_of(bag)
    if path.suffix == ".mcap" and not is_closed(path):
        mcap = CutMcap(path)
        return stack.enter_context(Reader2(mcap)), _bytes_of(mcap)
    if path.suffix == ".db3":
        return _open_cut_db3(path, stack)
    return stack.enter_context(Reader2(path)), None


def _open_cut_db3(path: Path, stack: ExitStack) -> tuple[Reader, str | None]:
    if what_is_left(path) is None:
        with suppress(Exception):  # as above
            return stack.enter_context(Reader2(path)), None
    reader = stack.enter_context(CutDb3(path))
    return reader, reader.cut


def _refuse_unfinished(path: Path) -> None:
    """SQLite would read past what a killed recorder left, and come upon damage in the middle."""
    for item in sorted(path.glob("*.db3")) if path.is_dir() else [path]:
        left = what_is_left(item) if item.suffix == ".db3" else None
        if left is not None:
            raise ValueError(f"{item.name} was {left}")


def _bytes_of(file: CutBag1 | CutMcap) -> str:
    return f"cut off; readable are {file.end} of its {file.size} bytes"


def _unpack(path: Path, stack: ExitStack, may_be_cut: bool) -> tuple[Path, str | None]:
    """A file without its compression, in a temporary folder; one that is cut off as far as it goes."""
    plain = Path(stack.enter_context(TemporaryDirectory()), path.stem)
    with zstd.open(path, "rb") as packed, plain.open("wb") as file:
        try:
            while block := packed.read1(_BLOCK):
                file.write(block)
        except (EOFError, zstd.ZstdError):
            if not may_be_cut:
                raise
            return plain, f"cut off; readable are {file.tell()} bytes that were compressed"
    return plain, None
