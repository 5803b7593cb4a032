"""Requests per second of GET /admin/orders/{id}: this product beside the reference server, in turns, in one run.

    python tests/bench/read_order.py --base http://127.0.0.1:9000 --reference http://127.0.0.1:9100

Needs wrk. On each server it makes the order of the recorded main job (one line, one shipping method, paid), and then
asks for it with default fields and relations. Rounds alternate, so that what else runs on the machine hits both; the
ratio of the medians is the result, the absolute numbers are this machine's.
"""

import argparse
import importlib
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

CONFORMANCE = Path(__file__).parent.parent / "conformance"
sys.path.insert(0, str(CONFORMANCE))

LATENCY = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s) *$", re.MULTILINE)
RATE = re.compile(r"^Requests/sec:\s+([\d.]+)$", re.MULTILINE)
BAD = re.compile(r"Non-2xx or 3xx responses: (\d+)")
MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def make_order(base: str) -> tuple[str, str]:
    """(id of a paid order, Authorization header) on the server at `base`."""
    conformance: Any = importlib.import_module("conformance")
    client = conformance.Client(base, "admin@example.com", "supersecret")
    fixtures = yaml.safe_load((CONFORMANCE / "fixtures.yaml").read_text())
    made: list[str] = []
    original = client.call

    def call(method: str, path: str, *rest: object, **more: object) -> tuple[int, object]:
        status, body = original(method, path, *rest, **more)
        if isinstance(body, dict) and "order" in body:
            made.append(body["order"]["id"])
        return status, body

    client.call = call
    for _, _, _, _, error in conformance.run(client, "bench", {"use": ["order"], "steps": []}, fixtures):
        if error:
            raise SystemExit(f"{base}: {error}")
    return made[-1], client.headers["Authorization"]


def load(base: str, order: str, authorization: str, seconds: int, connections: int) -> tuple[float, float, float]:
    """(requests/s, median ms, 99th percentile ms) of one round."""
    with tempfile.TemporaryDirectory() as folder:
        # In a file, so that the token is not in the process list.
        script = Path(folder) / "headers.lua"
        script.write_text(f'wrk.headers["Authorization"] = "{authorization}"\n')
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", "--timeout", "30s", "-s", str(script)]
        out = subprocess.run(
            [*command, f"{base}/admin/orders/{order}"], capture_output=True, text=True, check=True
        ).stdout
    if bad := BAD.search(out):
        raise SystemExit(f"{base}: {bad[1]} answers were errors\n{out}")
    percentiles = {which: float(value) * MILLISECONDS[unit] for which, value, unit in LATENCY.findall(out)}
    rate = RATE.search(out)
    assert rate, out
    return float(rate[1]), percentiles.get("50", 0.0), percentiles.get("99", 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--reference", help="URL of a reference server to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--connections", type=int, default=32)
    given = parser.parse_args()
    servers = {"mercer": given.base} | ({"reference": given.reference} if given.reference else {})
    orders = {name: make_order(base) for name, base in servers.items()}
    rounds: dict[str, list[tuple[float, float, float]]] = {name: [] for name in servers}
    for name, base in servers.items():
        load(base, *orders[name], 2, given.connections)
    for _ in range(given.rounds):
        for name, base in servers.items():
            rounds[name].append(load(base, *orders[name], given.seconds, given.connections))
    for name, found in rounds.items():
        rate, middle, high = (statistics.median(column) for column in zip(*found, strict=True))
        spread = f"{min(r for r, _, _ in found):.0f}-{max(r for r, _, _ in found):.0f}"
        print(f"{name}: {rate:.0f} requests/s ({spread}), median {middle:.1f} ms, p99 {high:.1f} ms")
    if given.reference:
        ratio = statistics.median(r for r, _, _ in rounds["mercer"]) / statistics.median(
            r for r, _, _ in rounds["reference"]
        )
        print(f"ratio: {ratio:.1f}")


if __name__ == "__main__":
    main()
