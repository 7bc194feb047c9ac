"""The playground's server: what a slider move costs, and how many pictures a second it sends while it trains.

    python benchmarks/playground.py [--moves 60] [--seconds 5]

Writes benchmarks/results/playground.json and .md. The server is the real one, in this process, which does nothing else;
the browser is another process that asks and throws the answers away, so the time to draw is not in here. The CPU time
is that of this process. Each answer is compared with what `minidl.inspect` says of the same network first.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import statistics
import sys
import threading
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that this file can be run from anywhere

import minidl as dl
from benchmarks import machine
from minidl.cpu.engine import thread_pool
from minidl.playground import network
from minidl.playground.server import Server, warm_up
from minidl.playground.settings import checked
from minidl.utils.files import write_whole

RESULTS = Path(__file__).parent / "results"
SMALL, LARGE = {"layers": 8, "units": 64}, {"layers": 20, "units": 128}
NETWORKS = {"the page's first": {}, "8 × 64": SMALL, "20 × 128": LARGE}
GOALS = {"8 × 64": 20.0, "20 × 128": 60.0}  # ms of CPU, with 200 rows
PICTURES = 20.0  # a second


class Browser:
    """Asks as the page does, over one connection."""

    def __init__(self, port: int, token: str):
        self.connection = http.client.HTTPConnection("127.0.0.1", port)
        self.headers = {"X-Token": token, "Content-Type": "application/json"}

    def ask(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        self.connection.request("POST", action, json.dumps(request), self.headers)
        answer = self.connection.getresponse()
        content = json.loads(answer.read())
        if answer.status != 200:
            raise RuntimeError(content["error"])
        return content


def move_sliders(port: int, token: str, settings: dict[str, Any], moves: int) -> list[float]:
    """Seconds from a move to the whole answer, for moves of the gain."""
    browser, taken, session = Browser(port, token), [], None
    for move in range(moves):
        start = time.perf_counter()
        request = {"settings": {**settings, "gain": 0.5 + move / moves}, "replaces": session}
        session = browser.ask("/start", request)["session"]
        taken.append(time.perf_counter() - start)
    return taken


def watch(port: int, token: str, settings: dict[str, Any], seconds: float) -> float:
    """Pictures a second while a network trains."""
    browser = Browser(port, token)
    session = browser.ask("/start", {"settings": settings})["session"]
    start, pictures = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds:
        browser.ask("/train", {"session": session, "settings": settings, "steps": 1000})
        pictures += 1
    return pictures / passed


def compared(server: Server, settings: dict[str, Any]) -> None:
    """Raise ArithmeticError unless the answer is what `inspect` says."""
    shown = Browser(server.server_port, server.token).ask("/start", {"settings": settings})
    given = checked(settings)
    train, _ = network.datasets(given)
    std = dl.inspect(network.build(given, train), *train[: network.INSPECTED])["std"]
    if [column["std"] for column in shown["columns"]] != [*std[1::2], std[-1]]:
        raise ArithmeticError(f"{settings}: the picture is not what inspect says")


def work(moves: int, seconds: float) -> dict[str, Any]:
    """Measure on a server of this process."""
    thread_pool.set_thread_count(1)  # its threads wait for work without sleeping, which would count
    spawn = multiprocessing.get_context("spawn")
    rows: dict[str, dict[str, float]] = {}
    with Server(0) as server, spawn.Pool(2) as clients:
        warm_up(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at = server.server_port, server.token

        def in_client(task: Callable[..., Any], *arguments: Any) -> Any:
            return clients.apply(task, (*at, *arguments))

        for name, settings in NETWORKS.items():
            compared(server, settings)
            in_client(move_sliders, settings, 5)
            before = time.process_time()
            alone = in_client(move_sliders, settings, moves)
            cpu = (time.process_time() - before) / moves
            pictures = in_client(watch, settings, seconds)
            training = clients.apply_async(watch, (*at, LARGE, seconds))
            time.sleep(0.2)
            beside = in_client(move_sliders, settings, max(3, moves // 4))
            training.get()
            rows[name] = {
                "cpu": 1e3 * cpu,
                "answer": 1e3 * statistics.median(alone),
                "answer beside training": 1e3 * statistics.median(beside),
                "pictures": pictures,
            }
        server.shutdown()
    return {
        "date": str(date.today()),
        "machine": machine.describe(),
        "versions": machine.versions("minidl", "numpy", "numba"),
        "moves": moves,
        "seconds": seconds,
        "rows": rows,
    }


def markdown(result: dict[str, Any]) -> str:
    """Return the table of the page."""
    where = result["machine"]
    lines = [
        "# The playground", "",
        f"A slider move builds a network, sends 200 rows forward and backward, and measures every layer. One thread on "
        f"{where['cpu']}, {result['date']}; load before {where['load_average_before']}. Medians of {result['moves']} "
        f"moves; pictures over {result['seconds']:g} s. \"Beside training\": while another page trains 20 × 128.", "",
        "| network | CPU of the server | goal | answer after | beside training "
        f"| pictures a second while it trains, goal {PICTURES:g} |",
        "|---|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for name, row in result["rows"].items():
        goal = f"{GOALS[name]:.0f} ms" if name in GOALS else ""
        lines.append(
            f"| {name} | {row['cpu']:.1f} ms | {goal} | {row['answer']:.1f} ms "
            f"| {row['answer beside training']:.1f} ms | {row['pictures']:.0f} |"
        )
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--moves", type=int, default=60, help="of a slider")
    parser.add_argument("--seconds", type=float, default=5.0, help="of training")
    options = parser.parse_args()
    result = work(options.moves, options.seconds)
    print(markdown(result))
    for name, text in (("playground.json", machine.as_json(result) + "\n"), ("playground.md", markdown(result))):
        with write_whole(RESULTS / name, "w") as file:
            file.write(text)


if __name__ == "__main__":
    main()
