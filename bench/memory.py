"""The peak memory of a tick of check_freshness, by the number of companies that Codat lists."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

from bench import fleet
from bench.figures import Figure, Topic, show
from bench.fleet import NOW
from bench.parts import example_policy
from bench.tables import Item, LocalAws, running_aws, write
from freshness.aws.dynamodb.item_codec import shard
from freshness.domain.times import sortable
from infra.construct import TICK_MEMORY
from local.settings import ROOT

FEW = 10_000
MANY = 100_000
DUE = 100
MB = 1_000_000


def measure() -> list[Figure]:
    """Measure a tick over few companies, and one over many."""
    with running_aws() as aws:
        few, many = (_memory(aws, companies) / MB for companies in (FEW, MANY))
    return [
        Figure(what=f"memory of a tick over {MANY:,} companies", value=many, unit="MB", at_most=TICK_MEMORY),
        Figure(
            what="the same, compared with few companies",
            topic=Topic.SCALE,
            value=many,
            unit="MB",
            against=f"a tick over {FEW:,} companies",
            floor=few,
            at_most=1.1,
        ),
    ]


def _memory(aws: LocalAws, companies: int) -> float:
    """Return the peak memory, in bytes, of a tick over companies that are known already, of which `DUE` are due."""
    names = aws.create_tables()
    write(aws, names.companies, (_item(number) for number in range(companies)))
    replanned: Item = {
        "name": {"S": "replanned"},
        "policy": {"S": example_policy().fingerprint},
        "is_done": {"BOOL": True},
    }
    write(aws, names.control, [replanned])
    with _codat(companies) as url:
        tables = (names.companies, names.feeds, names.datasets, names.control)
        command = [sys.executable, "-m", "bench.one_tick", url, aws.url, *tables]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    return float(done.stdout)


def _item(number: int) -> Item:
    """Return the item of a company."""
    company = fleet.company(number)
    [connection] = company.connections.values()
    attributes = {
        "connection_id": {"S": connection.connection_id},
        "platform": {"S": connection.platform},
        "source_type": {"S": connection.source_type},
        "status": {"S": connection.status},
        "status_at": {"S": connection.status_at.isoformat()},
        "link_url": {"S": connection.link_url},
    }
    return {
        "company_id": {"S": company.company_id},
        "name": {"S": company.name},
        "connections": {"M": {connection.connection_id: {"M": attributes}}},
        "check_at": {"S": sortable(NOW if number < DUE else company.check_at or NOW)},
        "shard": {"S": shard(company.company_id)},
        "version": {"N": "1"},
    }


@contextmanager
def _codat(companies: int) -> Iterator[str]:
    """Yield the URL of a server that lists companies as Codat does, and returns `{}` for all other paths."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            parameters = {name: int(value) for name, [value] in parse_qs(url.query).items() if value.isdigit()}
            content = json.dumps(_page(companies, **parameters) if url.path == "/companies" else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _page(companies: int, page: int = 1, pageSize: int = 100) -> dict[str, object]:  # noqa: N803 - Codat's name
    first = (page - 1) * pageSize
    last = min(first + pageSize, companies)
    links = {"next": {"href": f"/companies?page={page + 1}"}} if last < companies else {}
    return {
        "results": [_listed(number) for number in range(first, last)],
        "pageNumber": page,
        "pageSize": pageSize,
        "totalResults": companies,
        "_links": links,
    }


def _listed(number: int) -> dict[str, object]:
    company = fleet.company(number)
    [connection] = company.connections.values()
    attributes = {
        "id": connection.connection_id,
        "platformName": connection.platform,
        "sourceType": connection.source_type,
        "status": connection.status,
        "linkUrl": connection.link_url,
    }
    return {"id": company.company_id, "name": company.name, "tags": None, "dataConnections": [attributes]}


if __name__ == "__main__":
    show("Memory", measure())
