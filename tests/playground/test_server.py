"""The server of the playground: what it answers, to whom, and that no request brings it down."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import string
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from minidl import cli
from minidl.data import spiral
from minidl.playground import server as playground
from minidl.playground.presets import PRESETS
from minidl.playground.server import ACTIONS, FILES, HEADERS, LARGEST, Server
from minidl.playground.session import MOST_SESSIONS, Session, Sessions
from minidl.playground.settings import CONTROLS, Choice
from tests.conftest import each

SMALL = {"rows": 30, "layers": 2, "units": 5}


@pytest.fixture(scope="module")
def server():
    with Server(0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def ask(server, method, path, body=b"", **headers):
    """Send a request as the page does, but for what is given; return status, headers and body."""
    host = f"127.0.0.1:{server.server_port}"
    given = {"Host": host, "X_Token": server.token, "Content_Length": str(len(body)), **headers}
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    with contextlib.closing(connection):
        connection.putrequest(method, path, skip_host=True)
        for name, value in given.items():
            if value is not None:
                connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()


def post(server, path, request, **headers):
    status, _, body = ask(server, "POST", path, json.dumps(request).encode(), **headers)
    return status, json.loads(body)


def alive(server):
    status, shown = post(server, "/start", {"settings": SMALL})
    return status == 200 and shown["steps"] == 0


# What a page gets


@each("path", FILES)
def test_the_page_comes_with_its_headers(server, path):
    status, headers, body = ask(server, "GET", path, X_Token=None, Content_Length=None)
    assert status == 200 and len(body) > 1000
    assert HEADERS.items() <= headers.items()
    assert headers["Content-Type"] == FILES[path][1]


def test_no_script_or_style_stands_in_the_page_and_nothing_comes_from_elsewhere(server):
    for path in FILES:
        text = ask(server, "GET", path)[2].decode()
        assert not re.search(r"<script(?![^>]*src=\"playground.js\")|<style|\son\w+=|\sstyle=|@import", text)
        addresses = set(re.findall(r"https?://[^\"'\s]+", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}  # the name of a kind of elements, which nobody asks for
    for wanted in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"):
        assert wanted in HEADERS["Content-Security-Policy"]
    assert "unsafe" not in HEADERS["Content-Security-Policy"]


def test_the_controls_are_those_that_are_checked(server):
    shown = json.loads(ask(server, "GET", "/controls")[2])
    assert [control["name"] for control in shown["controls"]] == [*CONTROLS]
    for control in shown["controls"]:
        if control["kind"] == "choice":
            assert control["default"] in control["choices"]
        else:
            assert control["low"] <= control["default"] <= control["high"]
            assert control["scale"] != "log" or control["low"] > 0


def test_a_network_is_started_and_trained(server):
    status, shown = post(server, "/start", {"settings": SMALL})
    assert status == 200 and (shown["steps"], len(shown["columns"])) == (0, 3)
    data = spiral(30, noise=0.05, seed=0)
    np.testing.assert_allclose(shown["points"]["x"], data.x, atol=6e-4)
    assert shown["points"]["y"] == data.y.tolist() and max(len(str(x)) for x, _ in shown["points"]["x"]) <= 6
    status, trained = post(server, "/train", {"session": shown["session"], "settings": SMALL, "steps": 3})
    assert status == 200 and 1 <= trained["steps"] <= 3
    assert "points" not in trained and "session" not in trained
    assert post(server, "/start", {})[1]["program"].count("Tanh") == 2


def test_of_no_steps_the_picture_has_the_settings_that_act_under_way(server):
    session = post(server, "/start", {"settings": SMALL})[1]["session"]
    request = {"session": session, "settings": SMALL, "steps": 2}
    before = post(server, "/train", request)[1]
    after = post(server, "/train", {**request, "settings": {**SMALL, "optimizer": "adam"}, "steps": 0})[1]
    assert after["columns"] == before["columns"] and after["steps"] == before["steps"]
    assert "dl.SGD(" in before["program"] and "dl.Adam(" in after["program"]


def test_a_page_keeps_one_session(server):
    first = post(server, "/start", {"settings": SMALL})[1]["session"]
    second = post(server, "/start", {"settings": SMALL, "replaces": first})[1]["session"]
    assert post(server, "/train", {"session": first})[0] == 400
    assert post(server, "/train", {"session": second, "settings": SMALL})[0] == 200
    assert post(server, "/start", {"settings": {"units": 0}, "replaces": second})[0] == 400
    assert post(server, "/train", {"session": second, "settings": SMALL})[0] == 200  # one that failed replaces none
    assert post(server, "/start", {"settings": SMALL, "replaces": first})[0] == 200  # dropped already
    for wrong in ("1", 1.5, [], -1):
        status, shown = post(server, "/start", {"settings": SMALL, "replaces": wrong})
        assert status == 400 and shown["error"].startswith("replaces got")


@each("preset", PRESETS)
def test_an_experiment_leads_to_its_tutorial(server, preset):
    status, headers, body = ask(server, "GET", f"/tutorials/{preset.tutorial}")
    assert status == 200 and headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "import minidl as dl" in body.decode()


# Who may ask


@each("path", ACTIONS)
@each("headers", [{"X_Token": None}, {"X_Token": ""}, {"X_Token": "é"}, {"X_Token": "a" * 22}])
def test_without_the_token_nothing_is_computed(server, path, headers):
    status, shown = post(server, path, {}, **{k: v and v.encode("utf-8").decode("latin-1") for k, v in headers.items()})
    assert status == 403 and "open the address that `minidl playground` printed" in shown["error"]


@each("headers", [
    {"Host": "example.com"}, {"Host": None}, {"Host": "127.0.0.1"}, {"Host": "127.0.0.1:1"},
    {"Origin": "http://example.com"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"},
])  # fmt: skip
@each("request_line", [("GET", "/"), ("GET", "/controls"), ("POST", "/start")])
def test_other_sites_get_nothing(server, headers, request_line):
    status, _, body = ask(server, *request_line, b"{}", **headers)
    assert status == 403 and "expected" in json.loads(body)["error"]


def test_the_page_itself_may_ask(server):
    for host in (f"127.0.0.1:{server.server_port}", f"localhost:{server.server_port}"):
        assert ask(server, "POST", "/start", b"{}", Host=host, Origin=f"http://{host}")[0] == 200


def test_only_this_machine_is_listened_to(server):
    assert server.server_address[0] == "127.0.0.1"


def test_each_server_has_a_token_of_its_own(server):
    with Server(0) as other:
        assert len(server.token) >= 20 and other.token != server.token
        assert other.address.endswith(f"/#token={other.token}")


# Bad requests


@each(
    "path",
    [
        "/../server.py",
        "/page/index.html",
        "/index.html",
        "/tutorials/",
        "/tutorials/99",
        "/tutorials/../01",
        "//etc/passwd",
        "/%2e%2e/server.py",
        "/?x",
        "*",
    ],
)
def test_other_files_are_not_there(server, path):
    assert ask(server, "GET", path)[0] == 404
    assert ask(server, "POST", path)[0] == 404


@each("method", ["PUT", "DELETE", "HEAD", "OPTIONS", "CONNECT", "BREW"])
def test_other_methods_are_refused(server, method):
    assert ask(server, method, "/")[0] == 501


BAD = [
    b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff\xfe", b"{}{}", b"[" * 5000, b'{"settings": ' * 700, b"NaN",
    b'{"settings": []}', b'{"settings": {"layers": 21}}', b'{"settings": {"layers": 1e999}}',
    b'{"settings": {"rows": 100000000}}', b'{"settings": {"gain": NaN}}', b'{"settings": {"data": "../x"}}',
    b'{"settings": {"seed": ' + b"9" * 5000 + b"}}",
    b'{"settings": {"rows": 21, "batch_size": 20, "batch_norm": "after"}}',
]  # fmt: skip


@each("body", BAD)
def test_a_bad_request_gets_400_and_a_sentence(server, body):
    status, _, answer = ask(server, "POST", "/start", body)
    sentence = json.loads(answer)["error"]
    assert status == 400 and 20 < len(sentence) < 500, sentence


@each("request_", [
    {}, {"session": "1"}, {"session": 10**9}, {"session": None}, {"session": 1.5}, {"session": [1]},
])  # fmt: skip
def test_a_session_that_is_none_is_refused(server, request_):
    status, shown = post(server, "/train", request_)
    assert status == 400 and shown["error"].startswith("session got")


@each("steps", [-1, 1001, 1e9, "1", None, True, []])
def test_a_number_of_steps_that_is_none_is_refused(server, steps):
    session = post(server, "/start", {"settings": SMALL})[1]["session"]
    status, shown = post(server, "/train", {"session": session, "settings": SMALL, "steps": steps})
    assert status == 400 and shown["error"].startswith("steps got")


@each("length", [None, "", "-1", "1e3", "x", "٣", "9" * 5000, "0x10", "1, 1"])
def test_a_length_that_is_none_is_refused(server, length):
    sent = length if length is None else length.encode("utf-8").decode("latin-1")
    assert ask(server, "POST", "/start", b"{}", Content_Length=sent)[0] in (411, 413)


def test_a_large_request_is_refused_before_it_is_read(server):
    assert ask(server, "POST", "/start", b"", Content_Length=str(LARGEST + 1))[0] == 413
    assert ask(server, "POST", "/start", b" " * LARGEST)[0] == 400


def test_a_refused_request_is_not_taken_for_two(server):
    """What follows it on the same connection could be a request that somebody else wrote."""
    smuggled = f"POST /start HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\nContent-Length: 2\r\n\r\n{{}}"
    for headers in ("Transfer-Encoding: chunked\r\n", f"Content-Length: {len(smuggled)}\r\n"):
        head = f"POST /start HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n{headers}\r\n"
        answers = raw(server, (head + smuggled).encode())
        assert answers.count(b"HTTP/1.1 ") == 1 and b"Connection: close" in answers


@each("headers", ["Transfer-Encoding: chunked\r\nContent-Length: 2", "Content-Length: 2\r\nContent-Length: {}"])
def test_a_request_of_two_lengths_is_refused(server, headers):
    head = f"POST /start HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\nX-Token: {server.token}\r\n"
    second = f"{head}Content-Length: 2\r\n\r\n{{}}"
    answers = raw(server, f"{head}{headers.format(2 + len(second))}\r\n\r\n{{}}{second}".encode())
    assert answers.startswith(b"HTTP/1.1 411 ") and answers.count(b"HTTP/1.1 ") == 1


def test_what_comes_with_a_page_asked_for_is_not_taken_for_a_request(server):
    head = f"Host: 127.0.0.1:{server.server_port}\r\nX-Token: {server.token}\r\n"
    hidden = f"POST /start HTTP/1.1\r\n{head}Content-Length: 2\r\n\r\n{{}}"
    answers = raw(server, f"GET / HTTP/1.1\r\n{head}Content-Length: {len(hidden)}\r\n\r\n{hidden}".encode())
    assert answers.startswith(b"HTTP/1.1 200 ") and answers.count(b"HTTP/1.1 ") == 1


@each("name", ["Host", "X-Token"])
def test_a_header_that_comes_twice_is_refused(server, name):
    head = f"POST /start HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\nX-Token: {server.token}\r\n"
    answers = raw(server, f"{head}{name}: another\r\nContent-Length: 2\r\n\r\n{{}}".encode())
    assert answers.startswith(b"HTTP/1.1 403 ")


def test_half_a_request_is_refused(server):
    head = f"POST /start HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\nX-Token: {server.token}\r\n"
    answer = raw(server, f"{head}Content-Length: 50\r\n\r\n{{}}".encode())
    assert answer.startswith(b"HTTP/1.1 400 ") and b"the request ended after 2 bytes; expected 50" in answer


def test_an_error_repeats_only_the_beginning_of_what_it_got(server):
    for headers in ({"Host": "x" * 50_000}, {"Origin": "x" * 50_000}, {"Content_Length": "x" * 50_000}):
        assert len(ask(server, "POST", "/start", b"", **headers)[2]) < 300


def raw(server, sent):
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
        connection.sendall(sent)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(OSError):
            while part := connection.recv(65536):
                received += part
    return received


def test_a_thousand_fuzzed_requests_leave_it_serving(server):
    rng = random.Random(0)
    numbers = [-1, 0, 1, 2, 19, 20, 21, 128, 1e-300, 1e300, 0.5, 10**30, True, None, "", "x", [], {}]
    for number in range(1000):
        settings = {}
        for name, control in rng.sample([*CONTROLS.items()], rng.randrange(5)):
            choices = control.choices if isinstance(control, Choice) else [control.low, control.high, control.default]
            inside = rng.choice(choices)
            settings[name] = rng.choice([inside, rng.choice(numbers)])
        small = {"layers": 2, "units": 3, "rows": 20, "batch_size": 10}
        request = {"settings": {**small, **settings}, "session": rng.choice([1, number, None]), "steps": 1}
        body = bytearray(json.dumps(request).encode())
        for _ in range(rng.choice([0, 0, 1, 5])):
            body[rng.randrange(len(body))] = rng.randrange(256)
        kind = rng.randrange(4)
        if kind == 0:  # all of the request, not only its body
            head = f"POST /start HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\nX-Token: {server.token}\r\n"
            whole = bytearray((head + f"Content-Length: {len(body)}\r\n\r\n").encode() + body)
            for _ in range(rng.randrange(1, 6)):
                whole[rng.randrange(len(whole))] = rng.randrange(256)
            raw(server, bytes(whole[: rng.randrange(1, len(whole))]))
        else:
            path = rng.choice(["/start", "/train", "/" + "".join(rng.choices(string.printable[:94], k=5))])
            with contextlib.suppress(http.client.HTTPException, OSError):
                status, _, answer = ask(server, "POST", path.replace(" ", ""), bytes(body))
                assert status in (200, 400, 403, 404), (status, answer)
                assert status == 200 or "error" in json.loads(answer)
    assert alive(server)


def test_a_fault_of_ours_is_told_and_leaves_it_serving(server, monkeypatch, capsys):
    def fail(*_):
        raise ZeroDivisionError("ours")

    monkeypatch.setitem(ACTIONS, "/start", fail)
    status, shown = post(server, "/start", {})
    assert status == 500 and shown == {"error": "the server failed; its terminal shows why"}
    assert "ZeroDivisionError: ours" in capsys.readouterr().err


def test_what_a_request_can_ask_for_is_bounded():
    highs = {
        name: control.high for name, control in CONTROLS.items() if name in ("rows", "layers", "units", "batch_size")
    }
    assert highs == {"rows": 2000, "layers": 20, "units": 128, "batch_size": 512}
    assert playground.MOST_STEPS <= 1000 and playground.SECONDS <= 0.05 and playground.TRAINS <= 1 and LARGEST <= 10_000
    assert playground.MOST_CONNECTIONS <= 64 and MOST_SESSIONS <= 16


# Many at once


def test_connections_are_bounded_and_the_rest_is_turned_away(monkeypatch, capsys):
    monkeypatch.setattr(playground, "MOST_CONNECTIONS", 3)
    with Server(0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        connections = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(3)]
        for connection in connections:
            connection.sendall(b"GET ")
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(server, "GET", "/")
        for connection in connections:
            connection.close()
        until(lambda: ask(server, "GET", "/")[0] == 200)
        server.shutdown()
    assert capsys.readouterr().err == ""


def until(holds):
    """Wait for something that happens soon."""
    for _ in range(500):
        with contextlib.suppress(http.client.HTTPException, OSError):
            if holds():
                return
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def test_a_request_that_never_comes_is_given_up(monkeypatch):
    monkeypatch.setattr(playground.Handler, "timeout", 0.2)
    with Server(0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
            connection.sendall(b"POST /start HTTP/1.1\r\n")
            while connection.recv(1000):  # until the server hangs up
                pass
        server.shutdown()


def test_a_request_that_comes_byte_by_byte_is_given_up(monkeypatch):
    monkeypatch.setattr(playground.Handler, "timeout", 0.3)
    with Server(0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        connection = socket.create_connection(("127.0.0.1", server.server_port), timeout=30)
        with connection, pytest.raises(OSError):  # of sending to somebody who has hung up
            for _ in range(200):
                connection.sendall(b"G")
                time.sleep(0.05)
        server.shutdown()


def test_nobody_can_train_a_network_before_its_first_picture_is_there(monkeypatch):
    sessions = Sessions()

    def picture(_):
        with pytest.raises(ValueError, match="which is none"):
            sessions.get(1)
        return {}

    monkeypatch.setattr(Session, "picture", picture)
    assert playground.start(sessions, {"settings": SMALL})["session"] == 1
    sessions.get(1)


def test_sessions_trained_side_by_side_are_each_as_alone(server):
    settings = [{**SMALL, "seed": seed, "units": 40, "layers": 3} for seed in range(4)]
    shown: dict = {}

    def train(k):
        started = post(server, "/start", {"settings": settings[k]})[1]
        request = {"session": started["session"], "settings": settings[k], "steps": 1}
        for _ in range(15):
            shown[k] = post(server, "/train", request)[1]

    threads = [threading.Thread(target=train, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = dict(shown)
    for k in range(4):
        train(k)
        assert together[k] == shown[k] and shown[k]["steps"] == 15


# The command


def test_a_port_in_use_is_refused(server, capsys):
    assert cli.main(["playground", "--port", str(server.server_port)]) == 2
    assert f"--port got {server.server_port}, which is in use" in capsys.readouterr().err


@each("port", ["-1", "65536", "x", "1.5"])
def test_a_port_that_is_none_is_refused(port, capsys):
    with pytest.raises(SystemExit):
        cli.main(["playground", "--port", port])
    assert "--port got" in capsys.readouterr().err


def test_a_browser_that_returns_only_when_it_ends_gets_the_page(monkeypatch, capsys):
    servers, answers = [], []

    class Kept(Server):
        def __init__(self, port):
            super().__init__(port)
            servers.append(self)

    def browse(address):
        assert address == servers[0].address
        answers.append(ask(servers[0], "GET", "/")[0])
        servers[0].shutdown()

    monkeypatch.setattr(playground, "Server", Kept)
    monkeypatch.setattr(playground.webbrowser, "open", browse)
    playground.serve(0, open_page=True)
    assert answers == [200] and servers[0].address in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent to a whole console there")
def test_ctrl_c_ends_it_at_once_also_while_it_trains(python_handles_interrupts):
    command = [sys.executable, "-m", "minidl", "playground", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as process:
        lines = iter(process.stdout.readline, "")
        address = next(line for line in lines if "the playground is at" in line)
        found = re.search(r"http://127\.0\.0\.1:(\d+)/#token=(\S+)", address)

        class Remote:
            server_port, token = int(found[1]), found[2]

        settings = {"layers": 20, "units": 128, "rows": 2000, "batch_size": 512}
        session = post(Remote, "/start", {"settings": settings})[1]["session"]

        def train():
            with contextlib.suppress(http.client.HTTPException, OSError):
                while True:
                    post(Remote, "/train", {"session": session, "settings": settings, "steps": 1000})

        thread = threading.Thread(target=train)
        thread.start()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()  # or this test would wait for it for ever
        thread.join()
    assert process.returncode == 0 and err == ""
