"""A picture in, a class and its scores out: for any net that reads pixels and decides between classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from levsha.applications.base import Application, Message, sent
from levsha.applications.picture import LARGEST_PIXEL, Picture
from levsha.applications.say import c_strings, plain_name, say_header
from levsha.emit.names import check_names
from levsha.errors import LevshaError
from levsha.interpret import interpret
from levsha.ir import Graph
from levsha.meaning import Meaning

SILENT = -1
DIGITS, LINE_ENDS, SEPARATORS = b"0123456789", b"\r\n", b" \t\n\v\f\r,;"
LARGEST_NUMBER = 32_766  # larger numbers are taken as this one
LARGEST_SIDE = 32_765
UNSURE = "unsure "


class Refused(Exception):
    """What is wrong with a message, as it is answered."""


@dataclass(frozen=True)
class Image(Application):
    """PGM or PPM files, or the numbers of the pixels; `NAME: SCORE SCORE ...` comes back, of a close decision `unsure NAME: ...`.

    unsure_below: the least number of scores by which the largest must lead the next one; 0: every decision is sure.
    """

    meaning: Meaning = field(default_factory=Meaning)
    unsure_below: int = 0
    name = "image"
    answer_unit = "an image"

    @classmethod
    def from_json(cls, about: Mapping[str, Any], meaning: Meaning) -> Image:
        return cls(meaning, int(about.get("unsure_below", 0)))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "unsure_below": self.unsure_below}

    @classmethod
    def fits(cls, graph: Graph, meaning: Meaning) -> bool:
        """Say whether a net reads a picture and decides between classes with a score for each."""
        try:
            cls(meaning).check(graph)
        except LevshaError:
            return False
        return True

    def check(self, graph: Graph) -> None:
        """Raise LevshaError where a net does not read a picture, or does not say a class and a score for each."""
        self.picture(graph)
        check_names(graph, "net")
        classes = self.meaning.classes.get(graph.outputs[0], ())
        found = {name: graph.values[name].size for name in graph.outputs}
        if len(found) != 2 or list(found.values()) != [1, len(classes)]:
            raise LevshaError(
                f"image: the graph gives {', '.join(f'{name}[{size}]' for name, size in found.items())}, and {len(classes)} classes have "
                "names; needed are two outputs: the number of a class, which has a name, and the scores of all classes."
            )
        scores = graph.values[graph.outputs[1]]
        if not 0 <= self.unsure_below <= scores.hi - scores.lo:
            raise LevshaError(
                f"image: unsure below {self.unsure_below}; scores of {scores.lo}..{scores.hi} differ by 0 to {scores.hi - scores.lo}."
            )

    def picture(self, graph: Graph) -> Picture:
        """Return what a net reads; LevshaError where that is no picture."""
        found = Picture.into(graph, self.meaning)
        if found is None or max(found.rows, found.columns) > LARGEST_SIDE:
            inputs = ", ".join(
                f"{name}{list(value.shape)} in {value.lo}..{value.hi}" for name, value in graph.inputs.items()
            )
            raise LevshaError(
                f"image: the graph reads {inputs}; a picture is one input of rows, columns and 1 or 3 channels in 0..255 or less."
            )
        return found

    def header(self, graph: Graph) -> str:
        self.check(graph)
        picture, (name, x) = self.picture(graph), next(iter(graph.inputs.items()))
        label, scores = graph.outputs
        binary, text = _kinds(picture)
        y = graph.values[scores]
        lines = [
            f"typedef {x.c_type} image_element_t;",
            f"#define IMAGE_COLUMNS {picture.columns}", f"#define IMAGE_ROWS {picture.rows}",
            f"#define IMAGE_CHANNELS {picture.channels}", f"#define IMAGE_NUMBERS {picture.size}",
            f"#define IMAGE_TOP {picture.top}", f"#define IMAGE_PLACE(k) ({picture.place('k')})",
            f"#define IMAGE_BINARY '{binary}'", f"#define IMAGE_TEXT '{text}'",
            f'#define IMAGE_KINDS "P{binary} or P{text}"', f'#define IMAGE_NEEDS "{_needs(picture)}"',
            f"#define IMAGE_IN net_instance.{name}", f"#define IMAGE_RUN net_run_{name}()",
            f"#define IMAGE_CLASS net_{label}()", f"#define IMAGE_CLASSES {c_strings(self._classes(graph))}",
            f"#define IMAGE_SCORE net_{scores}()", f"#define IMAGE_SCORES {y.size}",
            *([f"#define IMAGE_UNSURE_BELOW {self.unsure_below}u"] if self.unsure_below else []),
        ]  # fmt: skip
        said = say_header(
            y.lo, max(y.hi, LARGEST_NUMBER, picture.size // picture.channels + 1), max(picture.size, y.size)
        )
        return said + "\n".join(lines) + "\n" + self.text()

    def wake(self, graph: Graph) -> str:
        picture = self.picture(graph)
        return f"P{_kinds(picture)[0]} {picture.columns} {picture.rows} 255 {'0' * picture.size}"  # pixels of 48

    def expected(self, graph: Graph, message: Message) -> str:
        data = sent(message).lstrip(SEPARATORS)
        if not data:
            return ""
        picture = self.picture(graph)
        try:
            pixels = _Reader(picture, data).pixels()
        except Refused as refusal:
            return f"? {refusal}"
        ((name, value),) = graph.inputs.items()
        found = interpret(graph, {name: picture.lay(pixels[None]).reshape(1, *value.shape)})
        return self.said(graph, found[graph.outputs[0]], found[graph.outputs[1]])

    def said(self, graph: Graph, label: np.ndarray, scores: np.ndarray) -> str:
        """Return the answer to a picture whose class and scores these are."""
        best, scores = int(label.ravel()[0]), scores.ravel()
        unsure = UNSURE if self.unsure(scores) else ""
        return f"{unsure}{self._classes(graph)[best]}: {' '.join(map(str, scores.tolist()))}"

    def unsure(self, scores: np.ndarray) -> bool:
        """Say whether the largest of scores (O,) leads the next one by less than it must."""
        return margins(scores[None])[0] < self.unsure_below

    def message(self, graph: Graph, laid: np.ndarray) -> bytes:
        """Return the input of one picture, as it lies in memory, as a binary PGM or PPM file."""
        picture = self.picture(graph)
        return picture.binary(picture.lift(laid.reshape(1, -1))[0])

    def answer(self, text: str) -> str:
        return text.split("\r\n")[0] if "\r\n" in text else ""

    def usage(self, graph: Graph) -> str:
        picture = self.picture(graph)
        binary, text = _kinds(picture)
        return (
            f"Send a {'PGM' if picture.channels == 1 else 'PPM'} file (P{binary} or P{text}) of {picture.columns} x {picture.rows} pixels in one go,\n"
            f"or its {picture.size} numbers of 0..{picture.top} in a line; back comes the class with the score of each."
        )

    def _classes(self, graph: Graph) -> tuple[str, ...]:
        return tuple(plain_name(name) for name in self.meaning.classes.get(graph.outputs[0], ()))


def margins(scores_NO: np.ndarray) -> np.ndarray:
    """Return by how much the largest of each row's scores leads the next one, (N,); 0 of a tie.

    >>> margins(np.array([[3, -2, 7], [5, 5, 1]])).tolist()
    [4, 0]
    """
    ordered = np.sort(scores_NO.astype(np.int64), 1)
    return ordered[:, -1] - ordered[:, -2] if ordered.shape[1] > 1 else np.full(len(ordered), np.iinfo(np.int64).max)


def _kinds(picture: Picture) -> tuple[int, int]:
    """The numbers of the binary and of the text kind of netpbm's files."""
    return (5, 2) if picture.channels == 1 else (6, 3)


def _needs(picture: Picture) -> str:
    head = f"P{_kinds(picture)[0]} {picture.columns} {picture.rows} {picture.top}"
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
                raise Refused(f"needs {_needs(picture)}")
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
        binary, text = (ord(str(kind)) for kind in _kinds(self.picture))
        c = self.next()
        if c not in (binary, text):
            known = c != SILENT and c in DIGITS
            raise Refused(
                f"P{chr(c)}: needs P{chr(binary)} or P{chr(text)}" if known else f"needs {_needs(self.picture)}"
            )
        return c == binary

    def _head(self) -> tuple[int, int]:
        """Width, height and largest number: the byte behind them, and the largest number."""
        picture, c, v = self.picture, self.next(), -1
        if c == SILENT or c not in SEPARATORS + b"#":
            raise Refused(f"needs {_needs(picture)}")
        for label, low, high in (
            ("width", picture.columns, picture.columns), ("height", picture.rows, picture.rows), ("maxval", 1, LARGEST_PIXEL),
        ):  # fmt: skip
            v, c = self._number(c, False)
            if v < 0:
                raise Refused(f"needs {_needs(picture)}")
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
