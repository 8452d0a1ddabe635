"""A deployment's student in the forms that apps on phones take."""

from optimizer.mobile.addition import add_mobile

__all__ = ["add_mobile"]
