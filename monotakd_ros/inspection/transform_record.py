"""What a bag's transforms are as a tree: who is whose parent, what moves, what contradicts; and drawn as text."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from monotakd_ros.data.from_msg import StampedTransform
from monotakd_ros.data.transform_tree import MAX_EXTRAPOLATION_NS, frame_name

SAME_PLACE_M, SAME_DEG = 1e-4, 0.01
"""A static transform that is sent again within this is the same one."""
MOVES_M, MOVES_DEG = 0.01, 0.1
"""A moving transform that never leaves this is called still."""
MAX_FRAMES = 200


@dataclass
class Edge:
    """The pose of `child` in `parent`, as one of the two kinds of topics gave it.

    Attributes:
        messages: how often it was sent.
        moved_m: largest distance from its first place.
        moved_deg: largest turn from its first rotation.
        changes: static transforms that differ from the one before.
        stamps_ns: of a moving edge.
    """

    parent: str
    child: str
    is_static: bool
    first: np.ndarray
    last: np.ndarray
    messages: int = 0
    moved_m: float = 0.0
    moved_deg: float = 0.0
    changes: int = 0
    stamps_ns: array = field(default_factory=lambda: array("q"))

    def add(self, pose: np.ndarray, stamp_ns: int) -> None:
        """Add the next pose (4, 4)."""
        self.messages += 1
        if self.is_static:
            self.changes += not _same(self.last, pose)
        else:
            self.stamps_ns.append(stamp_ns)
        self.moved_m = max(self.moved_m, float(np.linalg.norm(pose[:3, 3] - self.first[:3, 3])))
        self.moved_deg = max(self.moved_deg, turn_deg(self.first, pose))
        self.last = pose

    @property
    def kind(self) -> str:
        """What is written behind it."""
        if self.is_static:
            return "static" if not self.changes else f"static, changes {self.changes} times"
        return "moving" if self.moved_m > MOVES_M or self.moved_deg > MOVES_DEG else "moving topic, but still"


class TransformRecord:
    """All edges of a bag, each by parent, child and kind; at most `MAX_FRAMES` of them."""

    def __init__(self) -> None:
        self._edges: dict[tuple[str, str, bool], Edge] = {}

    def add(self, item: StampedTransform, is_static: bool) -> None:
        """Add one transform."""
        parent, child = frame_name(item.parent), frame_name(item.child)
        key = (parent, child, is_static)
        if key not in self._edges:
            if len(self._edges) >= MAX_FRAMES:
                return
            self._edges[key] = Edge(parent, child, is_static, item.parent_T_child, item.parent_T_child)
        self._edges[key].add(item.parent_T_child, item.stamp_ns)

    @property
    def edges(self) -> list[Edge]:
        """In the order in which they appeared."""
        return list(self._edges.values())

    @property
    def roots(self) -> list[str]:
        """Frames without a parent: one for each part of the tree that is not connected with the others."""
        children = {edge.child for edge in self.edges}
        return list(dict.fromkeys(edge.parent for edge in self.edges if edge.parent not in children))

    @property
    def several_parents(self) -> dict[str, list[str]]:
        """Frames with more than one parent, or with a static and a moving edge to the same one."""
        parents: dict[str, list[str]] = {}
        for edge in self.edges:
            parents.setdefault(edge.child, []).append(edge.parent)
        return {child: names for child, names in parents.items() if len(names) > 1}

    @property
    def loops(self) -> list[list[str]]:
        """Frames that are their own ancestors, each circle once."""
        found: dict[frozenset[str], list[str]] = {}
        for edge in self.edges:
            above = self._above(edge.child)
            last = self._parents().get(above[-1])
            if last in above:
                circle = above[above.index(last) :]
                found.setdefault(frozenset(circle), circle)
        return list(found.values())

    def path(self, target: str, source: str) -> list[Edge] | None:
        """The edges between two frames; None when they are not connected."""
        ups = [self._above(frame_name(name)) for name in (target, source)]
        common = next((name for name in ups[1] if name in ups[0]), None)
        if common is None:
            return None
        last = {edge.child: edge for edge in self.edges}
        return [last[name] for up in ups for name in up[: up.index(common)]]

    def available(self, target: str, source: str, stamps_ns: np.ndarray) -> np.ndarray:
        """(N,) bool: whether the transform between two frames can be looked up at each stamp."""
        path = self.path(target, source)
        known = np.full(len(stamps_ns), path is not None)
        for edge in path or []:
            if not edge.is_static:
                known &= _covered(np.sort(np.array(edge.stamps_ns, dtype=np.int64)), stamps_ns)
        return known

    def drawing(self) -> list[str]:
        """The tree as lines of text."""
        below: dict[str, list[Edge]] = {}
        for edge in self.edges:
            below.setdefault(edge.parent, []).append(edge)
        lines, drawn = [], set()
        circles = [circle[0] for circle in self.loops]
        for root in [*self.roots, *circles]:
            lines.append(root)
            lines += _branch(root, below, "", drawn)
        return lines

    def _parents(self) -> dict[str, str]:
        return {edge.child: edge.parent for edge in self.edges}

    def _above(self, name: str) -> list[str]:
        parents, names = self._parents(), [name]
        while names[-1] in parents and parents[names[-1]] not in names:
            names.append(parents[names[-1]])
        return names


def turn_deg(one: np.ndarray, other: np.ndarray) -> float:
    """Angle between the rotations of two poses (4, 4), degrees."""
    # The chord, not the trace: its angle is exact for small turns.
    chord = np.linalg.norm(one[:3, :3] - other[:3, :3]) / np.sqrt(8.0)
    return float(np.rad2deg(2.0 * np.arcsin(min(chord, 1.0))))


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.linalg.norm(one[:3, 3] - other[:3, 3]) < SAME_PLACE_M and turn_deg(one, other) < SAME_DEG)


def _covered(samples_ns: np.ndarray, stamps_ns: np.ndarray) -> np.ndarray:
    if not len(samples_ns):
        return np.zeros(len(stamps_ns), dtype=bool)
    first, last = samples_ns[0] - MAX_EXTRAPOLATION_NS, samples_ns[-1] + MAX_EXTRAPOLATION_NS
    return (stamps_ns >= first) & (stamps_ns <= last)


def _branch(name: str, below: dict[str, list[Edge]], indent: str, drawn: set[tuple[str, str]]) -> Iterator[str]:
    children = [edge for edge in below.get(name, []) if (name, edge.child) not in drawn]
    drawn.update((name, edge.child) for edge in children)
    for edge in children:
        is_last = edge is children[-1]
        yield f"{indent}{'`-' if is_last else '|-'} {edge.child}  [{edge.kind}]"
        yield from _branch(edge.child, below, indent + ("   " if is_last else "|  "), drawn)
