"""NarrowTeacher: the teacher with fewer hidden dimensions, where every student of that hidden size begins."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass

from transformers import PreTrainedModel

from optimizer import files
from optimizer.compute import on_training_device
from optimizer.model_folder import load, save
from optimizer.pruning.hidden_cut import cut_hidden
from optimizer.setting import Setting
from optimizer.surgery import SurgeryReport

__all__ = ["NarrowTeacher"]

_NOTE = "origin.json"


@dataclass(frozen=True)
class NarrowTeacher:
    """Its weights, corrected but not trained, and what it kept of the teacher."""

    model: PreTrainedModel
    origin: SurgeryReport

    @classmethod
    def of(cls, setting: Setting, size: int, advance: Callable[[float], None] = lambda share: None) -> NarrowTeacher:
        """Made once a job and kept in its folder; every call gives a model of its own."""
        folder = setting.work / f"hidden-{size}"
        if not folder.is_dir():
            model, origin = cut_hidden(setting.teacher, size, setting.calibration, setting.importance, advance)
            part = folder.with_name(f".{folder.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            save(model, None, part)
            files.write_text_atomically(part / _NOTE, origin.model_dump_json())
            part.rename(folder)
        origin = SurgeryReport.model_validate_json((folder / _NOTE).read_text(encoding="utf-8"))
        return cls(on_training_device(load(folder)), origin)
