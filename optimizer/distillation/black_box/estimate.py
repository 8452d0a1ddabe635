"""Estimate: what asking a black box will take, said before the first call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.errors import TrimfitError

__all__ = ["Estimate", "Spending", "estimate_of", "tokens_in"]

ASCII_A_TOKEN = 4  # characters; OpenAI's rule of thumb for English. Other scripts: a token a character, often too many.


def tokens_in(text: str) -> int:
    """About so many tokens; more are assumed for scripts other than Latin, which tokenizers spell in small pieces."""
    plain = sum(character.isascii() for character in text)
    return -(-plain // ASCII_A_TOKEN) + len(text) - plain


@dataclass(frozen=True)
class Spending:
    """Tokens asked and answered, and their price where one is known: per million tokens (asked, answered)."""

    asked: int = 0
    answered: int = 0
    price: tuple[float, float] | None = None

    @property
    def cost(self) -> float | None:
        """In the currency of the price."""
        if self.price is None:
            return None
        return (self.asked * self.price[0] + self.answered * self.price[1]) / 1e6

    def __str__(self) -> str:
        cost = self.cost
        price = "" if cost is None else f", ${cost:.2f}" if cost >= 0.01 else ", below $0.01"
        return f"{_many(self.asked)} tokens asked and {_many(self.answered)} answered{price}"

    def and_more(self, asked: int, answered: int) -> Spending:
        """With these tokens as well."""
        return Spending(self.asked + asked, self.answered + answered, self.price)


@dataclass(frozen=True)
class Estimate:
    """Calls that are still to be made, answers that are known already, and about what the calls will take."""

    name: str
    calls: int
    known: int
    spending: Spending

    def __str__(self) -> str:
        took = f", about {self.spending}" if self.calls else ""
        return f"{self.name}: {self.calls} calls to make, {self.known} answers known{took}"

    def check(self, budget: float | None) -> None:
        """Raise TrimfitError where it costs more than `budget`."""
        cost = self.spending.cost
        if budget is not None and cost is not None and cost > budget:
            raise TrimfitError(
                f"asking {self.name} would cost about ${cost:.2f} for {self.calls} calls, expected at most "
                f"--teacher-budget {budget:g}: raise it, or ask about fewer training texts with --teacher-rows"
            )


def estimate_of(name: str, known: int, sizes: Iterable[tuple[int, int]], price: tuple[float, float] | None) -> Estimate:
    """The estimate over calls of so many tokens (asked, answered) each."""
    calls = list(sizes)
    return Estimate(name, len(calls), known, Spending(sum(a for a, _ in calls), sum(b for _, b in calls), price))


def _many(count: int) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)
