"""Samples: every call that was made of one contestant."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer, model_validator

__all__ = ["Kind", "Samples"]

Kind = Literal["first", "warmup", "settle", "timed"]
_OPTIONAL = ("seq_len", "device_seconds")


class Samples(BaseModel):
    """Every call that was made, in columns of equal length, in the order they were made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    launch: tuple[int, ...] = ()
    """Which start of the process, from 0."""
    round: tuple[int, ...] = ()
    """Which round of that launch, from 0; -1 for warm-up."""
    kind: tuple[Kind, ...] = ()
    """"first" after loading, "warmup", "settle" (first calls after another contestant ran), "timed"."""
    seconds: tuple[float, ...] = ()
    cpu_seconds: tuple[float, ...] = ()
    """CPU time of the whole process during the call."""
    preemptions: tuple[int, ...] = ()
    """How often the system took a CPU away from the process during the call."""
    seq_len: tuple[int, ...] = ()
    """Tokens of the call; no column where the workload has one length."""
    device_seconds: tuple[float, ...] = ()
    """What the call took on a device of its own, such as a GPU; no column where there is none."""

    @model_validator(mode="after")
    def _columns_agree(self) -> Samples:
        lengths = {name: len(getattr(self, name)) for name in type(self).model_fields}
        for name in _OPTIONAL:
            if not lengths[name]:
                del lengths[name]
        if len(set(lengths.values())) > 1:
            raise ValueError(f"got columns of different lengths {lengths}, expected one value per call in each")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        return {name: value for name, value in fields.items() if name not in _OPTIONAL or value}

    def at(self, seq_len: int) -> Samples:
        """The calls of one length, without the column that says so."""
        mine = [i for i, length in enumerate(self.seq_len) if length == seq_len]
        known = (name for name in type(self).model_fields if name not in _OPTIONAL or getattr(self, name))
        columns = {name: tuple(getattr(self, name)[i] for i in mine) for name in known}
        return Samples.model_validate({**columns, "seq_len": ()})

    def __len__(self) -> int:
        return len(self.seconds)
