"""Chat completions, the request and the answer of OpenAI-compatible servers.

With `logprobs` the answer lists the most likely tokens at each place (`top_logprobs`, 20 at most); the probability of
a class is that of all ways to begin an answer which can only mean this class.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from optimizer.distillation.black_box.label_set import LabelSet, plain
from optimizer.distillation.black_box.said import Said, said_in

__all__ = ["PROMPT", "chat_request", "chat_said", "instruction", "reduced", "usage_of"]

PROMPT = "Classify the text into exactly one of these labels: {labels}. Answer with the label alone."
TOP = 20
ROOM = 8  # tokens besides the longest label: white space, quotes, the end


def instruction(prompt: str, labels: LabelSet) -> str:
    """The system message: `{labels}` stands for the words for the classes."""
    return prompt.replace("{labels}", ", ".join(labels.words))


def chat_request(model: str, prompt: str, labels: LabelSet, text: str, more: dict[str, Any]) -> dict[str, Any]:
    """The body of a request; `more` fields are added to it, and those that are None there are left out."""
    body = {
        "model": model,
        "messages": [{"role": "system", "content": instruction(prompt, labels)}, {"role": "user", "content": text}],
        "temperature": 0,
        "max_tokens": max(len(word.encode()) for word in labels.words) + ROOM,
        "logprobs": True,
        "top_logprobs": TOP,
    }
    return {name: value for name, value in {**body, **more}.items() if value is not None}


def reduced(response: Any) -> dict[str, Any]:
    """What is kept of a response: its text, its tokens with their alternatives, the tokens it was paid for.

    Raises ValueError for a response that holds no answer.
    """
    try:
        choice = response["choices"][0]
        text = choice["message"].get("content") or ""
        places = (choice.get("logprobs") or {}).get("content") or []
        tokens = [
            [
                [place["token"], place["logprob"]],
                *([top["token"], top["logprob"]] for top in place.get("top_logprobs") or ()),
            ]
            for place in places
        ]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"no choices[0].message.content in it ({error!r})") from error
    return {"text": str(text), "tokens": tokens, "usage": list(usage_of(response) or ())}


def usage_of(response: Any) -> tuple[int, int] | None:
    """Tokens (asked, answered) as the server counted them; None where it does not say."""
    usage = response.get("usage") if isinstance(response, dict) else None
    if not isinstance(usage, dict):
        return None
    counts = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return counts if all(isinstance(count, int) for count in counts) else None  # type: ignore[return-value]


def chat_said(kept: dict[str, Any], labels: LabelSet) -> Said | None:
    """What was said, of what `reduced` kept; None where the text names none of the classes."""
    found = said_in(kept["text"], labels)
    if found is None or found.has_probabilities or not kept["tokens"]:
        return found
    listed, ceiling, seen = _by_token(kept["tokens"], labels)
    if np.isnan(listed).all():
        return found
    return Said(int(np.nanargmax(listed)), listed, max(0.0, 1 - seen), ceiling)


def _by_token(places: list[list[list[Any]]], labels: LabelSet) -> tuple[np.ndarray, float, float]:
    """Probabilities of the classes [classes], the smallest that was listed, and the sum of all that was.

    Chain rule along the tokens that were chosen, until what they spell can only mean one class.
    """
    found = np.zeros(len(labels))
    before, mass, seen, ceiling = "", 1.0, 0.0, 1.0
    for place in places:
        (chosen, logprob), options = place[0], dict(map(tuple, place))
        fits = {token: labels.beginning_with(before + token) for token in options}
        goes_on = len(fits[chosen]) > 1
        for token, value in options.items():
            p = mass * min(1.0, math.exp(value))
            if token == chosen and goes_on:
                continue
            seen, ceiling = seen + p, min(ceiling, p)
            if len(fits[token]) == 1:
                found[fits[token][0]] += p
        if not goes_on:
            break
        before, mass = before + chosen, mass * min(1.0, math.exp(logprob))
    else:  # it ended with a word that begins another one: good, good enough
        whole = labels.index(plain(before))
        if whole is not None:
            found[whole], seen = found[whole] + mass, seen + mass
    return np.where(found > 0, found, np.nan), ceiling, seen
