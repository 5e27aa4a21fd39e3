"""levsha see: what a net makes of pictures, through the interpreter or the simulated chip."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.text import Text
from tyro.conf import Positional

from levsha.applications import Image
from levsha.applications.picture import LARGEST_PIXEL
from levsha.commands.parse import console, parse
from levsha.data.pictures import Folder
from levsha.errors import LevshaError
from levsha.net import Net
from levsha.photos import Eye, Invert
from levsha.recipes import find_recipe
from levsha.run import Run
from levsha.targets import Answer, Conversation, Target, find_target

NETPBM = (".pgm", ".ppm", ".pnm")  # beside what a folder to learn from may hold
BAR = 30  # characters of the longest bar
SHOWN = 10  # scores, at most: the highest
SHADES = " .:-=+*#%@"  # of two pixels, where there are no colours


@dataclass(frozen=True)
class See:
    """Show pictures to a net: each as the net sees it, the class, the scores."""

    run: Positional[Path]
    """The folder of a run of images, or of convert where the model reads pictures."""
    files: Positional[tuple[Path, ...]]
    """PNG, JPEG, PGM or PPM files of any size; or a folder of them."""
    variant: str | None = None
    """Which integer variant; without it, the one the run recommends."""
    target: str | None = None
    """Show them to the firmware of this chip, simulated, and say how long it takes; levsha targets lists the chips."""
    invert: Invert = "auto"
    """yes: dark becomes bright; auto: where the edges of what the net learned from are dark and that of the picture is bright, or the reverse."""


def main(command: str, words: list[str]) -> int:
    """Show every picture, and what the net makes of it."""
    asked = parse(See, words, "levsha see")
    run, paths = Run(asked.run), _pictures(asked.files)
    name = run.pick(asked.variant)
    net, target = run.net(name), find_target(asked.target) if asked.target else None
    recipe = find_recipe(run.results()["recipe"])
    eye = Eye.of(net, recipe.kept(run).samples.x, str(run.folder))
    seen = [
        (path, *eye.see(path, asked.invert)) for path in paths
    ]  # what is no picture is said before anything is shown
    screen = console()
    with run.talk(name, target) if target else nullcontext() as talk:
        for path, pixels, done in seen:
            screen.print(Text(f"{path}: {done}"), soft_wrap=True)
            screen.print(drawn(pixels, eye.brightest, screen.color_system is not None))
            said = _ask(net, talk, eye.picture.lay(pixels[None])[0])
            screen.print(Text(in_words(net, said.text) + _timed(said, target)))
    return 0


def _pictures(files: tuple[Path, ...]) -> list[Path]:
    """The files, those of folders by name."""
    found: list[Path] = []
    for path in files:
        inside = _inside(path) if path.is_dir() else (path,)
        if not inside:
            raise LevshaError(f"{path}: holds no PNG, JPEG, PGM or PPM picture; give some.")
        found += inside
    if not found:
        raise LevshaError("see: no picture; give PNG, JPEG, PGM or PPM files, or a folder of them.")
    return found


def _inside(path: Path) -> list[Path]:
    folder = Folder.of(path)
    return sorted([*folder.images, *(file for file in folder.others if file.suffix.lower() in NETPBM)])


def _ask(net: Net, talk: Conversation | None, laid: np.ndarray) -> Answer:
    message, application = net.application.message(net.graph, laid), net.application
    return Answer(application.expected(net.graph, message), []) if talk is None else talk.say(message)


def drawn(pixels: np.ndarray, brightest: int, colours: bool) -> Text:
    """Return pixels (H, W, C) of 0..brightest as half blocks, two rows a line; without colours as characters."""
    shown = (pixels * LARGEST_PIXEL // brightest).clip(0, LARGEST_PIXEL)
    shown = np.pad(shown, ((0, len(shown) % 2), (0, 0), (0, 0)))
    rgb, text = np.broadcast_to(shown, (*shown.shape[:2], 3)), Text()
    for above, below in zip(rgb[::2], rgb[1::2], strict=True):
        for a, b in zip(above.tolist(), below.tolist(), strict=True):
            mean = (sum(a) + sum(b)) * len(SHADES) // (6 * LARGEST_PIXEL + 1)
            text.append(
                *(("▀", f"rgb({a[0]},{a[1]},{a[2]}) on rgb({b[0]},{b[1]},{b[2]})") if colours else (SHADES[mean],))
            )
        text.append("\n")
    text.right_crop()
    return text


def in_words(net: Net, said: str) -> str:
    """Return an answer with a bar for each score; that of an application that gives none as it is."""
    if not isinstance(net.application, Image):
        return said
    unsure, scores = net.application.parse(said)
    names = net.application.classes(net.graph)
    order = sorted(range(len(scores)), key=lambda k: -scores[k])
    low, high = min(scores), max(scores)
    width, digits = max(map(len, names)), max(len(str(score)) for score in scores)
    head = f"{names[order[0]]}" if not unsure else f"unsure: {names[order[0]]}, or {names[order[1]]}"
    kept = sorted(order[:SHOWN])
    bars = [
        f"  {names[k]:<{width}}  {scores[k]:>{digits}}  {'█' * round(BAR * (scores[k] - low) / max(1, high - low))}"
        for k in kept
    ]
    more = [f"  and {len(scores) - SHOWN} more, lower"] if len(scores) > SHOWN else []
    return "\n".join([head, *bars, *more])


def _timed(said: Answer, target: Target | None) -> str:
    if target is None or not said.cycles or not target.clock_hz:
        return ""
    return f"\n  {1000 * sum(said.cycles) / target.clock_hz:.2f} ms on {target.chip}, simulated"
