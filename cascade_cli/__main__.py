"""The operator's `cascade` command."""

from __future__ import annotations

import os
import sys

from cascade.errors import CascadeError, NotKept, SettingsError
from cascade_cli.command_line import new_parser
from cascade_cli.exit_codes import DONE, FAILED, INTERRUPTED, NOT_FOUND, WRONG


def main() -> None:
    sys.exit(_run())


def _run() -> int:
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
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return INTERRUPTED


def _complain(error: CascadeError, code: int) -> int:
    sys.stderr.write(f"cascade: {error}\n")
    return code


if __name__ == "__main__":
    main()
