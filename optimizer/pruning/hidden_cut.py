"""A model cut to fewer hidden dimensions: the least important go, and what is left makes up for them."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
from transformers import PreTrainedModel

from optimizer.encoding import Encoded
from optimizer.pruning.hidden_correction import correct_hidden
from optimizer.pruning.hidden_importance import hidden_importance
from optimizer.pruning.importance import Importance
from optimizer.surgery import SurgeryReport, keep_hidden

__all__ = ["cut_hidden"]


def cut_hidden(
    model: PreTrainedModel,
    size: int,
    calibration: Encoded,
    importance: Importance,
    advance: Callable[[float], None] = lambda share: None,
) -> tuple[PreTrainedModel, SurgeryReport]:
    """A copy of the model with its `size` most important hidden dimensions, corrected, and what was kept.

    Args:
        model: unchanged.
        size: of the hidden states, smaller than they are.
        calibration: training rows with the teacher's logits beside them.
        importance: of the dimensions; Fisher's for "second-order", which there is only within one layer.
        advance: told the share of the work done.
    """
    of_dimensions: Importance = "fisher" if importance == "second-order" else importance
    scores = hidden_importance(model, calibration, of_dimensions, lambda share: advance(0.8 * share))
    dimensions = tuple(int(i) for i in np.sort(np.argsort(-scores, kind="stable")[:size]))
    narrow, report = keep_hidden(copy.deepcopy(model), dimensions)
    correct_hidden(narrow, model, dimensions, calibration)
    advance(1.0)
    return narrow, report
