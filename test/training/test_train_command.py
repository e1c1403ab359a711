import json
import os
import shutil
import signal
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import yaml

from monotakd_ros.cli.main import main
from monotakd_ros.config import DistillationConfig, ResidualConfig
from monotakd_ros.config_file import to_dict
from monotakd_ros.geometry.transforms import LIDAR_HEIGHT_M, nominal_cam_T_lidar
from monotakd_ros.network.checkpoint import load_checkpoint, save_checkpoint
from monotakd_ros.training.memory_need import memory_need


@pytest.mark.parametrize("network", ["assistant", "teacher"])
class TestTrainTheOthers:
    def test_leaves_a_checkpoint_of_its_kind(self, command, tmp_path, capsys, network):
        assert command("--steps", "2", network=network) == 0
        assert "2 steps done" in capsys.readouterr().out
        assert load_checkpoint(tmp_path / "run" / "final.pt").kind == network
        lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open()]
        assert "loss_cls" in lines[0] and "loss_depth" not in lines[0]

    def test_without_clouds(self, command, fake_source, capsys, network):
        source = fake_source()
        source.items = [replace(item, points_lidar=None) for item in source.items]
        assert command("--steps", "2", source=source, network=network) == 1
        assert f"no LiDAR cloud in the training data: the {network}" in capsys.readouterr().err

    def test_frames_without_a_cloud_are_left_out(self, command, fake_source, tmp_path, capsys, caplog, network):
        source = fake_source(name="some.mcap")
        source.items[1] = replace(source.items[1], points_lidar=None)
        source.items[3] = replace(source.items[3], points_lidar=source.items[3].points_lidar[:0])
        held_out = fake_source(3, name="held_out.mcap", first=10)
        held_out.items[0] = replace(held_out.items[0], points_lidar=None)
        arguments = ("--steps", "2", "--val-data", str(tmp_path / "held_out.mcap"))
        assert command(*arguments, source=source, data="some.mcap", network=network, more=[held_out]) == 0
        assert "2 frames to learn from, 2 to validate on" in capsys.readouterr().out
        assert f"2 of 4 frames have no LiDAR points in the image; the {network} does not learn from" in caplog.text

    def test_a_run_of_another_network_is_not_resumed(self, command, capsys, network):
        assert command("--steps", "2", "--stop-at", "1") == 0
        assert command("--resume", network=network) == 1
        assert f"network: was 'student', now '{network}'" in capsys.readouterr().err


def test_a_run_goes_on_where_its_source_was_copied_and_not_where_it_changed(command, fake_source, tmp_path, capsys):
    assert command("--steps", "2", "--stop-at", "1") == 0
    os.utime(tmp_path / "drive.mcap", (1, 1))
    assert command("--resume") == 0
    capsys.readouterr()
    assert command("--resume", source=fake_source(3)) == 1
    assert "cannot resume with other settings: data.train: was ['drive-" in capsys.readouterr().err


def test_a_cpu_without_bf16_trains_in_float32_and_the_checkpoint_says_so(
    command, tmp_path, tiny_config, monkeypatch, caplog
):
    monkeypatch.setattr("monotakd_ros.network.precision.cpu_computes_bf16", lambda: False)
    half = replace(tiny_config, training=replace(tiny_config.training, amp="bf16"))
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(to_dict(half)))
    assert command("--steps", "2", "--stop-at", "1") == 0
    assert command("--resume") == 0
    assert load_checkpoint(tmp_path / "run" / "final.pt").config.training.amp == "off"
    assert "training.amp: bf16 is left out" in caplog.text and "precision changes" not in caplog.text


def test_a_config_without_teacher(command, tmp_path, tiny_config, capsys):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(to_dict(replace(tiny_config, teacher=None))))
    assert command(network="teacher") == 1
    assert "no `teacher` section, so there is no teacher to train" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.fixture
def trained_guides(command, tmp_path) -> list[str]:
    """Arguments that name a teacher and an assistant of one step."""
    arguments = []
    for network in ("teacher", "assistant"):
        assert command("--steps", "1", network=network) == 0
        path = (tmp_path / "run" / "final.pt").rename(tmp_path / f"{network}.pt")
        shutil.rmtree(tmp_path / "run")
        arguments += [f"--{network}", str(path)]
    return arguments


@pytest.fixture
def asks_for_guides(command, tmp_path, tiny_config) -> None:
    """Gives the config of `command` weights that ask for both guides."""
    settings = DistillationConfig(imd_weight=1.0, cmrd_weight=1.0, logit_cls_weight=1.0)
    student = replace(tiny_config.student, residual=ResidualConfig())
    config = replace(tiny_config, student=student, training=replace(tiny_config.training, distillation=settings))
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(to_dict(config)))


@pytest.mark.usefixtures("asks_for_guides")
class TestTrainStudentWithGuides:
    def test_terms_are_logged_and_a_resumed_run_needs_the_same_guides(
        self, command, trained_guides, tmp_path, capsys, caplog
    ):
        assert command("--steps", "2", "--stop-at", "1", *trained_guides) == 0
        assert not (tmp_path / "run" / "maps.png").exists(), "a student that is not done"
        assert command("--resume", *trained_guides) == 0
        assert "what guides and student see: " in capsys.readouterr().out
        assert cv2.imread(str(tmp_path / "run" / "maps.png")) is not None
        line = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[0])
        assert {"loss_imd", "loss_cmrd", "loss_logit_cls", "loss_depth", "loss_cls"} <= line.keys()
        assert caplog.text == ""
        (tmp_path / "teacher.pt").write_bytes((tmp_path / "run" / "final.pt").read_bytes())
        assert command("--resume", *trained_guides) == 1
        assert "teacher.pt: expected teacher weights, got student weights" in capsys.readouterr().err

    def test_what_guides_give_is_kept_and_that_of_others_refused(
        self, command, trained_guides, fake_source, tmp_path, capsys
    ):
        arguments = ["--steps", "1", *trained_guides, "--guide-cache", str(tmp_path / "kept")]
        weights = []
        for _ in range(2):
            assert command(*arguments, "--overwrite") == 0
            weights.append(load_checkpoint(tmp_path / "run" / "final.pt").state_dict)
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
        facts = tmp_path / "kept" / "assistant" / "guide.json"
        facts.write_text(facts.read_text().replace('"amp": "off"', '"amp": "bf16"'))
        unread = fake_source()
        assert command(*arguments, "--overwrite", source=unread) == 1 and unread.reads == 0
        assert "made by another assistant: amp: expected 'off', got 'bf16'" in capsys.readouterr().err

    def test_a_missing_guide_is_said_before_sources_are_read(self, command, fake_source, tmp_path, capsys):
        source = fake_source()
        assert command("--steps", "1", source=source) == 1
        assert "cmrd_weight, logit_cls_weight of training.distillation above 0 ask for the teacher" in (
            capsys.readouterr().err
        )
        assert source.reads == 0 and not (tmp_path / "run").exists()

    def test_without_clouds(self, command, trained_guides, fake_source, capsys):
        source = fake_source(name="camera.mcap")
        source.items = [replace(item, points_lidar=None) for item in source.items]
        assert command("--steps", "1", *trained_guides, source=source, data="camera.mcap") == 1
        assert "no LiDAR cloud in the training data: teacher and assistant have nothing" in capsys.readouterr().err

    def test_frames_without_a_cloud_are_counted(self, command, trained_guides, fake_source, caplog):
        source = fake_source(name="some.mcap")
        source.items[1] = replace(source.items[1], points_lidar=None)
        assert command("--steps", "2", *trained_guides, source=source, data="some.mcap") == 0
        assert "1 of 4 frames have no LiDAR points in the image; teacher and assistant teach nothing" in caplog.text

    @pytest.mark.parametrize(("network", "guide"), [("teacher", "teacher"), ("assistant", "assistant")])
    def test_who_takes_which_guide(self, command, capsys, network, guide):
        assert command("--steps", "1", f"--{guide}", "x.pt", network=network) == 1
        assert f"unrecognized arguments: --{guide}" in capsys.readouterr().err


class TestTrainStudent:
    def test_what_is_learned_from_is_not_validated_on(self, command, fake_source, tmp_path, capsys):
        drive, copy = fake_source(), fake_source(name="copy.mcap")
        assert command("--val-data", str(tmp_path / "drive.mcap"), source=drive) == 1
        assert "drive.mcap are the same recording, or one is in the other" in capsys.readouterr().err
        assert drive.reads == 0 and not (tmp_path / "run").exists()
        assert command("--data", *[str(tmp_path / "drive.mcap")] * 2) == 1
        assert "--data " in capsys.readouterr().err
        assert command("--steps", "1", "--val-data", str(tmp_path / "copy.mcap"), source=drive, more=[copy]) == 1
        assert "copy.mcap: 4 of 4 frames are also in --data " in capsys.readouterr().err

    def test_trains_and_says_where(self, command, tmp_path, capsys):
        assert command("--steps", "2") == 0
        out = capsys.readouterr().out
        assert "4 labelled frames, 0 unlabelled, 0 unreadable" in out and "2 steps done" in out
        assert (tmp_path / "run" / "final.pt").is_file()

    def test_stop_and_resume_keeps_the_steps(self, command, tmp_path, capsys):
        assert command("--steps", "3", "--stop-at", "1") == 0
        assert "stopped after step 1; continue with --resume" in capsys.readouterr().out
        assert command("--resume") == 0
        assert "3 steps done" in capsys.readouterr().out

    def test_a_replaced_run_may_start_from_given_weights(self, command, tmp_path, capsys):
        assert command("--steps", "1") == 0
        weights = tmp_path / "weights.pt"
        weights.write_bytes((tmp_path / "run" / "final.pt").read_bytes())
        assert command("--steps", "1", "--init", str(weights), "--overwrite") == 0
        assert command("--resume", "--init", str(weights)) == 1
        assert "give one of them" in capsys.readouterr().err

    def test_unfit_start_weights_are_refused_before_sources_are_read(self, command, tmp_path, fake_source, capsys):
        assert command("--steps", "1") == 0
        trained, weights = load_checkpoint(tmp_path / "run" / "final.pt"), tmp_path / "student.pt"
        state = {
            key: value[:1] if key == "head.conv_cls.weight" else value for key, value in trained.state_dict.items()
        }
        save_checkpoint(weights, state, trained.config, {}, "student")
        source = fake_source(name="other.mcap")
        arguments = ("--init", str(weights), "--overwrite")
        assert command(*arguments, source=source, data="other.mcap", network="teacher") == 1
        assert "this student cannot start the teacher: expected the same shapes" in capsys.readouterr().err
        assert source.reads == 0

    def test_too_little_memory_is_said_before_sources_are_read(self, command, fake_source, monkeypatch, capsys):
        monkeypatch.setattr("monotakd_ros.training.memory_need.free_memory", lambda device: 1000)
        source = fake_source()
        assert command("--steps", "1", source=source) == 1
        assert "not enough memory: a step needs at least" in capsys.readouterr().err
        assert source.reads == 0

    def test_images_that_are_larger_than_the_config_says_are_counted(
        self, command, tmp_path, tiny_config, fake_source, monkeypatch, capsys
    ):
        """With images that keep their size, what a step needs is known when the sources were read."""
        as_they_come = replace(tiny_config.student.input, width=32, height=32, focal_px=None, center_px=None)
        config = replace(tiny_config, student=replace(tiny_config.student, input=as_they_come))
        (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(to_dict(config)))
        small, source = memory_need("student", config), fake_source()
        monkeypatch.setattr("monotakd_ros.training.memory_need.free_memory", lambda device: 2 * small.total)
        assert command("--steps", "1", source=source) == 1
        assert "not enough memory" in capsys.readouterr().err and source.reads == 1

    def test_the_checkpoint_tells_how_images_were_scaled(self, command, tmp_path, training_frames, tiny_config):
        assert command("--steps", "1") == 0
        scale = tiny_config.student.input.focal_px / training_frames[0].camera.fx
        checkpoint = load_checkpoint(tmp_path / "run" / "final.pt")
        assert checkpoint.config.student.input.trained_scale == pytest.approx((scale, scale))

    def test_the_checkpoint_tells_how_high_the_camera_hung(self, command, fake_source, tmp_path):
        source = fake_source()
        higher = nominal_cam_T_lidar(2.2 - LIDAR_HEIGHT_M)
        source.items = [replace(item, cam_T_lidar=higher) for item in source.items]
        assert command("--steps", "1", source=source) == 0
        assert load_checkpoint(tmp_path / "run" / "final.pt").config.student.input.camera_height_m == 2.2

    def test_validation_fraction_is_held_back_from_the_end(self, command, tmp_path, fake_source, capsys):
        assert command("--steps", "1", source=fake_source(10)) == 0
        assert "9 frames to learn from, 1 to validate on" in capsys.readouterr().out
        lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open()]
        assert [line["kind"] for line in lines] == ["train", "validation"]

    def test_a_shared_cache_is_read_once(self, command, tmp_path, fake_source):
        source = fake_source()
        assert command("--steps", "1", "--cache", str(tmp_path / "cache"), source=source) == 0
        assert command("--steps", "1", "--cache", str(tmp_path / "cache"), "--overwrite", source=source) == 0
        assert source.reads == 1

    def test_an_existing_run_is_an_error(self, command, capsys):
        assert command("--steps", "1") == 0
        assert command("--steps", "1") == 1
        assert "--resume" in capsys.readouterr().err

    def test_unlabelled_data_is_an_error_and_leaves_nothing(self, command, tmp_path, fake_source, capsys):
        assert command(source=fake_source(labelled=False)) == 1
        assert "no labelled frame" in capsys.readouterr().err
        assert not (tmp_path / "run").exists()

    def test_a_run_is_replaced_only_once_its_data_is_good(self, command, tmp_path, fake_source):
        assert command("--steps", "1") == 0
        assert command("--overwrite", source=fake_source(labelled=False, name="bare.mcap"), data="bare.mcap") == 1
        assert (tmp_path / "run" / "final.pt").is_file()

    def test_sigterm_while_a_source_is_read_leaves_nothing(self, command, fake_source, tmp_path, monkeypatch):
        source = fake_source()

        def stopped(on_error=None):
            yield source.items[0]
            os.kill(os.getpid(), signal.SIGTERM)
            yield source.items[1]

        monkeypatch.setattr(source, "frames", stopped)
        assert command("--steps", "1", "--cache", str(tmp_path / "cache"), source=source) == 130
        assert list((tmp_path / "cache").iterdir()) == []

    def test_bad_frames_are_counted_or_stop(self, command, fake_source, capsys):
        assert command("--strict", source=fake_source(5, bad=(1,))) == 1
        assert "frame 1: corrupt image" in capsys.readouterr().err
        assert command("--steps", "1", source=fake_source(5, bad=(1,))) == 0
        captured = capsys.readouterr()
        assert "1 unreadable" in captured.out and "skipped: frame 1" in captured.err

    def test_missing_class_is_a_warning(self, command, fake_source, caplog):
        source = fake_source()
        only_car = np.array([True, False, False])
        source.items = [
            replace(frame, labels=frame.labels.select(only_car), points_lidar=None) for frame in source.items
        ]
        assert command("--steps", "1", source=source) == 0
        assert "no labelled Pedestrian" in caplog.text and "no LiDAR cloud" in caplog.text

    def test_guides_are_for_weights_that_ask_for_them(self, command, trained_guides, capsys, caplog):
        assert command("--steps", "1", *trained_guides) == 0
        assert caplog.text.count("no weight of training.distillation asks for the") == 2

    @pytest.mark.parametrize("steps", ["0", "-3", "many"])
    def test_steps_must_be_a_number_above_zero(self, command, steps):
        assert command("--steps", steps) == 1

    def test_help_teaches(self, capsys):
        assert main(["train", "student", "--help"]) == 0
        assert "--resume" in capsys.readouterr().out
