"""What a run came to: numbers (metrics), tables, figures and one page, made from a run directory alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def build_report(run_dir: Path) -> dict[str, Any]:
    """Write report.json, report.html and figures/ into a run directory; return what report.json holds."""
    from server.report import build  # matplotlib takes a second, and only a report needs it

    return build.build_report(run_dir)
