import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monotakd_ros.config import AnchorConfig, GridConfig, HeadConfig, StudentConfig
from monotakd_ros.network.anchor_head import decode_boxes, make_anchors
from monotakd_ros.training.targets import AnchorAssigner, nearest_axis_extents

CAR = AnchorConfig("Car", (4.0, 2.0, 1.5), -1.75, 0.6, 0.45)
WALKER = AnchorConfig("Pedestrian", (0.8, 0.6, 1.7), -1.75, 0.5, 0.35)
CONFIG = StudentConfig(
    grid=GridConfig((0.0, -8.0, -3.0, 20.0, 8.0, 1.0), (1.0, 1.0, 1.0)),
    head=HeadConfig((CAR, WALKER), placement="cell_center"),
)
COLUMNS, ROWS, PER_CELL = 20, 16, 4


@pytest.fixture(scope="module")
def assigner() -> AnchorAssigner:
    anchors = make_anchors(CONFIG.head, CONFIG.grid.build()).reshape(-1, 7)
    return AnchorAssigner(anchors, CONFIG)


def car(x: float, y: float, heading: float = 0.0) -> list[float]:
    return [x, y, -1.0, 4.0, 2.0, 1.5, heading]


def boxes_of(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float64).reshape(-1, 7)


def anchor_index(column: int, row: int, class_index: int, rotation: int) -> int:
    return ((row * COLUMNS + column) * 2 + class_index) * 2 + rotation


def brute_force_iou(boxes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """(N, A) IoU of the rectangles turned to the nearest axis."""

    def edges(values):
        half = 0.5 * nearest_axis_extents(values)
        return values[:, :2] - half, values[:, :2] + half

    (low_a, high_a), (low_b, high_b) = edges(boxes), edges(anchors)
    common = np.minimum(high_a[:, None], high_b[None]) - np.maximum(low_a[:, None], low_b[None])
    common = np.prod(np.maximum(common, 0), axis=2)
    area_a, area_b = np.prod(high_a - low_a, axis=1), np.prod(high_b - low_b, axis=1)
    return common / (area_a[:, None] + area_b[None] - common)


class TestNearestAxisExtents:
    @pytest.mark.parametrize(
        ("heading", "expected"),
        [(0.0, (4, 2)), (0.78, (4, 2)), (0.79, (2, 4)), (-1.57, (2, 4)), (3.0, (4, 2)), (7.8, (2, 4))],
    )
    def test_turns_to_the_nearest_axis(self, heading, expected):
        assert tuple(nearest_axis_extents(boxes_of(car(0, 0, heading)))[0]) == expected


class TestMatch:
    def test_a_box_on_an_anchor_takes_it_and_close_ones(self, assigner):
        match = assigner.match(boxes_of(car(10.5, 0.5)), np.array([0]))
        # shifted by one cell along x: IoU 3/5, equal to the threshold; across: 1/3
        expected = [anchor_index(column, 8, 0, 0) for column in (9, 10, 11)]
        assert match.positive.tolist() == expected
        assert match.matched_box.tolist() == [0, 0, 0]

    def test_between_the_limits_counts_for_nothing(self, assigner):
        match = assigner.match(boxes_of(car(10.5, 0.5)), np.array([0]))
        turned = anchor_index(10, 8, 0, 1)  # 2x4 against 4x2: IoU 4/12, background
        assert match.counted[turned]
        match = assigner.match(
            boxes_of([10.5, 0.5, -1, 4.0, 2.0, 1.5, 0], [10.5, 4.5, -1, 2.3, 2.0, 1.5, 0]), np.zeros(2)
        )
        assert not match.counted[anchor_index(10, 12, 0, 1)]  # 4.0x2.3 overlap: 4 / (8 + 4.6 - 4) = 0.465

    def test_every_box_gets_its_best_anchor(self, assigner):
        odd = [10.5, 0.5, -1, 9.0, 0.5, 1.5, 0]  # overlaps no anchor by 0.6
        match = assigner.match(boxes_of(odd), np.array([0]))
        assert len(match.positive) == 1
        assert match.counted[match.positive].all()

    def test_boxes_sharing_a_best_anchor_get_different_ones(self, assigner):
        pair = boxes_of([10.5, 0.5, -1, 0.8, 0.6, 1.7, 0], [10.55, 0.6, -1, 0.8, 0.6, 1.7, 0])
        match = assigner.match(pair, np.array([1, 1]))
        assert set(match.matched_box.tolist()) == {0, 1}
        first = match.positive[match.matched_box == 0]
        assert anchor_index(10, 8, 1, 0) in first

    def test_no_boxes(self, assigner):
        match = assigner.match(np.zeros((0, 7)), np.zeros(0, dtype=np.int64))
        assert match.counted.all() and len(match.positive) == 0

    def test_anchors_of_other_classes_are_background(self, assigner):
        match = assigner.match(boxes_of(car(10.5, 0.5)), np.array([0]))
        assert match.counted.reshape(-1, 2, 2)[:, 1].all()

    def test_a_neighbour_class_box_is_neither(self, assigner):
        match = assigner.match(boxes_of(car(10.5, 0.5)), np.array([-1]))
        assert len(match.positive) == 0
        assert not match.counted[anchor_index(10, 8, 0, 0)]
        assert match.counted[anchor_index(2, 2, 0, 0)]

    def test_an_own_box_beside_a_neighbour_stays_positive(self, assigner):
        match = assigner.match(boxes_of(car(10.5, 0.5), car(11.5, 0.5)), np.array([0, -1]))
        assert anchor_index(10, 8, 0, 0) in match.positive
        assert match.counted[anchor_index(10, 8, 0, 0)]

    def test_a_box_centred_outside_the_grid_is_neither(self, assigner):
        match = assigner.match(boxes_of(car(20.3, 0.5)), np.array([0]))
        assert len(match.positive) == 0
        assert not match.counted[anchor_index(19, 8, 0, 0)]

    def test_far_outside_changes_nothing(self, assigner):
        match = assigner.match(boxes_of(car(90.0, 0.5)), np.array([0]))
        assert match.counted.all()

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.floats(0.0, 19.9),
                st.floats(-8.0, 7.9),
                st.floats(0.3, 5.0),
                st.floats(0.3, 3.0),
                st.floats(-4, 4),
                st.sampled_from([0, 1, -1]),
            ),
            max_size=6,
        )
    )
    def test_agrees_with_all_pairs(self, assigner, rows):
        boxes = boxes_of(*([x, y, -1, dx, dy, 1.5, heading] for x, y, dx, dy, heading, _ in rows))
        labels = np.array([row[5] for row in rows], dtype=np.int64)
        match = assigner.match(boxes, labels)
        anchors = assigner.anchors.double().numpy()
        class_of_anchor = np.tile(np.repeat([0, 1], 2), ROWS * COLUMNS)
        iou = brute_force_iou(boxes, anchors) if len(boxes) else np.zeros((0, len(anchors)))
        iou[labels[:, None] != np.where(labels[:, None] == -1, -1, class_of_anchor[None])] = 0
        own, ignored = iou * (labels >= 0)[:, None], iou * (labels == -1)[:, None]
        best, best_ignored = own.max(axis=0, initial=0), ignored.max(axis=0, initial=0)
        high = np.array([0.6, 0.5])[class_of_anchor]
        low = np.array([0.45, 0.35])[class_of_anchor]
        edge = (np.abs(best - high) < 1e-6) | (np.abs(best - low) < 1e-6) | (np.abs(best_ignored - low) < 1e-6)
        is_positive = np.zeros(len(anchors), dtype=bool)
        is_positive[match.positive] = True
        assert (is_positive | edge)[best >= high].all()
        forced = is_positive & (best < high) & ~edge
        assert forced.sum() <= (labels >= 0).sum()
        counted = ((best < low) & (best_ignored < low)) | is_positive
        assert (match.counted == counted)[~edge].all()
        if len(match.positive):
            assert (own[match.matched_box, match.positive] > 0).all()


class TestTargets:
    def test_codes_decode_to_the_boxes(self, assigner):
        boxes = torch.tensor([car(10.3, 0.2, 0.4), car(5.0, -3.0, 2.0)], dtype=torch.float32)
        frames = [boxes, torch.zeros((0, 7)), boxes[:1]]
        labels = [torch.tensor([0, 0]), torch.zeros(0, dtype=torch.int64), torch.tensor([0])]
        targets = assigner.targets(frames, labels)
        assert targets.counted.shape == (3, ROWS * COLUMNS * PER_CELL)
        assert set(targets.sample.tolist()) == {0, 2}
        decoded = decode_boxes(targets.box_codes, assigner.anchors[targets.anchor])
        assert torch.allclose(
            decoded[targets.sample == 2], boxes[:1].expand_as(decoded[targets.sample == 2]), atol=1e-5
        )
        assert targets.label.dtype == targets.direction.dtype == torch.int64

    def test_no_boxes_at_all(self, assigner):
        targets = assigner.targets([torch.zeros((0, 7))], [torch.zeros(0, dtype=torch.int64)])
        assert targets.box_codes.shape == (0, 7) and targets.counted.all()

    def test_stretched_anchors_work_too(self):
        head = HeadConfig((CAR,), placement="stretched")
        config = StudentConfig(grid=CONFIG.grid, head=head)
        anchors = make_anchors(head, config.grid.build()).reshape(-1, 7)
        match = AnchorAssigner(anchors, config).match(boxes_of(car(0.0, -8.0)), np.array([0]))
        assert 0 in match.positive
