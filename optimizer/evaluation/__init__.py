"""Evaluation: teacher and student on the same unseen rows, with what chance alone could have done."""
