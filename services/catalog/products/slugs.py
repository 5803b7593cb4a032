"""Handles made from titles: the words of the title in lower case, joined by hyphens.

As Medusa makes them (lodash's kebabCase), so that a title gives the same address in a shop that moves over: accents of
Latin letters go; words end where the case changes and between letters and digits; other scripts stay as they are.
"""

import re
import unicodedata

# Letters that do not decompose into a base letter and an accent.
SPELLED = {
    "Æ": "Ae", "æ": "ae", "Ð": "D", "ð": "d", "Ø": "O", "ø": "o", "Þ": "Th", "þ": "th", "ß": "ss", "Đ": "D",
    "đ": "d", "Ħ": "H", "ħ": "h", "ı": "i", "Ĳ": "IJ", "ĳ": "ij", "ĸ": "k", "Ŀ": "L", "ŀ": "l", "Ł": "L",
    "ł": "l", "ŉ": "n", "Ŋ": "N", "ŋ": "n", "Œ": "Oe", "œ": "oe", "Ŧ": "T", "ŧ": "t", "ſ": "s",
}  # fmt: skip
LATIN = range(0xC0, 0x180)
IGNORED = re.compile("['\u2019\u0300-\u036f\ufe20-\ufe2f\u20d0-\u20ff]")

GAP = "\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\xbf×÷\u1680\u180e\u2000-\u206f\u3000\ufeff"
PICTURE = "\u2700-\u27bf\U00010000-\U0010ffff"
OTHER = f"[^0-9A-Za-z{GAP}{PICTURE}]"
LOWER, UPPER = f"(?:[a-z]|{OTHER})", f"(?:[A-Z]|{OTHER})"
END = f"(?=[{GAP}]|$"
WORD = re.compile(
    "|".join(
        (
            f"[A-Z]?[a-z]+{END}|[A-Z])",  # a word that ends with a gap, or where the next begins
            f"{UPPER}+{END}|[A-Z]{LOWER})",  # capitals, up to a capitalised word
            f"[A-Z]?{LOWER}+",
            "[A-Z]+",
            r"[0-9]*(?:1ST|2ND|3RD|[04-9]TH)(?=\b|[a-z_])",
            r"[0-9]*(?:1st|2nd|3rd|[04-9]th)(?=\b|[A-Z_])",
            "[0-9]+",
            f"[{PICTURE}]\ufe0f?",
        )
    )
)


def plain(text: str) -> str:
    """The text without accents on Latin letters, and without apostrophes."""
    letters = (SPELLED.get(c) or (unicodedata.normalize("NFD", c)[0] if ord(c) in LATIN else c) for c in text)
    return IGNORED.sub("", "".join(letters))


def slug(title: str) -> str:
    """`Crème Brûlée 2XL torch_set` -> `creme-brulee-2-xl-torch-set`. Empty when the title has no word in it."""
    return "-".join(WORD.findall(plain(title))).lower()
