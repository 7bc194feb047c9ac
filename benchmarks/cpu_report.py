"""Tables and a picture of what benchmarks/cpu_speed.py has measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

OURS = "minidl"
BUSY = 0.5  # programs that want to run: libraries whose threads wait for each other then wait for those as well
STEPS = ("step", "normalized", "deep", "wide")

# Okabe & Ito's palette: distinct for colour-blind readers; the markers keep it readable in black and white.
STYLES = {
    "JAX jit": {"color": "#D55E00", "marker": "s"},
    "PyTorch": {"color": "#0072B2", "marker": "^"},
    "PyTorch fused": {"color": "#56B4E9", "marker": "v"},
    "torch.compile": {"color": "#009E73", "marker": "D"},
    "NumPy": {"color": "#CC79A7", "marker": "X"},
}


def medians(result: Any) -> Any:
    """Return `result` with the median of the repetitions, to six digits, instead of all of them."""
    if isinstance(result, dict):
        return {
            key: {name: float(f"{statistics.median(times):.6g}") for name, times in value.items()}
            if key == "measured"
            else medians(value)
            for key, value in result.items()
        }
    return [medians(value) for value in result] if isinstance(result, list) else result


def markdown(result: dict[str, Any]) -> str:
    """Return everything as a page; `result` has medians."""
    machine, settings = result["machine"], result["settings"]
    used = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    lines = [
        "# minidl on the CPU",
        "",
        f"{machine['cpu']} ({machine['processor']}), {machine['cores']} cores, {machine['system']}, load average "
        f"{machine['load_average_before']} before the start; {used}; {result['date']}.",
        "",
        f"float32. Median of {settings['repetitions']} turns of about {settings['turn_seconds']} s. In the tables of "
        "times, × is the time divided by minidl's: more than 1 is slower than minidl. Arithmetic is how long the "
        "multiply-adds of the matrix products would take at the highest rate that was measured on as many cores.",
        "",
    ]
    if (machine["load_average_before"] or 0) >= BUSY:
        lines += [
            "**The machine was busy with something else: with more than one thread the numbers mean nothing.**",
            "",
        ]
    if settings["quick"]:
        lines += ["**A quick run, to see that it works: the numbers are rough.**", ""]
    for run in result["runs"]:
        lines += [f"## Threads: {run['threads']}", ""]
        for table in run["workloads"].values():
            lines += [f"### {table['title']}", "", *_table(table), ""]
            lines += [f"{name}: {reason}." for name, reason in table["missing"].items()]
            lines += [table["note"]] * bool(table["note"]) + [""]
        lines += [f"Thread pools: {'; '.join(run['thread_pools'])}.", ""]
    return "\n".join(lines)


def _table(table: dict[str, Any]) -> Iterable[str]:
    rows = table["rows"]
    if not rows:
        return
    names = sorted(rows[0]["measured"], key=lambda name: name != OURS)  # ours first
    arithmetic = "arithmetic" in rows[0]
    yield "| " + " | ".join(["", *names, *["arithmetic", "minidl / arithmetic"] * arithmetic]) + " |"
    yield "|---" * (1 + len(names) + 2 * arithmetic) + "|"
    for row in rows:
        cells = [_cell(table["unit"], row["measured"], name, row) for name in names]
        if arithmetic:
            cells += [_seconds(row["arithmetic"]), f"{row['measured'][OURS] / row['arithmetic']:.1f}"]
        yield "| " + " | ".join([row["case"], *cells]) + " |"


def _cell(unit: str, times: dict[str, float], name: str, row: dict[str, Any]) -> str:
    value = times[name]
    if unit in ("flop/s", "byte/s"):
        rate = row["work"] / value
        return f"{rate / 1e9:.3g} {'GFLOP/s' if unit == 'flop/s' else 'GB/s'} ({rate / row['limit']:.0%})"
    text = _seconds(value) if unit == "s" else f"{value / 2**20:.0f} MiB"
    return text if name == OURS else f"{text} (× {value / times[OURS]:.2f})"


def _seconds(value: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value * 1e6:.3g} µs"


def overview(results: dict[str, dict[str, Any]]) -> str:
    """Return a page with the training steps of each processor; `results`, by the name of its file, have medians."""
    columns = [(result, run) for result in results.values() for run in result["runs"]]
    kinds = [f"{name} ({result['machine']['cpu']}, {result['date']})" for name, result in results.items()]
    lines = [
        "# Training steps, processor by processor",
        "",
        "Time of a captured step, in float32; in brackets, how many times as long JAX's compiled step takes, and the "
        "fastest of PyTorch's three: eager, with a fused optimizer, compiled. `cpu_speed/` beside this page has all "
        f"figures of {', '.join(kinds)}.",
        "",
        "| | " + " | ".join(f"{r['machine']['processor']}, {_threads(run)}" for r, run in columns) + " |",
        "|---" * (1 + len(columns)) + "|",
    ]
    cases = dict.fromkeys(case for _, run in columns for case in _steps(run))
    lines += [
        f"| {case} | " + " | ".join(_beside(_steps(run).get(case)) for _, run in columns) + " |" for case in cases
    ]
    return "\n".join([*lines, ""])


def _threads(run: dict[str, Any]) -> str:
    return f"{run['threads']} thread{'s' * (run['threads'] > 1)}"


def _steps(run: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return the times of each training step, by its network and batch."""
    return {
        f"{table['title'].removeprefix('One training step: ')}, {row['case']}": row["measured"]
        for name in STEPS
        if (table := run["workloads"].get(name))
        for row in table["rows"]
    }


def _beside(times: dict[str, float] | None) -> str:
    if times is None:
        return ""
    torch = [time for name, time in times.items() if name.startswith(("PyTorch", "torch"))]
    peers = {"JAX": times.get("JAX jit"), "PyTorch": min(torch, default=None)}
    parts = [f"{name} {time / times[OURS]:.2f}" for name, time in peers.items() if time is not None]
    return f"{_seconds(times[OURS])} ({', '.join(parts)})"


def figure(results: Sequence[dict[str, Any]]) -> Figure | None:
    """Times of training steps as multiples of minidl's, a panel for each processor and number of threads, if any."""
    drawn = [[(result, run) for run in result["runs"] if _steps(run)] for result in results]
    drawn = [row for row in drawn if row]
    if not drawn:
        return None
    across = max(map(len, drawn))
    picture = Figure(figsize=(5.8 * across, 4.3 * len(drawn) + 0.4), layout="constrained")
    grid = picture.subplots(len(drawn), across, sharey=True, squeeze=False)
    for places, row in zip(grid, drawn, strict=True):
        for axes, (result, run) in zip(places, row, strict=False):
            _draw(axes, run, result["machine"]["processor"])
        for axes in places[len(row) :]:
            axes.set_visible(False)
    picture.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize="small")
    return picture


def _draw(axes: Any, run: dict[str, Any], processor: str) -> None:
    workloads = run["workloads"]
    suffix = {"step": "", "normalized": "\nbatch norm,\nAdam", "deep": "\n10 × 500\ntanh", "wide": "\n2 × 4096"}
    shown = [(name, row) for name in STEPS if name in workloads for row in workloads[name]["rows"]]
    ratios: dict[str, list[float]] = {}
    for _, row in shown:
        for name, time in row["measured"].items():
            ratios.setdefault(name, []).append(time / row["measured"][OURS])
    axes.axhline(1.0, label=OURS, color="black")
    drawn = [name for name in STYLES if name in ratios]
    for i, name in enumerate(drawn):
        side = (i - (len(drawn) - 1) / 2) / 8  # side by side, so that none hides another
        axes.plot([k + side for k in range(len(shown))], ratios[name], label=name, linestyle="", **STYLES[name])
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(range(len(shown)), [row["case"] + suffix[name] for name, row in shown], fontsize="small")
    axes.set_xlim(-0.5, len(shown) - 0.5)
    axes.set_ylabel("time of a step / minidl's time")
    axes.grid(alpha=0.3, axis="y")
    axes.set_title(_claim(f"{processor}, {_threads(run)}", ratios), fontsize="medium")


def _claim(where: str, ratios: dict[str, list[float]]) -> str:
    """How much of minidl's time the two large frameworks take."""
    parts = [
        f"{name} takes {min(ratios[name]):.2g} to {max(ratios[name]):.2g} times as long as minidl"
        for name in ("JAX jit", "PyTorch")
        if name in ratios
    ]
    return "\n".join([f"One training step, {where}:", *parts])
