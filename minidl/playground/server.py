"""The server of the playground: for browsers on this machine that know its token, and for requests of bounded size."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import re
import secrets
import socket
import sys
import threading
import traceback
import webbrowser
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from minidl.playground import picture, presets, settings
from minidl.playground.session import Session, Sessions
from minidl.utils import checks, tutorials
from minidl.utils.files import parse_json
from minidl.utils.output import say

HOST, PORT = "127.0.0.1", 8765
LARGEST = 10_000  # bytes of a request
MOST_STEPS = 1000  # of a request
SECONDS = 0.042  # of a request that trains, so that a page gets 20 pictures a second
TRAINS = 0.15  # times as long as the picture takes, at least
MOST_CONNECTIONS = 64
PATIENCE = 30.0  # seconds for a request to arrive

PAGE = Path(__file__).parent / "page"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/playground.css": ("playground.css", "text/css; charset=utf-8"),
    "/playground.js": ("playground.js", "text/javascript; charset=utf-8"),
}
JSON = "application/json"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


# What a page may ask for ---------------------------------------------------------------------------------------------


def start(sessions: Sessions, request: dict[str, Any]) -> dict[str, Any]:
    """Build a network from {"settings": {...}, "replaces": 1}; answer with its number, picture and training data.

    The session that it replaces is dropped: each page keeps one, however fast its sliders move.
    """
    session = Session(settings.checked(request.get("settings", {})))
    shown = session.picture()
    if session.settings.data != "digits":
        shown["points"] = picture.points(session.train)
    if (old := request.get("replaces")) is not None:
        sessions.drop(old)
    return {**shown, "session": sessions.add(session)}  # only now, so that nobody trains what is looked at


def train(sessions: Sessions, request: dict[str, Any]) -> dict[str, Any]:
    """Train a network from {"session": 1, "settings": {...}, "steps": 10} for a moment; answer with its picture.

    Of 0 steps the picture has the settings that act under way.
    """
    session = sessions.get(request.get("session"))
    steps = checks.integer("steps", request.get("steps", 1), 0, MOST_STEPS)
    with session.lock:
        session.change(settings.checked(request.get("settings", {})))
        drawing = session.picture_seconds
        session.advance(steps, max(SECONDS - drawing, TRAINS * drawing))
        return session.picture()


ACTIONS: dict[str, Callable[[Sessions, dict[str, Any]], dict[str, Any]]] = {"/start": start, "/train": train}


def controls() -> dict[str, Any]:
    """Return what the page draws its controls and its list of experiments from."""
    kinds = {settings.Choice: "choice", settings.Number: "number"}
    return {
        "controls": [
            {"name": name, "kind": kinds[type(control)], "whole": isinstance(control.default, int), **control._asdict()}
            for name, control in settings.CONTROLS.items()
        ],
        "presets": [preset._asdict() for preset in presets.PRESETS],
    }


# The server ----------------------------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """A server for this machine only.

    Attributes:
        token: What a request must know; `address` has it behind the #, which browsers do not send.
        sessions: The networks of the pages that are open.
    """

    daemon_threads = True  # the end of the program waits for none of them
    allow_reuse_address = os.name == "posix"  # elsewhere a second server would get the same port
    allow_reuse_port = False

    def __init__(self, port: int):
        self.token, self.sessions = secrets.token_urlsafe(16), Sessions()
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__((HOST, port), Handler)

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_port}/#token={self.token}"

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a browser that left is no error
            super().handle_error(request, client_address)


class Refused(Exception):
    """A request that gets an error: its status, and a sentence."""

    def __init__(self, status: int, sentence: str):
        self.status = status
        super().__init__(sentence)


class Handler(BaseHTTPRequestHandler):
    """Answers one browser."""

    server: Server
    server_version, sys_version = "minidl", ""
    protocol_version = "HTTP/1.1"  # one connection for all pictures
    disable_nagle_algorithm = True
    timeout = PATIENCE
    error_message_format, error_content_type = "%(message)s\n", "text/plain; charset=utf-8"

    def handle_one_request(self) -> None:
        """Answer a request, if it arrives within `timeout`, also where single bytes keep coming."""
        end = threading.Timer(self.timeout, self._hang_up)
        end.daemon = True
        end.start()
        try:
            super().handle_one_request()
        finally:
            end.cancel()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):  # it is closed already
            self.connection.shutdown(socket.SHUT_RD)

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, action: Callable[[], tuple[str, bytes]]) -> None:
        try:
            self._check_origin()
            kind, body = action()
            status = 200
        except Refused as error:
            # What is left of the request is not read, so it must not be taken for the next one.
            self.close_connection = True
            status, kind, body = error.status, JSON, _json({"error": str(error)})
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _check_origin(self) -> None:
        """Refuse what another site sends, also under a name of its own that leads here."""
        hosts = [f"{host}:{self.server.server_port}" for host in (HOST, "localhost")]
        if (host := self._header("Host")) not in hosts:
            raise Refused(403, f"Host got {checks.describe(host)}; expected {hosts[0]}")
        origins = [f"http://{host}" for host in hosts]
        if (origin := self._header("Origin", origins[0])) not in origins:
            raise Refused(403, f"Origin got {checks.describe(origin)}; expected {origins[0]}")

    def _header(self, name: str, default: str = "") -> str:
        """Return a header; of several with this name all, which is no value that anything expects."""
        return ", ".join(self.headers.get_all(name, [default]))

    def _content(self, default: str = "") -> bytes:
        """Read what comes after the headers, so that it is not taken for the next request."""
        if "Transfer-Encoding" in self.headers:
            raise Refused(411, "the request has a Transfer-Encoding; expected Content-Length alone")
        length = self._header("Content-Length", default)
        if not (length.isascii() and length.isdigit() and len(length) < 20):
            got = checks.describe(length)
            raise Refused(411, f"Content-Length got {got}; expected the size of the request in bytes")
        if int(length) > LARGEST:
            raise Refused(413, f"the request has {length} bytes; expected at most {LARGEST:,}")
        content = self.rfile.read(int(length))
        if len(content) < int(length):
            raise Refused(400, f"the request ended after {len(content)} bytes; expected {length}")
        return content

    def _get(self) -> tuple[str, bytes]:
        self._content(default="0")
        if self.path == "/controls":
            return JSON, _json(controls())
        if number := re.fullmatch(r"/tutorials/(\w+)", self.path):
            if (script := tutorials.scripts().get(number[1])) is None:
                raise Refused(404, "there is no such tutorial")
            return "text/plain; charset=utf-8", script.read_bytes()
        if self.path not in FILES:
            raise Refused(404, "there is no such page; expected /")
        name, kind = FILES[self.path]
        return kind, (PAGE / name).read_bytes()

    def _post(self) -> tuple[str, bytes]:
        if self.path not in ACTIONS:
            raise Refused(404, f"there is no such action; expected one of {', '.join(ACTIONS)}")
        token = self._header("X-Token").encode("utf-8", "replace")
        if not secrets.compare_digest(token, self.server.token.encode()):
            raise Refused(
                403, "the token is of another server: reload, or open the address that `minidl playground` printed"
            )
        try:
            request = parse_json(self._content())
        except ValueError as error:
            raise Refused(400, f"the request is no JSON: {error}") from None
        if not isinstance(request, dict):
            raise Refused(400, f"the request got {checks.describe(request)}; expected an object")
        try:
            return JSON, _json(ACTIONS[self.path](self.server.sessions, request))
        except (TypeError, ValueError) as error:
            raise Refused(400, str(error)) from None
        except Exception:
            traceback.print_exc()
            raise Refused(500, "the server failed; its terminal shows why") from None

    def log_message(self, *arguments: Any) -> None: ...


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def warm_up(server: Server) -> None:
    """Do what the first request would wait for: the first time, compile."""
    train(server.sessions, {"session": start(server.sessions, {})["session"]})
    gc.freeze()  # what there is by now stays to the end, so no collection needs to look through it: it takes 20 ms


def serve(port: int = PORT, open_page: bool = False) -> None:
    """Serve the playground on this machine until Ctrl-C.

    Args:
        port: Where; 0 for any that is free.
        open_page: Whether to open it in a browser.

    Raises:
        OSError: If the port is in use.
    """
    try:
        server = Server(port)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise OSError(f"--port got {port}, which is in use or not allowed; expected another, or 0 for any") from None
    with server, contextlib.suppress(KeyboardInterrupt):
        warm_up(server)
        say(f"the playground is at {server.address}\nCtrl-C ends it")
        if open_page:
            # In a thread, as a browser in the terminal returns only when it ends.
            threading.Thread(target=webbrowser.open, args=[server.address], daemon=True).start()
        server.serve_forever()
