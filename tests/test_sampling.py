"""Which rows an epoch visits: a pure function of (seed, epoch), from memory and from files larger than it."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from levsha.data.rows import Mapped, as_rows, map_rows
from levsha.data.sampling import order
from levsha.errors import LevshaError
from levsha.train.batch import ArrayBatches, Arrays, Batch, Stream, StreamBatches
from levsha.train.fit import fit
from levsha.train.settings import SAMPLINGS, Training

counts, seeds, epochs = st.integers(1, 300), st.integers(0, 1 << 30), st.integers(0, 999_999)


# The order of an epoch


@settings(deadline=None)
@given(counts, seeds, epochs)
def test_without_replacement_every_row_comes_once(count: int, seed: int, epoch: int) -> None:
    rows = order("without_replacement", count, seed, epoch)
    assert sorted(rows.tolist()) == list(range(count))


@settings(deadline=None)
@given(counts, seeds, epochs, st.sampled_from(SAMPLINGS))
def test_an_order_is_a_function_of_seed_and_epoch(count: int, seed: int, epoch: int, sampling: str) -> None:
    weights = torch.rand(count) + 0.1
    first = order(sampling, count, seed, epoch, weights)
    torch.rand(3)
    assert torch.equal(first, order(sampling, count, seed, epoch, weights))
    assert first.shape == (count,) and 0 <= int(first.min()) <= int(first.max()) < count


@settings(deadline=None)
@given(seeds, epochs, epochs, st.sampled_from(SAMPLINGS))
def test_epochs_differ(seed: int, one: int, other: int, sampling: str) -> None:
    """Of 200 rows no two orders are the same by chance."""
    weights = torch.ones(200)
    same = torch.equal(order(sampling, 200, seed, one, weights), order(sampling, 200, seed, other, weights))
    assert same == (one == other)


@settings(deadline=None)
@given(seeds, seeds, epochs)
def test_seeds_differ(one: int, other: int, epoch: int) -> None:
    """Torch reads 32 bits of a seed, so two seeds that differ in higher bits only must not fall together."""
    for pair in ((one, other), (one, (one + 4096) % (1 << 30)), (one, one ^ 1 << 29)):
        a, b = (order("without_replacement", 200, seed, epoch) for seed in pair)
        assert torch.equal(a, b) == (pair[0] == pair[1])


@settings(deadline=None)
@given(st.integers(50, 300), seeds, epochs)
def test_a_bootstrap_sample_has_repeats_and_leaves_rows_out(count: int, seed: int, epoch: int) -> None:
    rows = order("with_replacement", count, seed, epoch)
    assert len(rows) == count and 0 <= int(rows.min()) <= int(rows.max()) < count
    assert len(rows.unique()) < count


def test_a_bootstrap_sample_has_63_percent_of_the_rows() -> None:
    share = len(order("with_replacement", 100_000, 1, 2).unique()) / 100_000
    assert abs(share - (1 - 1 / np.e)) < 0.005


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.0, 7.5]), min_size=1, max_size=9), seeds)
def test_weighted_rows_come_as_often_as_their_weights_say(weights: list[float], seed: int) -> None:
    """Each row's count is binomial; 5 standard deviations. A weight of zero is never drawn, wherever it stands."""
    if not sum(weights):
        weights = [*weights, 1.0]
    tensor = torch.tensor(weights).repeat(1000)
    rows = order("weighted", len(tensor), seed, 0, tensor)
    assert bool((tensor[rows] > 0).all())
    found = torch.bincount(rows % len(weights), minlength=len(weights)) / len(rows)
    p = torch.tensor(weights) / sum(weights)
    assert bool(((found - p).abs() <= 5 * (p * (1 - p) / len(rows)).sqrt() + 1e-6).all())


def test_a_single_row_with_a_weight_is_all_there_is() -> None:
    for at in (0, 5, 9):
        weights = torch.zeros(10)
        weights[at] = 1e-30
        assert set(order("weighted", 10, 0, 0, weights).tolist()) == {at}


# The batches


def arrays(rows: int, weighted: bool = False) -> Arrays:
    x = torch.arange(rows * 3.0).reshape(rows, 3)
    return Arrays(x, torch.arange(rows), torch.arange(1, rows + 1) if weighted else None)


def taken(batches: ArrayBatches | StreamBatches, number: int, start: int = 0) -> list[Batch]:
    """A copy of each batch: the next one may lie in the same memory."""
    return [Batch(x.clone(), y.clone(), whole) for x, y, whole in batches.epoch(number, start)]


def same(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(p.x, q.x) and torch.equal(p.y, q.y) and p.whole == q.whole for p, q in zip(a, b, strict=True)
    )


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(0, 60), st.sampled_from(SAMPLINGS), seeds, st.integers(0, 50), st.data())
def test_an_epoch_taken_up_in_the_middle_is_its_tail(
    rows: int, batch: int, sampling: str, seed: int, number: int, data: st.DataObject
) -> None:
    training = Training(batch=min(batch, rows), sampling=sampling, seed=seed)
    batches = ArrayBatches(arrays(rows, weighted=True), training)
    whole = taken(batches, number)
    start = data.draw(st.integers(0, len(whole)))
    assert len(whole) == len(batches) and same(taken(batches, number, start), whole[start:])
    assert sum(b.whole for b in whole) == rows and all(len(b.x) == b.whole for b in whole)
    assert all(torch.equal(b.x[:, 0], 3.0 * b.y) for b in whole), "a target is its input's"
    if sampling == "without_replacement":
        assert sorted(torch.cat([b.y for b in whole]).tolist()) == list(range(rows))


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 5), st.sampled_from(SAMPLINGS), seeds)
def test_the_shares_of_all_processes_are_the_whole_batch(
    rows: int, batch: int, world: int, sampling: str, seed: int
) -> None:
    batch, rows = max(batch, world), max(rows, batch, world)
    data, training = arrays(rows, weighted=True), Training(batch=batch, sampling=sampling, seed=seed)
    whole = taken(ArrayBatches(data, training), 3)
    shares = [taken(ArrayBatches(data, training, rank, world), 3) for rank in range(world)]
    for k, want in enumerate(whole):
        parts = [share[k] for share in shares]
        assert same([Batch(torch.cat([p.x for p in parts]), torch.cat([p.y for p in parts]), want.whole)], [want])
        assert {p.whole for p in parts} == {want.whole}
        assert max(len(p.x) for p in parts) - min(len(p.x) for p in parts) <= 1


def drawn(generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, 3, generator=generator)
    return x, x.sum(1, keepdim=True)


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 6), seeds, st.integers(0, 1000), st.data())
def test_the_batches_of_a_stream_are_pure(batch: int, steps: int, seed: int, number: int, data: st.DataObject) -> None:
    batches = StreamBatches(Stream(drawn, steps), Training(batch=batch, seed=seed))
    whole = taken(batches, number)
    start = data.draw(st.integers(0, steps))
    assert len(whole) == len(batches) == steps and same(taken(batches, number, start), whole[start:])
    everything = torch.cat([b.x for b in whole + taken(batches, number + 1)])
    assert len(everything.unique(dim=0)) == 2 * steps * batch, "no sample comes twice"
    world = min(batch, 3)
    shares = [taken(StreamBatches(batches.stream, batches.training, r, world), number) for r in range(world)]
    for k, want in enumerate(whole):
        assert torch.equal(torch.cat([share[k].x for share in shares]), want.x)


def test_a_stream_trains() -> None:
    model = nn.Sequential(nn.Linear(3, 1))
    history = fit(model, Stream(drawn, 50), training=Training(epochs=4, batch=32, rate=0.05)).history
    assert history[-1]["loss"] < 0.01 * history[0]["loss"]
    for steps, batch in ((0, 32), (5, 0)):
        with pytest.raises(LevshaError, match="at least 1"):
            fit(model, Stream(drawn, steps), training=Training(batch=batch))


# Arrays on the disk


def saved(folder: Path, name: str, array: np.ndarray) -> np.ndarray:
    np.save(folder / f"{name}.npy", array)
    return map_rows(folder / f"{name}.npy")


def weights_of(model: nn.Module) -> bytes:
    return b"".join(t.numpy().tobytes() for t in model.state_dict().values())


def trained(x: Tensor | np.ndarray, y: Tensor | np.ndarray) -> bytes:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2))
    training = Training(epochs=3, batch=200, loss="mse" if y.ndim == 2 else "cross_entropy")
    return weights_of(fit(model, (x, y), (x, y), training).model)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16, np.int16, np.uint8])
def test_arrays_on_the_disk_train_the_same_net_as_in_memory(kind: type, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((900, 5)) * 40 + 100).astype(kind), rng.integers(0, 2, 900)
    mapped, classes, both = saved(tmp_path, "x", x), saved(tmp_path, "y", y), np.stack([y, 1 - y], 1).astype("f4")
    assert isinstance(as_rows(mapped, torch.float32), Mapped)
    training = Training(batch=200, sampling="with_replacement")
    assert same(
        taken(ArrayBatches(Arrays(mapped, classes), training), 4), taken(ArrayBatches(Arrays(x, y), training), 4)
    )
    assert trained(mapped, classes) == trained(x, y) == trained(torch.from_numpy(x), torch.from_numpy(y))
    assert trained(mapped, saved(tmp_path, "both", both)) == trained(x, both) != trained(x, y)


VIEWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "whole": lambda a: a,
    "rows from the middle": lambda a: a[100:700],
    "every third row": lambda a: a[5::3],
    "backwards": lambda a: a[::-1],
    "some columns": lambda a: a[:, 1:4],
    "every second column": lambda a: a[:, ::2],
    "as an ordinary array": lambda a: np.asarray(a)[10:],
    "reshaped": lambda a: a.reshape(-1, 2, 5),
    "one column": lambda a: a[:, 3],
}


@pytest.mark.parametrize("order_of_bytes", ["C", "F"])
@pytest.mark.parametrize("name", VIEWS)
def test_any_view_of_a_mapped_array_gives_its_rows(name: str, order_of_bytes: str, tmp_path: Path) -> None:
    x = np.asarray(
        np.random.default_rng(0).standard_normal((900, 10)), dtype="f4", order="F" if order_of_bytes == "F" else "C"
    )
    view, want = VIEWS[name](saved(tmp_path, "x", x)), VIEWS[name](x)
    index = torch.randint(len(want), (1500,), generator=torch.Generator().manual_seed(0))
    assert np.array_equal(as_rows(view, torch.float32).take(index).numpy(), want[index.numpy()])


def test_what_was_written_into_a_mapped_array_is_what_is_read(tmp_path: Path) -> None:
    """Also with mode c, whose changes never reach the file."""
    np.save(tmp_path / "x.npy", np.zeros((600, 3), "f4"))
    for mode in ("c", "r+"):
        x = np.load(tmp_path / "x.npy", mmap_mode=mode)
        rows = as_rows(x, torch.float32)
        x[7] = 5.0
        for _ in range(3):
            assert rows.take(torch.arange(600)).sum() == 15.0


def test_a_file_that_went_away_is_still_read(tmp_path: Path) -> None:
    x = saved(tmp_path, "x", np.arange(30, dtype="f4").reshape(10, 3))
    open_before, index = as_rows(x, torch.float32), torch.arange(10)
    (tmp_path / "x.npy").unlink()
    np.save(tmp_path / "x.npy", -np.ones((10, 3), "f4"))
    for rows in (open_before, as_rows(x, torch.float32)):
        assert rows.take(index).tolist() == np.arange(30).reshape(10, 3).tolist()


def test_a_file_that_was_cut_short_is_named(tmp_path: Path) -> None:
    rows = as_rows(saved(tmp_path, "x", np.ones((5000, 3), "f4")), torch.float32)
    with open(tmp_path / "x.npy", "r+b") as file:
        file.truncate(3000)
    with pytest.raises(LevshaError, match=r"x\.npy: was cut short while it was read"):
        rows.take(torch.tensor([4999]))


SCRIPT = """
import sys
from pathlib import Path
from torch import nn
from levsha.data.rows import map_rows
from levsha.train.fit import fit
from levsha.train.settings import Training
x, y = map_rows(Path(sys.argv[1])), map_rows(Path(sys.argv[2]))
fit(nn.Sequential(nn.Linear(64, 1)), (x, y), training=Training(epochs=1, batch=4096))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""  # not ru_maxrss, which a process inherits from the one that started it


def peak_memory(rows: int, folder: Path) -> int:
    """Kilobytes that a process has in memory at most while it trains one epoch on so many rows of a file."""
    paths = [folder / "x.npy", folder / "y.npy"]
    block = np.random.default_rng(0).standard_normal((20_000, 64), dtype=np.float32)
    for path, columns in zip(paths, (64, 1), strict=True):
        array = np.lib.format.open_memmap(path, "w+", np.float32, (rows, columns))
        for start in range(0, rows, len(block)):
            array[start : start + len(block)] = block[:, :columns]
        array.flush()
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, *map(str, paths)], capture_output=True, text=True, check=True
    )
    for path in paths:
        path.unlink()
    return int(run.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say how much memory was used")
def test_memory_stays_flat_however_large_the_file(tmp_path: Path) -> None:
    """20 MB against 200 MB; what the process maps of a file counts, what the system keeps of it does not."""
    small, large = peak_memory(80_000, tmp_path), peak_memory(800_000, tmp_path)
    assert large <= 1.1 * small, f"{small} KB for 20 MB of samples, {large} KB for 200 MB"


# What is refused


def refused(text: str, *parts: Tensor | np.ndarray | None) -> None:
    with pytest.raises(LevshaError, match=text):
        Arrays(*parts)  # type: ignore[arg-type]


def test_lengths_that_differ_and_no_samples_are_refused() -> None:
    refused(
        "data: 5 inputs and 4 targets; there must be as many, and at least one", torch.zeros(5, 2), torch.zeros(4, 1)
    )
    refused("data: 0 inputs and 0 targets", torch.zeros(0, 2), torch.zeros(0, 1))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_finite_numbers_are_found(value: float) -> None:
    x, y = torch.zeros(50, 3), torch.zeros(50, 1)
    x[7, 2] = x[9, 0] = value
    refused(r"data: 2 inputs are no finite numbers, the first at \[7, 2\]; remove or mend those rows", x, y)
    y[11] = value
    refused(r"data: 1 targets are no finite numbers, the first at \[11, 0\]", torch.zeros(50, 3), y)
    refused(
        r"data: 1 inputs .* at \[1, 0\]", np.array([[1.0], [1e300]]), np.zeros((2, 1))
    )  # infinite in single precision
    Arrays(torch.full((50, 3), 3e38), torch.zeros(50, 1))  # large numbers are finite, though their sum is not


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        (torch.ones(4), r"weights: have shape \(4,\); one number for each of the 5 samples is needed"),
        (torch.ones(5, 1), r"weights: have shape \(5, 1\)"),
        (torch.tensor([1.0, -2.0, 1.0, 1.0, 1.0]), r"weights: lie in -2..1; allowed is 0 or more, with one above 0"),
        (torch.zeros(5), r"weights: lie in 0..0"),
        (torch.tensor([1.0, np.nan, 1.0, 1.0, 1.0]), "weights: lie in nan..nan"),
        (torch.tensor([1.0, np.inf, 1.0, 1.0, 1.0]), "weights: lie in 1..inf"),
    ],
)
def test_bad_weights_are_refused(weights: Tensor, text: str) -> None:
    refused(text, torch.zeros(5, 2), torch.zeros(5, 1), weights)


def test_weighted_sampling_needs_weights() -> None:
    with pytest.raises(LevshaError, match="the data has no weights; give one number a sample, 0 or more"):
        fit(
            nn.Sequential(nn.Linear(3, 10)),
            arrays(10),
            training=Training(batch=5, sampling="weighted", loss="cross_entropy"),
        )


def test_a_batch_needs_its_samples() -> None:
    with pytest.raises(
        LevshaError, match=r"batch: is 64, but there are 10 training samples; give 10 or less, or 0 for all"
    ):
        ArrayBatches(arrays(10), Training(batch=64))
    with pytest.raises(LevshaError, match="batch: is 3; 4 processes need at least a sample each"):
        ArrayBatches(arrays(10), Training(batch=3), 0, 4)
    assert len(ArrayBatches(arrays(10), Training(batch=0))) == 1


def test_files_that_hold_no_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"

    def not_read(text: str) -> None:
        with pytest.raises(LevshaError, match=text) as error:
            map_rows(path)
        assert str(error.value).startswith(f"{path}: ")

    not_read("cannot be read .*No such file.*; give a .npy file")
    for content in (b"", b"a,b\n1,2\n", b"\x93NUMPY\x01\x00"):
        path.write_bytes(content)
        not_read("is no sound .npy file")
    np.save(path, np.ones((100, 3)))
    path.write_bytes(path.read_bytes()[:-8])
    not_read("is no sound .npy file")
    for array in (np.array(3.0), np.array(["a", "b"]), np.array([1j]), np.array([True])):
        np.save(path, array)
        not_read("holds no rows of numbers; write an array of floats or integers with numpy.save")
    np.save(path, np.array([{}]), allow_pickle=True)
    not_read("is no sound .npy file")
    np.savez(path.with_suffix(".npz"), x=np.ones(3))
    path.with_suffix(".npz").rename(path)
    not_read("holds no rows of numbers")


def test_mapped_arrays_bring_no_warnings(tmp_path: Path) -> None:
    x, y = saved(tmp_path, "x", np.ones((10, 3), "f4")), saved(tmp_path, "y", np.ones((10, 1), "f4"))
    script = "import sys, numpy as np\nfrom levsha.train.batch import Arrays\nArrays(*(np.load(p, mmap_mode='r') for p in sys.argv[1:]))"
    with warnings.catch_warnings():
        paths = [str(getattr(array, "filename", "")) for array in (x, y)]
        run = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=True)
    assert run.stderr == ""
