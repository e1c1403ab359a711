"""How the live detector node fares: latency, processor time, an overfast camera, memory, life cycles.

Each part runs the real node as a process of its own, feeds it from another one, and prints a Markdown table. Needs a
sourced ROS 2 with vision_msgs and, but for `memory` and `cycles`, a source of images: a bag or KITTI folder.

    python benchmarks/ros_live.py latency drive_9000011 --rate 3 --frames 250
    python benchmarks/ros_live.py latency drive_9000011 --rate 3 --frames 250 --compressed
    python benchmarks/ros_live.py cpu drive_9000011
    python benchmarks/ros_live.py overload drive_9000011 --frames 600
    python benchmarks/ros_live.py memory --frames 20000
    python benchmarks/ros_live.py cycles --count 1000
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from ros_graph import Camera, NodeProcess, live, tiny_camera, write_tiny_checkpoint

from monotakd_ros.data.source import open_source
from monotakd_ros.frame import Frame

STAGES = ("transport", "queue", "decode", "infer", "publish", "total")
DISTINCT = 20
"""Images that are sent in turn."""
SETTLE_S = 2.0
CYCLE = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
}


def row(*cells: Any) -> None:
    """Print a line of a table."""
    print(
        "| " + " | ".join(f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |", flush=True
    )


def head(*cells: str) -> None:
    """Print the first two lines of a table."""
    row(*cells)
    row(*["---"] * len(cells))


def frames_of(source: Path) -> list[Frame]:
    """The first images of a source."""
    return list(itertools.islice(open_source(source).frames(), DISTINCT))


def latency(options: argparse.Namespace) -> None:
    """Image stamp to boxes, by stage."""
    frames = frames_of(options.source)
    parameters = {"checkpoint": options.checkpoint, "device": options.device}
    with live(parameters, [frame.image for frame in frames], frames[0].camera, options.compressed) as (_, camera):
        camera.play(10, options.rate)
        first = len(camera.heard.latency_s)
        camera.play(options.frames, options.rate)
        time.sleep(SETTLE_S)
        values, outside = camera.health["camera"], 1e3 * np.array(camera.heard.latency_s[first:])
    print(f"{options.frames} images at {options.rate:g} Hz, {'JPEG' if options.compressed else 'raw'}; milliseconds\n")
    head("stage", "p50", "p95", "p99")
    for stage in STAGES:
        row(stage, *(float(values[f"{stage} p{percent} ms"]) for percent in (50, 95, 99)))
    row("stamp to a subscriber of detections", *(float(np.percentile(outside, percent)) for percent in (50, 95, 99)))
    print(
        f"\n{camera.sent} sent, {values['received']} received, {values['replaced']} replaced, {len(outside)} answered"
    )


def cpu(options: argparse.Namespace) -> None:
    """Processor time by rate, of the network and without it (a tiny one in its place)."""
    frames = frames_of(options.source)
    images, camera = [frame.image for frame in frames], frames[0].camera
    head("network", "images", "rate, Hz", "answered, Hz", "processor, % of a core")
    with tempfile.TemporaryDirectory() as folder:
        tiny = write_tiny_checkpoint(Path(folder) / "tiny.pt")
        for name, checkpoint in (("tiny", str(tiny)), (Path(options.checkpoint or "shipped").stem, options.checkpoint)):
            parameters = {"checkpoint": checkpoint, "device": options.device}
            for compressed in (False, True):
                with live(parameters, images, camera, compressed) as (node, source):
                    for rate_hz in (0, 10, 30):
                        used, answered = _load(node, source, rate_hz, options.seconds)
                        row(name, "JPEG" if compressed else "raw", rate_hz, answered, 100 * used)


def _load(node: NodeProcess, camera: Camera, rate_hz: float, seconds: float) -> tuple[float, float]:
    """Processor seconds and answers, both per second."""
    if rate_hz:
        camera.play(int(rate_hz), rate_hz)
    time.sleep(SETTLE_S)
    begin, used, answered = time.perf_counter(), node.cpu_s(), len(camera.heard.stamps_ns)
    if rate_hz:
        camera.play(int(rate_hz * seconds), rate_hz)
    else:
        time.sleep(seconds)
    took = time.perf_counter() - begin
    return (node.cpu_s() - used) / took, (len(camera.heard.stamps_ns) - answered) / took


def overload(options: argparse.Namespace) -> None:
    """A camera three times as fast as the network."""
    frames = frames_of(options.source)
    parameters = {"checkpoint": options.checkpoint, "device": options.device}
    with live(parameters, [frame.image for frame in frames], frames[0].camera, options.compressed) as (node, camera):
        camera.ask()
        begin = time.perf_counter()
        for _ in range(20):
            camera.ask()
        own_hz = 20 / (time.perf_counter() - begin)
        print(f"one after the other {own_hz:.1f} Hz, camera {3 * own_hz:.1f} Hz; stamp to detections, milliseconds\n")
        head("part of the run", "answers", "p50", "p95", "p99", "most", "cores that others took")
        before = camera.sent
        for name in ("first third", "second third", "last third"):
            first, begin, others = len(camera.heard.latency_s), time.perf_counter(), node.others_cpu_s()
            camera.play(options.frames // 3, 3 * own_hz)
            others = (node.others_cpu_s() - others) / (time.perf_counter() - begin)
            taken = 1e3 * np.array(camera.heard.latency_s[first:])
            row(name, len(taken), *(float(np.percentile(taken, percent)) for percent in (50, 95, 99, 100)), others)
        time.sleep(SETTLE_S)
        values = camera.health["camera"]
    sent, lost = camera.sent - before, camera.sent - int(values["received"])
    answered = int(values["published"]) - before
    print(
        f"\n{sent} sent, {answered} answered ({answered / sent:.0%}), {values['replaced']} replaced by a newer one, "
        f"{lost} lost on the way"
    )


def memory(options: argparse.Namespace) -> None:
    """Resident memory over many images: a tiny network, each image sent when the one before is answered."""
    size = (1242, 375) if options.large else (128, 64)
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8) for _ in range(5)]
    head("images", "MiB", "threads", "open files", "seconds")
    with tempfile.TemporaryDirectory() as folder:
        tiny = write_tiny_checkpoint(Path(folder) / "tiny.pt")
        with live({"checkpoint": tiny}, images, tiny_camera(size), options.compressed) as (node, camera):
            camera.listen("markers", "visualization_msgs/msg/MarkerArray")
            camera.listen("annotated_image", "sensor_msgs/msg/Image")
            begin, unanswered = time.perf_counter(), 0
            shown = sorted(
                {100, *(step for step in (1000, 5000, 10000, 20000) if step < options.frames), options.frames}
            )
            for count in range(1, options.frames + 1):
                unanswered += not camera.ask()
                if count in shown:
                    row(count, node.memory_mib(), node.threads(), node.files(), time.perf_counter() - begin)
    print(f"\n{unanswered} of {options.frames} images unanswered")


def cycles(options: argparse.Namespace) -> None:
    """Configure, activate, one image, deactivate, clean up, over and over."""
    images = [np.full((64, 128, 3), 100, dtype=np.uint8)]
    head("cycles", "MiB", "threads", "open files", "publishers", "subscriptions", "services", "s per cycle")
    with tempfile.TemporaryDirectory() as folder:
        tiny = write_tiny_checkpoint(Path(folder) / "tiny.pt")
        parameters: dict[str, Any] = {"checkpoint": tiny, "output_frame": options.output_frame}
        with live(parameters, images, tiny_camera()) as (node, camera):
            camera.send_static_transform(options.output_frame)
            client = camera.node.create_client(ChangeState, "/detector/change_state")
            client.wait_for_service()
            for name in ("deactivate", "cleanup"):
                _change(camera, client, name)
            begin, every = time.perf_counter(), max(1, options.count // 10)
            for count in range(options.count + 1):
                if count % every == 0:
                    per_cycle = (time.perf_counter() - begin) / max(count, 1)
                    row(count, node.memory_mib(), node.threads(), node.files(), *camera.entities("detector"), per_cycle)
                for name in CYCLE:
                    _change(camera, client, name)
                    if name == "activate" and count % every == 0 and not camera.ask_until_answered():
                        raise SystemExit(f"no boxes in cycle {count}")


def _change(camera: Camera, client: Any, name: str) -> None:
    future = client.call_async(ChangeState.Request(transition=Transition(id=CYCLE[name])))
    if not camera.until(future.done, 30.0) or not future.result().success:
        raise SystemExit(f"{name} did not work")


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)

    def part(function: Any, source: bool) -> argparse.ArgumentParser:
        made = parts.add_parser(function.__name__, help=function.__doc__)
        made.set_defaults(run=function)
        if source:
            made.add_argument("source", type=Path, help="bag or KITTI folder, whose first images are sent in turn")
            made.add_argument("--checkpoint", default="", help="weights; the shipped ones when not given")
            made.add_argument("--device", default="cpu")
        made.add_argument("--compressed", action="store_true", help="send JPEG instead of raw images")
        return made

    made = part(latency, True)
    made.add_argument("--rate", type=float, default=3.0, help="images per second; slower than the network")
    made.add_argument("--frames", type=int, default=250, help="the node's figures cover the latest 300")
    part(cpu, True).add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    part(overload, True).add_argument("--frames", type=int, default=600)
    made = part(memory, False)
    made.add_argument("--frames", type=int, default=20000)
    made.add_argument("--large", action="store_true", help="images of 1242 x 375 px instead of 128 x 64")
    made = part(cycles, False)
    made.add_argument("--count", type=int, default=1000)
    made.add_argument("--output-frame", default="base_link", help="with tf; empty: without")
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
