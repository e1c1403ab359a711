"""`monotakd train all` as torchrun starts it: two processes, on recordings on disk, from the sources to the report."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from monotakd_ros.cli.main import main
from monotakd_ros.config import DistillationConfig, ResidualConfig, SemiSupervisedConfig
from monotakd_ros.config_file import to_dict
from monotakd_ros.network.checkpoint import load_checkpoint

STAGES = ("teacher", "assistant", "student")
LIMIT_S = 240.0


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
    return ["train", "all", *named, "--steps", "2", "--guide-steps", "2", *more]


def in_two_processes(words: list[str]) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each process."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    common = os.environ | {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    common |= {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "monotakd_ros.cli.main", *words],
            env=common | {"RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    try:
        said = [process.communicate(timeout=LIMIT_S) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, *text) for process, text in zip(started, said)]


def test_all_stages_stopped_and_resumed(folder):
    stopped = in_two_processes(command(folder, "--stop-at", "1"))
    assert [code for code, _, _ in stopped] == [0, 0], stopped
    assert "stopped after step 1" in stopped[0][1] and not stopped[1][1], "the first process alone speaks"
    assert sorted(path.name for path in (folder / "run").iterdir()) == ["cache", "stages.json", "teacher"]
    resumed = in_two_processes(command(folder, "--resume"))
    assert [code for code, _, _ in resumed] == [0, 0], resumed
    first, second = (text for _, text, _ in resumed)
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


def test_what_is_wrong_ends_both(folder):
    ended = in_two_processes([*command(folder), "--init", str(folder / "nothing.pt"), "--out", str(folder / "other")])
    assert all(code != 0 for code, _, _ in ended)
    assert "nothing.pt: expected a checkpoint file, found nothing" in ended[0][2]
