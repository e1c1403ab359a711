import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from monotakd_ros.network.anchor_head import DecodedBoxes
from monotakd_ros.training.losses import LossTerm
from monotakd_ros.training.validation import validate

NOTHING = DecodedBoxes(torch.zeros((0, 7)), torch.zeros(0), torch.zeros(0, dtype=torch.int64))


class FakeStudent:
    """Finds what `find` makes of each frame."""

    def __init__(self, find):
        self.find = find

    def __call__(self, batch):
        return batch

    def decode(self, output):
        return [self.find(boxes, labels) for boxes, labels in zip(output.boxes, output.labels)]


def build(prepared):
    frames = SimpleNamespace(
        boxes=[torch.from_numpy(frame.boxes_lidar) for frame in prepared],
        labels=[torch.from_numpy(frame.labels) for frame in prepared],
    )
    return SimpleNamespace(frames=frames, to=lambda device: SimpleNamespace(frames=frames))


def losses(output, batch):
    return {"a": LossTerm(torch.tensor(float(len(output.boxes))), 2.0)}


def figures(student, frames):
    return validate(
        student, frames, build, losses, batch_size=3, device=torch.device("cpu"), class_names=("Car", "Pedestrian")
    )


def test_finding_the_truth_scores_full_marks(training_frames):
    def truth(boxes, labels):
        return DecodedBoxes(boxes[labels >= 0], torch.ones(int((labels >= 0).sum())), labels[labels >= 0])

    # the metric samples 41 recalls, one per hit at most: fewer boxes cannot reach 100
    result = figures(FakeStudent(truth), training_frames * 12)
    assert result["ap_3d_strict_Car"] == result["ap_3d_loose_Pedestrian"] == result["score"] == pytest.approx(100.0)


def test_finding_nothing_scores_zero(training_frames):
    result = figures(FakeStudent(lambda boxes, labels: NOTHING), training_frames)
    assert result["ap_3d_strict_Car"] == result["score"] == 0.0


def test_losses_are_means_over_batches(training_frames):
    result = figures(FakeStudent(lambda boxes, labels: NOTHING), training_frames)  # batches of 3 and 1
    assert result["loss_a"] == 2.0 and result["loss"] == 4.0


class Afresh:
    """Frames that are read anew each time, as from a cache on disk, and how many of their images are still there."""

    def __init__(self, frames):
        self.frames = frames
        self.images = []

    def __len__(self):
        return len(self.frames)

    def __getitem__(self, index):
        frame = self.frames[index]
        image = frame.prepared.image.copy()
        self.images.append(weakref.ref(image))
        return replace(frame, prepared=replace(frame.prepared, image=image))

    def alive(self) -> int:
        return sum(image() is not None for image in self.images)


def test_a_large_set_does_not_fill_the_memory(training_frames):
    frames = Afresh(training_frames * 4)
    alive = []
    validate(
        FakeStudent(lambda boxes, labels: NOTHING),
        frames,
        build,
        losses,
        batch_size=2,
        device=torch.device("cpu"),
        class_names=("Car",),
        on_batch=lambda: alive.append(frames.alive()),
    )
    assert len(alive) == len(frames) / 2 and max(alive) <= 4
