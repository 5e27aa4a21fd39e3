"""The folder of a training: training.json says what was started there, so that another training never takes its place in silence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from levsha.errors import LevshaError
from levsha.files import read_kept, remove_stale, unwritable, write_file
from levsha.train.checkpoint import PATTERN, read_checkpoint
from levsha.train.settings import Training, begins_like_a_longer_one

KIND = "levsha-training-1"
SAID, MODEL, LOG, CHECKPOINTS = "training.json", "model.safetensors", "metrics.jsonl", "checkpoints"
WORDS = {  # what decides how a training comes out beside its settings, and how an error says that it differs
    "key": "the key was {was!r}, is {now!r}",
    "watch": "watch was {was!r}, is {now!r}",
    "higher": "higher was {was}, is {now}",
    "samples": "the samples an epoch were {was}, are {now}",
    "data": "the training data are others",
    "validation": "the validation data are others",
    "model": "the model's layers are others",
    "weights": "the model starts from other weights (it was trained already, or made from another seed)",
    "optimizer_state": "the optimizer starts from another state",
}


@dataclass(frozen=True)
class Plan:
    """A training that is about to begin: its settings, what else decides how it comes out (see WORDS), and the hash of both."""

    training: Training
    about: dict[str, Any]
    hash: str


def deciding(training: Training) -> dict[str, Any]:
    """Return the settings that decide how a training comes out; another number of threads only gets a warning."""
    return {name: value for name, value in asdict(training).items() if name not in ("threads", "checkpoint_seconds")}


def claim(folder: Path, plan: Plan, replace: bool) -> list[str]:
    """Write down in a folder what is trained there; return the hashes of shorter trainings whose checkpoints it goes on from.

    replace: what the folder holds of another training is removed. Raises LevshaError where it holds one and `replace` is false.
    """
    remove_stale(folder)  # by the one process that writes: another's would remove what is being written
    try:
        return _claim(folder, plan, replace)
    except OSError as error:  # of looking into the folder
        raise unwritable(folder / SAID, error) from None


def _claim(folder: Path, plan: Plan, replace: bool) -> list[str]:
    path, asked = folder / SAID, json.loads(json.dumps(_said(plan), default=str))
    found = read_kept(path)
    holds = [name for name in (SAID, MODEL, LOG) if (folder / name).exists()] + _steps(folder)
    earlier: list[str] = []
    if _is_sound(found):
        differences = list(_differences(found, asked))
        if not differences or _longer(found, plan.training, differences):
            earlier = [name for name in (*found["goes_on_from"], found["hash"]) if name != plan.hash]
        elif not replace:
            raise _another(folder, found, plan.training, differences)
        else:
            _clear(folder)
    elif holds and not _has_state_of(folder, plan.hash):
        if not replace:
            raise LevshaError(
                f"{folder}: holds {holds[0]} but no sound {SAID}: a training of an earlier Levsha, or files of your own. Give another folder; "
                f"fit(..., replace=True) overwrites {MODEL}, {LOG} and {CHECKPOINTS} there."
            )
        _clear(folder)
    text = json.dumps(asked | {"goes_on_from": earlier}, indent=2) + "\n"
    if not path.is_file() or path.read_text() != text:
        write_file(path, text)
    return earlier


def _said(plan: Plan) -> dict[str, Any]:
    return {"kind": KIND, "hash": plan.hash, "settings": deciding(plan.training), **plan.about}


def _is_sound(found: dict[str, Any]) -> bool:
    kinds = {"hash": str, "settings": dict, "goes_on_from": list}
    whole = all(isinstance(found.get(name), kind) for name, kind in kinds.items())
    return found.get("kind") == KIND and whole and isinstance(found["settings"].get("epochs"), int)


def _differences(found: dict[str, Any], asked: dict[str, Any]) -> Iterator[str]:
    """Say what differs; a setting that an earlier Levsha had not is what it is unless told otherwise."""
    before = deciding(Training()) | found["settings"]
    for name, now in asked["settings"].items():
        if before[name] != now:
            yield f"--train.{name.replace('_', '-')} was {before[name]}, is {now}"
    for name, words in WORDS.items():
        if found.get(name) != asked[name]:
            yield words.format(was=found.get(name), now=asked[name])


def _longer(found: dict[str, Any], training: Training, differences: list[str]) -> bool:
    """Say whether it is the same training but for more epochs, and whose first epochs would be the same."""
    only = len(differences) == 1 and training.epochs > found["settings"]["epochs"]
    return only and begins_like_a_longer_one(training)


def _another(folder: Path, found: dict[str, Any], training: Training, differences: list[str]) -> LevshaError:
    state, epochs = "finished" if (folder / MODEL).exists() else "started", found["settings"]["epochs"]
    why = ""
    if training.epochs > epochs and len(differences) == 1:
        why = " With this schedule or warm-up the rates of the first epochs depend on how many follow, so it cannot go on to more."
    return LevshaError(
        f"{folder}: holds a {state} training of {epochs} epochs that is another one: {'; '.join(differences)}.{why} "
        "Give another folder, or the same settings; fit(..., replace=True) removes it and trains anew."
    )


def _steps(folder: Path) -> list[str]:
    return [f"{CHECKPOINTS}/{path.name}" for path in sorted((folder / CHECKPOINTS).glob(PATTERN))]


def _has_state_of(folder: Path, key: str) -> bool:
    """Say whether a checkpoint there is of this very training: an earlier Levsha wrote nothing else down."""
    for name in _steps(folder):
        try:
            if read_checkpoint(folder / name)[1]["key"] == key:
                return True
        except LevshaError:  # a damaged one, which is named where checkpoints are loaded
            continue
    return False


def _clear(folder: Path) -> None:
    """Remove what would be taken for the new training's; the log is cut when it begins."""
    for name in (MODEL, f"{CHECKPOINTS}/best.safetensors", *_steps(folder)):
        (folder / name).unlink(missing_ok=True)
