"""The report of a model: `report.json` for programs, `report.html` for people, from the same numbers."""

from edgesnn.report.files import load, write
from edgesnn.report.page import render
from edgesnn.report.schema import DemoReport, Report

__all__ = ["DemoReport", "Report", "load", "render", "write"]
