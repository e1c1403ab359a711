"""`monotakd train student --unlabelled`: what it leaves behind, resume, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest
import torch
import yaml

from monotakd_ros.cli.unlabelled_sources import label_recordings
from monotakd_ros.config import ClassThreshold, DistillationConfig, SemiSupervisedConfig
from monotakd_ros.config_file import to_dict
from monotakd_ros.network.checkpoint import load_checkpoint

NO_DISTILLATION = DistillationConfig()


@pytest.fixture
def write_config(tmp_path, tiny_config, command):
    """Gives `command`'s config another section of semi-supervised training; returns it."""

    def write(distillation: DistillationConfig = NO_DISTILLATION, **changes):
        values = {"unlabelled_fraction": 0.5, "threshold": 0.075, "ignore_threshold": 0.065} | changes
        semi_supervised = SemiSupervisedConfig(**values)
        training = replace(tiny_config.training, semi_supervised=semi_supervised, distillation=distillation)
        config = replace(tiny_config, training=training)
        (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(to_dict(config)))
        return config

    return write


@pytest.fixture
def raw(fake_source):
    """A recording without labels."""
    return fake_source(3, labelled=False, name="raw.mcap", first=10)


@pytest.fixture
def semi(command, tmp_path, write_config, save_teacher, raw):
    """Runs the command with `--unlabelled raw.mcap` and a teacher; returns the exit code."""
    config = write_config()
    teacher = save_teacher(config)

    def run(*arguments: str, more=(raw,), unlabelled=("raw.mcap",), **options) -> int:
        paths = [str(tmp_path / name) for name in unlabelled]
        return command("--unlabelled", *paths, "--teacher", str(teacher), *arguments, more=more, **options)

    return run


def final_of(run):
    return load_checkpoint(run / "final.pt")


class TestARun:
    def test_learns_from_both_and_says_so(self, semi, tmp_path, capsys):
        assert semi("--steps", "2") == 0
        out = capsys.readouterr().out
        assert "raw.mcap: 3 frames with a cloud, taken as unlabelled, 0 without a cloud, 0 unreadable" in out
        assert "7 frames to learn from" in out and "against the recordings' own" not in out
        (line,) = (json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open())
        assert {"loss_cls", "loss_pseudo_cls", "loss_pseudo_box", "loss_pseudo_direction", "loss_depth"} <= line.keys()
        labels = final_of(tmp_path / "run").metadata["labels"]
        assert labels["frames"] == {"human": 4, "pseudo": 3} and labels["teacher"]["file"] == "labelling.pt"
        assert labels["unlabelled_sources"] == ["raw.mcap"]
        (file,) = (tmp_path / "run" / "cache" / "pseudo_labels").iterdir()
        assert labels["pseudo_labels"] == json.loads(file.read_text())["counts"]

    def test_stopped_and_resumed_it_ends_with_the_very_same_weights(self, semi, tmp_path):
        cache = ("--cache", str(tmp_path / "cache"))
        assert semi("--steps", "4", *cache) == 0
        whole = (tmp_path / "run").rename(tmp_path / "whole")
        assert semi("--steps", "4", "--stop-at", "1", *cache) == 0
        assert semi("--resume", *cache) == 0
        a, b = (final_of(run).state_dict for run in (whole, tmp_path / "run"))
        assert all(torch.equal(a[key], b[key]) for key in a)

    def test_labels_of_its_own_are_not_learned_from_but_compared_with(self, semi, fake_source, tmp_path, capsys):
        labelled = fake_source(3, name="raw.mcap", first=10)
        assert semi("--steps", "1", more=(labelled,)) == 0
        assert "pseudo labels against the recordings' own, Car from 0.075: precision" in capsys.readouterr().out
        with_labels = (tmp_path / "run").rename(tmp_path / "with_labels")
        bare = fake_source(3, labelled=False, name="raw.mcap", first=10)
        assert semi("--steps", "1", more=(bare,)) == 0
        a, b = (final_of(run).state_dict for run in (with_labels, tmp_path / "run"))
        assert all(torch.equal(a[key], b[key]) for key in a)

    def test_one_of_several_processes_tells_how_labelling_went(
        self, cached_unlabelled, write_config, save_teacher, tmp_path, capsys
    ):
        config = write_config()
        label = partial(label_recordings, [cached_unlabelled()], save_teacher(config), config, tmp_path, "cpu")
        assert len(label(silent=True).recordings) == 1
        assert capsys.readouterr() == ("", "")
        label()
        assert "of 4 frames without a label" in capsys.readouterr().out

    def test_the_teacher_may_guide_too(self, semi, write_config, tmp_path, caplog):
        write_config(DistillationConfig(logit_cls_weight=1.0))
        assert semi("--steps", "2") == 0
        assert caplog.text == ""
        (line,) = (json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open())
        assert {"loss_logit_cls", "loss_pseudo_cls"} <= line.keys()

    def test_another_teacher_cannot_go_on_with_a_run(self, semi, write_config, save_teacher, capsys):
        assert semi("--steps", "2", "--stop-at", "1") == 0
        save_teacher(write_config(), seed=8)
        assert semi("--resume") == 1
        assert "data.labelling_teacher: was" in capsys.readouterr().err


class TestWithoutLabels:
    """All samples come from recordings that the teacher labelled."""

    def test_learns_from_the_teacher_alone(self, semi, write_config, tmp_path, capsys, caplog):
        write_config(DistillationConfig(logit_cls_weight=1.0), unlabelled_fraction=1.0)
        assert semi("--steps", "2", data=None) == 0
        assert "3 frames to learn from, 0 to validate on" in capsys.readouterr().out and caplog.text == ""
        (line,) = (json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open())
        assert "loss_cls" not in line and "loss_box" not in line and line["loss_pseudo_cls"] > 0
        assert line["loss_logit_cls"] > 0 and line["loss_depth"] > 0
        final = final_of(tmp_path / "run")
        assert final.metadata["labels"]["frames"] == {"human": 0, "pseudo": 3}
        assert all(value.isfinite().all() for value in final.state_dict.values())

    def test_resumed_and_validated_on_labelled_frames(self, semi, write_config, fake_source, tmp_path, capsys):
        write_config(unlabelled_fraction=1.0)
        settings = ("--steps", "4", "--val-data", str(tmp_path / "watch.mcap"), "--cache", str(tmp_path / "cache"))
        sources = {
            "data": None,
            "more": (
                fake_source(3, labelled=False, name="raw.mcap", first=10),
                fake_source(name="watch.mcap", first=20),
            ),
        }
        assert semi(*settings, **sources) == 0
        whole = (tmp_path / "run").rename(tmp_path / "whole")
        assert semi(*settings, "--stop-at", "1", **sources) == 0
        assert semi(*settings, "--resume", **sources) == 0
        a, b = (final_of(run).state_dict for run in (whole, tmp_path / "run"))
        assert all(torch.equal(a[key], b[key]) for key in a)
        assert "3 frames to learn from, 4 to validate on" in capsys.readouterr().out

    def test_labelled_sources_where_none_are_learned_from_and_the_reverse(self, semi, write_config, raw, capsys):
        assert semi("--steps", "1", data=None) == 1
        error = capsys.readouterr().err
        assert "--data: expected labelled sources for the student to learn from, got none; recordings without" in error
        write_config(unlabelled_fraction=1.0)
        assert semi("--steps", "1") == 1
        assert "unlabelled_fraction of" in (error := capsys.readouterr().err) and "is 1, so nothing would be" in error
        assert raw.reads == 0

    def test_all_stages_with_labels_for_the_teacher_alone_or_with_none_at_all(
        self, command, write_config, save_teacher, raw, tmp_path, capsys
    ):
        config = write_config(DistillationConfig(logit_cls_weight=1.0), unlabelled_fraction=1.0)
        words = ("--unlabelled", str(tmp_path / "raw.mcap"), "--steps", "1")
        assert command(*words, network="all", more=(raw,)) == 0
        kinds = [load_checkpoint(tmp_path / "run" / kind / "final.pt").metadata for kind in ("teacher", "student")]
        assert [kind["sources"] for kind in kinds] == [["drive.mcap"], []]
        assert kinds[1]["labels"]["frames"] == {"human": 0, "pseudo": 3}
        ready = ("--teacher", str(save_teacher(config)), "--overwrite")
        assert command(*words, *ready, network="all", more=(raw,)) == 1
        assert "is 1, so nothing would be learned from these sources" in capsys.readouterr().err
        assert command(*words, *ready, network="all", data=None, more=(raw,)) == 0

    def test_guides_are_not_trained_without_labels(self, command, write_config, raw, tmp_path, capsys):
        write_config(DistillationConfig(imd_weight=1.0), unlabelled_fraction=1.0)
        words = ("--unlabelled", str(tmp_path / "raw.mcap"), "--steps", "1")
        assert command(*words, data=None, more=(raw,), network="all") == 1
        assert (
            "--data: expected labelled sources for the teacher and the assistant to learn from, got none; or give "
            "trained ones: --teacher CKPT --assistant CKPT" in capsys.readouterr().err
        )
        assert not (tmp_path / "run").exists()


class TestBadInput:
    def test_a_class_that_the_teacher_is_never_sure_of(self, semi, write_config, caplog):
        write_config(thresholds=(ClassThreshold("Car", 0.9),))
        assert semi("--steps", "1") == 0
        assert "no Car in the unlabelled recordings reaches the threshold of 0.9: the highest score is" in caplog.text

    def test_frames_without_a_cloud_are_counted(self, semi, raw, tmp_path, capsys):
        raw.items[1] = replace(raw.items[1], points_lidar=None)
        assert semi("--steps", "1") == 0
        assert "raw.mcap: 2 frames with a cloud, taken as unlabelled, 1 without a cloud" in capsys.readouterr().out
        assert final_of(tmp_path / "run").metadata["labels"]["frames"]["pseudo"] == 2

    def test_a_recording_without_any_cloud(self, semi, raw, tmp_path, capsys):
        raw.items = [replace(item, points_lidar=None) for item in raw.items]
        assert semi("--steps", "1") == 1
        assert "no frame with a LiDAR cloud, which the teacher labels by (3 without" in capsys.readouterr().err
        assert not (tmp_path / "run" / "last.pt").exists()

    def test_a_share_without_recordings_and_the_reverse(self, command, semi, write_config, raw, tmp_path, capsys):
        assert command("--steps", "1") == 1
        assert "unlabelled_fraction is 0.5: give the recordings (--unlabelled)" in capsys.readouterr().err
        write_config(unlabelled_fraction=0.0)
        assert semi("--steps", "1") == 1
        assert "so nothing would be learned from these recordings" in capsys.readouterr().err
        assert raw.reads == 0 and not (tmp_path / "run").exists()

    def test_no_teacher(self, command, write_config, raw, tmp_path, capsys):
        write_config()
        assert command("--unlabelled", str(tmp_path / "raw.mcap"), "--steps", "1", more=(raw,)) == 1
        assert "--unlabelled needs the teacher that labels the recordings" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "other"),
        [
            ((), "--data"),
            (("--val-data", "raw.mcap"), "--val-data"),
        ],
    )
    def test_the_same_recording_twice(self, semi, tmp_path, capsys, arguments, other, monkeypatch):
        monkeypatch.chdir(tmp_path)
        unlabelled = ("drive.mcap",) if other == "--data" else ("raw.mcap",)
        assert semi("--steps", "1", *arguments, unlabelled=unlabelled) == 1
        assert f"and {other} " in (error := capsys.readouterr().err) and "the same recording" in error

    def test_frames_that_are_also_elsewhere_under_another_name(self, semi, fake_source, tmp_path, capsys):
        overlapping = fake_source(2, labelled=False, name="raw.mcap", first=3)
        assert semi("--steps", "1", more=(overlapping,)) == 1
        assert "raw.mcap: 1 of 2 frames are also in --data " in capsys.readouterr().err
        sources = (fake_source(3, name="raw.mcap", first=10), fake_source(4, name="watch.mcap", first=11))
        assert semi("--steps", "1", "--val-data", str(tmp_path / "watch.mcap"), more=sources) == 1
        assert "raw.mcap: 2 of 3 frames are also in --val-data " in capsys.readouterr().err
        assert not (tmp_path / "run" / "last.pt").exists()

    def test_the_same_unlabelled_recording_twice_or_within_another(self, semi, tmp_path, capsys):
        assert semi("--steps", "1", unlabelled=("raw.mcap", "raw.mcap")) == 1
        assert "the same recording, or one is in the other" in capsys.readouterr().err
        assert semi("--steps", "1", unlabelled=("raw.mcap", ".")) == 1
        assert "the same recording, or one is in the other" in capsys.readouterr().err

    def test_a_damaged_label_file(self, semi, tmp_path, capsys):
        cache = ("--cache", str(tmp_path / "cache"))
        assert semi("--steps", "1", *cache) == 0
        (file,) = (tmp_path / "cache" / "pseudo_labels").iterdir()
        file.write_text(file.read_text()[:-9])
        assert semi("--steps", "1", "--overwrite", *cache) == 1
        assert "the pseudo labels are damaged" in capsys.readouterr().err

    def test_only_students_take_them(self, semi, capsys):
        assert semi("--steps", "1", network="teacher") == 1
        assert "unrecognized arguments: --unlabelled" in capsys.readouterr().err
