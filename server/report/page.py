"""The report as one HTML file that needs nothing else: no script, no network; light or dark as the system is."""

from __future__ import annotations

import html
from collections.abc import Sequence

from server.report.drawing import Drawing
from server.report.tables import Table

CSS = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5b6470; --rule: #d9dde2; --ground: #ffffff; --box: #f5f6f8;
  --warn: #9a3412; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --soft: #a0a8b3; --rule: #363c44; --ground: #15181c; --box: #1e2228; --warn: #fdba74; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem 4rem; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
p { margin: .5rem 0; max-width: 46rem; }
.soft, figcaption, caption { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; font-size: .93rem; }
caption { text-align: left; padding-bottom: .35rem; }
th, td { padding: .35rem .8rem .35rem 0; text-align: right; border-bottom: 1px solid var(--rule);
  vertical-align: bottom; }
th { font-weight: 600; }
.text, th:first-child { text-align: left; }
th[scope="row"] { white-space: nowrap; }
figure { margin: 1rem 0; }
figure svg { width: 100%; max-width: 44rem; height: auto; display: block; }
svg text { font-family: inherit !important; }
figcaption { font-size: .88rem; max-width: 46rem; }
.notes { background: var(--box); border-radius: 6px; padding: .75rem 1.25rem; margin: 1.25rem 0; }
.notes ul { margin: .25rem 0; padding-left: 1.1rem; }
.warn { color: var(--warn); font-weight: 600; }
pre { background: var(--box); border-radius: 6px; padding: .75rem 1rem; overflow-x: auto; font-size: .85rem; }
summary { cursor: pointer; }
"""


def table(values: Table) -> str:
    """A table whose first column heads its rows; columns of words stand left, columns of numbers right."""
    words = [not all(map(is_number, column)) for column in zip(*values.rows, strict=True)] or [True] * len(
        values.header
    )
    css = [' class="text"' if word else "" for word in words]
    header = "".join(
        f'<th scope="col"{style}>{html.escape(cell)}</th>' for style, cell in zip(css, values.header, strict=True)
    )
    rows = []
    for first, *cells in values.rows:
        data = "".join(f"<td{style}>{html.escape(cell)}</td>" for style, cell in zip(css[1:], cells, strict=True))
        rows.append(f'<tr><th scope="row">{html.escape(first)}</th>{data}</tr>')
    caption = f"<caption>{html.escape(values.caption)}</caption>"
    body = f"<thead><tr>{header}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="wide"><table>{caption}{body}</table></div>'


def is_number(cell: str) -> bool:
    return cell[:1].isdigit() or cell[:1] in "-–" or cell in ("unknown", "never")


def figure(drawing: Drawing, svg: str) -> str:
    caption = f"<figcaption>{html.escape(drawing.text)}</figcaption>"
    return f"<h2>{html.escape(drawing.title)}</h2><figure>{svg}{caption}</figure>"


def page(
    *,
    title: str,
    lead: Sequence[str],
    warning: str | None,
    tables: Sequence[Table],
    figures: Sequence[tuple[Drawing, str]],
    notes: Sequence[str],
    details: Sequence[Table],
    config_text: str,
) -> str:
    """The whole document: table first, then what qualifies it, then the figures, then where it all comes from."""
    warn = f'<p class="warn" role="note">No comparison: {html.escape(warning)}.</p>' if warning else ""
    first, *others = tables
    note = ""
    if notes:
        items = "".join(f"<li>{html.escape(text)}</li>" for text in notes)
        note = f'<div class="notes"><strong>To know before reading on</strong><ul>{items}</ul></div>'
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        *(f'<p class="soft">{html.escape(text)}</p>' for text in lead),
        warn,
        table(first),
        note,
        *(table(other) for other in others),
        *(figure(drawing, svg) for drawing, svg in figures),
        "<h2>Details and provenance</h2>",
        *(table(detail) for detail in details),
        "<details><summary>config.toml, as the run was given it, without passwords</summary>"
        f"<pre>{html.escape(config_text)}</pre></details>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{CSS}</style></head><body><main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main></body></html>\n"
    )
