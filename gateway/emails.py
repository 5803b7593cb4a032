"""What counts as an e-mail address."""

import re
from typing import Annotated

from pydantic import AfterValidator

# Dots only between other characters, and a domain that ends in a word: what the recorded API takes, but for quoted
# local parts.
WORD = r"""[^\s@.,:;()<>\[\]\\"]+"""
LABEL = r"[A-Za-z0-9\u00a1-\uffff](?:[A-Za-z0-9\u00a1-\uffff-]{0,61}[A-Za-z0-9\u00a1-\uffff])?"
LAST = r"(?:[A-Za-z\u00a1-\uffff]{2,63}|xn--[A-Za-z0-9-]{2,59})"
ADDRESS = re.compile(rf"(?=[^@]{{1,64}}@){WORD}(?:\.{WORD})*@(?:{LABEL}\.)+{LAST}")
MAX_LENGTH = 254


def check_email(value: str) -> str:
    """Raises ValueError for what is no address."""
    # Not printable: control characters, and halves of surrogate pairs, which cannot be stored.
    if len(value) > MAX_LENGTH or not value.isprintable() or not ADDRESS.fullmatch(value):
        raise ValueError("must be an e-mail address")
    return value


Email = Annotated[str, AfterValidator(check_email)]
