"""The page of what scripts/gpu_check.py has found: tables, and which targets are met."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from benchmarks.elementwise.given import ACTIVATIONS
from benchmarks.gpu_products import CUBLAS, DENSE, LARGEST_ERROR
from benchmarks.gpu_step import BY_HAND, OURS

OPTIMIZERS = ("sgd", "momentum", "nesterov", "rmsprop", "adam")
ELEMENTWISE = [f"{name} {direction}" for name in ACTIVATIONS for direction in ("forward", "backward")] + ["dropout"]
BATCH_NORM = ["batch norm forward", "batch norm backward"]
MATRIX = "4096"
GRAPHS = ("PyTorch graph", "PyTorch graph fused")
SAME_ACCURACY = 2  # times the error of cuBLAS in float32
WORTH_IT = 0.02  # what other limits must save, as times vary from run to run


class Target(NamedTuple):
    """What is wanted, what was measured, and whether that is enough; None where it was not measured."""

    what: str
    wanted: float
    measured: float | None
    note: str = ""
    counts: bool = True  # False if the number was reached by something else than what is wanted

    @property
    def met(self) -> bool | None:
        return None if self.measured is None else self.counts and self.measured >= self.wanted


def targets(parts: dict[str, Any]) -> list[Target]:
    """All targets, with what the finished parts say about them."""
    return [*_product_targets(_of(parts, "products")), *_share_targets(parts), *_step_targets(_of(parts, "step"))]


def _of(parts: dict[str, Any], name: str) -> dict[str, Any]:
    """The result of a part; empty if it has not run, or broke off."""
    return parts.get(name, {}).get("result") or {}


def _product_targets(products: dict[str, Any]) -> Iterator[Target]:
    rows = products.get(MATRIX, {})
    dense, thrice, cublas = (rows.get(name, {}) for name in (DENSE, "3xTF32", CUBLAS))
    right = dense.get("error", 0.0) <= LARGEST_ERROR
    yield Target(f"product {MATRIX}³ in float32, times cuBLAS", 0.95, dense.get("share_of_cublas"), counts=right)
    share, note, accurate = thrice.get("share_of_cublas"), "", True
    if share is not None:
        accurate = thrice["error"] <= SAME_ACCURACY * cublas["error"]  # false for NaN as well
        note = f"error {thrice['error']:.1e}, cuBLAS {cublas['error']:.1e}"
    yield Target(f"product {MATRIX}³ with 3xTF32 at float32 accuracy, times cuBLAS", 1.6, share, note, accurate)


def _share_targets(parts: dict[str, Any]) -> Iterator[Target]:
    sizes = _of(parts, "elementwise").get("sizes", {})
    rows = sizes[max(sizes, key=int)] if sizes else {}
    groups = {"elementwise": (ELEMENTWISE, 0.9), "optimizers": (OPTIMIZERS, 0.9), "batch norm": (BATCH_NORM, 0.8)}
    for group, (names, wanted) in groups.items():
        shares = {name: rows[name]["share"]["minidl"] for name in names if name in rows}
        worst = min(shares, key=shares.__getitem__) if shares else ""
        # A group is measured when all of it is: what is missing may be the slowest.
        least = shares[worst] if len(shares) == len(names) else None
        yield Target(f"{group}, least share of the copy bandwidth", wanted, least, worst)


def _step_targets(step: dict[str, Any]) -> Iterator[Target]:
    ours = step.get("gpu", {}).get(OURS)
    yield Target("step, 40 µs over its time between events", 1.0, ours and 0.04 / ours)
    for clock, name in (("gpu", "between events"), ("wall", "by the clock of the host")):
        times = step.get(clock, {})
        yield Target(f"step, times PyTorch eager, {name}", 3.0, _ratio(times, ["PyTorch eager"]))
        yield Target(f"step, times PyTorch with CUDA graphs, {name}", 1.0, _ratio(times, GRAPHS))


def _ratio(times: dict[str, float], names: Sequence[str]) -> float | None:
    """How many times as fast as the fastest of these minidl is."""
    others = [times[name] for name in names if name in times]
    return min(others) / times[OURS] if others and OURS in times else None


# The page -------------------------------------------------------------------------------------------------------------


def markdown(result: dict[str, Any]) -> str:
    """Everything as a page."""
    machine, parts = result["machine"], result["parts"]
    used = ", ".join(f"{name} {number}" for name, number in machine["versions"].items() if number)
    lines = [
        "# minidl on a GPU",
        "",
        f"{machine['gpu']}, compute capability {machine['compute_capability']}, driver {machine['driver']}, CUDA "
        f"{machine['cuda_runtime']}; {machine['cores']} cores, {machine['system']}; {used}; {result['date']}.",
        "",
    ]
    if result["quick"]:
        lines += ["**A quick run with the smallest sizes, to see that it works: the times mean nothing.**", ""]
    for name, part in parts.items():
        if "error" in part:
            lines += [f"**{name} broke off: {part['error']}.**", ""]
    if late := result.get("not_run"):
        lines += [f"**Not run: out of time: {', '.join(late)}.**", ""]
    lines += ["## Targets", "", *_target_table(targets(parts)), ""]
    for name, section in SECTIONS.items():
        if _of(parts, name):
            lines += [*section(_of(parts, name)), ""]
    return "\n".join(lines)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _target_table(found: Sequence[Target]) -> list[str]:
    verdicts = {None: "not measured", True: "met", False: "missed"}
    rows = [
        [target.what, f"≥ {target.wanted:g}", _number(target.measured, ".3f"), verdicts[target.met], target.note]
        for target in found
    ]
    return table(["target", "wanted", "measured", "verdict", "note"], rows)


def _number(value: float | None, form: str = ".2f") -> str:
    return "" if value is None else format(value, form)


def _percent(value: float | None) -> str:
    return _number(value, ".0%")


def _time(milliseconds: float) -> str:
    return f"{milliseconds:.3g} ms" if milliseconds >= 1 else f"{milliseconds * 1e3:.3g} µs"


def _tests(found: dict[str, Any]) -> list[str]:
    counts = f"{found['passed']} passed, {found.get('skipped', 0)} skipped, {len(found['failed'])} failed"
    return ["## Tests", "", f"{counts}{': ' * bool(found['failed'])}{', '.join(found['failed'])}."]


def _comparison(found: dict[str, Any]) -> list[str]:
    wrong = [f"{row['operation']} in {row['dtype']} is off by {row['largest_error']:.1e}" for row in found["wrong"]]
    errors = ", ".join(f"{error:.1e} in {dtype}" for dtype, error in found["largest_error"].items())
    text = f"{found['count']} calls against the CPU in float64, {len(wrong)} wrong; largest error {errors}."
    return ["## Comparison", "", text, *[f"\n{line}." for line in wrong]]


def _sanitizer(found: dict[str, Any]) -> list[str]:
    if found["missing"]:
        return ["## Sanitizer", "", f"Not run: {found['missing']}."]
    lines = []
    for name, tool in found["tools"].items():
        code = tool["exit_code"]
        lines.append(f"- {name}: {f'exit code {code}' if code else 'nothing found'}")
        lines += [f"      {line}" for line in tool["last_lines"]]
    return ["## Sanitizer", "", *lines]


def _limits(found: dict[str, Any]) -> list[str]:
    copies = ", ".join(f"{name} {rate:,.0f} GB/s" for name, rate in found["copy_gigabyte_per_second"].items())
    text = f"float32 multiply-adds {found['fma_teraflop_per_second']:.1f} TFLOP/s; {copies}, read and written."
    return ["## Limits", "", text]


def _step(found: dict[str, Any]) -> list[str]:
    gpu, wall = found["gpu"], found["wall"]
    rows = [
        [name, _time(gpu[name]), _number(_times(gpu, name)), _time(wall[name]), _number(_times(wall, name))]
        for name in gpu
    ]
    text = (
        f"{found['network']}, ReLU, Adam, batch {found['batch']}, which lies on the device. After ten steps from the "
        f"same start all of these had the weights of {BY_HAND}. × is the time divided by that of {OURS}, the captured "
        "step: more than 1 is slower. Between two events the device may wait for the host, and that counts."
    )
    head = ["", "between events", "×", "by the clock of the host", "×"]
    left_out = [f"\n{name} is left out: {reason}." for name, reason in found["missing"].items()]
    wrong = [f"\n**{name} disagrees: {reason}.**" for name, reason in found["disagreeing"].items()]
    return ["## Training step", "", text, "", *table(head, rows), *left_out, *wrong]


def _times(times: dict[str, float], name: str) -> float | None:
    return times[name] / times[OURS] if OURS in times else None


def _products(found: dict[str, Any]) -> list[str]:
    lines = ["## Matrix products", "", "Square float32 matrices; errors are relative to |A| |B|. cuBLAS without TF32."]
    for size, rows in found.items():
        cells = [
            [
                name,
                _time(row["milliseconds"]),
                f"{row['teraflop_per_second']:.1f}",
                _number(row["share_of_cublas"]),
                _percent(row["share_of_peak"]),
                f"{row['error']:.1e}",
            ]
            for name, row in rows.items()
        ]
        head = [f"{size} × {size}", "time", "TFLOP/s", "times cuBLAS", "of the FMA peak", "error"]
        lines += ["", *table(head, cells)]
    return lines


def _ways(found: dict[str, Any]) -> list[str]:
    now, best = found["now"], found["best"]
    limits = f"ENOUGH_BLOCKS = {best['ENOUGH_BLOCKS']} and LITTLE = {best['LITTLE']}"
    text = (
        f"With ENOUGH_BLOCKS = {now['ENOUGH_BLOCKS']} and LITTLE = {now['LITTLE']} in `minidl/cuda/dense.py` these "
        f"products take {now['cost']:.2f} times as long as by the fastest ways, on average; "
    )
    if best["cost"] < now["cost"] - WORTH_IT:
        text += (
            f"with {limits} it would be {best['cost']:.2f}. If other GPUs say the same, write these limits into that "
            "file and run `pytest tests/cuda tests/operations/test_dense.py`. The order of the sums changes with the "
            "way, so the last bits of the results do, too."
        )
    else:
        text += "no other limits that were tried cost noticeably less. Nothing is to be done."
    names = list(dict.fromkeys(name for row in found["shapes"].values() for name in row["milliseconds"]))
    cells = [
        [
            shape,
            *(_time(row["milliseconds"][way]) if way in row["milliseconds"] else "" for way in names),
            row["chosen"],
            "" if row["chosen"] == row["fastest"] else row["fastest"],
        ]
        for shape, row in found["shapes"].items()
    ]
    head = ["rows × columns × k", *names, "chosen", "faster"]
    wrong = [f"\n**{name} disagrees: {reason}.**" for name, reason in found["disagreeing"].items()]
    return ["## Ways of a product", "", text, "", *table(head, cells), *wrong]


def _elementwise(found: dict[str, Any]) -> list[str]:
    lines = [
        "## Elementwise operations, batch norm, softmax and optimizers",
        "",
        "Shares are of the bandwidth of the faster of two copies of as many bytes; bytes are counted once for each "
        "array that has to be read or written. What is small may stay in the cache.",
    ]
    for size, rows in found["sizes"].items():
        cells = []
        for name, row in rows.items():
            ours, theirs = row["milliseconds"]["minidl"], row["milliseconds"].get("PyTorch")
            cells.append(
                [
                    name,
                    f"{row['bytes'] / 2**20:.3g} MiB",
                    _time(ours),
                    _percent(row["share"]["minidl"]),
                    "" if theirs is None else _time(theirs),
                    _percent(row["share"].get("PyTorch")),
                    "" if theirs is None else f"{theirs / ours:.2f}",
                ]
            )
        head = [f"{int(size):,} numbers", "traffic", "minidl", "share", "PyTorch", "share", "PyTorch / minidl"]
        lines += ["", *table(head, cells)]
    lines += [f"\nPyTorch's {name} is left out: {reason}." for name, reason in found["missing"].items()]
    return lines + [f"\n**{name} disagrees: {reason}.**" for name, reason in found["disagreeing"].items()]


SECTIONS = {
    "tests": _tests,
    "comparison": _comparison,
    "sanitizer": _sanitizer,
    "limits": _limits,
    "step": _step,
    "products": _products,
    "ways": _ways,
    "elementwise": _elementwise,
}
