"""What a run found: one dictionary for results.json, from which every table, picture and sentence is made."""

from __future__ import annotations

from statistics import mean
from typing import Any

from levsha.data.pairs import Pairs, make_samples
from levsha.recipes.tinychat.settings import TinyChat, parse_variant
from levsha.targets import TARGETS

METRICS = (  # key in results.json, split, metric of that split
    ("accuracy_samples", "samples", "accuracy"),
    ("accuracy_queries", "queries", "accuracy"),
    ("perplexity", "samples", "perplexity"),
    ("exact_seen", "queries", "exact_seen"),
    ("exact_unseen", "queries", "exact_unseen"),
)
CHIP = ("flash_bytes", "sram_bytes", "ms_per_character", "fits", "vectors", "mismatches")


def collect(
    settings: TinyChat, pairs: Pairs, trained: dict[str, dict[str, Any]], shipped: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Return the results of a run.

    trained: metrics by split ("queries-0") and variant; shipped: the chip's row by variant. Accuracies and exact replies in
    per cent; those of several splits are means, with each value beside them.
    """
    seeds = list(range(settings.seed, settings.seed + settings.splits))
    variants = [_variant(name, seeds, trained, shipped.get(name)) for name in settings.variants]
    return {
        "recipe": "tinychat",
        "preset": settings.preset,
        "data": _data(settings, pairs),
        "seeds": seeds,
        "target": settings.target,
        "references": _references(seeds, trained),
        "variants": variants,
    }


def _data(settings: TinyChat, pairs: Pairs) -> dict[str, Any]:
    return {
        "file": str(settings.data) if settings.data else "the corpus that comes with Levsha",
        "sha256": pairs.digest,
        "pairs": len(pairs.queries),
        "unique_queries": len(pairs.unique_queries),
        "replies": len(set(pairs.responses)),
        "samples": len(make_samples(pairs).target_N),
        "characters": len(pairs.charset),
    }


def _references(seeds: list[int], trained: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    names = trained[f"samples-{seeds[0]}"]["references"]
    return {
        name: {
            f"accuracy_{by}": mean(trained[f"{by}-{seed}"]["references"][name] for seed in seeds)
            for by in ("samples", "queries")
        }
        for name in names
    }


def _variant(
    name: str, seeds: list[int], trained: dict[str, dict[str, Any]], row: dict[str, Any] | None
) -> dict[str, Any]:
    base, weights = parse_variant(name)
    first, baseline = (trained[f"samples-{seeds[0]}"][n] for n in (name, "baseline"))
    keep = first["parameters"] / baseline["parameters"]
    found: dict[str, Any] = {"name": name, "format": weights or "float32", "keep": keep if base == "pruned" else 1.0}
    found |= {"parameters": first["parameters"], "weight_bytes": first["weight_bytes"]}
    for key, by, metric in METRICS:
        values = [trained[f"{by}-{seed}"][name][metric] for seed in seeds]
        found |= {key: mean(values), f"{key}_each": values}
    agreements = [trained[f"{by}-{seed}"][name]["agreement"] for seed in seeds for by in ("samples", "queries")]
    found["agreement"] = None if weights is None else mean(agreements)
    if row is None:
        return found | dict.fromkeys(CHIP) | {"note": "float: chips get the integer variants"}
    return found | {
        key: row.get(key)
        for key in (
            *CHIP,
            "note",
            "net_sha256",
            "characters_measured",
            "prompts_measured",
            "first_difference",
            "example",
        )
        if key in row or key in CHIP
    }


def choose(results: dict[str, Any]) -> dict[str, Any] | None:
    """Return the variant to ship: the best on unseen queries among those that fit; among ties within half a point, the smallest."""
    fitting = [v for v in results["variants"] if v["fits"] and not v["mismatches"]]
    if not fitting:
        return None
    best = max(v["accuracy_queries"] for v in fitting)
    return min((v for v in fitting if v["accuracy_queries"] >= best - 0.5), key=lambda v: v["flash_bytes"])


def describe(results: dict[str, Any]) -> str:
    """Return a paragraph on what the figures say: what shrinking costs, what is scarce, which variant to choose."""
    by_name = {v["name"]: v for v in results["variants"]}
    sentences = [
        _on_pruning(by_name),
        _on_formats(results),
        _on_references(results),
        _on_bottleneck(results),
        _on_choice(results),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _on_pruning(by_name: dict[str, Any]) -> str:
    if not {"baseline", "pruned"} <= set(by_name):
        return ""
    old, new = by_name["baseline"], by_name["pruned"]
    cost = old["accuracy_queries"] - new["accuracy_queries"]
    share = 100 * (1 - new["parameters"] / old["parameters"])
    effect = f"costs {cost:.1f} points" if cost > 0 else f"gains {-cost:.1f} points"
    return f"Pruning takes away {share:.0f} % of the baseline's {old['parameters']:,} parameters and {effect} of next-character accuracy on unseen queries ({old['accuracy_queries']:.1f} to {new['accuracy_queries']:.1f} %)."


def _on_formats(results: dict[str, Any]) -> str:
    integer = [v for v in results["variants"] if v["format"] != "float32"]
    if len(integer) < 2:
        return ""
    best, smallest = max(integer, key=lambda v: v["accuracy_queries"]), min(integer, key=lambda v: v["weight_bytes"])
    if best is smallest:
        return f"Of the integer nets {best['name']} is both the smallest ({best['weight_bytes']:,} B) and the best."
    ratio, cost = (
        best["weight_bytes"] / smallest["weight_bytes"],
        best["accuracy_queries"] - smallest["accuracy_queries"],
    )
    return f"From {best['name']} down to {smallest['name']} the weights shrink {ratio:.1f} times ({best['weight_bytes']:,} to {smallest['weight_bytes']:,} B) for {cost:.1f} points."


def _on_references(results: dict[str, Any]) -> str:
    nearest, prefix = (results["references"][name]["accuracy_queries"] for name in ("nearest_15", "prefix_only"))
    above = [v["name"] for v in results["variants"] if v["accuracy_queries"] > nearest]
    known = f"The 15 nearest training samples, which no chip could hold, reach {nearest:.1f} %, the beginning of the reply alone {prefix:.1f} %"
    return (
        f"{known}; {', '.join(above) if above else 'no variant'} {'is' if len(above) < 2 else 'are'} above the former."
    )


def _on_bottleneck(results: dict[str, Any]) -> str:
    measured = [v for v in results["variants"] if v.get("flash_bytes") and v.get("ms_per_character")]
    if not measured:
        return f"Nothing ran on the {results['target']}."
    largest = max(measured, key=lambda v: v["flash_bytes"])
    slowest = max(measured, key=lambda v: v["ms_per_character"]["max"])
    target = TARGETS[results["target"]]
    assert target.flash_bytes and target.ram_bytes
    flash, sram = largest["flash_bytes"] / target.flash_bytes, max(v["sram_bytes"] for v in measured) / target.ram_bytes
    scarce, share = ("flash", flash) if flash > sram else ("SRAM", sram)
    where = (
        f"The bottleneck on the {results['target']} is {scarce}"
        if share > 0.5
        else f"Nothing is scarce on the {results['target']}"
    )
    return (
        f"{where}: the largest net that was built takes {100 * flash:.0f} % of the flash, none takes more than "
        f"{100 * sram:.0f} % of the SRAM; the slowest, {slowest['name']}, needs {slowest['ms_per_character']['mean']:.1f} ms a character "
        f"on average, {slowest['ms_per_character']['max']:.1f} at most."
    )


def _on_choice(results: dict[str, Any]) -> str:
    choice = choose(results)
    if not choice:
        return "No variant is ready for the chip."
    return f"Choose {choice['name']}: within half a point of the best that fits, and the smallest of those ({choice['flash_bytes']:,} B of flash)."
