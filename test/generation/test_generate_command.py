"""`monotakd generate` and `monotakd verify` from the command line; a kill at any moment; then training on the set."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from monotakd_ros.cli.main import main
from monotakd_ros.config import Config
from monotakd_ros.config_file import from_dict, load_settings, to_dict
from monotakd_ros.data.source import open_source
from monotakd_ros.generation.settings import GenerationSettings
from monotakd_ros.training.frame_cache import cached_frames

LIMIT_S = 60.0


def monotakd(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def words(networks, drive, all_frames, tmp_path):
    """The command line that makes `name` of the drive."""
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(to_dict(all_frames)))

    def of(name: str) -> list[str]:
        config = ["--config", tmp_path / "settings.yaml", "--jobs", 1]
        guides = ["--teacher", networks["teacher"], "--assistant", networks["assistant"]]
        return [str(word) for word in ["generate", drive, "--out", tmp_path / name, *guides, *config]]

    return of


def test_generate_then_verify(words, tmp_path, capsys):
    assert monotakd(*words("set"), "--preview", tmp_path / "preview") == 0
    printed = capsys.readouterr().out
    for expected in ("10 images looked at", "10 kept", "bound by", "boxes: ", "10 frames; train with --data"):
        assert expected in printed
    assert f"{tmp_path / 'preview'}: 10 frames; play it" in printed
    assert monotakd(*words("set"), "--preview", tmp_path / "preview") == 0  # again: nothing is left to do
    assert monotakd("verify", tmp_path / "set") == 0
    assert "no problems" in capsys.readouterr().out
    image = tmp_path / "set" / "training" / "image_2" / "0000000001.png"
    image.write_bytes(image.read_bytes()[:-1])
    assert monotakd("verify", tmp_path / "set") == 1
    captured = capsys.readouterr()
    assert "training/image_2/0000000001.png: changed" in captured.err and "1 problems" in captured.out


def test_killed_several_times_in_the_middle(words, tmp_path, digests):
    """SIGKILL once so many segments are done, wherever the process then is; the set comes out the same."""
    assert monotakd(*words("whole")) == 0
    kills = 0
    for segments in (1, 2):
        process = subprocess.Popen([sys.executable, "-m", "monotakd_ros.cli.main", *words("killed")], stderr=-3)
        start = time.monotonic()
        while process.poll() is None and time.monotonic() - start < LIMIT_S:
            if len(list((tmp_path / "killed" / "segments").glob("0*.json"))) >= segments:
                break
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 1
    assert monotakd(*words("killed")) == 0
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")


def test_training_takes_a_set_as_it_is(words, tmp_path, networks):
    """Labels with scores and uncertain boxes reach training as a teacher's."""
    assert monotakd(*words("set")) == 0
    from monotakd_ros.network.checkpoint import load_checkpoint

    config: Config = load_checkpoint(networks["student"]).config
    source = open_source(tmp_path / "set")
    cache = cached_frames(source, tmp_path / "cache", config.student.input, config.student.class_names)
    assert len(cache) == 10
    assert all(frame.prepared.label_scores is not None for frame in cache)
    labels = {int(label) for frame in cache for label in frame.prepared.labels}
    assert -1 in labels and len(labels) > 1


def test_the_shipped_settings_are_the_defaults(repository):
    assert load_settings(GenerationSettings, repository / "config" / "generate.yaml") == GenerationSettings()
    assert asdict(from_dict(GenerationSettings, {})) == asdict(GenerationSettings())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--teacher", "nowhere.pt"], "nowhere.pt"),
        (["--max-rate", "-1"], "max_rate_hz"),
        (["--address", "auto"], "--engine ray"),
        (["--device", "tpu"], "device"),
        (["--image-topic", "/no/such"], "/no/such"),
        (["--preview", "/dev/null"], "exists already"),
    ],
)
def test_wrong_arguments_are_one_clear_line(words, capsys, change, message, tmp_path):
    assert monotakd(*words("set"), *change) == 1
    error = capsys.readouterr().err
    assert error.count("error:") == 1 and message in error


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written(words, capsys, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    assert monotakd(*words("closed/set")) == 1
    assert "cannot write" in capsys.readouterr().err


def test_a_full_disk(words, capsys, tmp_path, monkeypatch):
    """What is whole stays; nothing half-written has a name; the next run goes on."""
    write = Path.write_bytes

    def full(path, data):
        if "0000000005" in path.name:
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert monotakd(*words("set")) == 1
    assert "No space left on device" in capsys.readouterr().err
    monkeypatch.undo()
    assert not list((tmp_path / "set").rglob("*0000000005*"))
    assert monotakd(*words("set")) == 0
    assert monotakd("verify", tmp_path / "set") == 0


def test_a_recording_of_which_nothing_is_kept(networks, write_drive, make_frame, capsys, tmp_path):
    bag = write_drive(tmp_path / "blind", [make_frame(0, points_lidar=None, points_stamp_ns=None)])
    assert monotakd("generate", bag, "--out", tmp_path / "set", "--teacher", networks["teacher"], "--jobs", 1) == 1
    captured = capsys.readouterr()
    assert "left out: 1 (no cloud near enough in time)" in captured.out and "no frame was kept" in captured.err
