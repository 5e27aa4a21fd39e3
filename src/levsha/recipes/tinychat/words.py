"""What a run's figures say, in sentences, and its examples of replies; from results.json alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from levsha.evidence.table import grouped
from levsha.targets import TARGETS

Results = Mapping[str, Any]


def _choice(results: Results) -> Mapping[str, Any] | None:
    anywhere = TARGETS[results["target"]].flash_bytes is None  # a computer, where every net fits
    made = [v for v in results["variants"] if v["format"] != "float32" and (v["fits"] or anywhere)]
    fitting = [v for v in made if not v["mismatches"] and not v.get("collapse")]
    if not fitting:
        return None
    best = max(v["accuracy_queries"] for v in fitting)
    return min((v for v in fitting if v["accuracy_queries"] >= best - 0.5), key=_bytes)


def _bytes(variant: Mapping[str, Any]) -> int:
    """What a variant needs: of flash, or of weights where there is no flash."""
    return variant["flash_bytes"] or variant["weight_bytes"]


def choose(results: Results) -> str | None:
    """Return the variant to ship: the best on unseen queries among those that fit; among ties within half a point, the smallest."""
    choice = _choice(results)
    return choice["name"] if choice else None


def sentences(results: Results) -> list[str]:
    """Return what shrinking costs, what is scarce, which variant to choose."""
    return [
        _on_pruning(results), _on_formats(results), _on_references(results), _on_bottleneck(results), _on_given(results), _on_choice(results),
    ]  # fmt: skip


def _on_pruning(results: Results) -> str:
    by_name = {v["name"]: v for v in results["variants"]}
    if not {"baseline", "pruned"} <= set(by_name):
        return ""
    old, new = by_name["baseline"], by_name["pruned"]
    cost = old["accuracy_queries"] - new["accuracy_queries"]
    share = 100 * (1 - new["parameters"] / old["parameters"])
    effect = f"costs {cost:.1f} points" if cost > 0 else f"gains {abs(cost):.1f} points"
    return f"Pruning takes away {share:.0f} % of the baseline's {grouped(old['parameters'])} parameters and {effect} of next-character accuracy on unseen queries ({old['accuracy_queries']:.1f} to {new['accuracy_queries']:.1f} %)."


def _on_formats(results: Results) -> str:
    integer = [v for v in results["variants"] if v["format"] != "float32"]
    if len(integer) < 2:
        return ""
    best, smallest = max(integer, key=lambda v: v["accuracy_queries"]), min(integer, key=lambda v: v["weight_bytes"])
    if best is smallest:
        return (
            f"Of the integer nets {best['name']} is both the smallest ({grouped(best['weight_bytes'])} B) and the best."
        )
    ratio = best["weight_bytes"] / smallest["weight_bytes"]
    cost = best["accuracy_queries"] - smallest["accuracy_queries"]
    return f"From {best['name']} down to {smallest['name']} the weights shrink {ratio:.1f} times ({grouped(best['weight_bytes'])} to {grouped(smallest['weight_bytes'])} B) for {cost:.1f} points."


def _on_references(results: Results) -> str:
    nearest, prefix = (results["references"][name]["accuracy_queries"] for name in ("nearest_15", "prefix_only"))
    above = [v["name"] for v in results["variants"] if v["accuracy_queries"] > nearest]
    known = f"The 15 nearest training samples, which no chip could hold, reach {nearest:.1f} %, the beginning of the reply alone {prefix:.1f} %"
    return (
        f"{known}; {', '.join(above) if above else 'no variant'} {'is' if len(above) < 2 else 'are'} above the former."
    )


def _on_bottleneck(results: Results) -> str:
    measured = [v for v in results["variants"] if v.get("flash_bytes") and v.get("ms")]
    if not measured:
        return f"Nothing was measured on the {results['target']}."
    largest, slowest = max(measured, key=lambda v: v["flash_bytes"]), max(measured, key=lambda v: v["ms"]["max"])
    target = TARGETS[results["target"]]
    assert target.flash_bytes and target.ram_bytes
    flash, sram = largest["flash_bytes"] / target.flash_bytes, max(v["sram_bytes"] for v in measured) / target.ram_bytes
    scarce, share = ("flash", flash) if flash > sram else ("SRAM", sram)
    on = f"on the {results['target']}"
    where = f"The bottleneck {on} is {scarce}" if share > 0.5 else f"Nothing is scarce {on}"
    return (
        f"{where}: the largest net that was built takes {100 * flash:.0f} % of the flash, none takes more than "
        f"{100 * sram:.0f} % of the SRAM; the slowest, {slowest['name']}, needs {slowest['ms']['mean']:.1f} ms a character "
        f"on average, {slowest['ms']['max']:.1f} at most."
    )


def _on_given(results: Results) -> str:
    z = results.get("z80ai")
    if not z:
        return ""
    return f"The net {z['file']} as it is, on all of this data: next character {z['accuracy_all']:.1f} %, exact replies {z['exact_all']:.1f} %."


def _on_choice(results: Results) -> str:
    choice = _choice(results)
    if not choice:
        return "No variant is ready for the chip."
    return f"Choose {choice['name']}: within half a point of the best that fits, and the smallest of those ({grouped(_bytes(choice))} B of {'flash' if choice['flash_bytes'] else 'weights'})."


def float_about(variant: str, charset: bytes, folds: bool) -> dict[str, Any]:
    """Return what the float weights of a variant compute, and what goes in and comes out."""
    ngram = "hash: h = seed; for each byte h = (h * 31 + byte) mod 65536; bucket = h mod 128; A-Z count as a-z"
    folded = "; capitals of Latin-1, Greek and Cyrillic are made small first" if folds else ""
    return {
        "variant": variant,
        "layers": "for k = 1 ...: z = fck.weight @ h; y = fck.gamma * (z - fck.mean) / sqrt(fck.var + 1e-5) + fck.beta; h = max(y, 0), "
        "but the last y are the logits; h starts as the 256 inputs. A quantised variant puts weights and h onto its grid, `step` real units a step",
        "inputs": [
            f"0..127: counts of the query's 3-grams, with a space before and after it, seed 0; {ngram}{folded}",
            f"128..255: counts of the 1-, 2- and 3-grams at position i of the last 8 bytes said, spaces in front, seed 7 * i; {ngram}",
        ],
        "outputs": "one logit for each byte of `charset`; the largest is said; the last, 0, ends the answer",
        "charset": list(charset),
    }


def replies_table(replies: list[dict[str, Any]]) -> str:
    """Return examples of replies as a Markdown table, a row a query; a listed reply is marked with a tick."""
    names = list(replies[0]["said"]) if replies else []
    lines = ["| | query | listed | " + " | ".join(names) + " |", "|---" * (3 + len(names)) + "|"] if names else []
    for r in replies if names else []:
        said = [f"{text or '(nothing)'}{' ✓' if text in r['listed'] else ''}" for text in r["said"].values()]
        listed = " / ".join(r["listed"][:3]) + (" ..." if len(r["listed"]) > 3 else "")
        cells = (
            cell.replace("&", "&amp;").replace("<", "&lt;").replace("|", "/")
            for cell in (r["kind"], r["query"], listed, *said)
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
