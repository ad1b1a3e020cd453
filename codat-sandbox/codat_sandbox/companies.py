"""Generates companies with names, tags, connections, and the syncs that ran before the sandbox started."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from codat_sandbox.feeds import Feed
from codat_sandbox.model import Company, Connection, ConnectionStatus, Dataset, DatasetStatus, RequestedBy
from codat_sandbox.platforms import (
    CUSTOM,
    MYOB,
    PLAID,
    QUICKBOOKS_DESKTOP,
    QUICKBOOKS_ONLINE,
    RELATIVE_CHANGE_RATES,
    SAGE_50,
    SHOPIFY,
    SQUARE,
    STRIPE,
    TRUELAYER,
    XERO,
    Platform,
)
from codat_sandbox.settings import Settings
from codat_sandbox.syncs import Sync

PORTFOLIOS: Sequence[tuple[Platform, ...]] = (
    (XERO, PLAID),
    (QUICKBOOKS_ONLINE, SHOPIFY, STRIPE),
    (XERO, TRUELAYER, PLAID),
    (QUICKBOOKS_DESKTOP,),
    (SAGE_50, TRUELAYER),
    (QUICKBOOKS_ONLINE,),
    (XERO, SHOPIFY),
    (MYOB, SQUARE),
    (SHOPIFY, STRIPE, PLAID),
    (QUICKBOOKS_ONLINE, PLAID, PLAID),
    (XERO, STRIPE),
    (XERO, TRUELAYER, SHOPIFY, SQUARE),
)
"""The platforms of each company: the first company has the first tuple, and so on, repeating from the start."""

STANDARD_PRODUCTS = ("lending",)
"""Codat's own products, which every company has: they cannot be refreshed."""

_FIRST_NAMES = (
    "Harbour Amber Northgate Juniper Old-Mill Copper Fenwick Bluebell Kestrel Marlow Saffron Thistle "
    "Willow Granite Larkspur Orchard Pebble Quayside Rowan Tide"
).split()
_LAST_NAMES = (
    "Bakery,Cycles,Coffee Roasters,Plumbing,Interiors,Logistics,Florists,Dental,Brewing,Studios,Outfitters,"
    "Catering,Joinery,Veterinary,Print Works,Electrical,Books"
).split(",")
_SUFFIXES = {"uk": "Ltd", "us": "LLC", "au": "Pty Ltd"}


class CompanyDetails(BaseModel):
    """The details of a company that a client may set; `None` is not set."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9\s\-',&@.?!]+$")] | None = None
    tags: Annotated[dict[str, str], Field(max_length=10)] | None = None


@dataclass(frozen=True, slots=True)
class NewCompany:
    """A company with its feeds and its past syncs, oldest first."""

    company: Company
    feeds: tuple[Feed, ...]
    past: tuple[Sync, ...]


def random_uuid(random: Random) -> str:
    return str(UUID(int=random.getrandbits(128), version=4))


def new_company(index: int, platforms: Sequence[Platform], settings: Settings, now: datetime) -> NewCompany:
    """Return a company created at `now`, with linked connections that have never been synced."""
    random = Random(f"{settings.seed}/company/{index}")
    region = random.choice(list(_SUFFIXES))
    name = f"{random.choice(_FIRST_NAMES)} {random.choice(_LAST_NAMES)} {_SUFFIXES[region]}".replace("-", " ")
    tags = {
        "region": region,
        "plan": random.choice(("free", "growth", "scale")),
        "team": random.choice(("lending", "bookkeeping")),
        "uid": f"customer-{index + 1:04d}",
    }
    connections = tuple(new_connection(platform, now, random) for platform in platforms)
    company = Company(
        random_uuid(random),
        name,
        tags,
        created=now,
        connections=connections,
        products=(*settings.custom_products, *STANDARD_PRODUCTS),
    )
    feeds = tuple(feed for connection in connections for feed in new_feeds(company.id, connection, settings, random))
    return NewCompany(company, feeds, past=())


def new_connection(platform: Platform, now: datetime, random: Random) -> Connection:
    """Return a connection linked at `now`."""
    return Connection(random_uuid(random), random_uuid(random), platform, ConnectionStatus.LINKED, created=now)


def new_feeds(company_id: str, connection: Connection, settings: Settings, random: Random) -> tuple[Feed, ...]:
    """Return a feed for each data type of a new connection, each with a random rate of change."""
    custom = (f"{CUSTOM}{identifier}" for identifier in settings.custom_data_types.get(connection.platform.name, ()))
    data_types: tuple[str, ...] = (*connection.platform.data_types, *custom)
    return tuple(
        Feed(
            company_id,
            connection.id,
            data_type,
            changes_per_day=RELATIVE_CHANGE_RATES.get(data_type, 1.0)
            * random.lognormvariate(math.log(settings.changes_per_day), settings.changes_spread),
            listed_unsynced=random.choice((False, True, True)),
        )
        for data_type in data_types
    )


def fleet(settings: Settings, now: datetime) -> list[NewCompany]:
    """Return the companies at the start, with past syncs and with the shares of problems from the settings."""
    companies = []
    on_premise = 0
    for index in range(settings.companies):
        platforms = PORTFOLIOS[index % len(PORTFOLIOS)]
        random = Random(f"{settings.seed}/past/{index}")
        new = new_company(index, platforms, settings, now - timedelta(days=random.randint(40, 900)))
        offline = platforms[0].on_premise and _is_picked(on_premise, settings.machine_offline)
        on_premise += platforms[0].on_premise
        relink = _is_picked(settings.companies - 1 - index, settings.needs_relink)
        companies.append(_with_past(new, settings, now, random, offline=offline, relink=relink))
    return companies


def _is_picked(index: int, share: float) -> bool:
    """Return whether an evenly spread `share` of all items includes the one at `index`.

    The first item is included unless `share` is 0.
    """
    return math.ceil((index + 1) * share) > math.ceil(index * share)


def _with_past(
    new: NewCompany, settings: Settings, now: datetime, random: Random, *, offline: bool, relink: bool
) -> NewCompany:
    first, *others = new.company.connections
    first = replace(
        first,
        machine_online=not offline,
        status=ConnectionStatus.DEAUTHORIZED if relink else ConnectionStatus.LINKED,
        error="The platform refused the authorization." if relink else None,
    )
    past: list[Sync] = []
    for feed in new.feeds:
        feed.is_supported = random.random() >= settings.not_supported
        feed.is_permitted = random.random() >= settings.permissions_error
        past += _past_syncs(feed, settings, now, random, refused=relink and feed.connection_id == first.id)
    past.sort(key=lambda sync: sync.as_requested.requested)
    connections = tuple(replace(c, last_sync=_last_sync(c, past)) for c in (first, *others))
    return NewCompany(replace(new.company, connections=connections), new.feeds, tuple(past))


def _past_syncs(feed: Feed, settings: Settings, now: datetime, random: Random, *, refused: bool) -> list[Sync]:
    """Return the past syncs of `feed`, oldest first, and record the latest of them on it."""
    syncs: list[Sync] = []
    age = _age_at_start(settings.scheduled_hours(feed.data_type), settings, random)
    if age is not None and feed.is_supported and feed.is_permitted:
        feed.latest_successful = _past_sync(feed, DatasetStatus.COMPLETE, now - age, random)
        syncs.append(feed.latest_successful)
    if refused and syncs:
        syncs.append(_past_sync(feed, DatasetStatus.AUTH_ERROR, now - timedelta(minutes=10), random))
    elif age is None and random.random() < 0.1:
        syncs.append(_past_sync(feed, DatasetStatus.FETCH_ERROR, now - timedelta(days=2), random))
    feed.latest = syncs[-1] if syncs else None
    return syncs


def _age_at_start(schedule: int, settings: Settings, random: Random) -> timedelta | None:
    """Return how old a feed's data is at the start, or None if it was never synced.

    The age is less than the interval of Codat's own schedule, if there is one. Otherwise it is log-uniform between
    6 hours and 30 days, so that not all feeds are due at once.
    """
    draw = random.random()
    if draw < settings.never_synced:
        return None
    if draw < settings.never_synced + settings.fresh_at_start:
        return timedelta(minutes=random.uniform(1, 59))
    return timedelta(hours=random.uniform(1, schedule) if schedule else 6 * 120 ** random.random())


def _past_sync(feed: Feed, status: DatasetStatus, completed: datetime, random: Random) -> Sync:
    dataset = Dataset(
        random_uuid(random),
        feed.company_id,
        feed.connection_id,
        feed.data_type,
        status,
        requested=completed - timedelta(seconds=4),
        requested_by=RequestedBy.FIRST_LINK,
    )
    return Sync(dataset, status, completed, fetched=completed - timedelta(seconds=2))


def _last_sync(connection: Connection, past: Sequence[Sync]) -> datetime | None:
    return max(
        (
            sync.completed
            for sync in past
            if sync.completed is not None
            and sync.as_requested.connection_id == connection.id
            and sync.status is DatasetStatus.COMPLETE
        ),
        default=None,
    )
