"""Replay the recorded scenarios against a running stack and hold the count of matching steps to its floor.

    python tests/conformance/run.py --base http://127.0.0.1:9000 [--raise-floor]

`floor.json` has the number of steps per area that must match. It may only rise: a run below it fails, and so does a
floor that is lower than in the commit before. The areas run one after the other: each scenario takes all countries.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FLOOR = HERE / "floor.json"
AREAS = ("main-job", "orders", "after-sales", "catalog", "pricing", "inventory", "identity")
COUNT = re.compile(r"^([\w-]+): (\d+) of (\d+) steps match$", re.MULTILINE)


def replay(base: str, area: str) -> tuple[int, int, str]:
    """(steps that match, steps, every difference) of one area; (0, 0, ...) when it could not be replayed."""
    command = [sys.executable, str(HERE / "conformance.py"), "check", "-v", "--base", base]
    for option, variable in (("--email", "MERCER_ADMIN_EMAIL"), ("--password", "MERCER_ADMIN_PASSWORD")):
        if given := os.environ.get(variable):
            command += [option, given]
    done = subprocess.run(
        [*command, str(HERE / "scenarios" / f"{area}.yaml")], capture_output=True, text=True, check=False
    )
    found = COUNT.search(done.stdout)
    return (int(found[2]), int(found[3]), done.stdout) if found else (0, 0, done.stdout + done.stderr)


def floor_before() -> dict[str, int]:
    """The floor of the commit before, or nothing where there is no history to ask."""
    git = shutil.which("git")
    if git is None:
        return {}
    shown = subprocess.run(
        [git, "show", "HEAD^:tests/conformance/floor.json"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return dict(json.loads(shown.stdout)) if shown.returncode == 0 else {}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="URL of the gateway")
    parser.add_argument("--raise-floor", action="store_true", help="write the counts of this run where they are higher")
    parser.add_argument("--verbose", action="store_true", help="print every difference")
    parser.add_argument("areas", nargs="*", default=AREAS)
    given = parser.parse_args()

    floor: dict[str, int] = json.loads(FLOOR.read_text())
    failures = [
        f"{area}: the floor went from {before} down to {floor.get(area, 0)}"
        for area, before in floor_before().items()
        if floor.get(area, 0) < before
    ]
    counts, differences = {}, []
    for area in given.areas:
        wanted = floor.get(area, 0)
        matching, total, differing = replay(given.base, area)
        counts[area] = matching
        print(f"conformance {area}: {matching} of {total} steps match (floor {wanted})", flush=True)
        if matching < wanted or given.verbose:
            differences.append(differing)
        if matching < wanted:
            failures.append(f"{area}: {matching} steps match, the floor is {wanted}")
    # Last, where the end of a long log shows it.
    for differing in differences:
        print(differing)
    if given.raise_floor:
        raised = {area: max(floor.get(area, 0), counts.get(area, 0)) for area in AREAS}
        FLOOR.write_text(json.dumps(raised, indent=2) + "\n")
    for failure in failures:
        print(f"conformance failed: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
