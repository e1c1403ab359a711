"""`monotakd train all` as torchrun starts it: two processes, on recordings on disk, from the sources to the report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from monotakd_ros.cli.main import main
from monotakd_ros.config import DistillationConfig, ResidualConfig, SemiSupervisedConfig
from monotakd_ros.config_file import to_dict
from monotakd_ros.network.checkpoint import load_checkpoint

STAGES = ("teacher", "assistant", "student")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_config) -> Path:
    """A labelled drive, one that is taken as unlabelled, and a config in which every term and both kinds teach."""
    pytest.importorskip("open3d", reason="Open3D casts the simulator's rays")
    folder = tmp_path_factory.mktemp("commands")
    for seed, name in enumerate(("labelled", "unlabelled")):
        size = ["--frames", "4", "--seed", str(seed), "--rate-hz", "1", "--width", "256", "--height", "128"]
        assert main(["simulate", str(folder / name), *size]) == 0
    terms = DistillationConfig(imd_weight=0.1, cmrd_weight=1.0, logit_cls_weight=1.0, alignment_weight=0.1)
    training = replace(
        tiny_config.training,
        batch_size=1,
        distillation=terms,
        semi_supervised=SemiSupervisedConfig(unlabelled_fraction=0.5),
        validation_fraction=0.25,
    )
    student = replace(tiny_config.student, residual=ResidualConfig())
    (folder / "tiny.yaml").write_text(yaml.safe_dump(to_dict(replace(tiny_config, student=student, training=training))))
    return folder


def command(folder: Path, *more: str) -> list[str]:
    paths = {"config": "tiny.yaml", "data": "labelled", "unlabelled": "unlabelled", "out": "run", "guide-cache": "kept"}
    named = [word for name, path in paths.items() for word in (f"--{name}", str(folder / path))]
    return ["-m", "monotakd_ros.cli.main", "train", "all", *named, "--steps", "2", "--guide-steps", "2", *more]


def test_all_stages_stopped_and_resumed(folder, in_two_processes):
    stopped = in_two_processes(command(folder, "--stop-at", "1"))
    assert [process.returncode for process in stopped] == [0, 0], stopped
    assert "stopped after step 1" in stopped[0].stdout and not stopped[1].stdout, "the first process alone speaks"
    assert sorted(path.name for path in (folder / "run").iterdir()) == ["cache", "stages.json", "teacher"]
    resumed = in_two_processes(command(folder, "--resume"))
    assert [process.returncode for process in resumed] == [0, 0], resumed
    first, second = (process.stdout for process in resumed)
    assert not second and [line for line in first.splitlines() if line.startswith("==")] == [
        f"== {kind} ({number} of 3): {folder / 'run' / kind}" for number, kind in enumerate(STAGES, start=1)
    ]
    assert "3 frames to learn from, 1 to validate on" in first and "unlabelled: 0 Car" in first
    for kind in STAGES:
        assert load_checkpoint(folder / "run" / kind / "final.pt").metadata["step"] == 2
        records = [json.loads(line) for line in (folder / "run" / kind / "log.jsonl").open()]
        assert [record["step"] for record in records if record["kind"] == "validation"] == [2]
    student = load_checkpoint(folder / "run" / "student" / "final.pt").metadata
    assert student["labels"]["unlabelled_sources"] == ["unlabelled"] and set(student["guides"]) == {
        "teacher",
        "assistant",
    }
    assert {path.name for path in (folder / "kept").iterdir()} == {"teacher", "assistant"}


def test_what_is_wrong_ends_both(folder, in_two_processes):
    ended = in_two_processes([*command(folder), "--init", str(folder / "nothing.pt"), "--out", str(folder / "other")])
    assert all(process.returncode != 0 for process in ended)
    assert "nothing.pt: expected a checkpoint file, found nothing" in ended[0].stderr
