"""A rosbag2 file of sqlite3 storage that was cut off, or whose recorder was killed, read as far as it goes.

SQLite refuses such a file as a whole. Messages are appended, so that every page before the cut holds what it held: all
pages are looked through for rows of the table of messages, also those whose place in the table's tree is lost.

Source: rosbag2_storage_sqlite3, tables `topics`, `message_definitions` and `messages`; https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinition, MessageDefinitionFormat

from monotakd_ros.data.sqlite_pages import Cell, DatabasePages
from monotakd_ros.data.sqlite_records import record_kinds, size_of, values_of
from monotakd_ros.data.sqlite_wal import log_of, unfinished

_FORMATS = {"ros2msg": MessageDefinitionFormat.MSG, "ros2idl": MessageDefinitionFormat.IDL}
_TABLE_OF_TABLES = 1
_INTEGERS = frozenset((1, 2, 3, 4, 5, 6, 8, 9))


class CutDb3:
    """A reader of the shape that `rosbags` has; open from the beginning.

    Args:
        path: the file.

    Attributes:
        connections: topics with their types and numbers of messages.
        start_time: bag time of the first message.
        end_time: bag time behind the last message.
        cut: where the file ends.

    Raises:
        ValueError: there is no message in it.
    """

    def __init__(self, path: Path) -> None:
        self._pages = DatabasePages(path, log_of(path))
        self._is_short = self._pages.promised > self._pages.count
        self._first_lost = np.iinfo(np.int64).max
        try:
            self.connections = self._read_topics()
            self._read_index()
        except BaseException:
            self._pages.close()
            raise
        self.cut = f"{what_is_left(path) or 'damaged'}; readable are {len(self._stamps)} messages"
        self._page, self._cells = 0, list[Cell]()

    def __enter__(self) -> CutDb3:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pages.close()

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Messages in the order of their stamps; see `rosbags.rosbag2.Reader.messages`."""
        wanted = {connection.id: connection for connection in connections}
        first = 0 if start is None else int(np.searchsorted(self._stamps, start))
        last = len(self._stamps) if stop is None else int(np.searchsorted(self._stamps, stop))
        for index in range(first, last):
            connection = wanted.get(int(self._topics[index]))
            if connection is not None:
                yield connection, int(self._stamps[index]), self._data(index)

    def _read_topics(self) -> list[Connection]:
        roots = {row[1]: row[3] for _, row in self._pages.rows(_TABLE_OF_TABLES) if row[:1] == ["table"]}
        if "topics" not in roots or "messages" not in roots:
            raise ValueError("the database lacks the tables of a rosbag2")
        definitions = self._read_definitions(roots.get("message_definitions"))
        none = MessageDefinition(MessageDefinitionFormat.NONE, "")
        rows = [(row_id, row) for row_id, row in self._pages.rows(roots["topics"]) if len(row) >= 4]
        return [
            Connection(row_id, name, kind, definitions.get(kind, none), "", 0, ConnectionExtRosbag2(how, []), self)
            for row_id, (_, name, kind, how, *_) in rows
        ]

    def _read_definitions(self, root: int | None) -> dict[str, MessageDefinition]:
        rows = [] if root is None else [row for _, row in self._pages.rows(root) if len(row) >= 4]
        return {row[1]: MessageDefinition(_FORMATS[row[2]], row[3]) for row in rows if row[2] in _FORMATS}

    def _read_index(self) -> None:
        """Where each message lies, in the order of their stamps."""
        known = {connection.id for connection in self.connections}
        columns = [array("q") for _ in range(5)]
        for page, place, cell in self._message_cells():
            topic, stamp = values_of(cell.local, 3)[1:]
            if topic in known:
                for column, value in zip(columns, (stamp, cell.row_id, topic, page, place)):
                    column.append(value)
        stamps, row_ids, topics, pages, places = (np.array(column, np.int64) for column in columns)
        numbers, unique = np.unique(row_ids, return_index=True)
        unique = unique[numbers < self._first_lost]
        order = unique[np.argsort(stamps[unique], kind="stable")]
        if not len(order):
            raise ValueError("the file ends before its first message")
        self._stamps, self._topics, self._places = stamps[order], topics[order], np.stack([pages, places], 1)[order]
        self.start_time, self.end_time = int(self._stamps[0]), int(self._stamps[-1]) + 1
        counts = Counter(self._topics.tolist())
        self.connections = [item._replace(msgcount=counts[item.id]) for item in self.connections]

    def _message_cells(self) -> Iterator[tuple[int, int, Cell]]:
        """Page, place in it and content of every row of the shape of a message that is all there."""
        number = 1
        runs: dict[int, int] = {}
        while number <= self._pages.count:
            for place, cell in enumerate(self._pages.cells(number)):
                if not _is_message(cell):
                    continue
                count = self._pages.overflow_pages(cell)
                if count and self._pages.is_run(cell.overflow, count):
                    runs[cell.overflow] = cell.overflow + count
                elif not self._pages.is_whole(cell):
                    if self._is_short:  # the page was written on when the next messages came
                        self._first_lost = min(self._first_lost, cell.row_id)
                    continue
                yield number, place, cell
            number += 1
            while number in runs:  # their content need not be looked through
                number = runs.pop(number)

    def _data(self, index: int) -> bytes:
        page, place = self._places[index].tolist()
        if page != self._page:
            self._page, self._cells = page, self._pages.cells(page)
        record = self._pages.record(self._cells[place])
        if record is None:
            raise ValueError("the file became shorter while it was read")
        return values_of(record)[3]


def what_is_left(path: Path) -> str | None:
    """What is unfinished about a database; None for a whole one, all of which is in its file.

    Raises:
        ValueError: it is no database.
    """
    left = unfinished(path)
    if left is not None:
        return f"not closed by its recorder, which left {left} beside it"
    with DatabasePages(path, log_of(path)) as pages:
        if pages.promised > pages.count:
            return f"cut off: {pages.count} of its {pages.promised} pages are there"
        return None if pages.promised == pages.count else "not closed by its recorder"


def _is_message(cell: Cell) -> bool:
    """Whether a row is of the shape of a message: id (which is kept elsewhere), topic, stamp, bytes."""
    kinds, at = record_kinds(cell.local)
    if len(kinds) != 4 or kinds[0] or kinds[1] not in _INTEGERS or kinds[2] not in _INTEGERS:
        return False
    is_blob = kinds[3] >= 12 and kinds[3] % 2 == 0
    return is_blob and at + sum(size_of(kind) for kind in kinds) == cell.size
