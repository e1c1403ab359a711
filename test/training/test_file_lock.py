"""One process at a time, also where the file that it holds is removed."""

from __future__ import annotations

import threading
from pathlib import Path

from monotakd_ros.training.file_lock import locked

SOON_S = 0.2
AT_LAST_S = 30.0


class Waiting(threading.Thread):
    """Takes the lock as soon as it can, and keeps it for as long as it is told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.path = path
        self.inside, self.leave = threading.Event(), threading.Event()
        self.start()

    def run(self) -> None:
        with locked(self.path):
            self.inside.set()
            self.leave.wait(AT_LAST_S)

    def end(self) -> None:
        self.leave.set()
        self.join(AT_LAST_S)


def test_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path) as file:
        file.write("mine")
        second = Waiting(path)
        assert not second.inside.wait(SOON_S)
    assert second.inside.wait(AT_LAST_S)
    second.end()
    assert path.read_text() == "mine", "what was written stays, and so does the file"


def test_who_waited_at_a_removed_file_and_who_came_later_are_not_in_together(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path):
        early = Waiting(path)
        assert not early.inside.wait(SOON_S)
        path.unlink()
        late = Waiting(path)
        assert late.inside.wait(AT_LAST_S), "a file of its own"
    assert not early.inside.wait(SOON_S), "it let the removed file go and waits at the new one"
    late.end()
    assert early.inside.wait(AT_LAST_S)
    early.end()
