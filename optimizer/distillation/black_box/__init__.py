"""A teacher that is only its answers: an endpoint, or a file of them."""

from optimizer.distillation.black_box.endpoint import Endpoint
from optimizer.distillation.black_box.teacher import BlackBox, teacher_named

__all__ = ["BlackBox", "Endpoint", "teacher_named"]
