"""What an inspection means for `generate` and `train`: each finding with what to do about it, and a verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from monotakd_ros.inspection import alignment_search as search

if TYPE_CHECKING:
    from monotakd_ros.inspection.inspection import Inspection

Severity = Literal["problem", "warning", "note"]

FEW_WITHIN = 0.98
FEW_IN_VIEW = 0.02
MANY_MISSING = 0.5
SLOW_HZ = 1.0
READY, POOR, UNUSABLE = "ready", "usable, with warnings", "cannot be used as it is"
LOOKUP_SHARE = 1.0


@dataclass(frozen=True)
class Finding:
    """One thing to know.

    Attributes:
        severity: "problem": `generate` would fail or give nothing; "warning": it would be poor; "note": good to know.
        text: what is so.
        advice: what to do.
    """

    severity: Severity
    text: str
    advice: str = ""


def verdict(findings: tuple[Finding, ...]) -> str:
    """The worst of the findings as words."""
    severities = {finding.severity for finding in findings}
    return UNUSABLE if "problem" in severities else POOR if "warning" in severities else READY


def findings_of(inspection: Inspection) -> Iterator[Finding]:
    """Problems, warnings and notes."""
    yield from _file(inspection)
    yield from _topics(inspection)
    yield from _times(inspection)
    yield from _camera(inspection)
    yield from _transforms(inspection)
    yield from _cloud(inspection)
    yield from _sync(inspection)
    yield from _alignment(inspection)


def _file(inspection: Inspection) -> Iterator[Finding]:
    for cut in inspection.cuts:
        repair = "`mcap recover` (MCAP), `sqlite3 FILE .recover` (sqlite3), `rosbag reindex` (ROS 1)"
        yield Finding("warning", cut, f"work with what is there; what repairs files: {repair}")
    if inspection.broken:
        yield Finding("warning", inspection.broken, "everything behind that place is lost; check the disk it came from")
    if inspection.share_read < 1.0:
        read = f"{inspection.share_read:.0%} of the recording was looked at"
        yield Finding("note", read, "--whole reads all of it")
    if not inspection.messages:
        yield Finding("problem", "the bag holds no messages", "record again")
    for name, count in inspection.unreadable.items():
        yield Finding("warning", f"{name}: {count} messages are not of their type", "these are skipped")


def _topics(inspection: Inspection) -> Iterator[Finding]:
    if not inspection.messages:
        return
    for problem in inspection.choice.problems:
        yield Finding("problem", problem, _option_for(problem))
    if inspection.choice.image is not None and inspection.choice.points is None and not inspection.choice.problems:
        yield Finding(
            "warning",
            "there is no cloud",
            "the student can be run on such a bag; `generate` needs a LiDAR for teacher and assistant",
        )


def _option_for(problem: str) -> str:
    if "choose one with" in problem:
        return "give the option named"
    return "record that topic; without it the bag cannot be used for training"


def _times(inspection: Inspection) -> Iterator[Finding]:
    for topic in inspection.topics:
        times = topic.timing
        if times is None or topic.name not in (inspection.choice.image, inspection.choice.points):
            continue
        if times.gaps:
            longest = times.longest_gaps[0]
            text = f"{topic.name}: {times.gaps} gaps, the longest {longest.length_s:.2f} s at {longest.at_s:.1f} s"
            yield Finding("warning", text, "frames are missing there; tracks over time break")
        if times.duplicates:
            yield Finding(
                "warning", f"{topic.name}: {times.duplicates} stamps come twice", "look for a driver that sends twice"
            )
        if times.backward:
            text = f"{topic.name}: stamps go back {times.backward} times"
            yield Finding(
                "warning", text, "messages are sorted by stamp on reading; if a clock was set, cut the bag there"
            )
        if times.clock_jumps:
            text = f"{topic.name}: the sensor's clock and the recorder's jump apart at {times.clock_jumps[0]:.1f} s"
            yield Finding("warning", text, "a clock was set while recording; synchronise clocks before, or cut the bag")
        if times.without_stamp:
            text = f"{topic.name}: {times.without_stamp} messages have no stamp"
            yield Finding("warning", text, "the bag's time is taken, which has the transport's delay in it")
        if times.rate_hz is not None and times.rate_hz < SLOW_HZ:
            yield Finding("note", f"{topic.name}: only {times.rate_hz:.2f} messages a second")


def _camera(inspection: Inspection) -> Iterator[Finding]:
    camera = inspection.camera
    if camera is None:
        return
    for problem in camera.problems:
        yield Finding("problem", problem, "calibrate the camera, or correct its CameraInfo in the bag")
    for oddity in camera.oddities:
        yield Finding("warning", oddity, "compare with the camera's calibration")
    if camera.changes:
        yield Finding("warning", f"CameraInfo changes {camera.changes} times", "each holds from its stamp on")
    if inspection.samples_failed:
        reasons = inspection.samples_failed
        yield Finding("warning", f"{len(reasons)} sampled moments could not be read; the first: {reasons[0]}", "")


def _transforms(inspection: Inspection) -> Iterator[Finding]:
    tree = inspection.transforms
    for circle in tree.loops:
        shown = " -> ".join([*circle, circle[0]])
        yield Finding("problem", f"tf has a loop: {shown}", "one of these publishers is wrong; take it out of the bag")
    for child, parents in tree.several_parents.items():
        text = f"tf gives {child} several parents: {', '.join(parents)}"
        yield Finding("warning", text, "the last one sent counts, so poses depend on the order; take one out")
    for edge in tree.changed_statics:
        yield Finding(
            "warning", f"the static transform {edge} changes", "each holds from its stamp on; which is right?"
        )
    if tree.bad_quaternions:
        text = f"{tree.bad_quaternions} messages of tf have a quaternion of length 0"
        yield Finding("warning", text, "they are left out")
    lookup = inspection.lookup
    if lookup is None or lookup.share >= LOOKUP_SHARE:
        return
    pair = f"from {lookup.cloud_frame} to {lookup.camera_frame}"
    if lookup.share == 0:
        text = f"tf does not connect the sensors: no transform {pair}"
        yield Finding("problem", text, "give the extrinsic with --calibration, or add a static transform to the bag")
    else:
        text = f"no transform {pair} for {1 - lookup.share:.1%} of the images, first at {lookup.first_missing_s:.1f} s"
        yield Finding(
            "warning", text, "these images have no cloud; cut the bag, or give the extrinsic with --calibration"
        )


def _cloud(inspection: Inspection) -> Iterator[Finding]:
    layout = inspection.cloud
    if layout is None:
        return
    if layout.points == 0:
        yield Finding("problem", "the clouds are empty", "check the LiDAR's driver")
    if layout.intensity is None:
        yield Finding("warning", "clouds have no intensity", "it is taken as 0: teacher and assistant lose accuracy")
    if layout.missing_share > MANY_MISSING:
        yield Finding("note", f"{layout.missing_share:.0%} of the points are NaN (no return)")
    share = inspection.share_in_view
    if share is not None and share < FEW_IN_VIEW:
        text = f"only {share:.1%} of the LiDAR's points fall into the image"
        yield Finding("warning", text, "check the extrinsic (tf or --calibration): does the camera look where it says?")


def _sync(inspection: Inspection) -> Iterator[Finding]:
    report = inspection.sync
    if report is None:
        return
    if report.share_within < FEW_WITHIN:
        text = f"{1 - report.share_within:.0%} of the images have no cloud within {report.tolerance_ms:.0f} ms"
        severity: Severity = "problem" if report.share_within == 0 else "warning"
        yield Finding(severity, text, "those have no cloud; check clocks and the gaps above")
    if report.has_constant_offset:
        text = f"clouds are stamped {report.offset_ms:+.1f} ms from the images, all along"
        yield Finding("note", text, "right if the scan then passes the camera's view; the calibration check says more")


def _alignment(inspection: Inspection) -> Iterator[Finding]:
    report = inspection.alignment
    if report is None:
        return
    if report.reason == search.NOWHERE:
        text = f"calibration: {report.reason}"
        yield Finding("warning", text, "the extrinsic or the stamps may be far off: look at the picture (--png)")
    elif report.verdict == search.CANNOT_TELL:
        yield Finding("note", f"calibration: cannot tell ({report.reason})", "look at the picture (--png)")
    elif report.verdict == search.SHIFT and not report.correction_shift:
        advice = "clouds and images are paired rightly all the same; correct the stamps before --compensate-motion"
        yield Finding("warning", f"calibration: {corrections(report)[0]}", advice)
    elif report.verdict != search.AGREES:
        yield Finding("warning", f"calibration: {' and '.join(corrections(report))}", _CORRECT)
    elif report.shift_ms is not None and not report.shift_ms.can_tell:
        yield Finding("note", "time offset: cannot tell (little moves in the sampled frames)")


_CORRECT = (
    "labels and depth would be off by as much: calibrate again (or correct tf, or the stamps) and inspect again; "
    "--png shows both"
)


def corrections(report: search.AlignmentReport) -> list[str]:
    """What would agree better, in words."""
    texts = []
    if any(report.correction_deg):
        beyond = " or more" if max(map(abs, report.correction_deg)) > search.MAX_DEG - 0.1 else ""
        names = zip(("x axis (right)", "y axis (down)", "z axis (ahead)"), report.correction_deg)
        turns = " and ".join(f"{angle:+.1f} degrees about the camera's {name}" for name, angle in names if angle)
        texts.append(f"a rotation of the LiDAR's points by {turns}{beyond} would agree better")
    if report.correction_ms:
        late = f"{abs(report.correction_ms):.0f} ms {'late' if report.correction_ms < 0 else 'early'}"
        texts.append(
            f"a shift of {report.correction_ms:+.0f} ms of the clouds' stamps would agree better (they are {late})"
        )
    return texts
