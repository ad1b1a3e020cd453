"""What a simulation came to, as a picture."""

from pathlib import Path

import matplotlib.pyplot as plt

from simulate.days import Report

plt.switch_backend("Agg")


def draw(report: Report, path: Path) -> None:
    """Draw calls by the hour against the quota, and what became of the feeds under each part of the policy."""
    figure, (calls, rules) = plt.subplots(2, 1, figsize=(11, 8), layout="constrained")
    hours = sorted(report.calls_by_hour)
    calls.bar([hour / 24 for hour in hours], [report.calls_by_hour[hour] for hour in hours], width=1 / 24)
    calls.axhline(report.quota / 24, color="black", linestyle="--", label="Codat's quota, spread evenly")
    calls.set(
        xlabel="day", ylabel="refreshes queued an hour", title=f"{report.companies} companies, {report.feeds} feeds"
    )
    calls.legend()
    places = sorted(report.rules, key=lambda place: report.rules[place].feeds)
    for offset, name, value in ((0.2, "promises kept", _kept), (-0.2, "P(up to date)", _current)):
        heights = [index + offset for index in range(len(places))]
        rules.barh(heights, [100 * value(report, place) for place in places], height=0.38, label=name)
    rules.set(xlabel="%", xlim=(0, 100), yticks=range(len(places)), yticklabels=places)
    rules.legend(loc="lower left")
    figure.savefig(path, dpi=100, format="png")
    plt.close(figure)


def _kept(report: Report, place: str) -> float:
    return report.rules[place].kept / report.rules[place].feeds


def _current(report: Report, place: str) -> float:
    rule = report.rules[place]
    return rule.current_days / rule.days if rule.days else 0.0
