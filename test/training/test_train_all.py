"""`monotakd train all`: which stages a recipe asks for, what each is given, and going on after an interruption."""

from __future__ import annotations

import argparse
import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

import monotakd_ros.cli.train as train_verb
from monotakd_ros.cli import train_all
from monotakd_ros.cli.main import main
from monotakd_ros.config import Config, DistillationConfig, ResidualConfig, SemiSupervisedConfig, TrainingConfig
from monotakd_ros.config_file import load_config, to_dict
from monotakd_ros.data.source import open_source
from monotakd_ros.errors import ConfigError
from monotakd_ros.network.checkpoint import load_checkpoint
from monotakd_ros.shipped import recipe_path

OUT = Path("run")


def stages_of(config: Config, **given) -> list[train_all.Stage]:
    settings = {
        "teacher": None,
        "assistant": None,
        "init": None,
        "from_scratch": False,
        "out": OUT,
        "unlabelled": [],
    } | given
    return list(train_all.stages(argparse.Namespace(**settings), config))


def stage(network: str, guides: dict[str, Path] | None = None, init: Path | None = None) -> train_all.Stage:
    return train_all.Stage(network, OUT / network, guides or {}, init)


KINDS = ("teacher", "assistant", "student")
T, A = OUT / "teacher" / "final.pt", OUT / "assistant" / "final.pt"


class TestStages:
    @pytest.mark.parametrize(
        ("recipe", "expected"),
        [
            ("none", [stage("student")]),
            ("direct", [stage("teacher"), stage("student", {"teacher": T}, T)]),
            ("imd", [stage("teacher"), stage("assistant", {"teacher": T}, T), stage("student", {"assistant": A}, A)]),
            (
                "paper",
                [
                    stage("teacher"),
                    stage("assistant", {"teacher": T}, T),
                    stage("student", {"teacher": T, "assistant": A}, A),
                ],
            ),
            ("released_code", [stage("teacher"), stage("student", {"teacher": T}, T)]),
        ],
    )
    def test_of_a_recipe(self, repository, recipe, expected):
        config = load_config(repository / "config" / "monotakd_small.yaml", recipe_path(recipe))
        assert stages_of(config) == expected

    def test_ready_guides_are_not_trained(self, repository):
        config = load_config(repository / "config" / "monotakd_small.yaml", recipe_path("paper"))
        t, a = Path("t.pt"), Path("a.pt")
        assert stages_of(config, teacher=t, assistant=a) == [stage("student", {"teacher": t, "assistant": a}, a)]
        assert [item.network for item in stages_of(config, teacher=t)] == ["assistant", "student"]
        assert [item.network for item in stages_of(config, assistant=a)] == ["teacher", "student"]

    def test_from_scratch_and_from_given_weights(self, repository):
        config = load_config(repository / "config" / "monotakd_small.yaml", recipe_path("paper"))
        assert [item.init for item in stages_of(config, from_scratch=True)] == [None, None, None]
        assert [item.init for item in stages_of(config, init=Path("s.pt"))] == [None, T, Path("s.pt")]

    def test_unlabelled_recordings_need_a_teacher_though_no_weight_asks_for_one(self, repository):
        config = load_config(repository / "config" / "monotakd_small.yaml", recipe_path("none"))
        given = stages_of(config, unlabelled=[Path("raw")], from_scratch=True)
        assert given == [stage("teacher"), stage("student", {"teacher": T})]

    def test_only_the_student_is_given_the_unlabelled_recordings(self):
        assert [item.unlabelled for item in self.given(Config("any"))] == [[], ["raw"]]

    @pytest.mark.parametrize(("fraction", "expected"), [(0.75, ["drive"]), (1.0, [])])
    def test_a_student_of_unlabelled_recordings_alone_leaves_the_labelled_ones_to_its_guides(self, fraction, expected):
        config = replace(Config("any"), training=TrainingConfig(semi_supervised=SemiSupervisedConfig(fraction)))
        assert [item.data for item in self.given(config)] == [["drive"], expected]

    def given(self, config: Config) -> list[argparse.Namespace]:
        words = {"cache": None, "out": OUT, "resume": False, "steps": 1, "guide_steps": 1}
        arguments = argparse.Namespace(**words, data=["drive"], unlabelled=["raw"])
        return [train_all.stage_arguments(arguments, config, stage(kind)) for kind in ("teacher", "student")]

    def test_a_config_without_teacher(self, repository):
        config = load_config(repository / "config" / "student_small.yaml", recipe_path("direct"))
        with pytest.raises(ConfigError, match="no `teacher` section, and the recipe asks for a teacher"):
            stages_of(config)


@pytest.mark.parametrize(("given", "guides"), [({}, None), ({"steps": 7}, 7), ({"steps": 7, "guide_steps": 3}, 3)])
def test_guides_take_as_many_steps_as_the_student_unless_told_otherwise(tmp_path, given, guides):
    arguments = argparse.Namespace(
        **{"resume": False, "cache": None, "out": tmp_path, "steps": None, "guide_steps": None}
        | {"data": [], "unlabelled": []}
        | given
    )
    steps = {
        kind: train_all.stage_arguments(arguments, Config("any"), stage(kind)).steps for kind in ("teacher", "student")
    }
    assert steps == {"teacher": guides, "student": given.get("steps")}


@pytest.fixture
def command_config(tiny_config) -> Config:
    """All terms on."""
    settings = DistillationConfig(imd_weight=1.0, cmrd_weight=1.0, logit_cls_weight=1.0, alignment_weight=1.0)
    student = replace(tiny_config.student, residual=ResidualConfig())
    return replace(tiny_config, student=student, training=replace(tiny_config.training, distillation=settings))


@pytest.fixture
def bare_command(monkeypatch, tmp_path, fake_source, command_config):
    """Runs `monotakd train all` on a made-up source; returns the exit code."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(to_dict(command_config)))
    source = fake_source()
    monkeypatch.setattr(train_verb, "open_source", lambda path, options: source)

    def run(*arguments: str) -> int:
        paths = ["--config", tmp_path / "tiny.yaml", "--data", tmp_path / "drive.mcap", "--out", tmp_path / "run"]
        return main(["train", "all", *map(str, paths), *arguments])

    return run


@pytest.fixture
def command(bare_command):
    """The same with a student of two steps and guides of one."""
    return lambda *arguments: bare_command("--steps", "2", "--guide-steps", "1", *arguments)


@pytest.fixture
def stopped_at_the_assistant(monkeypatch):
    """While entered, Ctrl-C comes when the assistant is to be trained."""
    real = train_verb.train_network

    def stopping(kind, *arguments, **settings):
        if kind == "assistant":
            raise KeyboardInterrupt
        return real(kind, *arguments, **settings)

    @contextmanager
    def stopped():
        with monkeypatch.context() as patch:
            patch.setattr(train_verb, "train_network", stopping)
            yield

    return stopped


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("final.pt"))}


def test_three_stages_and_nothing_again(command, tmp_path, capsys):
    assert command() == 0
    out = capsys.readouterr().out
    assert [line.split(":")[0] for line in out.splitlines() if line.startswith("==")] == [
        "== teacher (1 of 3)",
        "== assistant (2 of 3)",
        "== student (3 of 3)",
    ]
    run = tmp_path / "run"
    student = load_checkpoint(run / "student" / "final.pt")
    assert student.kind == "student" and student.metadata["step"] == 2
    assert set(student.metadata["guides"]) == {"teacher", "assistant"}
    assert set(load_checkpoint(run / "assistant" / "final.pt").metadata["guides"]) == {"teacher"}
    assert sorted(item.name for item in run.iterdir()) == ["assistant", "cache", "stages.json", "student", "teacher"]
    before = files(run)
    assert command() == 1
    assert "holds teacher, assistant, student; continue with --resume" in capsys.readouterr().err
    assert command("--resume") == 0
    assert files(run) == before


def test_a_stage_that_was_stopped_goes_on_and_ends_the_same(command, tmp_path, stopped_at_the_assistant):
    assert command() == 0
    whole = files(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "whole")
    with stopped_at_the_assistant():
        assert command() == 130
    assert sorted(files(tmp_path / "run")) == ["teacher/final.pt"]
    assert command("--resume") == 0
    tensors = [load_checkpoint(tmp_path / name / "student" / "final.pt").state_dict for name in ("whole", "run")]
    assert all((tensors[0][key] == tensors[1][key]).all() for key in tensors[0])
    assert files(tmp_path / "run").keys() == whole.keys()


def test_a_run_that_is_replaced_is_not_gone_on_with(command, tmp_path, stopped_at_the_assistant):
    assert command("--seed", "1") == 0
    old = files(tmp_path / "run")
    with stopped_at_the_assistant():
        assert command("--seed", "2", "--overwrite") == 130
    assert command("--seed", "2", "--resume") == 0
    new = files(tmp_path / "run")
    assert new.keys() == old.keys() and all(new[name] != old[name] for name in old)


def test_told_to_stop_it_stops_at_the_first_stage_that_is_not_done(command, tmp_path, capsys):
    assert command("--guide-steps", "2", "--stop-at", "1") == 0
    out = capsys.readouterr().out
    assert "stopped after step 1; continue with --resume" in out and "== assistant" not in out
    assert sorted(item.name for item in (tmp_path / "run").iterdir()) == ["cache", "stages.json", "teacher"]


class TestBeforeTheFirstStage:
    @pytest.fixture
    def refused(self, command, tmp_path, capsys):
        """Runs the command, which has to fail without training anything; returns the message."""

        def run(*arguments: str) -> str:
            assert command(*arguments) == 1
            assert not (tmp_path / "run").exists()
            return capsys.readouterr().err

        return run

    def test_a_start_of_the_student(self, refused):
        assert "nothing.pt: expected a checkpoint file, found nothing" in refused("--init", "nothing.pt")

    def test_guides_of_other_networks(self, refused, save_guide, tiny_config):
        wide = replace(tiny_config.student, input=replace(tiny_config.student.input, width=256))
        other = save_guide("assistant", replace(tiny_config, student=wide))
        assert "input camera: expected (128, 64, 70.0" in refused("--assistant", str(other))
        assert "expected teacher weights, got assistant weights" in refused("--teacher", str(other))

    @pytest.mark.parametrize("recipe", ["released_code", "released_history"])
    def test_a_recipe_that_would_teach_the_teacher_nothing(self, refused, recipe):
        message = refused("--recipe", recipe)
        assert "a teacher would learn nothing: give a trained one (--teacher CKPT)" in message

    def test_a_recording_without_labels_that_is_not_there(self, refused, monkeypatch, tmp_path):
        known = train_verb.open_source

        def open_known(path, options):
            return known(path, options) if path.name == "drive.mcap" else open_source(path, options)

        monkeypatch.setattr(train_verb, "open_source", open_known)
        assert f"{tmp_path / 'typo'}: " in refused("--recipe", "unlabelled", "--unlabelled", str(tmp_path / "typo"))

    def test_a_student_that_does_not_fit(self, refused, monkeypatch):
        real = train_verb.memory_need

        def need(kind, *others):
            return replace(real(kind, *others), state=(1 << 60) if kind == "student" else 0)

        monkeypatch.setattr(train_verb, "memory_need", need)
        assert "not enough memory" in refused()

    def test_a_recording_without_labels_that_holds_labelled_frames(self, command, tmp_path, capsys):
        assert command("--recipe", "unlabelled", "--unlabelled", str(tmp_path / "copy.mcap")) == 1
        assert f"--unlabelled {tmp_path / 'drive.mcap'}: 4 of 4 frames are also in --data" in capsys.readouterr().err
        assert [item.name for item in (tmp_path / "run").iterdir()] == ["cache"], "nothing was trained"

    def test_a_cache_of_guides_for_frames_that_never_come_back(self, refused, tmp_path):
        (tmp_path / "crop.yaml").write_text("training: {augment: {crop: 0.1}}")
        message = refused("--guide-cache", str(tmp_path / "guides"), "--recipe", str(tmp_path / "crop.yaml"))
        assert "leave out --guide-cache" in message


class TestResumed:
    """What was left out of the command is as it was when the run was begun."""

    @pytest.fixture
    def start(self, save_guide, command_config) -> Path:
        """Weights of a student, with numbers of their own."""
        return save_guide("student", command_config)

    def tensors(self, folder: Path) -> dict[str, torch.Tensor]:
        return load_checkpoint(folder / "student" / "final.pt").state_dict

    @pytest.mark.parametrize("again", [True, False], ids=["named again", "left out"])
    def test_the_start_of_a_student_that_was_not_begun(self, command, tmp_path, start, stopped_at_the_assistant, again):
        assert command("--init", str(start)) == 0
        (tmp_path / "run").rename(tmp_path / "whole")
        with stopped_at_the_assistant():
            assert command("--init", str(start)) == 130
        assert command("--resume", *(["--init", str(start)] if again else [])) == 0
        whole, resumed = self.tensors(tmp_path / "whole"), self.tensors(tmp_path / "run")
        assert all((whole[key] == resumed[key]).all() for key in whole)

    def test_from_scratch(self, command, tmp_path, stopped_at_the_assistant):
        assert command("--from-scratch") == 0
        (tmp_path / "run").rename(tmp_path / "whole")
        with stopped_at_the_assistant():
            assert command("--from-scratch") == 130
        assert command("--resume") == 0
        whole, resumed = self.tensors(tmp_path / "whole"), self.tensors(tmp_path / "run")
        assert all((whole[key] == resumed[key]).all() for key in whole)

    def test_the_numbers_of_steps(self, bare_command, tmp_path, stopped_at_the_assistant):
        with stopped_at_the_assistant():
            assert bare_command("--steps", "3", "--guide-steps", "2") == 130
        assert bare_command("--resume") == 0
        steps = {kind: load_checkpoint(tmp_path / "run" / kind / "final.pt").metadata["step"] for kind in KINDS}
        assert steps == {"teacher": 2, "assistant": 2, "student": 3}

    def test_a_student_may_go_on_for_longer_but_its_guides_stay(self, bare_command, tmp_path):
        assert bare_command("--steps", "2") == 0
        before = files(tmp_path / "run")
        assert bare_command("--resume", "--steps", "3", "--guide-steps", "9") == 0
        after = files(tmp_path / "run")
        assert [name for name in before if before[name] != after[name]] == ["student/final.pt"]
        assert load_checkpoint(tmp_path / "run" / "student" / "final.pt").metadata["step"] == 3
        assert bare_command("--resume") == 0
        assert files(tmp_path / "run") == after

    def test_guides_keep_the_configs_number_where_only_the_student_goes_on_for_longer(
        self, bare_command, tmp_path, stopped_at_the_assistant
    ):
        with stopped_at_the_assistant():
            assert bare_command() == 130
        assert bare_command("--resume", "--steps", "9") == 0
        steps = {kind: load_checkpoint(tmp_path / "run" / kind / "final.pt").metadata["step"] for kind in KINDS}
        assert steps == {"teacher": 8, "assistant": 8, "student": 9}

    def test_a_given_guide(self, bare_command, tmp_path, save_guide, command_config):
        teacher = save_guide("teacher", command_config)
        assert bare_command("--steps", "2", "--teacher", str(teacher), "--stop-at", "1") == 0
        assert bare_command("--resume") == 0
        assert not (tmp_path / "run" / "teacher").exists()

    def test_another_start_or_guide_is_refused(
        self, command, tmp_path, start, stopped_at_the_assistant, save_guide, command_config, capsys
    ):
        with stopped_at_the_assistant():
            assert command("--init", str(start)) == 130
        other = tmp_path / "other.pt"
        other.write_bytes(save_guide("assistant", command_config).read_bytes())
        assert command("--resume", "--init", str(other)) == 1
        assert f"{other}: not the weights that the run was begun with (--init)" in capsys.readouterr().err
        assert command("--resume", "--assistant", str(other)) == 1
        assert "the run was begun without --assistant" in capsys.readouterr().err
        assert command("--resume", "--from-scratch") == 1
        assert "begun without --from-scratch" in capsys.readouterr().err
        moved = start.rename(tmp_path / "moved.pt")
        assert command("--resume") == 1
        assert f"{start}: expected the weights that the run was begun with (--init)" in capsys.readouterr().err
        with stopped_at_the_assistant():
            assert command("--resume", "--init", str(moved)) == 130
        with stopped_at_the_assistant():
            assert command("--resume") == 130, "it knows where they lie now"
        assert command("--resume") == 0
        assert command("--resume", "--init", str(other)) == 1, "also where the start was taken long ago"
        assert "not the weights that the run was begun with (--init)" in capsys.readouterr().err
        moved.unlink()
        assert command("--resume") == 0, "nothing needs them any more"

    def test_weights_that_changed_since(self, command, start, stopped_at_the_assistant, capsys):
        with stopped_at_the_assistant():
            assert command("--init", str(start)) == 130
        start.write_bytes(b"another")
        assert command("--resume") == 1
        assert "not the weights that the run was begun with (--init) any more" in capsys.readouterr().err

    def test_a_damaged_plan(self, command, tmp_path, stopped_at_the_assistant, capsys):
        with stopped_at_the_assistant():
            assert command() == 130
        (tmp_path / "run" / "stages.json").write_text("{")
        assert command("--resume") == 1
        assert "stages.json: expected what the run was begun with" in capsys.readouterr().err

    def test_a_run_of_an_earlier_version_has_no_plan(self, command, tmp_path, stopped_at_the_assistant, capsys):
        with stopped_at_the_assistant():
            assert command() == 130
        (tmp_path / "run" / "stages.json").unlink()
        assert command("--resume", "--init", str(tmp_path / "run" / "teacher" / "final.pt")) == 1
        assert "give one of them" in capsys.readouterr().err
        assert command("--resume") == 0
        assert not (tmp_path / "run" / "stages.json").exists(), "nobody knows what it was begun with"

    def test_nothing_was_begun(self, command, tmp_path):
        assert command("--resume") == 0
        assert json.loads((tmp_path / "run" / "stages.json").read_text())["steps"] == 2

    def test_where_nothing_was_begun_all_may_be_otherwise(self, command, tmp_path, start, monkeypatch):
        def stop(*arguments, **settings):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(train_verb, "train_network", stop)
            assert command() == 130
        assert (tmp_path / "run" / "stages.json").is_file()
        assert command("--resume", "--init", str(start), "--stop-at", "1") == 0
        assert json.loads((tmp_path / "run" / "stages.json").read_text())["init"]["path"] == str(start)


def test_what_is_wrong_costs_the_old_run_nothing(command, tmp_path, capsys):
    assert command("--stop-at", "1") == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.*") if path.suffix in (".pt", ".json")}
    assert command("--overwrite", "--recipe", "none", "--teacher", str(tmp_path / "typo.pt")) == 1
    assert "typo.pt: cannot read the checkpoint" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in before}
