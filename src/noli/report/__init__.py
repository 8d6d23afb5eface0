"""Reports: what a run did and what was measured, as one offline page, JSON and Markdown."""

from noli.report.build import build, find_evidence, find_protect_run, write_report

__all__ = ["build", "find_evidence", "find_protect_run", "write_report"]
