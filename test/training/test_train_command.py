import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

import monotakd_ros.cli.train as train_verb
from monotakd_ros.cli.main import main
from monotakd_ros.config_file import to_dict
from monotakd_ros.network.checkpoint import load_checkpoint


@pytest.fixture
def command(monkeypatch, tmp_path, fake_source, tiny_config):
    """Runs `monotakd train NETWORK` on a made-up source; returns the exit code."""
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(to_dict(tiny_config)))
    sources = {}

    def run(*arguments: str, source=None, data: str = "drive.mcap", network: str = "student") -> int:
        sources[data] = source or sources.get(data) or fake_source(name=data)
        monkeypatch.setattr(train_verb, "open_source", lambda path, options: sources[path.name])
        paths = ["--config", str(config), "--data", str(tmp_path / data), "--out", str(tmp_path / "run")]
        return main(["train", network, *paths, *arguments])

    return run


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

    def test_a_run_of_another_network_is_not_resumed(self, command, capsys, network):
        assert command("--steps", "2", "--stop-at", "1") == 0
        assert command("--resume", network=network) == 1
        assert f"network: was 'student', now '{network}'" in capsys.readouterr().err


def test_a_config_without_teacher(command, tmp_path, tiny_config, capsys):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(to_dict(replace(tiny_config, teacher=None))))
    assert command(network="teacher") == 1
    assert "no `teacher` section, so there is no teacher to train" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


class TestTrainStudent:
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
        weights = (tmp_path / "run" / "final.pt").rename(tmp_path / "student.pt")
        source = fake_source(name="other.mcap")
        arguments = ("--init", str(weights), "--overwrite")
        assert command(*arguments, source=source, data="other.mcap", network="assistant") == 1
        assert "expected assistant weights, got student weights" in capsys.readouterr().err
        assert source.reads == 0

    def test_the_checkpoint_tells_how_images_were_scaled(self, command, tmp_path, training_frames, tiny_config):
        assert command("--steps", "1") == 0
        scale = tiny_config.student.input.focal_px / training_frames[0].camera.fx
        checkpoint = load_checkpoint(tmp_path / "run" / "final.pt")
        assert checkpoint.config.student.input.trained_scale == pytest.approx((scale, scale))

    def test_validation_fraction_is_held_back_from_the_end(self, command, tmp_path, fake_source, capsys):
        assert command("--steps", "1", source=fake_source(10)) == 0
        assert "9 frames to learn from, 1 to validate on" in capsys.readouterr().out
        lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open()]
        assert [line["kind"] for line in lines] == ["validation"]

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

    @pytest.mark.parametrize("steps", ["0", "-3", "many"])
    def test_steps_must_be_a_number_above_zero(self, command, steps):
        assert command("--steps", steps) == 1

    def test_help_teaches(self, capsys):
        assert main(["train", "student", "--help"]) == 0
        assert "--resume" in capsys.readouterr().out
