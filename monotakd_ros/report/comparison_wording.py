"""What a comparison says, in plain words: the verdict on a figure and on the whole, what noise means, what to mind."""

from __future__ import annotations

from collections.abc import Sequence

from monotakd_ros.evaluation.bootstrap import Difference, Resampling
from monotakd_ros.evaluation.kitti_ap import Cell
from monotakd_ros.report.comparison import Comparison, is_primary
from monotakd_ros.report.wording import SMALL_GROUP, listing, number, percent, plural, says_little, signed_interval

METRIC_NAMES = {"3d": "3D", "bev": "BEV", "2d": "2D", "aos": "AOS"}
"""In the order in which they matter here."""
DIFFERENCE = "B\u00a0−\u00a0A"
"""Never broken over two lines."""
NOTHING = "nothing to compare: no ground truth of moderate difficulty of a class that both reports evaluated"


def verdict(item: Difference) -> str:
    """E.g. "B is better"."""
    if not item.is_beyond_noise:
        return "both at zero" if _is_empty(item) else "within noise"
    return "B is better" if item.low > 0 else "A is better"


def _is_empty(item: Difference) -> bool:
    """Whether neither is ever right: draws of nothing but zeros look like certainty, and are none."""
    return not any((item.a, item.b, item.low, item.high))


def conclusion(comparison: Comparison) -> str:
    """The primary figure's verdict in a line, for a terminal."""
    item = comparison.primary
    if item is None:
        return NOTHING
    name = f"{item.cell.class_name} 3D moderate (strict)"
    if item.is_beyond_noise:
        return f"{name}: {verdict(item)}, beyond noise"
    return f"{name}: {'A and B are both at zero' if _is_empty(item) else 'the difference is within noise'}"


def headline(comparison: Comparison) -> str:
    """The primary figure's verdict as one sentence with its numbers."""
    item = comparison.primary
    if item is None:
        return f"{NOTHING[0].upper()}{NOTHING[1:]}."
    figure = f"{item.cell.class_name}, 3D AP (R40, moderate, strict)"
    size = f"{number(abs(item.b - item.a))} points"
    confidence = percent(comparison.resampling.confidence)
    bounds = f"{confidence} interval of {DIFFERENCE}: {signed_interval((item.low, item.high))}"
    if item.is_beyond_noise:
        better = _side(comparison, b=item.low > 0)
        return f"{figure}: {better} is better by {size}, which is beyond noise ({bounds})."
    if _is_empty(item):
        return f"{figure}: A and B are both at zero, so this figure cannot tell them apart."
    if item.a == item.b:
        return f"{figure}: A and B are equal; there is no difference beyond noise ({bounds})."
    ahead = _side(comparison, b=item.b > item.a)
    return f"{figure}: neither is better beyond noise; {ahead} is ahead by {size}, which luck can explain ({bounds})."


def _side(comparison: Comparison, b: bool) -> str:
    return f"B ({comparison.names[1]})" if b else f"A ({comparison.names[0]})"


def noise_sentences(resampling: Resampling) -> tuple[str, str, str]:
    """What "beyond noise" means, and what it does not."""
    return (
        f"Beyond noise means that the {percent(resampling.confidence)} interval of {DIFFERENCE} leaves out zero: on "
        "other frames of the same roads the same one would most likely be ahead; within noise means that these frames "
        "cannot tell, not that A and B are equally good.",
        "It says nothing about other roads than those recorded, nor about the luck of training: for that, train with "
        "several seeds and compare each.",
        "Of twenty figures, one leaves out zero by chance: what decides is the figure that was named before looking, "
        "not the best one found on this page.",
    )


def tally(differences: Sequence[Difference]) -> str:
    """How many figures say what, e.g. "Of 18 figures, B is better in 12 and A in 1; 5 are not beyond noise"."""
    b = sum(item.low > 0 for item in differences)
    a = sum(item.high < 0 for item in differences)
    rest = len(differences) - a - b
    return f"Of {plural(len(differences), 'figure')}, B is better in {b} and A in {a}; {rest} are not beyond noise."


def figure_name(cell: Cell) -> str:
    """E.g. "3D strict, moderate"; the overlaps of 2D and AOS are but one."""
    overlaps = "" if cell.metric in ("2d", "aos") else f" {cell.overlaps}"
    return f"{METRIC_NAMES[cell.metric]}{overlaps}, {cell.difficulty}"


def warnings(comparison: Comparison) -> list[str]:
    """What the figures must be read with: frames left out, too few objects, and what each report warns of."""
    told = []
    if comparison.left_out:
        told.append(
            f"{plural(comparison.left_out, 'frame')} that only one report has left out of every difference; the curves "
            "are each report's own"
        )
    scant = [item.cell.class_name for item in comparison.differences if is_primary(item) and says_little(item.counted)]
    if scant:
        told.append(
            f"{listing(scant)}: fewer than {SMALL_GROUP} labelled objects; draws of so few show too little of what "
            "could vary"
        )
    a, b = (report.get("warnings") or [] for report in comparison.reports)
    told += [f"A and B: {text}" for text in a if text in b]
    told += [f"A: {text}" for text in a if text not in b]
    return told + [f"B: {text}" for text in b if text not in a]
