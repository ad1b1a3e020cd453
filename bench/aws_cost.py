"""The charges of AWS in a month for 1,000 companies with ten data types each, refreshed four times a day.

They are those of `estimate.bill`, with the dashboard and looks at it. There are totals with one webhook for the data
types of a company that were fetched together, as Codat describes it, with a webhook for each read, which is the most
expensive case, with AWS's monthly free tier, for a stack that has nothing to do, and for a hand-written alternative.
"""

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aws_cdk import App

from bench.figures import Figure, Topic, show
from estimate import prices
from estimate.bill import CHECK_TICKS, DAYS_A_MONTH, QUEUE_TICKS, TICK_LOG_BYTES, Part, parts, total, with_free_tier
from estimate.prices import MILLION, Price
from infra.freshness_stack import FreshnessStack
from infra.settings import Deployment
from local.settings import ROOT

COMPANIES = 1_000
REFRESHES = COMPANIES * 10 * 4 * DAYS_A_MONTH
AT_MOST = 10.0
"""The most that this fleet may cost a month at list prices, in USD."""
AT_MOST_IDLE = 1.0
"""The most that a stack with nothing to do may cost a month, in USD."""
A_SECRET, A_DASHBOARD = Price(0.40, "secret"), Price(3.00, "dashboard", free=3)
LOOKS = 22 * 60
"""How often the dashboard is shown in a month: on working days, every minute of an hour."""
PAGE_GB_SECONDS, PAGE_READ_UNITS = 0.5 * 0.5, 250.0
"""GB-seconds of Lambda and read units to show the page, measured for 10,000 companies, 100 of them late."""
LOG_QUERIES = Price(0.005, "GB")
"""What Logs Insights charges for each gigabyte that a query scans."""
DASHBOARD = "CloudWatch dashboard"
TYPES = 10
"""The data types of a company. Codat sends one webhook for those that it fetched together."""


@cache
def template() -> dict[str, Any]:
    """Return the template of the stack with the settings of `deployment.toml`, and the dashboard."""
    with TemporaryDirectory() as folder:
        app = App(outdir=folder)
        bundle = Path(folder, "bundle")
        bundle.mkdir()
        deployment = Deployment.read(ROOT / "deployment.toml", {"dashboard": "true"})
        FreshnessStack(app, deployment, bundle)
        body: dict[str, Any] = app.synth().get_stack_by_name(deployment.name).template
    return body


def resources(kind: str) -> list[dict[str, Any]]:
    """Return the properties of the template's resources of a kind."""
    return [each["Properties"] for each in template()["Resources"].values() if each["Type"] == kind]


def function(name: str) -> dict[str, Any]:
    """Return the properties of a function in the template."""
    return next(each for each in resources("AWS::Lambda::Function") if each["Handler"] == f"{name}.handler")


def dashboard() -> list[Part]:
    """Return the parts that the dashboard adds to the bill. It is optional."""
    log = (QUEUE_TICKS + CHECK_TICKS) / DAYS_A_MONTH * TICK_LOG_BYTES
    widgets = resources("AWS::CloudWatch::Dashboard")
    sources = sum(json.dumps(each["DashboardBody"]).count("SOURCE") for each in widgets)
    return [
        Part(DASHBOARD, len(widgets), A_DASHBOARD, least=0, because="the graphs"),
        Part("Lambda time to show the page", LOOKS * PAGE_GB_SECONDS, prices.LAMBDA_GB_SECOND),
        Part("DynamoDB reads to show the page", LOOKS * PAGE_READ_UNITS / MILLION, prices.DYNAMODB_READS),
        Part(
            "Logs Insights queries to show the graphs",
            LOOKS * sources * log / 1e9,
            LOG_QUERIES,
            because=f"the records of a day are read {sources} times; each of their numbers would cost 0.30 as a metric",
        ),
    ]


def alternative() -> list[Part]:
    """Return the bill of a cron function that asks for each company's data status every hour and records ages.

    It has one table without history, events or alarms, and polls instead of receiving webhooks.
    """
    polls = COMPANIES * 24 * DAYS_A_MONTH
    return [
        Part("DynamoDB writes", REFRESHES / MILLION, prices.DYNAMODB_WRITES),
        Part("DynamoDB reads", polls * 10 * 0.5 / MILLION, prices.DYNAMODB_READS),
        Part("Lambda time", (polls + REFRESHES) * 0.1 * 0.25, prices.LAMBDA_GB_SECOND),
        Part("Secrets Manager secrets", 1, A_SECRET),
        Part("CloudWatch logs", polls * 250 / 1e9, prices.LOGS),
    ]


def measure() -> list[Figure]:
    """Calculate each part, and the totals."""
    bill, shown, idle, other = parts(REFRESHES, COMPANIES), dashboard(), parts(0, 1), alternative()
    floor = [part.at_least for part in bill]
    together = parts(REFRESHES, COMPANIES, TYPES)
    return [
        *(
            Figure(what=f"AWS a month: {part.name}", value=part.cost, unit="USD", against=part.shown)
            for part in bill + shown
        ),
        Figure(
            what="AWS a month: total, 1,000 companies x 10 types x 4 refreshes a day, list prices",
            topic=Topic.MONEY,
            value=total(together),
            unit="USD",
            against="us-east-1, November 2026; one webhook reports the data types of a company that were fetched "
            'together: Codat sends it "when the fetch of data types for a product has completed". The dashboard, which '
            f"is optional, adds {total(shown):.2f}",
            at_most=AT_MOST,
        ),
        Figure(
            what="AWS a month: total, if Codat sent a webhook for each read, list prices",
            topic=Topic.MONEY,
            value=total(bill),
            unit="USD",
            against=f"the most expensive case; the floors of all lines are {total(floor):.2f}",
        ),
        Figure(
            what="AWS a month: total with the free tier, if Codat sent a webhook for each read, dashboard included",
            value=with_free_tier(bill + shown),
            unit="USD",
            against=f"the floors of all lines are {with_free_tier(floor):.2f}: it has no requests to API Gateway, no "
            "events, and of DynamoDB only provisioned units, 25 a second, which a tick with much to do exceeds",
        ),
        Figure(
            what="AWS a month: total with the free tier, dashboard included",
            topic=Topic.MONEY,
            value=with_free_tier(together + shown),
            unit="USD",
            against=f"the floors of all lines are {with_free_tier(part.at_least for part in together):.2f}",
        ),
        Figure(
            what="AWS a month: one company and nothing to do, with the free tier",
            topic=Topic.MONEY,
            value=with_free_tier(idle + shown[:1]),
            unit="USD",
            against=f"at list prices {total(idle):.2f}, the dashboard {shown[0].cost:.2f}",
            at_most=AT_MOST_IDLE,
        ),
        *(
            Figure(
                what=f"AWS a month, a hand-written cron function with one table: {part.name}",
                value=part.cost,
                unit="USD",
                against=part.shown,
            )
            for part in other
        ),
        Figure(
            what="AWS a month, a hand-written cron function with one table: total, list prices",
            topic=Topic.MONEY,
            value=total(other),
            unit="USD",
            against=f"with the free tier {with_free_tier(other):.2f}; no history, events, alarms or webhooks",
        ),
    ]


if __name__ == "__main__":
    show("AWS a month", measure())
