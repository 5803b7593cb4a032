"""What the person at the terminal sees: steps with their times, and the error message at the end.

Progress goes to standard error, so that the one line of standard output (URL and login) can be read by a program.
"""

import contextlib
import sys
import time
from collections.abc import Iterator


class Step:
    """A step under way; `detail` becomes part of its line when it is done."""

    detail = ""


def line(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(title: str) -> Iterator[Step]:
    """Show that something is under way, and how long it took once it is done."""
    begun = time.monotonic()
    current = Step()
    with _spinner(title):
        yield current
    line(f"  {title}{f': {current.detail}' if current.detail else ''} ({time.monotonic() - begun:.1f} s)")


def _spinner(title: str) -> contextlib.AbstractContextManager[object]:
    if not sys.stderr.isatty():
        return contextlib.nullcontext()
    try:
        # Not there yet while the environment itself is being made.
        from rich.console import Console
    except ImportError:
        line(f"  {title} ...")
        return contextlib.nullcontext()
    return Console(stderr=True).status(f"{title} ...")
