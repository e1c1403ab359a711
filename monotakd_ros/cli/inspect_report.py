"""The text of `monotakd inspect`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

from monotakd_ros.inspection.alignment_search import CANNOT_TELL, AlignmentReport, Estimate
from monotakd_ros.inspection.findings import corrections
from monotakd_ros.inspection.inspection import Inspection, TopicReport

AXIS_NAMES = {"x": "x (right, pitch)", "y": "y (down, yaw)", "z": "z (ahead, roll)"}
MIB = 2**20


def report(inspection: Inspection) -> str:
    """Everything about one bag, the verdict last."""
    parts = (_head, _topics, _camera, _cloud, _transforms, _sync, _alignment, _verdict)
    return "\n".join(line for part in parts for line in part(inspection))


def _head(inspection: Inspection) -> Iterator[str]:
    seconds = (inspection.end_ns - inspection.start_ns) / 1e9
    start = datetime.fromtimestamp(inspection.start_ns / 1e9, tz=timezone.utc)
    yield f"{inspection.path}: {inspection.messages} messages, {inspection.bytes / MIB:.1f} MiB"
    if inspection.messages:
        yield f"  recorded {start:%Y-%m-%d %H:%M:%S} UTC, {seconds:.1f} s"
    yield (
        f"  looked at: the heads of {inspection.share_read:.0%} of the recording; decoded "
        f"{inspection.images_sampled} images and {inspection.clouds_sampled} clouds"
    )
    yield from (f"  {cut}" for cut in inspection.cuts)


def _topics(inspection: Inspection) -> Iterator[str]:
    if not inspection.topics:
        return
    width = max(len(topic.name) for topic in inspection.topics)
    yield ""
    columns = f"{'count':>7}{'Hz':>8}{'gaps':>6}{'twice':>6}{'back':>5}{'delay ms':>9}  type"
    yield f"{'topics':<{width + 2}}  {columns}"
    for topic in inspection.topics:
        chosen = topic.name in (inspection.choice.image, inspection.choice.camera_info, inspection.choice.points)
        yield f"{'*' if chosen else ' '} {topic.name:<{width}}  {_figures(topic)}  {_type(topic)}"
    yield "  * inspected as camera and LiDAR; delay: bag time less header stamp, median"
    for topic in inspection.topics:
        gaps = topic.timing.longest_gaps if topic.timing else ()
        if gaps:
            yield f"  longest gaps of {topic.name}: " + ", ".join(f"{g.length_s:.2f} s at {g.at_s:.1f} s" for g in gaps)


def _figures(topic: TopicReport) -> str:
    times = topic.timing
    if times is None:
        return f"{topic.messages:>7}{'-':>8}{'-':>6}{'-':>6}{'-':>5}{'-':>9}"
    rate = "-" if times.rate_hz is None else f"{times.rate_hz:.2f}"
    delay = "-" if times.delay_ms is None else f"{times.delay_ms[0]:.1f}"
    return f"{topic.messages:>7}{rate:>8}{times.gaps:>6}{times.duplicates:>6}{times.backward:>5}{delay:>9}"


def _type(topic: TopicReport) -> str:
    return topic.type_name if topic.is_known_type else f"{topic.type_name} (not used)"


def _camera(inspection: Inspection) -> Iterator[str]:
    camera = inspection.camera
    if camera is None:
        return
    yield ""
    yield f"camera      {inspection.choice.image}, frame {camera.image_frame}"
    if camera.image_size:
        yield f"            images {camera.image_size[0]} x {camera.image_size[1]} px"
    if camera.info_size:
        distortion = f"distortion ({camera.distortion_model})" if camera.has_distortion else "no distortion"
        named = "the topic's name says rectified" if camera.is_rectified else "the topic's name does not say rectified"
        yield f"            CameraInfo {camera.info_size[0]} x {camera.info_size[1]} px, {distortion}; {named}"
    if camera.focal_px:
        fx, fy = camera.focal_px
        yield f"            focal length {fx:.1f}, {fy:.1f} px; field of view {camera.field_of_view_deg:.0f} degrees"


def _cloud(inspection: Inspection) -> Iterator[str]:
    layout = inspection.cloud
    if layout is None:
        return
    yield ""
    yield f"clouds      {inspection.choice.points}, " + ", ".join(f"{name} {kind}" for name, kind in layout.fields)
    order = "organised" if layout.is_organised else "not organised"
    timed = f"per-point time in {layout.time}" if layout.time else "no per-point time"
    endian = ", big-endian" if layout.is_big_endian else ""
    yield f"            {layout.points} points, {layout.missing_share:.1%} NaN; {order}, {timed}{endian}"
    if layout.range_m:
        yield f"            half within {layout.range_m[0]:.0f} m, 99 % within {layout.range_m[1]:.0f} m"
    if inspection.share_in_view is not None:
        yield f"            {inspection.share_in_view:.1%} of the points fall into the image"


def _transforms(inspection: Inspection) -> Iterator[str]:
    tree = inspection.transforms
    yield ""
    if tree.drawing:
        connected = "connected" if tree.parts == 1 else f"{tree.parts} parts that are not connected"
        yield f"tf          {connected}"
        yield from (f"            {line}" for line in tree.drawing)
    else:
        yield "tf          none"
    lookup = inspection.lookup
    if lookup is not None:
        source = "from the file given" if lookup.from_file else "from tf"
        where = f"{lookup.cloud_frame} -> {lookup.camera_frame}"
        yield f"            {where}: {source}, for {lookup.share:.1%} of the images"


def _sync(inspection: Inspection) -> Iterator[str]:
    times = inspection.sync
    if times is None:
        return
    yield ""
    yield (
        f"sync        image to nearest cloud: median {times.median_ms:.1f} ms, p95 {times.p95_ms:.1f} ms, "
        f"max {times.max_ms:.1f} ms"
    )
    yield (
        f"            {times.share_within:.1%} within {times.tolerance_ms:.0f} ms; clouds come "
        f"{times.offset_ms:+.1f} ms from the images, give or take {times.scatter_ms:.1f} ms"
    )


def _alignment(inspection: Inspection) -> Iterator[str]:
    check = inspection.alignment
    if check is None:
        return
    yield ""
    yield f"calibration {_judgement(check)}"
    if not check.rotation_deg:
        return
    yield f"            {check.edges} depth edges in {check.frames} frames"
    yield f"            score {check.score:.3f} as recorded, {check.best_score:.3f} at its best (0 is chance)"
    for axis, angle in check.rotation_deg.items():
        yield f"            best turn about {AXIS_NAMES[axis]:<18}{_shown(angle, 'degrees', 2)}"
    if check.shift_ms is not None:
        yield f"            best clouds come after images by {_shown(check.shift_ms, 'ms', 0)}"
    if check.improvement is not None:
        gain = check.improvement
        yield (
            f"            on frames held back, the best gains {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] "
            f"and is better in {check.improved_share:.0%}"
        )


def _judgement(check: AlignmentReport) -> str:
    if check.verdict == CANNOT_TELL:
        return f"cannot tell: {check.reason}"
    return " and ".join(corrections(check)) or "agrees: LiDAR depth edges meet the image's edges"


def _shown(estimate: Estimate, unit: str, digits: int) -> str:
    low, high = f"{estimate.low:+.{digits}f}", f"{estimate.high:+.{digits}f}"
    text = f"{estimate.value:+.{digits}f} {unit} [{low}, {high}]"
    return text if estimate.can_tell else f"cannot tell ({text})"


def _verdict(inspection: Inspection) -> Iterator[str]:
    yield ""
    yield f"verdict     {inspection.verdict}"
    for finding in inspection.findings:
        yield f"  {finding.severity}: {finding.text}"
        if finding.advice:
            yield f"    -> {finding.advice}"
