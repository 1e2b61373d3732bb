"""Evidence, decision and certificate as one self-contained HTML page, for a reviewer or for the public."""

from reports.page import ReportError, render

__all__ = ["ReportError", "render"]
