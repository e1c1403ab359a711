"""Two real processes over Gloo against one: the same frames, losses, gradients, statistics and weights."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from monotakd_ros.config import DistillationConfig, ResidualConfig
from monotakd_ros.errors import ConfigError, TrainingError
from monotakd_ros.network.checkpoint import build_network, load_checkpoint, save_checkpoint
from monotakd_ros.training.distributed import joined_processes
from monotakd_ros.training.guides import load_guides
from monotakd_ros.training.loop import TrainingRun, train_network
from monotakd_ros.training.run_options import RunOptions

SCRIPT = Path(__file__).with_name("run_of_two.py")
SITES = {"whole": 7, "one_each": 2, "a_single": 1, "none": 0}
"""Values per channel that both processes have together."""


def with_training(config, **changes):
    return replace(config, training=replace(config.training, **changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("distributed")


@pytest.fixture(scope="module")
def plain(tiny_config):
    """A student without dropout, whose choices differ between processes."""
    encoder = replace(tiny_config.student.encoder, dropout=0.0)
    return with_training(replace(tiny_config, student=replace(tiny_config.student, encoder=encoder)), steps=3)


@pytest.fixture(scope="module")
def guided(plain):
    """A student whom every term teaches."""
    student = replace(
        plain.student, residual=ResidualConfig("adapted"), bev=replace(plain.student.bev, adaptation_blocks=1)
    )
    weights = {f"{term}_weight": 1.0 for term in ("cmrd", "logit_cls", "logit_box", "logit_direction")}
    weights |= {"imd_weight": 0.1, "direct_weight": 1e-3}  # random guides' maps are large
    distillation = replace(DistillationConfig(), **weights)
    config = replace(plain, student=student)
    schedule = {"learning_rate": 1e-4, "checkpoint_every": 1, "validate_every": 3}
    return with_training(config, distillation=distillation, **schedule)


@pytest.fixture(scope="module")
def frames(training_frames):
    """Four frames, unequally shared: one has no cloud, one no box, one was labelled by a teacher."""
    without_cloud, without_boxes, *others = (frame.prepared for frame in training_frames)
    others[0] = replace(others[0], label_scores=np.full(len(others[0].labels), 0.5, np.float32))
    points = {"points_img": without_cloud.points_img[:0], "points_lidar": without_cloud.points_lidar[:0]}
    boxes = {"boxes_lidar": without_boxes.boxes_lidar[:0], "labels": without_boxes.labels[:0]}
    prepared = [replace(without_cloud, **points), replace(without_boxes, **boxes), *others]
    return [replace(frame, prepared=item) for frame, item in zip(training_frames, prepared)]


@pytest.fixture(scope="module")
def guide_paths(folder, guided) -> tuple[Path, Path]:
    paths = folder / "teacher.pt", folder / "assistant.pt"
    for path in paths:
        torch.manual_seed(0)
        network = build_network(path.stem, guided)
        torch.nn.init.constant_(network.head.conv_cls.bias, -2.0)  # sees objects
        save_checkpoint(path, network.state_dict(), guided, {}, path.stem)
    return paths


def broken(frame):
    """A frame whose first box has a size that is no number."""
    boxes = frame.prepared.boxes_lidar.copy()
    boxes[0, 5] = float("nan")
    return replace(frame, prepared=replace(frame.prepared, boxes_lidar=boxes))


@pytest.fixture(scope="module")
def jobs(folder, plain, guided, frames, guide_paths) -> dict[str, dict]:
    common = {"frames": frames, "val_frames": frames[2:]}
    student = common | {"what": "train", "kind": "student", "config": guided, "guides": guide_paths}
    step = common | {"what": "step", "config": plain}
    jobs = {
        "norms": {"what": "norms", "sites": SITES},
        "whole": student,
        "step of a student": step | {"kind": "student"},
        "step of a teacher": step | {"kind": "teacher"},
        "halved": step | {"kind": "student", "config": with_training(plain, batch_size=1, accumulate=2)},
        "half precision": step
        | {"kind": "student", "config": with_training(plain, amp="bf16", activation_checkpointing=True)},
        "stopped": student | {"stop_at": 2, "stop_rank": 1},
        "resumed": student | {"options": {"resume": True}},
        "not finite": student | {"frames": [*frames[:3], broken(frames[3])]},
        "left": student | {"leaves": 1},
    }
    outs = {"resumed": "stopped"}
    return {name: job | {"out": folder / outs.get(name, name)} for name, job in jobs.items()}


@pytest.fixture(scope="module")
def outcome(folder, jobs, in_two_processes):
    (folder / "jobs.pickle").write_bytes(pickle.dumps(jobs))
    ended = in_two_processes([str(SCRIPT), str(folder)])
    files = [folder / f"results{rank}.pickle" for rank in range(2)]
    return [pickle.loads(file.read_bytes()) if file.is_file() else {} for file in files], ended


@pytest.fixture(scope="module")
def results(outcome) -> list[dict]:
    return outcome[0]


def close(a: torch.Tensor, b: torch.Tensor, share: float) -> bool:
    """Whether a and b differ by at most this share of the largest of a."""
    return bool((a - b).abs().max() <= share * a.abs().max() + 1e-6)


def run_of_one(job: dict, out: Path) -> TrainingRun:
    """The job in one process, with the frames of both in one batch."""
    config = with_training(job["config"], batch_size=4, accumulate=1)
    return TrainingRun(job["kind"], config, job["frames"], [], out)


class TestAStep:
    @pytest.mark.parametrize("job", ["step of a student", "halved"])
    def test_takes_the_frames_of_the_double_batch_in_its_order(self, results, jobs, tmp_path, job):
        names = [name for rank in results for batch in rank[job][0] for name in batch]
        assert tuple(names) == run_of_one(jobs[job], tmp_path).batches[0].frames.names

    @pytest.mark.parametrize("kind", ["student", "teacher"])
    def test_has_the_gradients_and_statistics_of_the_double_batch(self, results, jobs, tmp_path, kind):
        run = run_of_one(jobs[f"step of a {kind}"], tmp_path)
        run.take_step(run.batches[0])
        for _, gradients, buffers in (rank[f"step of a {kind}"] for rank in results):
            for name, item in run.network.named_parameters():
                assert close(item.grad, gradients[name], 2e-3), name
            assert all(close(item.float(), buffers[name].float(), 1e-5) for name, item in run.network.named_buffers())

    def test_in_half_precision_and_recomputed(self, results, jobs, tmp_path):
        job = jobs["half precision"]
        run = run_of_one(job | {"config": with_training(job["config"], activation_checkpointing=False)}, tmp_path)
        run.take_step(run.batches[0])
        expected = torch.cat([item.grad.flatten() for item in run.network.parameters()])
        for _, gradients, buffers in (rank["half precision"] for rank in results):
            given = torch.cat([item.flatten() for item in gradients.values()])
            assert torch.cosine_similarity(given, expected, dim=0) > 0.999
            counts = {int(item) for name, item in buffers.items() if name.endswith("num_batches_tracked")}
            assert counts == {1}


class TestARun:
    def test_has_the_losses_of_the_double_batch(self, results, jobs, tmp_path):
        job, seen = jobs["whole"], []
        config = with_training(job["config"], batch_size=4)
        guides = load_guides("student", config, *job["guides"])
        train_network(
            "student", config, job["frames"], [], tmp_path, on_step=lambda p: seen.append(p.figures), guides=guides
        )
        # Rounding alone, 1e-6 of every weight, moves some of this network's gradients by a hundredth.
        for step, (figures, tolerance) in enumerate(zip(seen, (1e-5, 2e-3, 1e-2))):
            given = results[0]["whole"][step]
            losses = {name: value for name, value in figures.items() if name.startswith("loss")}
            assert {name: given[name] for name in losses} == pytest.approx(losses, rel=tolerance)
        assert len(losses) == 14

    def test_is_written_shown_and_validated_by_the_first(self, results, jobs):
        assert len(results[0]["whole"]) == 3 and results[1]["whole"] == []
        out = jobs["whole"]["out"]
        assert (out / "log.jsonl").read_text().count("validation") == 1
        assert "score" in load_checkpoint(out / "final.pt").metadata["validation"]

    def test_leaves_the_same_kind_of_files_as_one_process(self, results, jobs, guided):
        keys = load_checkpoint(jobs["whole"]["out"] / "final.pt").state_dict.keys()
        assert keys == build_network("student", guided).state_dict().keys()

    def test_stops_everywhere_when_one_is_told_to_and_resumes_bit_for_bit(self, results, jobs):
        assert [rank["stopped"] for rank in results] == ["StopRequested: "] * 2
        assert results[0]["resumed"] == results[0]["whole"][2:]
        whole, resumed = (load_checkpoint(jobs[name]["out"] / "final.pt").state_dict for name in ("whole", "stopped"))
        assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())

    def test_ends_everywhere_at_a_broken_frame_which_is_named(self, results):
        for rank in results:
            assert rank["not finite"].startswith("TrainingError: step 1: expected finite numbers")
            assert all(f"{index:06d}" in rank["not finite"] for index in range(4))

    def test_ends_when_another_process_does(self, outcome):
        assert [process.returncode for process in outcome[1]] == [1, 3]
        assert "TrainingError: the connection to the other processes of this run is lost" in outcome[1][0].stderr


class TestResumeElsewhere:
    """`last.pt` of two processes with a batch of 2."""

    def resume(self, jobs, tmp_path, **changes):
        job = jobs["whole"]
        shutil.copytree(job["out"], tmp_path / "run")
        config = with_training(job["config"], steps=4, **changes)
        guides = load_guides("student", config, *job["guides"])
        options = RunOptions(resume=True)
        return train_network("student", config, job["frames"], [], tmp_path / "run", options, guides=guides)

    @pytest.mark.parametrize("split", [(4, 1), (2, 2)])
    def test_one_process_goes_on_with_the_same_frames_of_a_step(self, results, jobs, tmp_path, caplog, split):
        assert self.resume(jobs, tmp_path, batch_size=split[0], accumulate=split[1]).step == 4
        assert "frames of a step are the same" in caplog.text and "processes: was 2, now 1" in caplog.text

    def test_another_number_of_frames_is_refused(self, results, jobs, tmp_path):
        with pytest.raises(TrainingError, match="frames of a step: was 4, now 2; processes: was 2, now 1"):
            self.resume(jobs, tmp_path)


@pytest.mark.parametrize("job", SITES)
def test_norms_are_those_of_all_values_together(results, job):
    values, outer = results[0]["norms"][job]["given"]
    norm = nn.BatchNorm1d(values.shape[1])
    if len(values) < 2:  # the running statistics serve
        norm.eval()
    values.requires_grad_()
    expected = norm(values)
    expected.backward(outer)
    parts = [rank["norms"][job] for rank in results]
    assert torch.allclose(torch.cat([part["given_out"] for part in parts]), expected, atol=1e-5)
    assert torch.allclose(torch.cat([part["input_gradient"] for part in parts]), values.grad, atol=1e-4)
    for index, parameter in enumerate((norm.weight, norm.bias)):
        assert torch.allclose(sum(part["gradients"][index] for part in parts), parameter.grad, atol=1e-4)
    for part in parts:
        assert part["buffers"].keys() == dict(norm.named_buffers()).keys()
        assert all(torch.allclose(part["buffers"][name], item) for name, item in norm.named_buffers())


class TestJoining:
    def test_alone(self, monkeypatch):
        monkeypatch.delenv("WORLD_SIZE", raising=False)
        with joined_processes("cpu") as processes:
            assert processes.alone and processes.first

    def test_an_incomplete_environment(self, monkeypatch):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.delenv("RANK", raising=False)
        message = "number in RANK, got ''; start several processes by torchrun"
        with pytest.raises(ConfigError, match=message), joined_processes("cpu"):
            pass

    @pytest.mark.parametrize(("device", "message"), [("cuda:1", "expected 'cuda'"), ("cuda", "no GPU of its own")])
    def test_a_device_for_each(self, monkeypatch, device, message):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
        for name, value in (("WORLD_SIZE", "2"), ("RANK", "1"), ("LOCAL_RANK", "1")):
            monkeypatch.setenv(name, value)
        with pytest.raises(ConfigError, match=message), joined_processes(device):
            pass
