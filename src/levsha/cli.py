"""argv -> one call.  Flags are derived from dataclasses; nothing heavy is imported before it is needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from levsha.errors import LevshaError, show_warnings_in_a_line

HELP = """usage: levsha COMMAND ...

Trains small neural networks, shrinks them and ships them as exact integers:
what the table says is what the chip computes, bit for bit.

  run RECIPE     train, prune, quantise, build, check and measure; recipes: tinychat, regression
  train RECIPE   the first part of run: only train
  chat RUN       talk with a net of a run; --target uno: with its firmware, simulated
  check RUN      compare the chip with the interpreter, vector by vector
  ask RUN        give a sensor model readings; --target uno: its firmware, simulated
  explain RUN    draw what the outputs of a regression depend on
  export RUN     write a net as json, bin, c, pt, npz or safetensors
  targets        the chips, and which of their tools are on this machine
  formats        the weight formats

levsha COMMAND --help explains each; levsha --version."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status: 0, 1 for a mismatch, 2 for a mistake of the user, 130 for Ctrl-C."""
    words = list(sys.argv[1:] if argv is None else argv)
    show_warnings_in_a_line()
    try:
        return _dispatch(words)
    except LevshaError as error:
        print(f"levsha: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nlevsha: stopped; what was finished is kept, repeat the command to continue.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader went away, as head does
        return 0


def _dispatch(words: list[str]) -> int:
    commands: dict[str, Callable[[list[str]], int]] = {
        "run": _run, "train": _train, "chat": _chat, "check": _check, "ask": _ask, "explain": _explain, "export": _export,
        "targets": _targets, "formats": _formats,
    }  # fmt: skip
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP)
        return 0
    if words[0] == "--version":
        from levsha import __version__

        print(f"levsha {__version__}")
        return 0
    if words[0] not in commands:
        raise LevshaError(f"command {words[0]!r}: unknown; there are {', '.join(commands)}. See levsha --help.")
    return commands[words[0]](words[1:])


def _run(words: list[str]) -> int:
    return _recipe("run", words)


def _train(words: list[str]) -> int:
    return _recipe("train", words)


def _recipe(command: str, words: list[str]) -> int:
    from levsha.recipes import RECIPES, find_recipe

    if not words or words[0] in ("-h", "--help"):
        lines = [f"  {name:<12} {about}" for name, about in RECIPES.items()]
        print(
            "\n".join(
                [
                    f"usage: levsha {command} RECIPE [FLAGS]",
                    "",
                    *lines,
                    "",
                    f"levsha {command} RECIPE --help explains every flag.",
                ]
            )
        )
        return 0
    recipe = find_recipe(words[0])
    if not recipe.processes and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise LevshaError(
            f"{recipe.name}: its many small trainings run side by side already (--jobs); start it without torchrun."
        )
    joined = " ".join(words).replace("--preset=", "--preset ").split()
    wanted = ([b for a, b in pairwise(joined) if a == "--preset"] or ["quick"])[-1]
    default = recipe.preset(wanted)
    settings = parse(type(default), words[1:], f"levsha {command} {recipe.name}", default)
    recipe.run(settings, _console(), command == "train")
    return 0


def _check(words: list[str]) -> int:
    from levsha.commands import Check, check_run

    return check_run(parse(Check, words, "levsha check"), _console())


def _chat(words: list[str]) -> int:
    from levsha.recipes.tinychat.talk import Chat, chat_run

    return chat_run(parse(Chat, words, "levsha chat"))


def _ask(words: list[str]) -> int:
    from levsha.recipes.regression.ask import Ask, ask_run

    return ask_run(parse(Ask, words, "levsha ask"))


def _explain(words: list[str]) -> int:
    from levsha.recipes.regression.explain import Explain, explain_run

    return explain_run(parse(Explain, words, "levsha explain"))


def _export(words: list[str]) -> int:
    from levsha.commands import Export, export_run

    return export_run(parse(Export, words, "levsha export"))


def _targets(words: list[str]) -> int:
    from levsha.targets import TARGETS

    _no_words("targets", words)
    for target in TARGETS.values():
        memory = f"{target.flash_bytes} B flash, {target.ram_bytes} B SRAM" if target.flash_bytes else "no limits"
        print(f"{target.name:<6} {target.chip:<20} {memory:<30} {target.missing() or 'ready'}")
        for tool in target.tools:
            print(f"       {'found  ' if tool.found() else 'missing'} {tool.name} ({tool.package})")
    return 0


def _formats(words: list[str]) -> int:
    from levsha.formats import FORMATS

    _no_words("formats", words)
    for weights in FORMATS.values():
        print(f"{weights.name:<12} {weights.bits:>4g} bits   {weights.meaning}")
    return 0


def _no_words(command: str, words: list[str]) -> None:
    if words and words[0] not in ("-h", "--help"):
        raise LevshaError(f"{command}: takes no arguments; found {words[0]!r}.")


def parse(settings: type[Any], words: list[str], program: str, default: Any = None) -> Any:
    """Return the dataclass that the words describe; LevshaError in one line where they do not."""
    import contextlib
    import io

    import tyro

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            options = {"default": default} if default is not None else {}
            return tyro.cli(settings, args=words, prog=program, **options)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise LevshaError(f"{_first_sentence(said.getvalue())} See {program} --help.") from None


def _first_sentence(box: str) -> str:
    """The message in tyro's box, in one line: what stands between the title and the first rule."""
    lines = [line.strip(" │|╭╮╰╯+") for line in box.splitlines()]
    lines = [line for line in lines if line][1:]
    while lines and not lines[0].strip("─-"):  # without a frame, the title has a rule under it
        lines = lines[1:]
    rule = next((at for at, line in enumerate(lines) if not line.strip("─-")), len(lines))
    message = " ".join(lines[:rule]).rstrip(".") or "the arguments are malformed"
    near = [line.split()[0] for line in lines[rule:] if line.startswith("--") and line.strip("-")]
    hint = f" Perhaps you meant {near[0]}." if near and near[0] not in message else ""
    return f"{message}.{hint}"


def _console() -> Any:
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=132)


if __name__ == "__main__":
    sys.exit(main())
