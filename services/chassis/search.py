"""Free text: substrings, whatever their case. With an index over `trigrams(column)` (sql/0003_search.sql) a search for
three characters or more reads the rows that have all its trigrams; each is compared then, so the answer is exactly that
of the comparison alone. Shorter words are compared with every row.
"""

import re

from services.chassis.params import Bind


def trigrams(word: str) -> list[str]:
    """Every run of three characters that the word has, each once."""
    return sorted({word[n : n + 3] for n in range(len(word) - 2)})


def contains(bind: Bind, word: str, columns: str, document: str = "") -> str:
    """The condition that one of the `columns` (SQL, separated by blanks) contains `word`. The index is over
    `trigrams({document})`, which holds the text of all of them; without one, over the only column."""
    word = word.lower()
    pattern = bind("%" + re.sub(r"([\\%_])", r"\\\1", word) + "%")
    same = " or ".join(f"lower({column}) like {pattern}" for column in columns.split())
    if len(word) < 3:
        return f"({same})"
    return f"(trigrams({document or columns}) @> {bind(trigrams(word))}::text[] and ({same}))"
