"""Study: every prediction with what was measured, kept in one JSON file that an interrupted run goes on with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.errors import TrimfitError
from benchmarks.suites.latency_prediction.accuracy import summary
from benchmarks.suites.latency_prediction.targets import verdicts
from benchmarks.suites.result_file import check_conditions, write_result

__all__ = ["Study"]

Entry = dict[str, Any]


class Study:
    """The held-out models and rankings that are finished.

    The file holds the accuracy over all models (`accuracy.summary`), "targets" with whether they are met, "ranking",
    "conditions", "groups" (how each was profiled, and the full model's milliseconds right after) and "models".
    """

    def __init__(self, path: Path, conditions: Mapping[str, Any] | None = None) -> None:
        """Read what `path` holds; without `conditions` only to look at it.

        Raises:
            TrimfitError: the file is missing and only to be looked at, is broken, or was measured under other
                conditions.
        """
        self.path, self.conditions = path, dict(conditions or {})
        self.groups: dict[str, Entry] = {}
        self.models: list[Entry] = []
        self.rankings: list[Entry] = []
        if path.exists():
            self._read()
        elif conditions is None:
            raise TrimfitError(f"got {path}, expected a finished study: no such file")

    def _read(self) -> None:
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            check_conditions(self.path, kept["conditions"], self.conditions)
            self.conditions = kept["conditions"]
            self.groups, self.models, self.rankings = kept["groups"], kept["models"], kept["ranking"]["groups"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise TrimfitError(f"got {self.path}, expected a study of latency predictions: {error!r}") from error

    def has_model(self, group: str, number: int) -> bool:
        """Whether a held-out model of a group is measured."""
        return any((model["group"], model["number"]) == (group, number) for model in self.models)

    def has_ranking(self, group: str) -> bool:
        """Whether the candidates of a group are measured."""
        return any(ranking["group"] == group for ranking in self.rankings)

    def add_group(self, label: str, about: Entry) -> None:
        """Keep how a group was profiled."""
        self.groups[label] = about
        self.save()

    def add_models(self, models: Iterable[Entry]) -> None:
        """Keep held-out models."""
        self.models += models
        self.save()

    def add_ranking(self, ranking: Entry) -> None:
        """Keep a group's ranking."""
        self.rankings.append(ranking)
        self.save()

    @property
    def result(self) -> Entry:
        """All that is said about the study without its models."""
        regrets = [ranking["regret_percent"] for ranking in self.rankings]
        found = {
            **summary(self.models),
            "ranking": {"regret_percent": max(regrets, default=None), "groups": self.rankings},
        }
        return {**found, "targets": [verdict.as_json() for verdict in verdicts(found)]}

    def save(self) -> None:
        """Write everything, complete or not at all."""
        kept = {"conditions": self.conditions, "groups": self.groups, "models": self.models}
        write_result(self.path, {**self.result, **kept})
