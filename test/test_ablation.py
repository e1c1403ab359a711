"""benchmarks/ablation.py: what it plans, what it keeps, and its table; no training."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from monotakd_ros.cli.main import build_parser
from monotakd_ros.data.kitti_results import results_from_text
from monotakd_ros.errors import ConfigError, TrainingError
from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.frame import KittiFrame
from monotakd_ros.report.boxes_file import write_boxes


@pytest.fixture(scope="module")
def ablation(repository):
    spec = importlib.util.spec_from_file_location("ablation", repository / "benchmarks" / "ablation.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["ablation"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["ablation"]


@pytest.fixture
def arguments(ablation, repository, tmp_path):
    def parse(*more: str):
        config = repository / "config" / "monotakd_tiny.yaml"
        needed = ["--config", str(config), "--data", "a", "--test-data", "b", "--out", str(tmp_path / "out")]
        return ablation.parser().parse_args([*needed, *more])

    return parse


class TestRuns:
    def test_every_recipe_and_seed_with_the_guides_it_asks_for(self, ablation, arguments):
        given = arguments("--seeds", "4", "5", "--recipes", "none", "direct", "imd", "paper", "--steps", "7")
        runs = ablation.student_runs(given, ablation.guide_runs(given))
        assert [run.name for run in runs] == [f"{name}-{seed}" for seed in (4, 5) for name in given.recipes]
        asked = {run.name: [kind for kind in ("teacher", "assistant") if f"--{kind}" in run.arguments] for run in runs}
        assert asked["none-4"] == [] and asked["direct-4"] == ["teacher"]
        assert asked["imd-5"] == ["assistant"] and asked["paper-5"] == ["teacher", "assistant"]
        for run in runs:
            settings = list(run.arguments)
            assert settings[settings.index("--seed") + 1] == run.name[-1]
            assert settings[settings.index("--steps") + 1] == "7"
            assert str(run.init).endswith("guides/assistant/train/final.pt")

    def test_the_assistant_is_trained_with_the_teacher_that_aligns_it(self, ablation, arguments):
        teacher, assistant = ablation.guide_runs(arguments("--guide-steps", "9"))
        assert "--teacher" not in teacher.arguments
        settings = list(assistant.arguments)
        assert settings[settings.index("--teacher") + 1] == str(assistant.init) == str(teacher.weights)
        assert teacher.init is None
        assert settings[settings.index("--steps") + 1] == "9"

    def test_its_commands_are_understood(self, ablation, arguments, tmp_path):
        rows = ["none", "paper", "paper+unlabelled", "none+unlabelled_only"]
        given = arguments(
            "--recipes", *rows, "--unlabelled", "u", "--val-data", "v", "--guide-cache", "g", "--steps", "7"
        )
        guides = ablation.guide_runs(given)
        for run in (*guides, *ablation.student_runs(given, guides)):
            train, evaluate = (build_parser(words[0]).parse_args(words) for words in run.commands([Path("b")], "cpu"))
            assert (train.network, train.init, train.val_data) == (run.network, run.init, [Path("v")])
            assert evaluate.checkpoint == train.out / "final.pt" and evaluate.data == [Path("b")]
            run.weights.parent.mkdir(parents=True)
            (run.weights.parent / "last.pt").touch()
            assert build_parser("train").parse_args(next(run.commands([], "cpu"))).resume

    def test_an_overlay_is_for_guides_and_students(self, ablation, arguments, repository):
        overlay = str(repository / "config" / "recipes" / "refine.yaml")
        given = arguments("--overlay", overlay, "--recipes", "none")
        guides = ablation.guide_runs(given)
        for run in (*guides, *ablation.student_runs(given, guides)):
            words = list(run.arguments)
            layers = [words[at + 1] for at, word in enumerate(words) if word == "--recipe"]
            assert len(layers) == 2 and layers[1] == overlay, run.name

    def test_rows_of_several_parts_and_unlabelled_recordings(self, ablation, arguments):
        given = arguments("--recipes", "none", "none+unlabelled", "paper+unlabelled", "--unlabelled", "u", "v")
        given.guide_cache, given.seeds = Path("g"), [0]
        runs = {run.name: run.arguments for run in ablation.student_runs(given, ablation.guide_runs(given))}
        assert set(runs) == {"none-0", "none+unlabelled-0", "paper+unlabelled-0"}
        assert "--unlabelled" not in runs["none-0"] and "--guide-cache" not in runs["none-0"]
        labelled_by_teacher = runs["none+unlabelled-0"]
        assert "--teacher" in labelled_by_teacher and "--assistant" not in labelled_by_teacher
        assert "--guide-cache" not in labelled_by_teacher
        both = list(runs["paper+unlabelled-0"])
        assert both[both.index("--unlabelled") + 1 :][:2] == ["u", "v"]
        assert [both[at + 1] for at, word in enumerate(both) if word == "--recipe"] == ["paper", "unlabelled"]
        assert {"--teacher", "--assistant", "--guide-cache"} <= set(both)

    def test_a_start_that_is_scored_as_it_is_and_rows_without_labels(self, ablation, arguments, tmp_path):
        weights = tmp_path / "mine.pt"
        weights.write_bytes(b"one")
        rows = ("start", "none+unlabelled_only", "paper+unlabelled")
        given = arguments("--recipes", *rows, "--unlabelled", "u", "--seeds", "0", "1", "--init", str(weights))
        start, *runs = ablation.student_runs(given, ablation.guide_runs(given))
        assert start.name == "start" and start.arguments == () and start.weights.resolve() == weights
        assert [command[0] for command in start.commands([Path("b")], "cpu")] == ["evaluate"]
        assert [run.name for run in runs] == [f"{row}-{seed}" for seed in (0, 1) for row in rows[1:]]
        assert all(run.init == weights and "--unlabelled" in run.arguments for run in runs)
        assert [("--data" in run.arguments) for run in runs] == [False, True] * 2
        assert ablation.run_name("start", 0) == ablation.run_name("start", 1)
        plan = ablation.plan(given)
        assert set(plan["recipes"]) == {*rows[1:]}
        weights.write_bytes(b"two")
        with pytest.raises(ConfigError, match=r"holds runs of other settings \(start\)"):
            ablation.check_plan(tmp_path, plan)
            ablation.check_plan(tmp_path, ablation.plan(given), so_far=True)

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--init", "assistant"), "--recipes start: --init has to name a student's weights, got assistant"),
            (("--init", "scratch"), "--recipes start: --init has to name a student's weights, got scratch"),
            (("--init", "assistant_small"), "expected student weights, got assistant weights"),
            (("--init", "monotakd_small"), "--unlabelled: expected recordings for the rows that learn from them"),
            (("--init", "monotakd_smal"), "no weights of that name are shipped"),
        ],
    )
    def test_what_is_missing_is_said_before_anything_is_written(
        self, ablation, arguments, tmp_path, monkeypatch, words, message
    ):
        given = arguments("--recipes", "start", "none+unlabelled", *words)
        monkeypatch.setattr(ablation, "parser", lambda: SimpleNamespace(parse_args=lambda: given))
        with pytest.raises(SystemExit, match=message):
            ablation.main()
        assert not (tmp_path / "out").exists()

    def test_labelled_sources_may_be_left_out_where_nothing_learns_from_them(self, ablation, arguments, tmp_path):
        ready = ("--teacher", "teacher_small", "--assistant", "assistant_small", "--unlabelled", "u")
        rows = {"none+unlabelled_only": ready, "none": ready, "paper+unlabelled_only": ready[4:]}
        for row, words in rows.items():
            given = arguments("--recipes", row, *words)
            given.data = []
            if row == "none+unlabelled_only":
                ablation.check_rows(given)
                continue
            with pytest.raises(ConfigError, match="--data: expected labelled sources for the guides and rows"):
                ablation.check_rows(given)

    def test_two_runs_of_one_name_are_refused(self, ablation, arguments, tmp_path):
        recipe = tmp_path / "direct.yaml"
        recipe.write_text("training: {recipe: mine}\n")
        for words in (("--recipes", "none", "direct", str(recipe)), ("--recipes", "none", "--seeds", "1", "1")):
            given = arguments(*words)
            with pytest.raises(ConfigError, match=r"two runs would be called (direct-0, direct-1, direct-2|none-1)"):
                ablation.check_rows(given)

    def test_a_given_guide_that_moved_is_found_again(self, ablation, arguments, tmp_path):
        old, new = tmp_path / "old.pt", tmp_path / "new.pt"
        for path in (old, new):
            path.touch()
            run = ablation.guide_runs(arguments("--teacher", str(path)))[0]
            assert run.weights.resolve() == path and run.arguments == ()
            path.unlink()

    def test_from_scratch(self, ablation, arguments):
        given = arguments("--init", "scratch")
        assert all(run.init is None for run in ablation.student_runs(given, ablation.guide_runs(given)))

    def test_what_is_done_is_kept_and_what_was_begun_goes_on(self, ablation, arguments):
        run = ablation.student_runs(arguments(), ablation.guide_runs(arguments()))[0]

        def verbs():
            return [(command[0], command[-1]) for command in run.commands([Path("b")], "cpu")]

        assert [verb for verb, _ in verbs()] == ["train", "evaluate"] and verbs()[0][1] == "--overwrite"
        first = next(run.commands([Path("b")], "cpu"))
        assert first[first.index("--init") + 1] == str(run.init)
        (run.folder / "train").mkdir(parents=True)
        (run.folder / "train" / "last.pt").touch()
        assert verbs()[0] == ("train", "--resume")
        assert "--init" not in next(run.commands([Path("b")], "cpu")), "a resumed run has its start already"
        run.weights.touch()
        assert [verb for verb, _ in verbs()] == ["evaluate"]
        write_report(run.boxes, 3)
        assert verbs() == []

    def test_a_report_that_was_interrupted_is_made_again(self, ablation, arguments):
        given = arguments("--recipes", "none", "--seeds", "0", "--resamples", "20")
        guides = ablation.guide_runs(given)
        (run,) = ablation.student_runs(given, guides)
        run.weights.parent.mkdir(parents=True)
        run.weights.touch()
        write_report(run.boxes, 3, frames=40, interrupted=True)
        ((verb, *words),) = run.commands([Path("b")], "cpu")
        assert verb == "evaluate" and words[-1] == "--overwrite"
        for guide in guides:
            write_report(guide.boxes, 80)
        with pytest.raises(TrainingError, match="expected both guides and a run of none to be done"):
            ablation.table(given, guides)

    def test_reports_of_other_frames_are_refused(self, ablation, arguments):
        given = arguments("--recipes", "none", "--seeds", "0", "--resamples", "20")
        guides = ablation.guide_runs(given)
        for guide in guides:
            write_report(guide.boxes, 80)
        (run,) = ablation.student_runs(given, guides)
        write_report(run.boxes, 3, frames=40)
        with pytest.raises(TrainingError, match=r"none-0.report: a report of 40 frames that are not the 80 of the"):
            ablation.table(given, guides)

    @pytest.mark.parametrize("option", ["--data", "--unlabelled", "--val-data"])
    def test_nothing_is_learned_of_what_is_tested(self, ablation, arguments, tmp_path, option):
        given = arguments("--recipes", "none", option, str(tmp_path / "held" / "drive"))
        given.test_data = [tmp_path / "held"]
        with pytest.raises(ConfigError, match=f"--test-data .*held and {option} .*drive are the same recording, or"):
            ablation.check_rows(given)

    def test_a_run_that_fails_names_its_log(self, ablation, tmp_path):
        run = ablation.Run("none-0", "student", tmp_path / "none-0", ())
        with pytest.raises(TrainingError, match=r"none-0: `monotakd train` ended with 1; see .*train\.log"):
            ablation.Children(1).work(run, lambda: iter([["train", "student"]]))
        assert "required: --config" in (tmp_path / "none-0" / "train.log").read_text()


class Busy:
    """Stands in for `Children`: how many runs are worked on at the same time."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def work(self, run, commands) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        time.sleep(0.2)
        self.now -= 1


def test_students_run_beside_each_other_but_the_assistant_after_its_teacher(ablation, arguments):
    given = arguments("--jobs", "2")
    guides = ablation.guide_runs(given)
    children = Busy()
    ablation.work_on_guides(guides, given, children)
    assert children.most == 1
    ablation.work_on_students(ablation.student_runs(given, guides)[:4], given, children)
    assert children.most == 2


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_takes_its_runs_along(tmp_path, repository, stop):
    """A run in the background of a shell, which ignores SIGINT, is told to save its state all the same."""
    program = """
import signal, sys, time
from pathlib import Path
def end(*_):
    Path(sys.argv[1], "saved").touch()
    sys.exit(130)
signal.signal(signal.SIGINT, end)
Path(sys.argv[1], "begun").touch()
time.sleep(60)
"""
    stand_in = tmp_path / "stand_in.py"
    stand_in.write_text(program)
    wrapper = f"""
import importlib.util, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
spec = importlib.util.spec_from_file_location("ablation", {str(repository / "benchmarks" / "ablation.py")!r})
ablation = importlib.util.module_from_spec(spec)
sys.modules["ablation"] = ablation
spec.loader.exec_module(ablation)
ablation.command_line = lambda words: [sys.executable, {str(stand_in)!r}, {str(tmp_path)!r}]
ablation.main()
"""
    (tmp_path / "wrapper.py").write_text(wrapper)
    config = repository / "config" / "monotakd_tiny.yaml"
    words = ["--config", str(config), "--data", "a", "--test-data", "b", "--out", str(tmp_path / "out")]
    process = subprocess.Popen([sys.executable, str(tmp_path / "wrapper.py"), *words], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "begun").exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        process.send_signal(stop)
        _, text = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1 and b"stopped; the same command goes on from here" in text
    assert (tmp_path / "saved").exists()


class TestPlan:
    def test_other_settings_are_refused_and_recipes_may_be_added(self, ablation, arguments, tmp_path):
        out = tmp_path / "out"
        ablation.check_plan(out, ablation.plan(arguments("--recipes", "none", "imd")))
        ablation.check_plan(out, ablation.plan(arguments("--recipes", "none", "cmrd")))
        assert set(json.loads((out / "plan.json").read_text())["recipes"]) == {"none", "imd", "cmrd"}
        with pytest.raises(ConfigError, match=r"holds runs of other settings \(steps\)"):
            ablation.check_plan(out, ablation.plan(arguments("--steps", "3")))

    def test_a_recipe_that_changed_is_refused(self, ablation, arguments, tmp_path):
        first = ablation.plan(arguments("--recipes", "none", "imd"))
        ablation.check_plan(tmp_path, first)
        first["recipes"]["imd"]["training"]["batch_size"] = 99
        with pytest.raises(ConfigError, match=r"other settings \(imd\)"):
            ablation.check_plan(tmp_path, first)

    def test_runs_of_other_code_or_another_start_are_refused(self, ablation, arguments, tmp_path, monkeypatch):
        weights = tmp_path / "mine.pt"
        weights.write_bytes(b"one")
        plan = ablation.plan(arguments("--recipes", "none", "--init", str(weights)))
        ablation.check_plan(tmp_path / "of_now", plan)
        weights.write_bytes(b"two")
        with pytest.raises(ConfigError, match=r"other settings \(start\)"):
            ablation.check_plan(
                tmp_path / "of_now", ablation.plan(arguments("--recipes", "none", "--init", str(weights)))
            )
        weights.write_bytes(b"one")
        monkeypatch.setattr(ablation, "training_code", lambda: "of later")
        later = ablation.plan(arguments("--recipes", "none", "--init", str(weights)))
        with pytest.raises(ConfigError, match=r"other settings \(code\)"):
            ablation.check_plan(tmp_path / "of_now", later)
        del plan["code"], plan["start"]
        (tmp_path / "earlier").mkdir()
        (tmp_path / "earlier" / "plan.json").write_text(json.dumps(plan))
        ablation.check_plan(tmp_path / "earlier", later)


FRAMES = 80


def one_car(score: float) -> KittiFrame:
    """A frame with a car 20 m ahead."""
    return results_from_text(f"Car 0 0 0 100 100 200 160 1.5 1.6 3.9 0 1.6 20 0 {score}", "a car").frame


def write_report(path: Path, found: int, frames: int = FRAMES, interrupted: bool = False) -> None:
    """Boxes of a detector that finds the car in the first `found` of the frames."""
    path.parent.mkdir(parents=True)
    (path.parent / "report.json").write_text(json.dumps({"run": {"interrupted": interrupted}}))
    results = [one_car(0.9 - index / 200) if index < found else KittiFrame.empty() for index in range(frames)]
    write_boxes(path, [EvaluationFrame(f"drive/{i:06d}", one_car(0.0), result) for i, result in enumerate(results)])


def test_figures_come_from_the_reports_of_all_runs(ablation, arguments):
    given = arguments("--recipes", "none", "paper", "--seeds", "3", "4", "--resamples", "50", "--block-frames", "1")
    guides = ablation.guide_runs(given)
    for run, found in zip(guides, (80, 60)):
        write_report(run.boxes, found)
    for run, found in zip(ablation.student_runs(given, guides), (16, 32, 24, 48)):  # seed by seed: none, paper
        write_report(run.boxes, found)
    result = ablation.table(given, guides)
    assert (result["frames"], result["seeds"]) == (FRAMES, [3, 4])
    assert set(result["rows"]) == {"Car strict", "Car loose"}, "classes without an object have no figure"
    rows = result["rows"]["Car strict"]
    assert rows["none"]["by_seed"] == pytest.approx({"3": 20, "4": 30}, abs=2.5)
    assert rows["paper"]["by_seed"] == pytest.approx({"3": 40, "4": 60}, abs=2.5)
    assert (rows["teacher"]["mean"], rows["assistant"]["mean"]) == pytest.approx((100, 75), abs=2.5)
    assert rows["paper"]["gap_closed"]["share"] == pytest.approx(25 / 75, abs=0.02)
    low, high = rows["paper"]["gain"]["interval"]
    assert 0 < low < 25 < high
    ablation.write_table(given.out, result)
    assert json.loads((given.out / "table.json").read_text()) == result
    assert f"| paper | {rows['paper']['mean']:.1f} (" in (given.out / "table.md").read_text()
    assert "ot done yet" not in (given.out / "table.md").read_text()
    assert (given.out / "table.png").read_bytes().startswith(b"\x89PNG")


def test_a_table_of_the_runs_that_are_done(ablation, arguments, tmp_path, monkeypatch, capsys):
    weights = tmp_path / "mine.pt"
    weights.write_bytes(b"one")
    words = ("--recipes", "none", "start", "imd", "paper", "--seeds", "0", "1", "2", "--resamples", "20", "--so-far")
    given = arguments(*words, "--init", str(weights))
    monkeypatch.setattr(ablation, "parser", lambda: SimpleNamespace(parse_args=lambda: given))
    monkeypatch.setattr(ablation, "check_rows", lambda arguments: None)
    monkeypatch.setattr(ablation.signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit, match=r"out: --so-far needs the folder of an ablation, found no plan\.json"):
        ablation.main()
    assert not given.out.exists()
    ablation.check_plan(given.out, ablation.plan(given))
    guides = ablation.guide_runs(given)
    write_report(guides[0].boxes, 80)
    runs = {run.name: run for run in ablation.student_runs(given, guides)}
    write_report(runs["start"].boxes, 8)
    for missing in ("a guide", "the first row"):
        with pytest.raises(SystemExit, match=r"error: .*out: expected both guides and a run of none to be done"):
            ablation.main()
        if missing == "a guide":
            write_report(guides[1].boxes, 60)
    for name, found in {"none-1": 16, "paper-0": 32, "paper-2": 40}.items():
        write_report(runs[name].boxes, found)
    ablation.main()
    assert "Not done yet: none-0, none-2, imd-0, imd-1, imd-2, paper-1." in capsys.readouterr().out
    rows = json.loads((given.out / "table.json").read_text())["rows"]["Car strict"]
    assert {name: len(row.get("by_seed", ())) for name, row in rows.items()} == {
        "none": 1,
        "start": 1,
        "paper": 2,
        "teacher": 0,
        "assistant": 0,
    }
    assert rows["paper"]["by_seed"] == pytest.approx({"0": 40, "2": 50}, abs=2.5)
    assert rows["paper"]["gain"] is None, "none has no seed of these"
    assert rows["start"]["gain"]["interval"][1] < 0


def test_the_table(ablation):
    gap = {"share": 0.25, "interval": [0.1, 0.4]}
    rows = {
        "none": {
            "mean": 20.0,
            "by_seed": {"0": 19.0, "2": 21.0},
            "interval": [15.0, 25.0],
            "gain": {"points": 0.0, "interval": [0.0, 0.0]},
            "gap_closed": None,
        },
        "paper": {
            "mean": 35.0,
            "by_seed": {"0": 34.0, "1": 35.0, "2": 36.0},
            "interval": [30.0, 40.0],
            "gain": {"points": 15.5, "interval": [9.0, 21.0]},
            "gap_closed": gap,
        },
        "start": {"mean": 1.0, "by_seed": {"None": 1.0}, "interval": [0.0, 2.0], "gain": None, "gap_closed": None},
        "teacher": {"mean": 80.0},
    }
    result = {"frames": 5, "seeds": [0, 1, 2], "not_done": ["none-1"], "resamples": 10, "block_frames": 2}
    result["rows"] = {"Car strict": rows}
    lines = ablation.markdown(result).splitlines()
    assert "Not done yet: none-1." in lines
    assert "| none | 20.0 (15.0 to 25.0) | 19.0 / – / 21.0 |  |  |" in lines
    assert "| paper | 35.0 (30.0 to 40.0) | 34.0 / 35.0 / 36.0 | +15.5 (+9.0 to +21.0) | 25% (10% to 40%) |" in lines
    assert "| start | 1.0 (0.0 to 2.0) | 1.0 |  |  |" in lines
    assert "| (teacher) | 80.0 | | | |" in lines
