"""Decides about a loan, on invoices and bills as of an hour ago at most."""

import os
from typing import Any

from codat_freshness.client import FreshnessClient, RelinkNeeded


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Return whether a company may be decided about now, and as of when its data is."""
    with FreshnessClient(os.environ["API_URL"]) as client:
        try:
            result = client.ensure_fresh(
                event["companyId"], os.environ["DATA_TYPES"].split(), max_age="1h", within="10m", on_late="fail"
            )
        except RelinkNeeded as refused:
            return {"decide": False, "ask": refused.link_urls}
    return {
        "decide": result.is_fresh,
        "asOf": {each.data_type: each.as_of.isoformat() for each in result.data_types if each.as_of},
    }
