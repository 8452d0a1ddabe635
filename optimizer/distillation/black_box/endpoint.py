"""Endpoint: where a black-box teacher is asked, how, how fast, and what that costs."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.parse
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from benchmarks.errors import TrimfitError
from optimizer.distillation.black_box.chat import PROMPT, chat_request, chat_said, reduced
from optimizer.distillation.black_box.label_set import LabelSet
from optimizer.distillation.black_box.post import host_of
from optimizer.distillation.black_box.said import Said, at_path, said_in

__all__ = ["KEY_VARIABLE", "Endpoint"]

KEY_VARIABLE = "TRIMFIT_TEACHER_KEY"
COMPLETIONS = "/chat/completions"


class Endpoint(BaseModel):
    """An OpenAI-compatible chat API (where `model` is given), or an HTTP API that takes and gives JSON.

    `request` is what a plain API is sent: `{text}` in its strings stands for the text, a string `{labels}` for the list
    of the words for the classes. `answer` is the dotted path to its answer, e.g. `result.0`. `more` are further fields
    of a chat request; null leaves one out. `prompt` is the chat's system message, with `{labels}` in it.

    The key is read from the environment variable `key_variable`, goes into `key_header` and nowhere else.
    `price` is per million tokens (asked, answered); `per_minute` limits calls; `rows` is how many training texts are
    asked about at most; `tries` how often a call is made that fails for a reason that may pass.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    url: str
    model: str | None = None
    prompt: str = PROMPT
    more: dict[str, Any] = {}
    request: dict[str, Any] = {"text": "{text}"}
    answer: str = ""
    key_variable: str = KEY_VARIABLE
    key_header: str = "Authorization: Bearer {key}"
    price: tuple[float, float] | None = None
    budget: float | None = Field(None, ge=0)
    per_minute: float | None = Field(None, gt=0)
    rows: int | None = Field(None, ge=1)
    workers: int = Field(4, ge=1, le=64)
    tries: int = Field(8, ge=1)
    timeout: float = Field(60.0, gt=0)

    @field_validator("url")
    @classmethod
    def _is_plain_address(cls, url: str) -> str:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected http://... or https://...")
        if parts.username or parts.password:
            raise ValueError(f"expected no user or password in it: put the key into ${KEY_VARIABLE}")
        return url

    @field_validator("key_header")
    @classmethod
    def _has_a_place_for_the_key(cls, header: str) -> str:
        if ":" not in header or "{key}" not in header:
            raise ValueError("expected e.g. Authorization: Bearer {key}")
        return header

    @model_validator(mode="after")
    def _fits_together(self) -> Endpoint:
        path = urllib.parse.urlsplit(self.url).path.rstrip("/")
        if not self.is_chat and path.endswith(("/v1", COMPLETIONS)):
            raise ValueError("a chat API needs the name of a model: give --teacher-model")
        if not self.is_chat and "{text}" not in json.dumps(self.request):
            raise ValueError("expected {text} somewhere in request")
        if self.budget is not None and self.price is None:
            raise ValueError("a budget needs prices: give --teacher-price ASKED,ANSWERED per million tokens")
        return self

    @classmethod
    def of(cls, **fields: Any) -> Endpoint:
        """An endpoint of these fields. Raises TrimfitError naming the field that is wrong."""
        try:
            return cls(**fields)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"]))
            what = problem["msg"].removeprefix("Value error, ")
            got = f" (got {problem['input']!r})" if where and where != "url" else ""
            raise TrimfitError(f"the teacher's {where or 'description'}: {what}{got}") from error

    @classmethod
    def read(cls, path: Path, **fields: Any) -> Endpoint:
        """An endpoint described in a JSON file; `fields` that are not None count more. Raises TrimfitError."""
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrimfitError(f"{path} is no JSON that describes an endpoint ({error}): correct it") from error
        return cls.of(**{**known, **{name: value for name, value in fields.items() if value is not None}})

    @property
    def is_chat(self) -> bool:
        """Whether it is an OpenAI-compatible chat API."""
        return self.model is not None

    @property
    def name(self) -> str:
        """To be shown: `MODEL at https://host/path`, without anything secret."""
        return f"{self.model} at {host_of(self.url)}" if self.is_chat else host_of(self.url)

    @property
    def address(self) -> str:
        """Where calls go."""
        parts = urllib.parse.urlsplit(self.url)
        path = parts.path.rstrip("/")
        if self.is_chat and not path.endswith(COMPLETIONS):
            path += COMPLETIONS
        return urllib.parse.urlunsplit(parts._replace(path=path or "/"))

    @property
    def identity(self) -> str:
        """A digest of all that its answers depend on."""
        asked = self.model_dump(include={"url", "model", "prompt", "more", "request", "answer", "rows"})
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]

    def key(self) -> str | None:
        """The key from the environment. Raises TrimfitError when a variable was named that is not set."""
        key = os.environ.get(self.key_variable, "").strip()
        if not key and self.key_variable != KEY_VARIABLE:
            raise TrimfitError(f"the environment variable {self.key_variable} is not set, expected the teacher's key")
        return key or None

    def body(self, text: str, labels: LabelSet) -> dict[str, Any]:
        """The request about one text."""
        if self.model is not None:
            return chat_request(self.model, self.prompt, labels, text, self.more)
        return {name: _filled(value, text, labels) for name, value in self.request.items()}

    def kept(self, response: Any) -> Any:
        """What of a response is kept in the cache. Raises ValueError for one that holds no answer."""
        return reduced(response) if self.is_chat else response

    def said(self, kept: Any, labels: LabelSet) -> Said | None:
        """What was said of the text; None where it names none of the classes."""
        return chat_said(kept, labels) if self.is_chat else said_in(at_path(kept, self.answer), labels)


def _filled(value: Any, text: str, labels: LabelSet) -> Any:
    if value == "{labels}":
        return list(labels.words)
    if isinstance(value, str):
        return value.replace("{text}", text)
    if isinstance(value, dict):
        return {name: _filled(inner, text, labels) for name, inner in value.items()}
    return [_filled(inner, text, labels) for inner in value] if isinstance(value, list) else value
