"""Proxies of the environment, which are never used for this machine itself."""

from collections.abc import Mapping

_LOOPBACK = ("127.0.0.1", "localhost")


def without_loopback(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which no tool sends calls to this machine through a proxy. Other exceptions stay."""
    given = ",".join(filter(None, (environment.get("no_proxy"), environment.get("NO_PROXY"))))
    names = ",".join(dict.fromkeys([*filter(None, (each.strip() for each in given.split(","))), *_LOOPBACK]))
    # Some tools read only one of them, and others prefer the lower case.
    return {"NO_PROXY": names, "no_proxy": names}
