"""Long work says how far it is, to who looks at it."""

from __future__ import annotations

import io

import pytest

from cascade_cli.evaluate.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("out", "said"), [(Terminal(), "running: 50 of 100, 5 s left"), (io.StringIO(), "")])
def test_a_terminal_is_told_and_a_pipe_is_not(out, said):
    now = [0.0]
    progress = Progress(out, lambda: now[0])
    tell = progress.doing("running")
    now[0] = 5.0
    tell(50, 100)
    progress.close()
    assert said in out.getvalue()
    assert bool(out.getvalue()) == bool(said)


def test_what_is_done_at_once_needs_no_line():
    out = Terminal()
    progress = Progress(out, lambda: 0.0)
    progress.doing("running")(1, 1)
    progress.close()
    assert out.getvalue() == ""
