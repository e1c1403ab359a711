import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from monotakd_ros.network.student import build_student
from monotakd_ros.training.batches import BatchBuilder, StepBatches, frame_of_sample


def builder(config) -> BatchBuilder:
    head = build_student(config.student).head
    return BatchBuilder(head.anchors, config)


class TestFrameOfSample:
    @given(st.integers(1, 30), st.integers(0, 5), st.integers(0, 3))
    def test_every_epoch_sees_every_frame_once(self, count, epoch, seed):
        seen = [frame_of_sample(epoch * count + index, count, seed) for index in range(count)]
        assert sorted(seen) == list(range(count))

    def test_epochs_and_seeds_differ(self):
        orders = [[frame_of_sample(epoch * 50 + i, 50, seed) for i in range(50)] for epoch in (0, 1) for seed in (0, 1)]
        assert len({tuple(order) for order in orders}) == 4


class TestBatchBuilder:
    def test_targets_belong_to_the_frames(self, tiny_config, training_frames):
        batch = builder(tiny_config)([frame.prepared for frame in training_frames[:2]])
        assert batch.frames.names == ("000000", "000001")
        assert batch.anchors.counted.shape == (2, 24 * 16 * 4)
        assert set(batch.anchors.sample.tolist()) == {0, 1}
        assert set(batch.anchors.label.tolist()) == {0, 1}
        assert not batch.anchors.counted.all()  # the Van's anchors
        assert batch.depth.cell.max() < 8 * 16 and batch.depth.foreground.any()

    def test_padded_images_get_padded_depth_maps(self, tiny_config, training_frames):
        frame = training_frames[0].prepared
        smaller = type(frame)(**{**vars(frame), "image": frame.image[:40, :100]})
        batch = builder(tiny_config)([smaller, frame])
        assert batch.frames.images.shape[-2:] == (64, 128)


class TestStepBatches:
    def test_a_step_is_always_the_same(self, tiny_config, training_frames):
        batches = StepBatches(training_frames, builder(tiny_config), tiny_config)
        first, again = batches[5], batches[5]
        assert torch.equal(first.frames.images, again.frames.images)
        assert torch.equal(first.anchors.box_codes, again.anchors.box_codes)
        assert first.frames.names == again.frames.names
        assert len(batches) == tiny_config.training.steps

    def test_a_frame_looks_different_the_next_time(self, tiny_config, training_frames):
        batches = StepBatches(training_frames[:1], builder(tiny_config), tiny_config)
        images = [frame.image for step in range(2) for frame in batches.prepared(step)[0]]
        assert not any(np.array_equal(images[0], image) for image in images[1:])
