"""The operator's `cascade` command."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cascade.errors import CascadeError

INTERRUPTED = 130
"""Of `exit_codes`, which is not there yet while it is imported."""


def main() -> None:
    """Imports take a third of a second: ^C in it is no other than later."""
    try:
        sys.exit(_run())
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        sys.exit(INTERRUPTED)


def _run() -> int:
    from cascade.errors import CascadeError, NotKept, SettingsError
    from cascade_cli.command_line import new_parser
    from cascade_cli.exit_codes import DONE, FAILED, NOT_FOUND, WRONG

    for out in (sys.stdout, sys.stderr):
        if isinstance(out, io.TextIOWrapper):
            out.reconfigure(errors="replace")  # a mark that a terminal can't show is no reason to fail
    parser = new_parser()
    if len(sys.argv) == 1:
        parser.print_help(sys.stderr)
        return WRONG
    wanted = parser.parse_args()
    try:
        code: int = wanted.run(wanted)
        sys.stdout.flush()
        return code
    except SettingsError as error:
        return _complain(error, WRONG)
    except NotKept as error:
        return _complain(error, NOT_FOUND)
    except CascadeError as error:
        return _complain(error, FAILED)
    except BrokenPipeError:
        # Whoever read this has read enough, as `head` does. What is still unwritten must not raise at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _complain(error: CascadeError, code: int) -> int:
    sys.stderr.write(f"cascade: {error}\n")
    return code


if __name__ == "__main__":
    main()
