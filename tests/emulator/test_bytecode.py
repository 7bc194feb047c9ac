"""Kernels without a source: the syntax tree made from the bytecode does what the one from the source does."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from types import FunctionType

import numpy as np
import pytest
from numba import cuda

from minidl.emulator import EmulatorError, launch
from minidl.emulator.bytecode import definition_from_bytecode
from tests.conftest import execute

HALF = np.float32(0.5)


@cuda.jit(device=True)
def clamp(value, low, high):
    if value < low:
        return low
    if value > high:
        return high
    return value


# Each body computes with t, the index of the thread; x, ten float32; n, an integer; and writes y, 8 by 8 float64.
BODIES = {
    "for": """\
        s = 0
        for i in range(n):
            s += x[i] * i
        y[t, 0] = s""",
    "for with a step": "for i in range(n - 1, -1, -2):\n    y[t, 0] = y[t, 0] * 2 + x[i]",
    "for over an array": "for value in x:\n    y[t, 0] += value",
    "for over a tuple": "for value in (1, 2, n):\n    y[t, 0] += value",
    "nested": """\
        for i in range(n):
            for j in range(i, n):
                y[t, 0] += x[i] * j
            y[t, 1] += i""",
    "break and else": """\
        for i in range(n):
            if x[i] > t:
                y[t, 0] = i
                break
            y[t, 1] += 1
        else:
            y[t, 0] = -1
        y[t, 2] = 5""",
    "continue": """\
        for i in range(n):
            if i % 2 == t % 2:
                continue
            y[t, 0] += i
            y[t, 1] = i""",
    "break and continue in both loops": """\
        for i in range(n):
            for j in range(n):
                if j > i:
                    break
                if (i + j) % 3 == 0:
                    continue
                y[t, 0] += i * j
            if i == 4 + t % 2:
                continue
            y[t, 1] += i
            if y[t, 1] > 9:
                break""",
    "break out to the end of the outer loop": """\
        for i in range(n):
            for j in range(n):
                y[t, 0] += 1
                if x[j] > i:
                    break""",
    "while": """\
        a, b = n + t, 4
        while b:
            a, b = b, a % b
        y[t, 0] = a""",
    "while with and": """\
        i = 0
        while i < n and x[i] < t:
            i += 1
        y[t, 0] = i""",
    "while with or": """\
        i = 0
        while i < 3 or i * t < 5 and i < n:
            i += 1
        y[t, 0] = i""",
    "while with continue and break": """\
        i = 0
        while i < 40:
            i += 1
            if i % 3 == t % 3:
                continue
            if i == 25:
                break
            y[t, 0] += i
        y[t, 1] = i""",
    "while true": """\
        s = n
        while True:
            s -= 1
            if s < t:
                break
            y[t, 0] += s""",
    "while with else": """\
        i = n
        while i:
            i -= 1
            if i == t + 5:
                break
        else:
            y[t, 0] = 1
        y[t, 1] = i""",
    "while in while": """\
        i = 0
        while i < n:
            j = i
            while j < n and j * i < 20:
                j += 1
                if j == 7:
                    continue
                y[t, 0] += j
            i += 1""",
    "return in loops": """\
        for i in range(n):
            while i < t:
                if x[i] > 1:
                    return
                i += 1
            y[t, 0] += 1""",
    "elif": """\
        if t == 0:
            y[t, 0] = 1
        elif t < 3:
            y[t, 0] = 2
        elif t == 5:
            return
        else:
            y[t, 0] = 3
        y[t, 1] = 1""",
    "and, or, not": """\
        if (t < 2 or t > 4) and not x[t] > 3:
            y[t, 0] = 1
        else:
            y[t, 0] = 2
        if not (t == 1 or t == 3 and n) or x[t] < 0:
            y[t, 1] = 1
        if t and n and x[t] and t < 5:
            if t == 2 or t == 3 or t == 4:
                y[t, 2] = 1
            else:
                y[t, 3] = 1
        else:
            y[t, 4] = 7""",
    "and, or as values": """\
        y[t, 0] = t and n
        y[t, 1] = t or 7
        y[t, 2] = max(t and n or 3, 2)
        y[t, 3] = t < 3 or n < 2""",
    "chained": """\
        y[t, 0] = 1 < t <= 4
        if 0 <= t < n and 0 <= x[t] * 2 < 6 < n:
            y[t, 1] = 1
        y[t, 2] = 1 < t + 1 < 3 < n""",
    "ternary": """\
        y[t, 0] = x[t] if t < 4 else n
        y[t, 1] = 2 * (n if t else 1 if n else 0) + x[t]
        y[t, 2] = clamp(t if t > 1 else 3, 2, 4)""",
    "early return": """\
        if t >= 5:
            return
        y[t, 0] = 1
        if t < 2:
            if n:
                return
            y[t, 1] = 1
        y[t, 2] = 2""",
    "tuples": """\
        pair = (t, x[t])
        a, b = pair
        b, a = a, b
        c, d, e, f = t, a, b, n
        (only,) = (t * 2,)
        y[t, 0], y[t, 1], y[t, 2], y[t, 3] = a, b, c + d, e - f
        y[t, 4], y[t, 5] = pair[1] * only, x.shape[0]
        i = k = t + 1
        y[t, 6] = i + k
        a, b, c = b, c, a
        y[t, 7] = a - b * c""",
    "assignment to elements": """\
        y[t, 0] += x[t]
        y[t, t % 2] -= 2
        y[t, clamp(t, 0, 1)] *= 3
        y[t][2] += 1
        y[t, 7 - n % 2] //= 2""",
    "slices": """\
        row = y[t, 1:4]
        row[0] = 1
        y[t, 4:6] = 2
        y[t, ::4][1] += 3
        y[t, :][0] = x[1:][t] + x[:5][2]""",
    "operators": """\
        y[t, 0] = (t << 2 | 1) ^ 7 & ~n
        y[t, 1] = -t // 3 % 5
        y[t, 2] = t**2 + 2.0**t
        y[t, 3] = x[t] / 3
        y[t, 4] = n >> 1""",
    "constants": """\
        y[t, 0] = 0.1 + x[t] * HALF
        y[t, 1] = 2**40 * -3
        y[t, 2] = t in (1, 3)
        y[t, 3] = t not in (1, n)
        y[t, 4] = True""",
    "shared": """\
        tile, other = cuda.shared.array((4, 2), float32), cuda.shared.array(shape=8, dtype=int64)
        tile[t // 2, t % 2] = x[t]
        other[t] = t
        cuda.syncthreads()
        y[t, 0] = tile[3 - t // 2, 1 - t % 2] + other[7 - t]
        for step in range(3):
            cuda.syncthreads()
            if t < 1 << step:
                other[t] += other[t ^ 1]
            cuda.syncthreads()
            y[t, 1] += other[7 - t]
        if cuda.threadIdx.x == 3 or n == 0:
            cuda.atomic.add(y, (0, 2) if n else (1, 2), 5 if t else 6)""",
    "None": """\
        z = None
        if z is None:
            y[t, 0] = 1
        else:
            y[t, 0] = z[t]
        if z is not None and z[0] > 1:
            y[t, 1] = 4""",
    "types": """\
        s = 1
        if t:
            s = x[t]
        y[t, 0] = s / 3
        c = 0
        for i in range(3):
            c += 0.1 if i else 1
        y[t, 1] = c""",
    "in the order of the source": """\
        a = t
        y[t, 0] = a + clamp(a, 1, 2)
        a = y[t, 0]
        y[t, 1], a = a, 3
        y[t, 2] = a""",
    "raise": """\
        if t > 90:
            raise ValueError('no')
        assert n < 100, 'too many'
        y[t, 0] = 1""",
}  # fmt: skip


def without_source(function):
    """The function, as if it had been made by `exec`."""
    code = function.__code__.replace(co_filename="<nowhere>")
    return FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)


def made(name, body):
    text = textwrap.indent(textwrap.dedent(body), "    ")
    imports = "from numba import cuda, float32, int64\n\nfrom tests.emulator.test_bytecode import HALF, clamp\n\n\n"
    source = f"{imports}def f(x, n, y):\n    t = cuda.threadIdx.x\n{text}\n"
    return execute(source, f"bytecode {name}").f


def results(function, n):
    x, y = np.linspace(-2, 4, 10).astype(np.float32), np.zeros((8, 8))
    launch(cuda.jit(function), 1, 8, x, n, y)
    return y


@pytest.mark.parametrize("name", BODIES)
def test_a_kernel_without_a_source_computes_the_same(name):
    function = made(name, BODIES[name])
    definition_from_bytecode(function)
    for n in (8, 0, 10):
        expected, found = results(function, n), results(without_source(function), n)
        np.testing.assert_array_equal(found.view(np.int64), expected.view(np.int64))
    assert expected.any()


def test_closures_lambdas_defaults_and_optional_arguments():
    def kernel_for(function, constant):
        def apply(y, bias, scale=3):
            t = cuda.grid(1)
            y[t] = function(t) * scale + constant
            if bias is not None:
                y[t] += bias[t]

        return apply

    double = cuda.jit(without_source(lambda value: 2 * value), device=True)
    kernel = cuda.jit(without_source(kernel_for(double, 100)))
    y = np.zeros(4)
    launch(kernel, 1, 4, y, None, 3)
    np.testing.assert_array_equal(y, 6 * np.arange(4) + 100)
    launch(kernel, 1, 4, y, np.ones(4), 1)
    np.testing.assert_array_equal(y, 2 * np.arange(4) + 101)


def test_an_error_names_the_line():
    function = made("line", "y[t, 0] = 1\n\ny[t, 1] = x[\n    t + 99\n]")
    messages = []
    for one in (function, without_source(function)):
        with pytest.raises(EmulatorError) as info:
            results(one, 3)
        messages.append(str(info.value))
    assert messages[1] == messages[0].replace("<bytecode line>", "<nowhere>")
    assert "<nowhere>:10: x[99]" in messages[1]


def test_what_kernels_do_not_do_is_refused():
    def yields(x, n, y):
        yield n

    with pytest.raises(EmulatorError, match="here there is none"):
        results(without_source(yields), 3)


SCRIPT = """
import numpy as np
from numba import cuda
from minidl.emulator import launch

@cuda.jit
def doubles(x):
    i = cuda.grid(1)
    if i < x.size:
        x[i] *= 2

text = '''
def adds(ary):
    cuda.atomic.add(ary, cuda.threadIdx.x % 2, 1)
'''
namespace = {"cuda": cuda}
exec(text, namespace)
x = np.arange(5.0)
launch(doubles, 1, 8, x)
launch(cuda.jit(namespace["adds"]), 1, 8, x)
print(x.tolist())
"""


@pytest.mark.parametrize("arguments", [["-c", SCRIPT], ["-"]])
def test_from_the_command_line(arguments):
    ran = subprocess.run([sys.executable, *arguments], input=SCRIPT, capture_output=True, text=True, check=False)
    assert ran.stdout == "[4.0, 6.0, 4.0, 6.0, 8.0]\n", ran.stderr
