"""A comparison as one HTML file that needs nothing else, like a report's page and of the same make.

The layout is `comparison.html.j2`; charts and words are in `comparison_charts`, `comparison_wording` and
`compared_runs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from monotakd_ros.evaluation.bootstrap import Difference
from monotakd_ros.report import comparison_charts as charts
from monotakd_ros.report import comparison_wording as phrases
from monotakd_ros.report.compared_runs import compared_facts
from monotakd_ros.report.comparison import Comparison, is_primary
from monotakd_ros.report.page_template import drawn, render_template


def render_comparison(comparison: Comparison) -> str:
    """The page.

    Returns:
        A whole HTML document.
    """
    names, differences = comparison.classes, comparison.differences
    limits = charts.shared_range(differences)
    return render_template(
        "comparison.html.j2",
        comparison=comparison,
        phrases=phrases,
        facts=compared_facts(comparison),
        deciding=[item for item in differences if is_primary(item)],
        of_class={name: _rows(item for item in differences if item.cell.class_name == name) for name in names},
        forests=drawn(names, lambda name: charts.forest(name, differences, limits)),
        curves=drawn(names, lambda name: charts.both_curves(name, *_curves(comparison, name))),
    )


def _rows(differences: Iterable[Difference]) -> list[Difference]:
    """In a table's order: what matters most comes first, and easy to hard stay together."""
    metrics = list(phrases.METRIC_NAMES)
    return sorted(differences, key=lambda item: (metrics.index(item.cell.metric), item.cell.overlaps != "strict"))


def _curves(comparison: Comparison, name: str) -> list[Mapping[str, Any]]:
    """The curves of one class in A and in B."""
    return [
        {overlaps: of_classes.get(name) or {} for overlaps, of_classes in (report.get("curves") or {}).items()}
        for report in comparison.reports
    ]
