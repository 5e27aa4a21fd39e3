"""What a message holds of a picture, byte by byte, as image.h has it: PGM or PPM, binary or text, or the numbers in a line."""

from __future__ import annotations

import numpy as np

from levsha.applications.picture import LARGEST_PIXEL, Picture

SILENT = -1
DIGITS, LINE_ENDS, SEPARATORS = b"0123456789", b"\r\n", b" \t\n\v\f\r,;"
LARGEST_NUMBER = 32_766  # larger numbers are taken as this one


class Refused(Exception):  # noqa: N818 (an answer, no fault)
    """What is wrong with a message, as it is answered."""


def read_picture(picture: Picture, data: bytes) -> np.ndarray:
    """Return the numbers of a picture, row by row, 0 to its top, of a message that begins with no white space; Refused where it is none."""
    return _Reader(picture, data).pixels()


def kinds_of(picture: Picture) -> tuple[int, int]:
    """Return the numbers of the binary and of the text kind of netpbm's files."""
    return (5, 2) if picture.channels == 1 else (6, 3)


def needs_of(picture: Picture) -> str:
    """Return what a net wants, in the words in which it refuses anything else."""
    head = f"P{kinds_of(picture)[0]} {picture.columns} {picture.rows} {picture.top}"
    return f"{head} and {picture.size // picture.channels} pixels, or {picture.size} integers in 0..{picture.top}"


class _Reader:
    """What image.h makes of a message, which has ended where nothing comes any more."""

    def __init__(self, picture: Picture, data: bytes) -> None:
        self.picture, self.data, self.at = picture, data, 0

    def pixels(self) -> np.ndarray:
        """Return the numbers of the picture, row by row, 0 to top; Refused where the message is none."""
        picture, c, top, binary, line = self.picture, self.next(), self.picture.top, False, True
        if c == ord("P"):
            line, binary = False, self._is_binary()
            c, top = self._head()
            c = self._behind_head(c) if binary else c
        found = np.empty(picture.size, np.int64)
        for n in range(picture.size):
            v, c = (c, self.next()) if binary and c != SILENT else self._number(c, line)
            if v < 0:
                if binary or c == SILENT or (line and c in LINE_ENDS):
                    raise self._few(n // picture.channels)
                raise Refused(f"needs {needs_of(picture)}")
            if v > top:
                raise Refused(f"pixel {v}: needs 0..{top}")
            found[n] = (v * picture.top + top // 2) // top
        while c != SILENT and c in SEPARATORS:
            c = self.next()
        if c != SILENT:
            raise self._few(picture.size // picture.channels + 1)
        return found

    def next(self) -> int:
        self.at += 1
        return self.data[self.at - 1] if self.at <= len(self.data) else SILENT

    def _few(self, found: int) -> Refused:
        return Refused(f"pixels {found}: needs {self.picture.size // self.picture.channels}")

    def _is_binary(self) -> bool:
        binary, text = (ord(str(kind)) for kind in kinds_of(self.picture))
        c = self.next()
        if c not in (binary, text):
            known = c != SILENT and c in DIGITS
            raise Refused(
                f"P{chr(c)}: needs P{chr(binary)} or P{chr(text)}" if known else f"needs {needs_of(self.picture)}"
            )
        return c == binary

    def _head(self) -> tuple[int, int]:
        """Width, height and largest number: the byte behind them, and the largest number."""
        picture, c, v = self.picture, self.next(), -1
        if c == SILENT or c not in SEPARATORS + b"#":
            raise Refused(f"needs {needs_of(picture)}")
        for label, low, high in (
            ("width", picture.columns, picture.columns), ("height", picture.rows, picture.rows), ("maxval", 1, LARGEST_PIXEL),
        ):  # fmt: skip
            v, c = self._number(c, False)
            if v < 0:
                raise Refused(f"needs {needs_of(picture)}")
            if not low <= v <= high:
                raise Refused(f"{label} {v}: needs {low}{f'..{high}' if low < high else ''}")
        return c, v

    def _behind_head(self, c: int) -> int:
        """The first byte behind the line end, CR LF too, or the other separator, that parts the head from the pixels."""
        c = self._behind_comment(c)
        following = self.next()
        return self.next() if c == ord("\r") and following == ord("\n") else following

    def _behind_comment(self, c: int) -> int:
        if c == ord("#"):
            while c != SILENT and c not in LINE_ENDS:
                c = self.next()
        return c

    def _number(self, c: int, line: bool) -> tuple[int, int]:
        """A number, -1 where there is none, and the byte behind it."""
        while True:
            c = self._behind_comment(c)
            if c == SILENT or c not in SEPARATORS or (line and c in LINE_ENDS):
                break
            c = self.next()
        if c == SILENT or c not in DIGITS:
            return -1, c
        v = 0
        while c != SILENT and c in DIGITS:
            v = v * 10 + c - ord("0") if v < LARGEST_NUMBER // 10 else LARGEST_NUMBER
            c = self.next()
        return (v if c == SILENT or c in SEPARATORS + b"#" else -1), c
