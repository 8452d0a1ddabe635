"""Caller: one text's answer from an endpoint, asked for until it is there, and kept."""

from __future__ import annotations

import json
import threading
from typing import Any

from benchmarks.errors import TrimfitError
from optimizer.distillation.black_box.cache import AnswerCache, key_of
from optimizer.distillation.black_box.chat import usage_of
from optimizer.distillation.black_box.endpoint import Endpoint
from optimizer.distillation.black_box.estimate import Spending, tokens_in
from optimizer.distillation.black_box.label_set import LabelSet
from optimizer.distillation.black_box.pace import Pace, back_off
from optimizer.distillation.black_box.post import BusyError, RefusedError, post_json

__all__ = ["Caller"]

OF_ONE_TEXT = frozenset({400, 413, 422})  # what servers say of a text: too long, filtered
LONGEST_HOLD = 600.0  # seconds; who asks to be left alone for longer is asked another day
PROBABILITIES = ("logprobs", "top_logprobs")  # fields of a chat request that not every server takes
RESUME = "what it answered so far is kept, the same command goes on from there"


class Caller:
    """Calls an endpoint about texts of some classes, at a pace, from any number of threads.

    `calls` and `spending` count what was answered since it was made; `no_probabilities` is what the server said when it
    took no request for them, which it is then asked without.
    """

    def __init__(self, endpoint: Endpoint, labels: LabelSet, cache: AnswerCache, pace: Pace) -> None:
        self.endpoint, self.labels, self.cache, self.pace = endpoint, labels, cache, pace
        self.calls, self.spending = 0, Spending(price=endpoint.price)
        self.no_probabilities: str | None = None
        self._counting = threading.Lock()
        self._key = endpoint.key()
        name, _, value = endpoint.key_header.partition(":")
        self._headers = {name.strip(): value.strip().replace("{key}", self._key)} if self._key else {}

    @property
    def has_key(self) -> bool:
        """Whether calls carry a key."""
        return self._key is not None

    def known(self, text: str) -> Any:
        """The answer that is in the cache; None where there is none."""
        return self.cache.get(self._key_of(text))

    def answer(self, text: str) -> Any:
        """Ask until there is an answer; it is in the cache before this returns.

        Raises:
            RefusedError: the server does not take this text.
            StoppedError: the pace was stopped while this waited.
            TrimfitError: the server refuses the caller, or was busy for all tries.
        """
        reason = ""
        for attempt in range(self.endpoint.tries):
            self.pace.turn()
            body = self._sent(text)
            try:
                return self._called(text, body)
            except BusyError as error:
                reason = self._hidden(error)
                self._rest(error.retry_after, attempt, reason)
            except RefusedError as error:
                if error.status == 400 and PROBABILITIES[0] in body and PROBABILITIES[0][:-1] in str(error).lower():
                    self.no_probabilities = reason = self._hidden(error)
                elif error.status in OF_ONE_TEXT:
                    raise RefusedError(0, self._hidden(error)) from error
                else:
                    raise TrimfitError(
                        f"{self.endpoint.name} refuses to answer ({self._hidden(error)}): {self._advice(error.status)}"
                    ) from error
        raise TrimfitError(f"{self.endpoint.name} gave no answer in {self.endpoint.tries} tries ({reason}): {RESUME}")

    def _called(self, text: str, body: dict[str, Any]) -> Any:
        response = post_json(self.endpoint.address, body, self._headers, self.endpoint.timeout)
        try:
            kept = self.endpoint.kept(response)
        except ValueError as error:
            raise BusyError(f"answered {json.dumps(response)[:120]}: {error}") from error
        self.cache.store(self._key_of(text), kept)
        used = usage_of(response) or (tokens_in(json.dumps(body)), tokens_in(json.dumps(response)))
        with self._counting:
            self.calls, self.spending = self.calls + 1, self.spending.and_more(*used)
        return kept

    def _rest(self, retry_after: float | None, attempt: int, reason: str) -> None:
        """Wait as the server asks, everybody, or as the back-off says, this call alone."""
        if retry_after is not None and retry_after > LONGEST_HOLD:
            raise TrimfitError(
                f"{self.endpoint.name} asks to be left alone for {retry_after:.0f} s ({reason}): go on then; {RESUME}"
            )
        if attempt + 1 == self.endpoint.tries:
            return
        if retry_after is not None:
            self.pace.hold(retry_after)
        else:
            self.pace.wait(back_off(attempt))

    def _sent(self, text: str) -> dict[str, Any]:
        body = self.endpoint.body(text, self.labels)
        return {name: value for name, value in body.items() if not self.no_probabilities or name not in PROBABILITIES}

    def _key_of(self, text: str) -> str:
        return key_of(self.endpoint.address, self.endpoint.body(text, self.labels))

    def _hidden(self, error: Exception) -> str:
        """What the server says, without the key, which some repeat."""
        return str(error).replace(self._key, "***") if self._key else str(error)

    def _advice(self, status: int) -> str:
        if status in (401, 403):
            return f"put a valid key into the environment variable {self.endpoint.key_variable}"
        if status in (404, 405):
            return "check the address given with --teacher" + (", and --teacher-model" if self.endpoint.is_chat else "")
        return "correct --teacher"
