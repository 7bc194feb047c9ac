"""Blocks that jump to each other, as `for`, `while`, `if`, `and` and `or`.

Where two ways meet, the statement ends, and what follows is written behind it. What neither that nor `continue` and
`break` can express would need a goto, so the block is written once more.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numba.core.controlflow import CFGraph

ENDS = (ast.Return, ast.Raise, ast.Continue, ast.Break)
MOST_COPIES = 20
Loop = tuple[int | None, int | None]  # where `continue` and `break` lead


class UnknownBytecode(Exception):
    """Something that cannot be written as syntax."""


@dataclass
class Block:
    """Statements, and where they lead: nowhere; on; by a test; or, as the head of a loop, into it and past it."""

    statements: list[ast.stmt] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    test: Any = None
    loop: Any = None  # target and iterable of a `for`


class Structure:
    """Blocks as the body of a function."""

    def __init__(self, blocks: dict[int, Block], first: int):
        self._blocks, self._first = blocks, first
        self._simplify()
        graph = self._graph()
        self._loops = {loop.header: loop.body for loop in graph.loops().values()}
        self._order = {label: i for i, label in enumerate(graph.topo_order())}
        self._written: Counter[int] = Counter()
        self._open: set[int] = set()  # heads of the loops that are being written
        last = {label: block.statements for label, block in self._blocks.items() if not block.targets}
        self._returning = {
            label
            for label, statements in last.items()
            if isinstance(end := statements[-1], ast.Raise)
            or (isinstance(end, ast.Return) and end.value is None and len(statements) == 1)
        }  # blocks that only return None, or raise

    def body(self) -> list[ast.stmt]:
        body = self._from(self._first, None, (None, None))
        return body[:-1] if isinstance(body[-1], ast.Return) and body[-1].value is None else body

    def _graph(self) -> CFGraph:
        reached = self._reached(self._first, set())
        self._blocks = {label: block for label, block in self._blocks.items() if label in reached}
        return control_flow({label: block.targets for label, block in self._blocks.items()}, self._first)

    def _simplify(self) -> None:
        """Leave out empty blocks, join conditions by `and` and `or`, and undo the second copy of a loop's test."""
        changed = True
        while changed:
            graph = self._graph()
            changed = any(
                self._skip(block) or self._join(block, graph) or self._turn_back(label, block, graph)
                for label, block in self._blocks.items()
            )

    def _skip(self, block: Block) -> bool:
        old = block.targets
        block.targets = [
            next_.targets[0] if not (next_ := self._blocks[t]).statements and len(next_.targets) == 1 else t
            for t in old
        ]
        return block.targets != old

    def _join(self, block: Block, graph: CFGraph) -> bool:
        if block.test is None:
            return False
        for side in (0, 1):
            label, other = block.targets[side], block.targets[1 - side]
            second = self._blocks[label]
            alone = len(list(graph.predecessors(label))) == 1 and not second.statements
            if second.test is None or not alone or second.targets.count(other) != 1:
                continue
            # a and b: the second is tested if the first is true, and both lead to the same place if they are false
            negate = second.targets.index(other) == side
            test = at(ast.UnaryOp(ast.Not(), second.test), second.test.lineno) if negate else second.test
            block.test = at(ast.BoolOp(ast.Or() if side else ast.And(), [block.test, test]), block.test.lineno)
            block.targets[side] = second.targets[1 - second.targets.index(other)]
            return True
        return False

    def _turn_back(self, label: int, block: Block, graph: CFGraph) -> bool:
        """Jump to the test at the top of a `while` instead of testing the same once more at its end."""
        for top in graph.dominators()[label] - {label}:
            first = self._blocks[top]
            same = first.test is not None and block.test is not None and first.targets == block.targets
            if same and _text([first.test]) == _text([block.test]):
                kept = len(block.statements) - len(first.statements)
                if kept >= 0 and _text(block.statements[kept:]) == _text(first.statements):
                    block.statements, block.targets, block.test = block.statements[:kept], [top], None
                    return True
        return False

    def _reached(self, start: int, stops: set[Any]) -> set[int]:
        found: set[int] = set()
        waiting = [start]
        while waiting:
            if (label := waiting.pop()) not in found:
                found.add(label)
                waiting += [] if label in stops else self._blocks[label].targets
        return found

    def _meeting(self, starts: list[int], stops: set[Any], may_stop: bool) -> int | None:
        """Return the first block to which most of several ways lead, and past which they do not meet again."""
        ways = [self._reached(start, stops) for start in starts]
        counts = Counter(label for way in ways for label in way if may_stop or label not in stops)
        most = max(counts.values(), default=0)
        met = sorted((label for label in counts if counts[label] == most > 1), key=self._order.__getitem__)
        for i, label in enumerate(met):
            without = set().union(*(self._reached(start, stops | {label}) for start in starts if start != label))
            if without.isdisjoint(met[i + 1 :]):
                return label
        return None

    def _from(self, label: int, follow: int | None, loop: Loop) -> list[ast.stmt]:
        """Return what runs from a block on until `follow`; `loop` is where `continue` and `break` lead."""
        if label == follow:
            return []
        if label in loop:
            return [ast.Continue() if label == loop[0] else ast.Break()]
        self._written[label] += 1
        block = self._blocks[label]
        array = any("array" in text for text in _text(block.statements))  # two of them would be two arrays
        if label in self._open or self._written[label] > (1 if array else MOST_COPIES):
            raise UnknownBytecode("goto")
        if label in self._loops:
            return self._loop(label, follow, loop)
        return self._inside(label, follow, loop)

    def _inside(self, label: int, follow: int | None, loop: Loop) -> list[ast.stmt]:
        block = self._blocks[label]
        statements = copy.deepcopy(block.statements)
        if block.test is None:
            return statements + (self._from(block.targets[0], follow, loop) if block.targets else [])
        meeting = self._meeting(block.targets, {*loop, *self._returning}, False)
        end = follow if meeting is None else meeting
        yes, no = (self._from(target, end, loop) for target in block.targets)
        after = [] if meeting is None else self._from(meeting, follow, loop)
        if yes and isinstance(yes[-1], ENDS):
            no, after = [], no + after
        choice = ast.If(copy.deepcopy(block.test), yes or [ast.Pass()], no)
        return [*statements, at(choice, block.test.lineno), *after]

    def _loop(self, header: int, follow: int | None, outer: Loop) -> list[ast.stmt]:
        block, inside = self._blocks[header], self._loops[header]
        ways = [target for label in sorted(inside) for target in self._blocks[label].targets]
        exits = list(dict.fromkeys(target for target in ways if target not in inside))
        after = self._meeting(exits, {*outer, *self._returning}, False)
        if after is None:
            after = self._meeting(exits, {*outer}, True)
        if after is None and exits:
            after = max(exits, key=lambda label: (label not in self._returning, label))
        self._open.add(header)
        if block.loop is None:
            body = self._inside(header, header, (header, after))
            line = next((part.lineno for part in body if hasattr(part, "lineno")), 1)
            made: ast.stmt = at(ast.While(ast.Constant(True), body or [ast.Pass()], []), line)
        else:
            target, iterable = block.loop
            body = self._from(block.targets[0], header, (header, after))
            uses = [node for part in body for node in ast.walk(part) if getattr(node, "id", None) == target.id]
            if len(uses) == 1 and isinstance(body[0], ast.Assign) and body[0].value is uses[0]:
                target, body = body[0].targets[0], body[1:]
        self._open.discard(header)
        if block.loop is not None:
            orelse = self._from(block.targets[1], after, outer)
            made = at(ast.For(target, copy.deepcopy(iterable), body or [ast.Pass()], orelse), iterable.lineno)
        return [made, *([] if after is None else self._from(after, follow, outer))]


def at(node: Any, line: int) -> Any:
    """Return a node, on this line unless it has one."""
    if not hasattr(node, "lineno"):
        node.lineno = node.end_lineno = line
        node.col_offset = node.end_col_offset = 0
    return node


def _text(nodes: list[Any]) -> list[str]:
    return [ast.dump(node) for node in nodes]


def control_flow(targets: Mapping[int, Iterable[int]], first: int) -> CFGraph:
    """Return Numba's graph of blocks that lead to others."""
    graph = CFGraph()
    for label in targets:
        graph.add_node(label)
    for label, others in targets.items():
        for other in others:
            graph.add_edge(label, other)
    graph.set_entry_point(first)
    graph.process()
    return graph
