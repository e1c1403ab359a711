"""What can be looked at: sets with every kind of box, other sources with their labels, evenly chosen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monotakd_ros.data.frame_writers import open_writer
from monotakd_ros.data.source import open_source
from monotakd_ros.errors import SourceError
from monotakd_ros.preview.source import BoxedSource, evenly
from monotakd_ros.preview.walk import FrameWalk


@given(st.integers(0, 300), st.one_of(st.none(), st.integers(1, 400)))
def test_evenly(total, count):
    chosen = evenly(total, count)
    assert len(chosen) == len(set(chosen)) == min(total, count or total)
    assert chosen == sorted(chosen)
    if len(chosen) > 1:
        assert (chosen[0], chosen[-1]) == (0, total - 1)
        steps = set(np.diff(chosen))
        assert max(steps) - min(steps) <= 1


def names(source, count):
    return [boxed.frame.name for boxed in source.frames(count, pytest.fail)]


def test_a_set_and_a_bag(write_set, tmp_path):
    root = write_set(tmp_path / "set", 5)
    with open_writer(tmp_path / "bag", "bag") as writer:
        for frame in open_source(root).frames():
            writer.write(frame)
    of_set, of_bag = BoxedSource(root), BoxedSource(tmp_path / "bag")
    for source in (of_set, of_bag):
        assert len(source) == 5
        assert names(source, 3) == ["000000", "000002", "000004"]
        assert names(source, None) == [f"00000{index}" for index in range(5)]
    assert set(next(of_set.frames(1, pytest.fail)).boxes) == {"labels", "uncertain", "teacher", "assistant", "truth"}
    boxes = next(of_bag.frames(1, pytest.fail)).boxes
    assert {kind: len(found) for kind, found in boxes.items()} == {"labels": 2, "uncertain": 1}
    of_set.close()
    of_bag.close()


def test_few_frames_of_a_long_bag_are_those_of_the_whole(write_set, tmp_path, monkeypatch):
    root = write_set(tmp_path / "set", 9)
    with open_writer(tmp_path / "bag", "bag") as writer:
        for frame in open_source(root).frames():
            writer.write(frame)
    source = BoxedSource(tmp_path / "bag")
    in_passing = list(source.frames(3, pytest.fail))
    monkeypatch.setattr("monotakd_ros.preview.source.SPARSE", 3)
    alone = list(source.frames(3, pytest.fail))
    assert names(source, 3) == ["000000", "000004", "000008"]
    for one, other in zip(in_passing, alone):
        assert one.frame.stamp_ns == other.frame.stamp_ns
        np.testing.assert_array_equal(one.frame.image, other.frame.image)
        np.testing.assert_array_equal(one.frame.points_lidar, other.frame.points_lidar)
        np.testing.assert_array_equal(one.boxes["labels"].boxes_lidar, other.boxes["labels"].boxes_lidar)
    source.close()


def test_bad_frames_are_told(write_set, tmp_path):
    root = write_set(tmp_path / "set", 2)
    image = root / "training" / "image_2"
    (image / "000000.png").write_bytes(b"")
    errors = []
    assert [boxed.frame.name for boxed in BoxedSource(root).frames(None, errors.append)] == ["000001"]
    assert len(errors) == 1 and "000000.png" in str(errors[0])
    (image / "000001.png").write_bytes(b"")
    with pytest.raises(SourceError, match="none of its 2 frames"):
        list(BoxedSource(root).frames(None, errors.append))
    with pytest.raises(SourceError):
        BoxedSource(tmp_path / "nothing")


def test_back_and_forth():
    walk = FrameWalk(iter("abcd"), kept=3)
    assert walk.current is None and walk.backward() is None
    assert [walk.forward() for _ in range(3)] == ["a", "b", "c"]
    assert [walk.backward(), walk.backward(), walk.backward()] == ["b", "a", None]
    assert walk.current == "a"
    assert [walk.forward() for _ in range(4)] == ["b", "c", "d", None]
    assert walk.current == "d"
    assert [walk.backward(), walk.backward(), walk.backward()] == ["c", "b", None]  # a is not kept any more
    assert FrameWalk(iter("")).forward() is None
