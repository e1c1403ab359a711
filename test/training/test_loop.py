import json
import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from monotakd_ros.config import AugmentConfig, ResidualConfig, SemiSupervisedConfig
from monotakd_ros.errors import CheckpointError, ConfigError, OutputError, TrainingError
from monotakd_ros.network.checkpoint import load_checkpoint, load_network
from monotakd_ros.training import loop
from monotakd_ros.training.batches import StepBatches
from monotakd_ros.training.loop import train_network
from monotakd_ros.training.run_options import RunOptions


def with_training(config, **changes):
    return replace(config, training=replace(config.training, **changes))


def weights_of(path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path).state_dict


def same_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


class TestARun:
    def test_leaves_checkpoints_and_logs(self, tiny_config, training_frames, tmp_path):
        seen = []
        options = RunOptions(sources=("drive",))
        result = train_network(
            "student", tiny_config, training_frames, training_frames[:2], tmp_path, options, seen.append
        )
        assert result.finished and result.step == 8
        assert [progress.step for progress in seen] == list(range(1, 9))
        assert {"loss", "loss_cls", "loss_box", "loss_direction", "loss_depth"} <= seen[0].figures.keys()
        assert {"last.pt", "best.pt", "final.pt", "log.jsonl"} <= {item.name for item in tmp_path.iterdir()}
        student, checkpoint = load_network(tmp_path / "final.pt")
        assert checkpoint.config == tiny_config and not student.training
        metadata = checkpoint.metadata
        assert metadata["step"] == 8 and metadata["sources"] == ["drive"] and "score" in metadata["validation"]

    @pytest.mark.parametrize("kind", ["assistant", "teacher"])
    def test_the_other_networks_learn_a_frame_by_heart(self, kind, tiny_config, training_frames, tmp_path):
        losses = []
        config = with_training(tiny_config, steps=40, batch_size=2, augment=AugmentConfig(0.0, 0.0, 0.0, 0.0))
        train_network(kind, config, training_frames[:2], [], tmp_path, on_step=lambda p: losses.append(p.figures))
        assert "loss_depth" not in losses[0]
        assert losses[-1]["loss"] < 0.6 * losses[0]["loss"]

    def test_weights_that_nothing_teaches_are_named(self, tiny_config, training_frames, tmp_path, caplog):
        student = replace(tiny_config.student, residual=ResidualConfig("off"))
        config = with_training(replace(tiny_config, student=student), steps=2)
        train_network("student", config, training_frames, [], tmp_path)
        messages = [record.getMessage() for record in caplog.records]
        assert messages == ["no loss reaches all of residual: those weights stay random"]

    def test_log_lines(self, tiny_config, training_frames, tmp_path):
        train_network("student", tiny_config, training_frames, training_frames[:2], tmp_path)
        lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if line["kind"] == "train"] == [2, 4, 6, 8]
        validations = [line for line in lines if line["kind"] == "validation"]
        assert [line["step"] for line in validations] == [4, 8]
        assert {"loss", "loss_depth", "ap_3d_strict_Car", "ap_3d_loose_Pedestrian"} <= validations[0].keys()

    def test_loss_falls_on_frames_seen_again_and_again(self, tiny_config, training_frames, tmp_path):
        augment = replace(tiny_config.training.augment, flip_probability=0.0)
        config = with_training(tiny_config, steps=40, validate_every=100, augment=augment)
        losses = []
        train_network(
            "student", config, training_frames[:2], [], tmp_path, on_step=lambda p: losses.append(p.figures["loss"])
        )
        assert sum(losses[-5:]) < 0.6 * sum(losses[:5])

    def test_without_validation_frames(self, tiny_config, training_frames, tmp_path):
        result = train_network("student", tiny_config, training_frames, [], tmp_path)
        assert result.validation == {} and not (tmp_path / "best.pt").exists()

    def test_frames_without_boxes_or_points(self, tiny_config, training_frames, tmp_path):
        prepared = training_frames[0].prepared
        bare = replace(
            training_frames[0],
            prepared=replace(
                prepared,
                boxes_lidar=prepared.boxes_lidar[:0],
                labels=prepared.labels[:0],
                points_img=prepared.points_img[:0],
            ),
        )
        result = train_network("student", with_training(tiny_config, steps=2), [bare], [bare], tmp_path)
        assert result.finished

    def test_bfloat16(self, tiny_config, training_frames, tmp_path):
        result = train_network(
            "student", with_training(tiny_config, steps=2, amp="bf16"), training_frames, [], tmp_path
        )
        assert result.finished
        assert all(t.dtype != torch.bfloat16 for t in weights_of(tmp_path / "final.pt").values())

    def test_worker_processes_change_nothing(self, tiny_config, training_frames, tmp_path):
        config = with_training(tiny_config, steps=2)
        train_network("student", config, training_frames, [], tmp_path / "a")
        train_network("student", with_training(config, num_workers=1), training_frames, [], tmp_path / "b")
        assert same_weights(weights_of(tmp_path / "a" / "final.pt"), weights_of(tmp_path / "b" / "final.pt"))


class TestResume:
    def test_continues_bit_for_bit(self, tiny_config, training_frames, tmp_path):
        whole, parts = tmp_path / "whole", tmp_path / "parts"
        train_network("student", tiny_config, training_frames, training_frames[:2], whole)
        result = train_network(
            "student", tiny_config, training_frames, training_frames[:2], parts, RunOptions(stop_at=3)
        )
        assert not result.finished and not (parts / "final.pt").exists()
        train_network("student", tiny_config, training_frames, training_frames[:2], parts, RunOptions(resume=True))
        for name in ("final.pt", "best.pt"):
            assert same_weights(weights_of(whole / name), weights_of(parts / name))
        states = [torch.load(out / "last.pt", weights_only=True) for out in (whole, parts)]
        assert same_weights(states[0]["network"], states[1]["network"])
        validations = [
            [line for line in map(json.loads, (out / "log.jsonl").open()) if line.pop("seconds", 0) and "score" in line]
            for out in (whole, parts)
        ]
        assert validations[0] == validations[1] != []

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_stop_signal_saves_and_resumes_bit_for_bit(self, number, tiny_config, training_frames, tmp_path):
        def interrupt(progress):
            if progress.step == 2:
                os.kill(os.getpid(), number)

        whole, parts = tmp_path / "whole", tmp_path / "parts"
        train_network("student", tiny_config, training_frames, [], whole)
        with pytest.raises(KeyboardInterrupt):
            train_network("student", tiny_config, training_frames, [], parts, on_step=interrupt)
        assert torch.load(parts / "last.pt", weights_only=True)["step"] == 2
        train_network("student", tiny_config, training_frames, [], parts, RunOptions(resume=True))
        assert same_weights(weights_of(whole / "final.pt"), weights_of(parts / "final.pt"))

    @pytest.mark.parametrize("stops", ["a signal", "a crash"])
    @pytest.mark.parametrize("at", [4, 8])
    def test_a_validation_that_was_cut_short_comes_again(
        self, stops, at, tiny_config, training_frames, tmp_path, monkeypatch, curve_of
    ):
        config = with_training(tiny_config, checkpoint_every=4, validate_every=4, log_every=3)
        whole, parts = tmp_path / "whole", tmp_path / "parts"
        train_network("student", config, training_frames, training_frames[:2], whole)
        real = loop.validate

        def cut_short(*arguments, on_batch, **more):
            if torch.load(parts / "last.pt", weights_only=True)["step"] == at:
                if stops == "a crash":
                    raise RuntimeError("power cut")
                os.kill(os.getpid(), signal.SIGINT)
            return real(*arguments, on_batch=on_batch, **more)

        monkeypatch.setattr(loop, "validate", cut_short)
        with pytest.raises((KeyboardInterrupt, RuntimeError)):
            train_network("student", config, training_frames, training_frames[:2], parts)
        monkeypatch.setattr(loop, "validate", real)
        result = train_network("student", config, training_frames, training_frames[:2], parts, RunOptions(resume=True))
        assert result.finished and curve_of(parts) == curve_of(whole)
        for name in ("final.pt", "best.pt"):
            assert same_weights(weights_of(whole / name), weights_of(parts / name))
        assert load_checkpoint(parts / "final.pt").metadata == load_checkpoint(whole / "final.pt").metadata

    def test_a_validation_after_which_nothing_was_saved_is_not_logged_twice(
        self, tiny_config, training_frames, tmp_path, monkeypatch, curve_of
    ):
        config = with_training(tiny_config, steps=4, validate_every=2)
        whole, parts = tmp_path / "whole", tmp_path / "parts"
        train_network("student", config, training_frames, training_frames[:2], whole)
        real = loop.TrainingRun.save

        def crash(run):
            if run.validated_at == 2:
                raise RuntimeError("power cut")
            real(run)

        monkeypatch.setattr(loop.TrainingRun, "save", crash)
        with pytest.raises(RuntimeError):
            train_network("student", config, training_frames, training_frames[:2], parts)
        monkeypatch.setattr(loop.TrainingRun, "save", real)
        train_network("student", config, training_frames, training_frames[:2], parts, RunOptions(resume=True))
        assert curve_of(parts) == curve_of(whole)

    def test_means_over_steps_go_on_where_a_run_was_stopped(self, tiny_config, training_frames, tmp_path, curve_of):
        config = with_training(tiny_config, steps=5, log_every=4)
        whole, parts = tmp_path / "whole", tmp_path / "parts"
        train_network("student", config, training_frames, [], whole)
        train_network("student", config, training_frames, [], parts, RunOptions(stop_at=3))
        train_network("student", config, training_frames, [], parts, RunOptions(resume=True))
        assert curve_of(parts) == curve_of(whole) and len(curve_of(whole)) == 2

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_to_the_whole_group_leaves_the_loaders_alone(self, number, tiny_config, training_frames, tmp_path):
        config = with_training(tiny_config, num_workers=1, steps=50)
        told, tell = os.pipe()

        def wait_for_it(progress):
            if progress.step == 3:
                os.write(tell, b"3")
                time.sleep(1.0)  # for a loader to end, if it wants to

        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setpgid(0, 0)
                train_network("student", config, training_frames, [], tmp_path, on_step=wait_for_it)
            except KeyboardInterrupt:
                code = 130
            finally:
                os._exit(code)
        os.close(tell)
        os.read(told, 1)
        os.close(told)
        os.killpg(child, number)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 130
        assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 3

    def test_log_lines_after_the_checkpoint_are_dropped(self, tiny_config, training_frames, tmp_path):
        train_network("student", tiny_config, training_frames, [], tmp_path, RunOptions(stop_at=3))
        with (tmp_path / "log.jsonl").open("a") as log:
            log.write('{"kind": "train", "step": 4, "stale": 1}\n{"kind": "tra')
        train_network("student", tiny_config, training_frames, [], tmp_path, RunOptions(resume=True))
        steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").open()]
        assert steps == sorted(set(steps)) and "stale" not in (tmp_path / "log.jsonl").read_text()

    def test_other_settings_are_named(self, tiny_config, training_frames, tmp_path):
        train_network(
            "student", tiny_config, training_frames, [], tmp_path, RunOptions(stop_at=1, data={"train": ["a"]})
        )
        changed = with_training(tiny_config, learning_rate=1e-4)
        with pytest.raises(TrainingError, match=r"data\.train: was \['a'\], now \['b'\]; training\.learning_rate: was"):
            train_network(
                "student", changed, training_frames, [], tmp_path, RunOptions(resume=True, data={"train": ["b"]})
            )

    def test_a_run_from_before_a_setting_existed(self, tiny_config, training_frames, tmp_path):
        train_network("student", tiny_config, training_frames, [], tmp_path, RunOptions(stop_at=1))
        state = torch.load(tmp_path / "last.pt", weights_only=True)
        del state["config"]["training"]["distillation"]
        torch.save(state, tmp_path / "last.pt")
        options = RunOptions(resume=True, stop_at=2)
        assert train_network("student", tiny_config, training_frames, [], tmp_path, options).step == 2

    def test_a_run_of_settings_that_are_not_understood(self, tiny_config, training_frames, tmp_path):
        train_network("student", tiny_config, training_frames, [], tmp_path, RunOptions(stop_at=1))
        state = torch.load(tmp_path / "last.pt", weights_only=True)
        state["config"]["training"]["novelty"] = 1
        torch.save(state, tmp_path / "last.pt")
        with pytest.raises(CheckpointError, match=r"last\.pt: config\.training: unknown key 'novelty'"):
            train_network("student", tiny_config, training_frames, [], tmp_path, RunOptions(resume=True))

    def test_may_go_on_for_longer(self, tiny_config, training_frames, tmp_path, caplog):
        train_network("student", with_training(tiny_config, steps=2), training_frames, [], tmp_path)
        result = train_network("student", tiny_config, training_frames, [], tmp_path, RunOptions(resume=True))
        assert result.step == 8 and "steps change from 2 to 8" in caplog.text

    def test_may_go_on_in_another_precision(self, tiny_config, training_frames, tmp_path, caplog):
        half = with_training(tiny_config, steps=2, amp="bf16")
        train_network("student", half, training_frames, [], tmp_path, RunOptions(stop_at=1))
        full = with_training(tiny_config, steps=2)
        assert train_network("student", full, training_frames, [], tmp_path, RunOptions(resume=True)).step == 2
        assert "precision changes from bf16 to off" in caplog.text

    def test_may_go_on_in_fp16(self, tiny_config, training_frames, tmp_path, monkeypatch):
        config = with_training(tiny_config, steps=2)
        train_network("student", config, training_frames, [], tmp_path, RunOptions(stop_at=1))
        scaler = ParticularScaler(loop._grad_scaler(False))
        monkeypatch.setattr(loop, "_grad_scaler", lambda enabled: scaler)
        assert train_network("student", config, training_frames, [], tmp_path, RunOptions(resume=True)).step == 2

    def test_nothing_to_resume(self, tiny_config, training_frames, tmp_path):
        with pytest.raises(TrainingError, match="nothing to resume"):
            train_network("student", tiny_config, training_frames, [], tmp_path, RunOptions(resume=True))

    def test_a_damaged_state_is_named(self, tiny_config, training_frames, tmp_path):
        (tmp_path / "last.pt").write_bytes(b"PK damaged")
        with pytest.raises(CheckpointError, match=r"last\.pt: not a readable training state"):
            train_network("student", tiny_config, training_frames, [], tmp_path, RunOptions(resume=True))


class TestStart:
    def test_an_existing_run_is_kept(self, tiny_config, training_frames, tmp_path):
        config = with_training(tiny_config, steps=1)
        train_network("student", config, training_frames, [], tmp_path)
        (tmp_path / "cache").mkdir()
        with pytest.raises(OutputError, match=r"holds final\.pt.*--resume.*--overwrite"):
            train_network("student", config, training_frames, [], tmp_path)
        train_network("student", config, training_frames, [], tmp_path, RunOptions(overwrite=True))
        assert (tmp_path / "cache").is_dir()

    def test_a_run_killed_before_its_first_checkpoint_is_not_to_be_resumed(
        self, tiny_config, training_frames, tmp_path
    ):
        (tmp_path / "log.jsonl").touch()
        with pytest.raises(OutputError, match=r"holds log\.jsonl; replace it with --overwrite, or"):
            train_network("student", tiny_config, training_frames, [], tmp_path)

    def test_what_a_killed_run_left_half_written_is_swept_away(self, tiny_config, training_frames, tmp_path):
        left = tmp_path / ".last.pt.k1lled.pt"
        left.touch()
        (tmp_path / "cache").mkdir()
        config = with_training(tiny_config, steps=2)
        train_network("student", config, training_frames, [], tmp_path, RunOptions(stop_at=1))
        assert not left.exists()
        left.touch()
        train_network("student", config, training_frames, [], tmp_path, RunOptions(resume=True))
        assert not left.exists() and (tmp_path / "cache").is_dir()

    def test_a_folder_of_something_else_is_kept(self, tiny_config, training_frames, tmp_path):
        (tmp_path / "photos").mkdir()
        with pytest.raises(OutputError, match="holds photos"):
            train_network("student", tiny_config, training_frames, [], tmp_path)

    def test_a_file_in_the_way(self, tiny_config, training_frames, tmp_path):
        (tmp_path / "run").write_text("")
        with pytest.raises(OutputError, match="this is a file"):
            train_network("student", tiny_config, training_frames, [], tmp_path / "run")

    def test_no_frames(self, tiny_config, tmp_path):
        with pytest.raises(TrainingError, match="no frame"):
            train_network("student", tiny_config, [], [], tmp_path)

    def test_from_given_weights(self, tiny_config, training_frames, tmp_path):
        config = with_training(tiny_config, steps=1, learning_rate=1e-12, weight_decay=0.0)
        train_network("student", tiny_config, training_frames, [], tmp_path / "a")
        start = tmp_path / "a" / "final.pt"
        train_network("student", config, training_frames, [], tmp_path / "b", RunOptions(init=start))
        before, after = weights_of(start), weights_of(tmp_path / "b" / "final.pt")
        assert all(torch.allclose(before[key], after[key], atol=1e-6) for key in before if "conv_cls" in key)

    def test_weights_of_another_network_are_refused(self, tiny_config, training_frames, tmp_path):
        train_network("student", with_training(tiny_config, steps=1), training_frames, [], tmp_path / "a")
        wider = replace(tiny_config.student, encoder=replace(tiny_config.student.encoder, feature_channels=16))
        with pytest.raises(CheckpointError, match="do not fit"):
            train_network(
                "student",
                replace(tiny_config, student=wider),
                training_frames,
                [],
                tmp_path / "b",
                RunOptions(init=tmp_path / "a" / "final.pt"),
            )

    def test_a_run_is_replaced_by_one_that_starts_from_it_and_not_by_one_that_cannot(
        self, tiny_config, training_frames, tmp_path
    ):
        config, final = with_training(tiny_config, steps=1), tmp_path / "final.pt"
        train_network("student", config, training_frames, [], tmp_path)
        with pytest.raises(CheckpointError, match="found nothing"):
            options = RunOptions(overwrite=True, init=tmp_path / "nothing.pt")
            train_network("student", config, training_frames, [], tmp_path, options)
        assert final.is_file()
        train_network("student", config, training_frames, [], tmp_path, RunOptions(overwrite=True, init=final))

    def test_fp16_needs_cuda(self, tiny_config, training_frames, tmp_path):
        with pytest.raises(ConfigError, match="fp16 needs a CUDA device"):
            train_network("student", with_training(tiny_config, amp="fp16"), training_frames, [], tmp_path)


class ParticularScaler:
    """As fp16's, which takes no state of one that was off; otherwise off."""

    def __init__(self, off):
        self.off = off

    def __getattr__(self, name):
        return getattr(self.off, name)

    def load_state_dict(self, state):
        assert state, "torch: the source state dict is empty"


class SinkingScaler:
    """As fp16's where no gradient is finite any more; every step is left out."""

    def __init__(self):
        self.size = 4.0

    def is_enabled(self):
        return True

    def scale(self, loss):
        return loss

    def unscale_(self, optimizer):
        pass

    def step(self, optimizer):
        pass

    def update(self):
        self.size /= 2

    def get_scale(self):
        return self.size

    def state_dict(self):
        return {}


class TestNonFinite:
    def test_fp16_that_leaves_out_every_step_ends(self, tiny_config, training_frames, tmp_path, monkeypatch):
        monkeypatch.setattr(loop, "_grad_scaler", lambda enabled: SinkingScaler())
        with pytest.raises(TrainingError, match="step 3: expected gradients that fp16 can hold"):
            train_network("student", tiny_config, training_frames, [], tmp_path)

    def test_a_broken_frame_is_named_and_the_checkpoint_kept(self, tiny_config, training_frames, tmp_path):
        config = with_training(tiny_config, checkpoint_every=1, steps=4)
        train_network("student", config, training_frames, [], tmp_path, RunOptions(stop_at=2))
        before = torch.load(tmp_path / "last.pt", weights_only=True)["network"]
        broken = [
            replace(frame, prepared=replace(frame.prepared, boxes_lidar=frame.prepared.boxes_lidar * float("nan")))
            for frame in training_frames
        ]
        for frame in broken:
            frame.prepared.boxes_lidar[:, :2] = [[9.0, 0.0], [9, 1], [9, 2]]
            frame.prepared.boxes_lidar[:, 3:5] = 2.0
            frame.prepared.boxes_lidar[:, 6] = 0.0
        with pytest.raises(TrainingError, match=r"step 3: expected finite numbers, got .*loss_box = nan.*frames 00000"):
            train_network("student", config, broken, [], tmp_path, RunOptions(resume=True))
        assert same_weights(before, torch.load(tmp_path / "last.pt", weights_only=True)["network"])


def test_the_log_tells_the_share_of_time_spent_waiting_for_data(tiny_config, training_frames, tmp_path, monkeypatch):
    real = StepBatches.__getitem__

    def slow(self, step):
        time.sleep(0.3)
        return real(self, step)

    config = replace(tiny_config, training=replace(tiny_config.training, steps=2, log_every=1))
    train_network("student", config, training_frames, [], tmp_path / "quick")
    monkeypatch.setattr(StepBatches, "__getitem__", slow)
    train_network("student", config, training_frames, [], tmp_path / "slow")
    quick, slow_run = (
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").open()] for name in ("quick", "slow")
    )
    assert all(0 < line["waiting_share"] < 1 for line in quick + slow_run)
    for line in slow_run:
        assert line["waiting_share"] * line["seconds_per_step"] >= 0.3


def test_the_last_steps_are_logged_too(tiny_config, training_frames, tmp_path, curve_of):
    config = replace(tiny_config, training=replace(tiny_config.training, steps=3, log_every=2))
    train_network("student", config, training_frames, [], tmp_path)
    assert [line["step"] for line in curve_of(tmp_path)] == [2, 3]


@pytest.mark.parametrize("network", ["teacher", "assistant"])
def test_guides_learn_from_all_labels_whatever_is_said_of_unlabelled_recordings(
    tiny_config, training_frames, tmp_path, network
):
    """`train all` gives them the student's settings."""
    generated = [
        replace(frame, prepared=replace(frame.prepared, label_scores=np.full(len(frame.prepared.labels), 0.5, "f4")))
        for frame in training_frames[:2]
    ]
    alone = SemiSupervisedConfig(unlabelled_fraction=1.0, detection_weight=0.0)
    config = with_training(tiny_config, semi_supervised=alone, steps=2, batch_size=4, log_every=1)
    train_network(network, config, [*generated, *training_frames[2:]], [], tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert all(row["loss_cls"] > 0 and row["loss_pseudo_cls"] > 0 for row in rows if row["kind"] == "train")


def test_time_alone_writes_a_checkpoint(tiny_config, training_frames, tmp_path, monkeypatch):
    config = with_training(tiny_config, steps=3, checkpoint_every=1000, validate_every=1000, checkpoint_minutes=0.5)
    clock, saved = [0.0], []
    monkeypatch.setattr(loop.time, "monotonic", lambda: clock[0])

    def after_a_step(progress):
        saved.append(torch.load(tmp_path / "run" / "last.pt", weights_only=True)["step"])
        clock[0] += {1: 29.0, 2: 2.0, 3: 1.0}[progress.step]

    train_network("student", config, training_frames, [], tmp_path / "run", on_step=after_a_step)
    assert saved == [0, 0, 2]
