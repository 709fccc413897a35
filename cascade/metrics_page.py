"""docs/metrics.md, made from the table of metrics, so that it can't say anything else.

python -c "from cascade.metrics_page import page; print(page(), end='')" > docs/metrics.md
"""

from __future__ import annotations

from collections.abc import Iterator

from cascade.metrics import CLOSED, EXPRESSIONS, OTHER, ROWS


def page() -> str:
    return "\n".join([*_heading(), *_rows(), *_labels(), *_buckets(), *_expressions()]) + "\n"


def _heading() -> Iterator[str]:
    yield from ("# Metrics", "")
    yield "Made from the table in `cascade/metrics.py` by `cascade/metrics_page.py`: change it there."
    yield "Every hop shows these at `/metrics`; a gateway also shows what its devices sent, with a `device` label."
    yield "A metric has at most 1,000 sets of label values (a histogram 250). Past that, labels that are not a"
    yield "closed set say `other`, and `cascade_metric_overflow_total` counts it. There are the usual `process_…` too."


def _rows() -> Iterator[str]:
    yield from ("", "## Rows", "", "| metric | kind | labels | what it is |", "|---|---|---|---|")
    for row in ROWS:
        yield f"| `{row.name}` | {row.kind} | {', '.join(f'`{name}`' for name in row.labels)} | {row.help} |"


def _labels() -> Iterator[str]:
    yield from ("", "## Labels with a closed set of values", "", "| label | values |", "|---|---|")
    for name, values in CLOSED.items():
        listed = ["a name of this page"] if name == "metric" else [f"`{value}`" for value in sorted(values | {OTHER})]
        yield f"| `{name}` | {', '.join(listed)} |"


def _buckets() -> Iterator[str]:
    yield from ("", "## Buckets", "")
    for row in ROWS:
        if row.buckets:
            yield f"- `{row.name}`: {', '.join(f'{bound:g}' for bound in row.buckets)}"


def _expressions() -> Iterator[str]:
    yield from ("", "## Expressions")
    for expression in EXPRESSIONS:
        yield from ("", f"**{expression.name}**: {expression.meaning}", "", "```promql", expression.promql, "```")
