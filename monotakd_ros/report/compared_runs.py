"""What A and B are, fact by fact and side by side, so that every difference between the two runs shows.

A fact is shown where either report has it; one that this file does not know by name is shown when it differs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from monotakd_ros.report.comparison import Comparison
from monotakd_ros.report.wording import DASH, moment, plural

Section = Mapping[str, Any]
MODES = {"results": "KITTI result files", "detections": "recorded detections", "checkpoint": "a checkpoint's run"}
INTERVALS_OF_EACH = {"seed", "resamples", "block_frames", "confidence"}
"""How each report made its own intervals, which a comparison does not use."""


class Fact(NamedTuple):
    """One row.

    Attributes:
        name: in words.
        a, b: of each side, as text; a dash where it has none.
        exact: a path, a hash or a commit, to be shown letter by letter.
    """

    name: str
    a: str
    b: str
    exact: bool = False

    @property
    def differs(self) -> bool:
        """Whether A and B differ in it."""
        return self.a != self.b


def compared_facts(comparison: Comparison) -> list[Fact]:
    """Every fact that either side has, in reading order."""
    a, b = comparison.reports
    known = [Fact("Report", *comparison.folders, exact=True)]
    known += [Fact(name, read(a), read(b), exact) for name, (read, exact) in _FACTS.items()]
    rest = [key for key in {**a["run"], **b["run"]} if key not in _KNOWN_KEYS]
    others = [Fact(key.replace("_", " "), _plain(a["run"].get(key)), _plain(b["run"].get(key)), True) for key in rest]
    shown = [fact for fact in known if (fact.a, fact.b) != (DASH, DASH)]
    return shown + _versions(a["run"], b["run"]) + [fact for fact in others if fact.differs]


def _versions(a: Section, b: Section) -> list[Fact]:
    """Libraries that differ get a row each; those that are the same share one."""
    a, b = a.get("versions") or {}, b.get("versions") or {}
    same = [f"{name} {version}" for name, version in a.items() if b.get(name) == version]
    differing = [name for name in {**a, **b} if a.get(name) != b.get(name)]
    rows = [Fact(f"Version of {name}", a.get(name, DASH), b.get(name, DASH)) for name in differing]
    return rows + ([Fact("Versions", *[", ".join(same)] * 2)] if same else [])


def _plain(value: Any) -> str:
    if value is None:
        return DASH
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _of_run(key: str, show: Callable[[Any], str] = _plain) -> Callable[[Section], str]:
    return lambda report: show(report["run"][key]) if report["run"].get(key) is not None else DASH


def _of_checkpoint(key: str) -> Callable[[Section], str]:
    return lambda report: _plain((report["run"].get("checkpoint") or {}).get(key))


def _sources(report: Section) -> str:
    sources = report["run"].get("sources") or []
    return "; ".join(f"{item['path']} ({plural(item['frames'], 'frame')})" for item in sources) or DASH


def _frames(report: Section) -> str:
    frames = report["frames"]
    left = {"without results": "missing", "without labels": "extra", "unreadable": "skipped"}
    counts = [f"{frames[key]['count']:,} {words}" for words, key in left.items() if frames[key]["count"]]
    return ", ".join([f"{frames['evaluated']:,} evaluated", *counts])


def _boxes(report: Section) -> str:
    return ", ".join(f"{sides['results']:,} {name}" for name, sides in report["counts"].items() if sides["results"])


_FACTS: dict[str, tuple[Callable[[Section], str], bool]] = {
    "Title": (_of_run("title"), False),
    "Evaluated": (_of_run("created", moment), False),
    "Boxes from": (_of_run("mode", lambda mode: MODES.get(mode, mode)), False),
    "Results": (_of_run("results"), True),
    "Checkpoint": (_of_checkpoint("file"), True),
    "sha256": (_of_checkpoint("sha256"), True),
    "Config": (_of_checkpoint("config"), True),
    "Sources": (_sources, True),
    "Labels": (_of_run("labels"), True),
    "Frames": (_frames, False),
    "Boxes": (lambda report: _boxes(report) or "none", False),
    "Device": (_of_run("device"), False),
    "Half precision": (_of_run("amp"), False),
    "Commit": (_of_run("commit"), True),
}
_KNOWN_KEYS = INTERVALS_OF_EACH | {
    *("title", "created", "mode", "results", "checkpoint", "sources", "labels", "device", "amp", "commit", "versions")
}
