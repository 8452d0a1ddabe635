"""The errors a user can cause: one line that says what was got, what was expected and what to do next."""

__all__ = ["DeviceUnreachableError", "TrimfitError"]


class TrimfitError(Exception):
    """Bad input or environment. The command line prints it as one line and exits with code 2."""


class DeviceUnreachableError(TrimfitError):
    """The device cannot be reached, or was lost."""
