"""Pictures over the serial line, on this machine and on the chip: whatever is sent, what is said is what the interpreter says."""

import re
from pathlib import Path

import numpy as np
import pytest

from levsha.applications import Image
from levsha.applications.picture import Picture
from levsha.errors import LevshaError
from levsha.evidence.check import compare
from levsha.formats import FORMATS
from levsha.interpret import interpret
from levsha.ir import Graph, Value
from levsha.meaning import Layout, Meaning
from levsha.net import Net
from levsha.ops import Argmax, Dense
from levsha.targets import TARGETS
from tests.test_sensor import compile_sketch

ALL = pytest.mark.parametrize("target", TARGETS.values(), ids=lambda t: t.name)
NAMES = ("round", 'odd "\\ ??/ name', "ünï")


def image_net(shape: tuple[int, ...], top: int = 255, layout: Layout | None = None, unsure: int = 0) -> Net:
    """A dense layer over the pixels, whose largest sum is the class."""
    x, int8 = Value(shape, 0, top), FORMATS["int8"]
    weight_OI = np.random.default_rng(0).choice(int8.grid, (3, x.size))
    ops = (
        Dense(name="logits", inputs=("input",), weight_OI=weight_OI, format=int8),
        Argmax(name="class", inputs=("logits",)),
    )
    meaning = Meaning("Shapes.", {}, {"class": NAMES}, {}, {"input": layout} if layout else {})
    return Net(Graph({"input": x}, ops, ("class", "logits")), meaning, Image(meaning, unsure), "test")


NETS = {
    "grey": image_net((3, 5, 1), unsure=30_000),
    "sixteen": image_net((4, 4, 1), 16, Layout((1, 4, 4), (0, 1, 2))),
    "colour": image_net((2, 3, 3), layout=Layout((3, 2, 3), (1, 2, 0))),
    "planes": image_net((3, 2, 4), layout=Layout((3, 2, 4), (0, 1, 2))),
    "flat": image_net((5, 3), layout=Layout((3, 5), (1, 0)), unsure=30_000),
}


def pictures(net: Net, count: int, seed: int = 0) -> list[np.ndarray]:
    """Pixels (H, W, C) in 0..top."""
    picture = Picture.into(net.graph, net.meaning)
    assert picture
    rng, shape = np.random.default_rng(seed), (picture.rows, picture.columns, picture.channels)
    return [rng.integers(0, picture.top + 1, shape) for _ in range(count)]


def deserved(net: Net, pixels: np.ndarray) -> str:
    """The answer to pixels (H, W, C) in 0..top, said independently of image.py."""
    layout, value = net.meaning.layouts.get("input"), net.graph.inputs["input"]
    model = pixels
    if layout and len(layout.shape) == 3 and layout.shape[0] in (1, 3):
        model = pixels.transpose(2, 0, 1)
    model = model.reshape(layout.shape if layout else value.shape)
    laid = layout.lay(model[None]) if layout else model[None]
    found = interpret(net.graph, {"input": laid.reshape(1, *value.shape)})
    scores = [int(score) for score in found["logits"][0]]
    first, second = sorted(scores, reverse=True)[:2]
    assert isinstance(net.application, Image)
    unsure = "unsure " if first - second < net.application.unsure_below else ""
    return f"{unsure}{NAMES[scores.index(first)]}: {' '.join(map(str, scores))}"


def sendings(net: Net) -> list[tuple[bytes | str, str]]:
    """Messages, and what each deserves: right ones in every spelling, and every kind of mistake."""
    picture = Picture.into(net.graph, net.meaning)
    assert picture
    a, b, c = pictures(net, 3)
    b.ravel()[:3] = [10, 13, 10]  # line ends among the pixels
    c[:] = 10
    binary, text = (5, 2) if picture.channels == 1 else (6, 3)
    w, h, top, n = picture.columns, picture.rows, picture.top, picture.size
    raw, count = [x.astype(np.uint8).tobytes() for x in (a, b, c)], n // picture.channels
    words = " ".join(map(str, a.ravel()))
    size, needs = b"%d %d" % (w, h), f"? needs P{binary} {w} {h} {top} and {count} pixels, or {n} integers in 0..{top}"
    bin_, txt = b"P%d" % binary, b"P%d" % text
    whole = b"%s\n%s\n%d\n%s" % (bin_, size, top, raw[0])
    right = [
        (b"%s\n%s\n%d\n%s" % (bin_, size, top, raw[k]), x) for k, x in enumerate((a, b, c))
    ] + [
        (words, a), (words + "\r", a), (words.replace(" ", ",; \t"), a), (words.encode(), a), (b" \r\n" + whole + b"\n", a),
        (f"P{text} {w} {h} {top} {words}", a), (b"%s\r\n%s\r\n%d\r\n%s\r\n" % (txt, size, top, words.replace(" ", "\r\n").encode()), a),
        (b"%s\r\n%s\r\n%d\r\n%s" % (bin_, size, top, raw[1]), b), (b"%s %s %d %s" % (bin_, size, top, raw[1]), b),
        (b"%s# one\n# two 7\n%s#\n%d#\r%s" % (bin_, size, top, raw[0]), a), (b"%s\n#\n%s\n%d\n%s\n" % (txt, size, top, words.encode()), a),
        (b"%s\n%s\n000%d\r%s" % (bin_, size, top, raw[0]), a), (whole + b"\n\n\r\n", a),
    ]  # fmt: skip
    small = np.minimum(a, 200)
    right += [(b"%s %s 200\n%s" % (bin_, size, small.astype(np.uint8).tobytes()), (small * top + 100) // 200)]
    one = (a > top // 2).astype(int)
    right += [(b"%s\n%s\n1\n%s\n" % (txt, size, b" ".join(b"%d" % p for p in one.ravel())), one * top)]
    wrong: list[tuple[bytes | str, str]] = [
        (b"P4\n%s\n%s" % (size, raw[0]), f"? P4: needs P{binary} or P{text}"), (b"P1 2 2 0 1 0 1\n", f"? P1: needs P{binary} or P{text}"),
        (b"%s\n%d %d\n255\n%s" % (bin_, w + 1, h, raw[0]), f"? width {w + 1}: needs {w}"),
        (b"%s\n%d %d\n255\n%s" % (bin_, w, 99_999, raw[0]), f"? height 32766: needs {h}"),
        (b"%s %s 0\n%s" % (bin_, size, raw[0]), "? maxval 0: needs 1..255"), (b"%s %s 65535\n%s" % (txt, size, raw[0]), "? maxval 32766: needs 1..255"),
        (b"%s %s 256\n%s" % (bin_, size, raw[0] * 2), "? maxval 256: needs 1..255"),
        (whole[:-1], f"? pixels {(n - 1) // picture.channels}: needs {count}"), (whole[: -n + 1], f"? pixels {1 // picture.channels}: needs {count}"),
        (whole[:-n], f"? pixels 0: needs {count}"), (whole + b"x", f"? pixels {count + 1}: needs {count}"), (whole * 2, f"? pixels {count + 1}: needs {count}"),
        (whole + b"\n" * 9 + b"7", f"? pixels {count + 1}: needs {count}"),
        (b"%s %s 100\n%s" % (bin_, size, b"\x65" * n), "? pixel 101: needs 0..100"), (b"%s %s 1\n1 2 1" % (txt, size), "? pixel 2: needs 0..1"),
        (f"{top + 1} " * n, f"? pixel {top + 1}: needs 0..{top}"), ("9" * 5000, f"? pixel 32766: needs 0..{top}"),
        (words + " 1", f"? pixels {count + 1}: needs {count}"), (words[: words.rindex(" ")], f"? pixels {(n - 1) // picture.channels}: needs {count}"),
        (words + "\n" + words, f"? pixels {count + 1}: needs {count}"), (b"%s %s %d\n1 1 " % (txt, size, top), f"? pixels {2 // picture.channels}: needs {count}"),
        (b"1", f"? pixels {1 // picture.channels}: needs {count}"),
    ]  # fmt: skip
    odd = [
        b"P",
        b"Px",
        bin_,
        bin_ + b"5 " + size,
        b"%s %s" % (bin_, size),
        b"%s a" % bin_,
        b"%s %s x" % (bin_, size),
        b"\x00\xff\xfe" + whole,
        b"?",
        b"-1 2",
    ]
    odd += [
        b"%s %s %d\n1 1x 1" % (txt, size, top),
        b"1 2 x\n" + whole,
        bytes(range(256)),
        b"\x89PNG\r\n\x1a\n" + raw[0],
        "٣ 1",
        b"1 \xb2 3\n",
        b"%s#%s" % (bin_, size),
        b"1.5 2",
    ]
    return (
        [(message, deserved(net, x)) for message, x in right] + wrong + [(message, needs) for message in odd]
        + [("", ""), (b" \r\n \r\n", ""), (whole, deserved(net, a))]
    )  # fmt: skip


@pytest.mark.parametrize("kind", NETS)
@ALL
def test_every_message_is_answered_as_it_deserves(target, kind: str, tmp_path: Path, need) -> None:
    need(target)
    net = NETS[kind]
    firmware = target.firmware(net.graph, net.application, "test", net.meaning).built(tmp_path)
    few = (
        1 if not target.flash_bytes else 2 if kind == "colour" else 7
    )  # a mistake costs a simulated quarter of a second of silence
    messages, wanted = zip(*(sendings(net)[::few]), strict=True)
    typed = firmware.type(messages)
    for message, said, want in zip(messages, typed.answers, wanted, strict=True):
        assert (said, net.application.expected(net.graph, message)) == (want, want), message[:60]
    if typed.outcome:
        assert compare(net.graph, typed.outcome).mismatches == 0
        assert len(typed.outcome.inputs["input"]) == sum(":" in want and want[0] != "?" for want in wanted)


def test_whatever_is_sent_the_host_says_what_the_interpreter_says(tmp_path: Path, need) -> None:
    """Right messages with bytes lost, doubled, changed and strewn in, one after the other: each is answered, none spoils the next."""
    need(TARGETS["host"])
    rng, net = np.random.default_rng(5), NETS["grey"]
    right = [message if isinstance(message, bytes) else f"{message}\n".encode() for message, _ in sendings(net)]
    right = [message for message in right if 0 < len(message) < 99]
    messages = []
    for _ in range(400):
        message = bytearray(right[rng.integers(len(right))])
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(len(message) + 1))
            message[at : at + int(rng.integers(3))] = (
                rng.choice(list(b"P2569 \t\r\n#0,x\xff\x00"), rng.integers(3)).astype(np.uint8).tobytes()
            )
        messages.append(bytes(message) or b" ")
    said = TARGETS["host"].firmware(net.graph, net.application, "test").built(tmp_path).type(messages).answers
    assert said == [net.application.expected(net.graph, message) for message in messages]
    assert (
        len({answer[:9] for answer in said}) > 9
        and 20 < sum(bool(re.match("(unsure )?[^?]+:", answer)) for answer in said) < 300
    )


def test_pixels_are_all_the_memory_that_the_application_takes(tmp_path: Path, need) -> None:
    """784 B of pixels on a chip of 2 048 B: no buffer beside them, and no constant in SRAM."""
    need(TARGETS["uno"])
    net = image_net((28, 28, 1), unsure=1000)
    sizes = TARGETS["uno"].firmware(net.graph, net.application, "test").built(tmp_path).sizes
    assert sizes.static_bytes == 784 + net.sizes.arena_bytes


def test_vectors_equal_the_interpreter(tmp_path: Path, need) -> None:
    need(TARGETS["uno"])
    net = NETS["planes"]
    inputs = {"input": np.random.default_rng(1).integers(0, 256, (50, 3, 2, 4))}
    outcome = TARGETS["uno"].firmware(net.graph, net.application, "test").built(tmp_path).vectors(inputs)
    comparison = compare(net.graph, outcome, inputs)
    assert (comparison.vectors, comparison.mismatches, comparison.example) == (50, 0, "")


def test_the_threshold_travels_with_the_net(tmp_path: Path) -> None:
    net = NETS["flat"]
    net.save(tmp_path / "a.safetensors")
    found = Net.load(tmp_path / "a.safetensors")
    assert found.application == net.application and isinstance(found.application, Image)
    pixels = pictures(net, 1)[0]
    laid = Picture.into(net.graph, net.meaning).lay(pixels[None])[0]  # type: ignore[union-attr]
    assert found.application.expected(found.graph, found.application.message(found.graph, laid)) == deserved(
        net, pixels
    )


@pytest.mark.parametrize(
    ("net", "text"),
    [
        (image_net((7,)), r"image: the graph reads input\[7\] in 0..255; a picture is one input of rows, columns and 1 or 3 channels"),
        (image_net((2, 3, 2)), r"the graph reads input\[2, 3, 2\]"), (image_net((2, 2, 1), 300), r"in 0..300; a picture .* in 0..255 or less"),
        (image_net((2, 2, 1), unsure=-1), r"unsure below -1; scores of -?\d+..\d+ differ by 0 to"),
    ],
)  # fmt: skip
def test_nets_that_are_refused(net: Net, text: str) -> None:
    with pytest.raises(LevshaError, match=text):
        net.application.header(net.graph)
    assert not Image.fits(net.graph, net.meaning) or "unsure" in text


def test_a_net_without_scores_or_names_is_refused() -> None:
    net = NETS["grey"]
    for graph, meaning in ((net.graph, Meaning()), (Graph(net.graph.inputs, net.graph.ops, ("class",)), net.meaning)):
        with pytest.raises(
            LevshaError, match=r"image: the graph gives class\[1\].*needed are two outputs: the number of a class"
        ):
            Image(meaning).header(graph)


def test_the_sketch_compiles_against_the_real_arduino_core(tmp_path: Path, need) -> None:
    need(TARGETS["uno"])
    net = NETS["grey"]
    TARGETS["uno"].firmware(net.graph, net.application, "t", net.meaning).built(tmp_path / "build").save(
        tmp_path / "eye"
    )
    ino = (tmp_path / "eye" / "eye" / "eye.ino").read_text()
    assert "Send a PGM file (P5 or P2) of 5 x 3 pixels in one go" in ino
    compile_sketch(tmp_path / "eye" / "eye", ino, [])
