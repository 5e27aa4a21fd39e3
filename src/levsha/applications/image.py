"""A picture in, a class and its scores out: for any net that reads pixels and decides between classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from levsha.applications.base import Application, Message, sent
from levsha.applications.netpbm import LARGEST_NUMBER, SEPARATORS, Refused, kinds_of, needs_of, read_picture
from levsha.applications.picture import Picture
from levsha.applications.say import c_strings, plain_name, say_header
from levsha.emit.names import check_names
from levsha.errors import LevshaError
from levsha.interpret import interpret
from levsha.ir import Graph
from levsha.meaning import Meaning

LARGEST_SIDE = LARGEST_NUMBER - 1
UNSURE = "unsure "


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
        binary, text = kinds_of(picture)
        y = graph.values[scores]
        lines = [
            f"typedef {x.c_type} image_element_t;",
            f"#define IMAGE_COLUMNS {picture.columns}", f"#define IMAGE_ROWS {picture.rows}",
            f"#define IMAGE_CHANNELS {picture.channels}", f"#define IMAGE_NUMBERS {picture.size}",
            f"#define IMAGE_TOP {picture.top}", f"#define IMAGE_PLACE(k) ({picture.place('k')})",
            f"#define IMAGE_BINARY '{binary}'", f"#define IMAGE_TEXT '{text}'",
            f'#define IMAGE_KINDS "P{binary} or P{text}"', f'#define IMAGE_NEEDS "{needs_of(picture)}"',
            f"#define IMAGE_IN net_instance.{name}", f"#define IMAGE_RUN net_run_{name}()",
            f"#define IMAGE_CLASS net_{label}()", f"#define IMAGE_CLASSES {c_strings(self.classes(graph))}",
            f"#define IMAGE_SCORE net_{scores}()", f"#define IMAGE_SCORES {y.size}",
            *([f"#define IMAGE_UNSURE_BELOW {self.unsure_below}u"] if self.unsure_below else []),
        ]  # fmt: skip
        said = say_header(
            y.lo, max(y.hi, LARGEST_NUMBER, picture.size // picture.channels + 1), max(picture.size, y.size)
        )
        return said + "\n".join(lines) + "\n" + self.text()

    def wake(self, graph: Graph) -> str:
        picture = self.picture(graph)
        return f"P{kinds_of(picture)[0]} {picture.columns} {picture.rows} 255 {'0' * picture.size}"  # pixels of 48

    def expected(self, graph: Graph, message: Message) -> str:
        data = sent(message).lstrip(SEPARATORS)
        if not data:
            return ""
        picture = self.picture(graph)
        try:
            pixels = read_picture(picture, data)
        except Refused as refusal:
            return f"? {refusal}"
        ((name, value),) = graph.inputs.items()
        found = interpret(graph, {name: picture.lay(pixels[None]).reshape(1, *value.shape)})
        return self.said(graph, found[graph.outputs[0]], found[graph.outputs[1]])

    def said(self, graph: Graph, label: np.ndarray, scores: np.ndarray) -> str:
        """Return the answer to a picture whose class and scores these are."""
        best, scores = int(label.ravel()[0]), scores.ravel()
        unsure = UNSURE if self.unsure(scores) else ""
        return f"{unsure}{self.classes(graph)[best]}: {' '.join(map(str, scores.tolist()))}"

    def unsure(self, scores: np.ndarray) -> bool:
        """Say whether the largest of scores (O,) leads the next one by less than it must."""
        return margins(scores[None])[0] < self.unsure_below

    def message(self, graph: Graph, row: np.ndarray) -> bytes:
        picture = self.picture(graph)
        return picture.binary(picture.lift(row[None])[0])

    def answer(self, text: str) -> str:
        return text.split("\r\n")[0] if "\r\n" in text else ""

    def usage(self, graph: Graph) -> str:
        picture = self.picture(graph)
        binary, text = kinds_of(picture)
        return (
            f"Send a {'PGM' if picture.channels == 1 else 'PPM'} file (P{binary} or P{text}) of {picture.columns} x {picture.rows} pixels in one go,\n"
            f"or its {picture.size} numbers of 0..{picture.top} in a line; back comes the class with the score of each."
        )

    def parse(self, said: str) -> tuple[bool, list[int]]:
        """Return whether an answer to a picture was unsure, and the scores that it holds.

        >>> Image(unsure_below=9).parse("unsure a: b: -3 4")
        (True, [-3, 4])
        """
        scores = [int(word) for word in said.rpartition(": ")[2].split()]
        return bool(self.unsure(np.array(scores))), scores

    def classes(self, graph: Graph) -> tuple[str, ...]:
        """Return the names that are said."""
        return tuple(plain_name(name) for name in self.meaning.classes.get(graph.outputs[0], ()))


def margins(scores_NO: np.ndarray) -> np.ndarray:
    """Return by how much the largest of each row's scores leads the next one, (N,); 0 of a tie.

    >>> margins(np.array([[3, -2, 7], [5, 5, 1]])).tolist()
    [4, 0]
    """
    ordered = np.sort(scores_NO.astype(np.int64), 1)
    return ordered[:, -1] - ordered[:, -2] if ordered.shape[1] > 1 else np.full(len(ordered), np.iinfo(np.int64).max)
