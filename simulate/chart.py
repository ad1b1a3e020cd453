"""The chart of a simulation, as a PNG file."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from estimate.days import Report
from estimate.world import RuleReport

plt.switch_backend("Agg")

_WIDTH = 11.0
"""The width of the chart in inches. The heights below are in inches too."""
_REFRESHES_HEIGHT = 3.6
_TABLE_HEIGHT = 0.72
_HEADER_HEIGHT = 1.1
_BAR = 0.24
"""The height of a bar, where the bars and the label of one table of the policy take a height of 1."""
_MAX_NAME = 110
"""The characters of a name that fit into the width, with the number of feeds after it."""
_MAX_DAY_LABELS = 14
_KEPT, _UP_TO_DATE, _REFRESHES, _QUOTA, _GRID = "#2a7f62", "#8ecae6", "#33658a", "#c0392b", "#dddddd"


def draw(report: Report, path: Path) -> None:
    """Write a chart of the refreshes in each hour, and of the results of each table of the policy.

    Raises:
        OSError: the file cannot be written.
    """
    heights = _REFRESHES_HEIGHT, _HEADER_HEIGHT + _TABLE_HEIGHT * max(len(report.rules), 1)
    figure, (refreshes, tables) = plt.subplots(
        2,
        1,
        figsize=(_WIDTH, sum(heights)),
        height_ratios=heights,
        layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.1),
    )
    figure.suptitle(f"{report.companies:,} companies, {report.feeds:,} feeds", fontsize=14, fontweight="bold")
    _draw_refreshes(refreshes, report)
    _draw_tables(tables, report)
    figure.savefig(path, dpi=100, format="png")
    plt.close(figure)


def _draw_refreshes(axes: Axes, report: Report) -> None:
    """Draw the refreshes queued in each hour, and Codat's quota as if it were spread evenly over the day."""
    hours = sorted(report.refreshes_by_hour)
    axes.bar(
        [hour / 24 for hour in hours],
        [report.refreshes_by_hour[hour] for hour in hours],
        width=1 / 24,
        align="edge",
        color=_REFRESHES,
        label="refreshes queued",
    )
    axes.axhline(report.quota / 24, color=_QUOTA, linestyle="--", label="Codat's daily quota / 24")
    axes.set(ylabel="per hour", xlim=(0, report.days))
    labelled_days = range(0, report.days, -(-report.days // _MAX_DAY_LABELS))
    axes.set_xticks([day + 0.5 for day in labelled_days], [f"day {day + 1}" for day in labelled_days])
    axes.tick_params(axis="x", length=0)
    axes.set_xticks(range(report.days + 1), minor=True)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.grid(axis="y", color=_GRID)
    _finish(axes, "Refreshes in each hour")


def _draw_tables(axes: Axes, report: Report) -> None:
    """Draw two bars for each table of the policy, with the table's name above them."""
    names = sorted(report.rules, key=lambda name: -report.rules[name].feeds)
    for offset, label, color, share in (
        (0, "promises kept", _KEPT, _kept),
        (_BAR, "time up to date (expected)", _UP_TO_DATE, _up_to_date),
    ):
        bars = axes.barh(
            [index + offset for index in range(len(names))],
            [100 * share(report.rules[name]) for name in names],
            height=_BAR,
            color=color,
            label=label,
        )
        axes.bar_label(bars, fmt="%.0f%%", padding=4, fontsize=9)
    for index, name in enumerate(names):
        text = f"{_shortened(name)} · {report.rules[name].feeds:,} feeds"
        axes.text(0, index - 0.6 * _BAR, text, verticalalignment="bottom", fontsize=10, parse_math=False)
    axes.set(xlim=(0, 105), ylim=(len(names) - 1 + 1.8 * _BAR, -0.6), yticks=[], xticks=range(0, 101, 20))
    axes.xaxis.set_major_formatter(PercentFormatter(decimals=0))
    axes.grid(axis="x", color=_GRID)
    axes.spines["left"].set_visible(False)
    _finish(axes, "Results by table of the policy")


def _finish(axes: Axes, title: str) -> None:
    """Set a title, a legend above the plot, and the style that both plots have."""
    axes.set_title(title, loc="left", fontsize=12, pad=12)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=10)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _shortened(name: str) -> str:
    """Return a name without its middle if it is too long: the start names the table, and the end is its position."""
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 31]}…{name[-30:]}"


def _kept(rule: RuleReport) -> float:
    return rule.attained.share or 0.0


def _up_to_date(rule: RuleReport) -> float:
    return rule.current_days / rule.days if rule.days else 0.0
