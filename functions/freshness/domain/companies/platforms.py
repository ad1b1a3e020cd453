"""Codat's platforms, and the names by which the policy file selects them."""

from collections.abc import Iterable

KEYS = {
    "akxx": "Oracle NetSuite",
    "exgd": "Stripe",
    "fbrh": "FreeAgent",
    "fqly": "Clover",
    "fztf": "Shopify",
    "gbol": "Xero",
    "hbql": "Sage 50 (UK)",
    "jcrp": "Sage 200",
    "knfz": "Sage Intacct",
    "ltpp": "WooCommerce",
    "mqjo": "Sandbox",
    "ndsk": "QuickBooks Online Sandbox",
    "pbtz": "Wave",
    "pdvj": "MYOB Business",
    "pqsw": "QuickBooks Desktop",
    "qhyg": "QuickBooks Online",
    "qkdj": "Amazon",
    "rwuv": "Zoho Books",
    "suuo": "Plaid",
    "tgff": "Sage Accounting",
    "trji": "Dynamics 365 Business Central",
    "ugxp": "Zettle",
    "upvr": "TrueLayer",
    "vqzp": "BigCommerce",
    "vxvy": "FreshBooks",
    "yzth": "Stripe Sandbox",
    "zsth": "Square",
}
"""Names of platforms by `integrationKey`, from Codat's documentation. Codat has others, and changes names."""


def selects(name: str, platform: str, integration_key: str = "") -> bool:
    """Return whether a name selects a platform: by its key, its name, or the beginning of its name up to a word's end.

    Case does not matter: "sage 50" selects "Sage 50 (UK & Ireland)", and not "Sage 500".
    """
    given, full = name.casefold(), platform.casefold()
    is_beginning = full.startswith(given) and not full[len(given) :][:1].isalnum()
    return bool(name) and (name == integration_key or is_beginning)


def most_specific(names: Iterable[str], platform: str, integration_key: str = "") -> str | None:
    """Return the name that selects a platform best: its key, else the longest; `None` if no name selects it."""
    selecting = [name for name in names if selects(name, platform, integration_key)]
    return max(selecting, key=lambda name: (name == integration_key, len(name)), default=None)


def is_known(name: str) -> bool:
    """Return whether a name selects a platform of `KEYS`, or the same in another country, such as "Sage 50 (CA)"."""
    return any(selects(name, known, key) or selects(known.partition(" (")[0], name) for key, known in KEYS.items())
