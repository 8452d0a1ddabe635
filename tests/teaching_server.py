"""A real HTTP server that plays a black-box teacher, and misbehaves as a test tells it to."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Act = Callable[["_Handler"], bool]
"""Does something else than answering; True where it answered nothing."""


def status(code: int, message: str = "not now", **headers: str) -> Act:
    """Answer with an error; headers in Python's spelling, e.g. `Retry_After="7"`."""

    def act(handler: _Handler) -> bool:
        handler.reply(code, {"error": {"message": message}}, {n.replace("_", "-"): v for n, v in headers.items()})
        return True

    return act


def cut(handler: _Handler) -> bool:
    """Promise a whole answer and close the connection in the middle of it."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"label": "go')
    handler.close_connection = True
    return True


def text_instead(handler: _Handler) -> bool:
    """Answer with a page of somebody in between."""
    handler.reply(200, b"<html>please log in</html>")
    return True


def waiting_for(event: threading.Event) -> Act:
    """Say nothing until the event."""

    def act(handler: _Handler) -> bool:
        event.wait(60)
        return True

    return act


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: TeachingServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        act = self.server.received(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        if act is not None and act(self):
            return
        text = text_of(body)
        self.server.answered.append(text)
        self.reply(200, self.server.answer(text))

    def reply(self, code: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


class TeachingServer(ThreadingHTTPServer):
    """`answer` makes a response of a text. `acts` come first, one a request; `always` is in force after them.

    `requests` are all (path, headers, body); `answered` the texts that got their answer.
    """

    daemon_threads = True

    def __init__(self, answer: Callable[[str], Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.acts: list[Act | None] = []
        self.always: Callable[[dict], Act | None] = lambda body: None
        self.requests: list[tuple[str, dict[str, str], dict]] = []
        self.answered: list[str] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def received(self, path: str, headers: dict[str, str], body: dict) -> Act | None:
        with self._lock:
            self.requests.append((path, headers, body))
            return self.acts.pop(0) if self.acts else self.always(body)

    def handle_error(self, *_: Any) -> None:
        pass  # clients of these tests are killed


@contextmanager
def teaching(answer: Callable[[str], Any]) -> Iterator[TeachingServer]:
    """A server at work in a thread."""
    with TeachingServer(answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def text_of(body: dict) -> str:
    """The text that a request is about."""
    return body["messages"][-1]["content"] if "messages" in body else body["text"]


def chat(text: str, *places: dict[str, float], usage: tuple[int, int] | None = (50, 1)) -> dict:
    """A chat completion; each place is {token: probability}, the chosen one first."""
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    if places:
        choice["logprobs"] = {"content": [_place(place) for place in places]}
    found: dict[str, Any] = {"object": "chat.completion", "choices": [choice]}
    if usage:
        found["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return found


def _place(options: dict[str, float]) -> dict:
    listed = [{"token": token, "logprob": math.log(p)} for token, p in options.items()]
    return {**listed[0], "top_logprobs": listed}
