"""The errors a user can cause: one line that says what was got, what was expected and what to do next; and warnings."""

__all__ = [
    "DeviceFullError",
    "DeviceLostError",
    "DeviceTimeoutError",
    "DeviceUnreachableError",
    "TrimfitError",
    "TrimfitWarning",
]


class TrimfitError(Exception):
    """Bad input or environment. The command line prints it as one line and exits with code 2."""


class DeviceUnreachableError(TrimfitError):
    """The device cannot be reached, or was lost."""


class DeviceLostError(DeviceUnreachableError):
    """The link to the device broke while something ran there; what was measured before is not affected."""


class DeviceTimeoutError(DeviceUnreachableError):
    """A command on the device did not end, or did not answer, within its time limit."""


class DeviceFullError(DeviceUnreachableError):
    """A disk is full, there or here."""


class TrimfitWarning(UserWarning):
    """What a person should know and need not mend. The command line prints it as one line."""
