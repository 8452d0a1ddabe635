"""report.html: one offline file that a person reads to trust, or distrust, a deployment."""

from optimizer.report.figures import picture
from optimizer.report.page import write_report
from optimizer.report.wording import headline

__all__ = ["headline", "picture", "write_report"]
