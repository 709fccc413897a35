"""The operator's `cascade` command."""

from __future__ import annotations

import argparse
import sys

from cascade import __version__
from cascade.adapters.daemon import FAILED, WRONG_SETTINGS
from cascade.errors import CascadeError, SettingsError
from cascade_cli import check, demo, release

COMMANDS = {"demo": demo, "check": check, "release": release}
"""Each command is a room: `ABOUT`, `add_arguments(parser)` and `run(wanted) -> exit code`."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="cascade", description="Small models on devices answer what they can; what they can't answer climbs."
    )
    parser.add_argument("--version", action="version", version=f"cascade {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, room in COMMANDS.items():
        command = commands.add_parser(name, help=room.ABOUT, description=room.ABOUT)
        room.add_arguments(command)
        command.set_defaults(run=room.run)
    wanted = parser.parse_args()
    try:
        sys.exit(wanted.run(wanted))
    except CascadeError as error:
        sys.stderr.write(f"cascade: {error}\n")
        sys.exit(WRONG_SETTINGS if isinstance(error, SettingsError) else FAILED)


if __name__ == "__main__":
    main()
