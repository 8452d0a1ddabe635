"""Client: asks an endpoint about many texts, in parallel, and never twice about the same."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from benchmarks.errors import TrimfitError
from optimizer.distillation.black_box.cache import AnswerCache, cache_file
from optimizer.distillation.black_box.caller import RESUME, Caller
from optimizer.distillation.black_box.chat import instruction
from optimizer.distillation.black_box.endpoint import Endpoint
from optimizer.distillation.black_box.estimate import Estimate, estimate_of, tokens_in
from optimizer.distillation.black_box.label_set import LabelSet
from optimizer.distillation.black_box.pace import Pace
from optimizer.distillation.black_box.post import RefusedError, check_reachable
from optimizer.distillation.black_box.said import OUTSIDE, Said

__all__ = ["REFUSED", "Client"]

REFUSED = "the teacher refused the text"
LOOK = 20  # new answers after which it shows whether they can be used at all
LOOK_REFUSED = 3  # the same where all were refused
LONGEST_EXAMPLE = 120  # characters
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
FRAME_TOKENS = 8  # around a chat's messages


@dataclass
class _Tally:
    """New answers so far, and the last one that is of no use."""

    count: int = 0
    useful: int = 0
    refused: int = 0
    last: str = ""


class Client:
    """An endpoint that is asked about texts of some classes.

    Args:
        endpoint: where, how and how fast.
        labels: the classes and the words for them.
        cache: where answers are kept; None takes the person's own.
        say: told what is worth reading.
        pace: None takes the endpoint's own.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        labels: LabelSet,
        *,
        cache: AnswerCache | None = None,
        say: Callable[[str], None] = lambda line: None,
        pace: Pace | None = None,
    ) -> None:
        self.endpoint, self.labels, self._say = endpoint, labels, say
        self._stop = threading.Event()
        pace = pace or Pace(endpoint.per_minute, sleep=self._stop.wait)
        self.caller = Caller(endpoint, labels, cache or AnswerCache(cache_file()), pace)

    @property
    def name(self) -> str:
        """To be shown."""
        return self.endpoint.name

    def estimate(self, texts: Sequence[str]) -> Estimate:
        """What asking about these texts will take. Calls nobody."""
        different = list(dict.fromkeys(texts))
        new = [text for text in different if self.caller.known(text) is None]
        answered = max(map(tokens_in, self.labels.words)) + 1
        sizes = ((self._tokens(text), answered) for text in new)
        return estimate_of(self.name, len(different) - len(new), sizes, self.endpoint.price)

    def check(self, texts: Sequence[str]) -> None:
        """Say what asking about these texts will take, and see that it may cost that and that somebody listens.

        Raises TrimfitError.
        """
        estimate = self.estimate(texts)
        self._say(f"teacher {estimate}")
        estimate.check(self.endpoint.budget)
        if estimate.calls:
            check_reachable(self.endpoint.url)
            parts = urlsplit(self.endpoint.url)
            if self.caller.has_key and parts.scheme == "http" and parts.hostname not in LOCAL:
                self._say(f"warning: the key goes to {self.name} unencrypted")

    def ask(self, texts: Sequence[str], advance: Callable[[float], None] = lambda share: None) -> list[Said | str]:
        """What it says of each text, or why there is nothing. Every answer is on disk as soon as it is here.

        Raises TrimfitError where it cannot be reached, refuses the caller, is busy for too long, costs more than the
        budget, or mostly says what is none of the labels. The same call then goes on where this one ended.
        """
        kept = {text: self.caller.known(text) for text in dict.fromkeys(texts)}
        found = {text: self._said(answer) for text, answer in kept.items() if answer is not None}
        new = [text for text in kept if text not in found]
        self._stop.clear()
        pool, tally = ThreadPoolExecutor(self.endpoint.workers), _Tally()
        try:
            futures = {pool.submit(self.caller.answer, text): text for text in new}
            for future in as_completed(futures):
                found[futures[future]] = self._received(future, tally)
                self._check_useful(tally)
                self._check_cost()
                advance(tally.count / len(new))
        finally:
            self._stop.set()  # who waits gives up; who has called gets the answer and keeps it
            pool.shutdown(wait=True, cancel_futures=True)
        self._say_what_it_took()
        return [found[text] for text in texts]

    def _received(self, future: Future[Any], tally: _Tally) -> Said | str:
        tally.count += 1
        try:
            answer = future.result()
        except RefusedError as error:
            tally.refused, tally.last = tally.refused + 1, str(error)
            return REFUSED
        said = self._said(answer)
        if isinstance(said, Said):
            tally.useful += 1
        else:
            tally.last = json.dumps(answer["text"] if self.endpoint.is_chat else answer, ensure_ascii=False)
        return said

    def _said(self, answer: Any) -> Said | str:
        return self.endpoint.said(answer, self.labels) or OUTSIDE

    def _check_useful(self, tally: _Tally) -> None:
        looked = tally.count >= LOOK or tally.refused == tally.count >= LOOK_REFUSED
        if not looked or 2 * tally.useful >= tally.count:
            return
        if tally.refused == tally.count:
            raise TrimfitError(
                f"{self.name} refused all of the first {tally.count} texts ({tally.last}): describe what it takes in "
                'an endpoint file, where "request" or "more" say which fields are sent'
            )
        raise TrimfitError(
            f"{tally.count - tally.useful} of the first {tally.count} answers of {self.name} are none of the labels "
            f"{', '.join(self.labels.words)}, the last was {tally.last[:LONGEST_EXAMPLE]}: name its words with "
            "--labels NAME=WORD,..., or describe request and answer in an endpoint file"
        )

    def _check_cost(self) -> None:
        cost, budget = self.caller.spending.cost, self.endpoint.budget
        if budget is not None and cost is not None and cost > budget:
            raise TrimfitError(
                f"{self.name} has cost ${cost:.2f} for {self.caller.calls} calls, expected at most --teacher-budget "
                f"{budget:g}: raise it; {RESUME}"
            )

    def _say_what_it_took(self) -> None:
        if self.caller.no_probabilities:
            self._say(
                f"{self.name} takes no request for probabilities ({self.caller.no_probabilities}): it is asked for "
                'labels alone; an endpoint file may ask for fewer, "more": {"top_logprobs": 5}'
            )
        if self.caller.calls:
            self._say(f"teacher {self.name}: {self.caller.calls} calls, {self.caller.spending}")

    def _tokens(self, text: str) -> int:
        if self.endpoint.is_chat:
            return tokens_in(instruction(self.endpoint.prompt, self.labels)) + tokens_in(text) + FRAME_TOKENS
        return tokens_in(json.dumps(self.endpoint.body(text, self.labels), ensure_ascii=False))
