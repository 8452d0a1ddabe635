"""One call of an HTTP JSON API: what came back, or whether it is worth trying again. Python's own HTTP client alone."""

from __future__ import annotations

import email.utils
import http.client
import json
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from benchmarks.errors import TrimfitError

__all__ = ["BusyError", "RefusedError", "check_reachable", "host_of", "post_json"]

AGAIN = frozenset({408, 409, 425, 429})  # and all from 500 on
LONGEST_REASON = 200  # characters of what a server says
CONNECT_SECONDS = 10.0


class BusyError(Exception):
    """No answer this time, maybe the next; `retry_after` are the seconds that the server asks to be left alone."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class RefusedError(Exception):
    """The same call would be refused again."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}" if status else reason)
        self.status = status


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is refused: the key would go with it to another server."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def post_json(url: str, body: Any, headers: Mapping[str, str], timeout: float) -> Any:
    """The JSON that a server answers to `body` with, sent as JSON.

    Raises:
        BusyError: too many requests, an error of the server, a cut or silent connection, an answer that is no JSON.
        RefusedError: anything else that is not an answer.
    """
    request = urllib.request.Request(url, json.dumps(body).encode(), method="POST")
    for name, value in {"Content-Type": "application/json", "Accept": "application/json", **headers}.items():
        request.add_header(name, value)
    try:
        with _OPENER.open(request, timeout=timeout) as response:
            content = response.read()
    except urllib.error.HTTPError as error:
        raise _of_status(error) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise RefusedError(0, f"its certificate is not trusted here ({error.reason.verify_message})") from error
        raise BusyError(f"not reachable ({error.reason})") from error
    except TimeoutError as error:
        raise BusyError(f"silent for {timeout:g} s") from error
    except (http.client.HTTPException, OSError) as error:
        raise BusyError(f"the connection was cut ({type(error).__name__})") from error
    try:
        return json.loads(content)
    except ValueError as error:
        raise BusyError(f"answered with no JSON: {_short(content)!r}") from error


def check_reachable(url: str) -> None:
    """See that something listens there, without a call that costs; where a proxy stands between, that is not known.

    Raises TrimfitError where nothing does.
    """
    parts = urllib.parse.urlsplit(url)
    host, port = parts.hostname or "", parts.port or {"https": 443}.get(parts.scheme, 80)
    if parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        return
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise TrimfitError(
            f"the teacher {host_of(url)} cannot be reached ({error.strerror or error}): check --teacher and the network"
        ) from error


def host_of(url: str) -> str:
    """An address without what may be secret in it: `https://api.example.org/v1`."""
    parts = urllib.parse.urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path.rstrip('/')}"


def _of_status(error: urllib.error.HTTPError) -> BusyError | RefusedError:
    if 300 <= error.code < 400:
        where = host_of(error.headers.get("Location") or "")
        return RefusedError(error.code, f"it redirects to {where}: give that address if you trust it")
    try:
        reason = _message(error.read())
    except (http.client.HTTPException, OSError):
        reason = ""
    reason = reason or str(error.reason)
    if error.code in AGAIN or error.code >= 500:
        return BusyError(f"{error.code}: {reason}", _seconds(error.headers.get("Retry-After")))
    return RefusedError(error.code, reason)


def _message(content: bytes) -> str:
    """What a server says of an error, in one line."""
    try:
        found = json.loads(content)
    except ValueError:
        return _short(content)
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and found.get(key):
            found = found[key]
    return _short((found if isinstance(found, str) else json.dumps(found)).encode())


def _short(content: bytes) -> str:
    return " ".join(content.decode(errors="replace").split())[:LONGEST_REASON]


def _seconds(retry_after: str | None) -> float | None:
    """`Retry-After`, in seconds or as a date (RFC 9110, section 10.2.3)."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None
