"""profile.html: what a device's profile says, on one page that opens offline."""

from hardware_profiles.page.page import profile_page, write_page

__all__ = ["profile_page", "write_page"]
