"""Text of strangers on its way to a terminal, or to a file of lines: nothing in it moves a cursor, turns the writing around or begins a line."""

from __future__ import annotations

PRINTED_MAX = 8192  # characters of one line


def printable(text: str, most: int = PRINTED_MAX) -> str:
    r"""The text in one line that shows what it is, cut behind `most` characters.

    Control characters (C0, DEL, C1), those that have no looks of their own or turn the direction of writing (Unicode's Cf, such as U+202E), separators
    of lines and paragraphs, spaces but the plain one, and halves of surrogate pairs are written as Python writes them in a string: \n, \x1b, \u2028.
    """
    kept = text[:most]
    if not kept.isprintable():
        kept = "".join([each if each.isprintable() else each.encode("unicode_escape").decode() for each in kept])
    left = len(text) - min(len(text), most) + len(kept) - min(len(kept), most)
    return f"{kept[:most]}... ({left} more characters)" if left else kept
