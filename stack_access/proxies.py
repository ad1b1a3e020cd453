"""Keeping calls to this machine itself from going through a proxy."""

from collections.abc import Mapping

_LOOPBACK = ("127.0.0.1", "localhost")


def without_loopback(environment: Mapping[str, str]) -> dict[str, str]:
    """Return environment variables that exempt this machine from proxies. Other exemptions stay."""
    given = ",".join(filter(None, (environment.get("no_proxy"), environment.get("NO_PROXY"))))
    names = ",".join(dict.fromkeys([*filter(None, (each.strip() for each in given.split(","))), *_LOOPBACK]))
    # Some tools read only one of the two, and others prefer the lower case.
    return {"NO_PROXY": names, "no_proxy": names}
