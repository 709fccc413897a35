"""The command line of `cascade`: its commands in groups, what a newcomer does first, an example of each."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from types import ModuleType

from cascade import __version__
from cascade_cli import calibrate, check, completion, demo, evaluate, init, release, why
from cascade_cli.exit_codes import MEANINGS

GROUPS: Mapping[str, Mapping[str, ModuleType]] = {
    "see it, begin with it": {"demo": demo, "init": init},
    "look into it": {"check": check, "release": release, "why": why},
    "make it keep promises": {"evaluate": evaluate, "calibrate": calibrate},
    "the shell": {"completion": completion},
}
"""Each command is a room: `ABOUT`, `EXAMPLES`, `add_arguments(parser)` and `run(wanted) -> exit code`."""

ABOUT = "Small models on devices answer what they can; what they can't answer climbs."
START_HERE = (
    ("cascade demo", "see a whole cascade at work on this machine, in a minute"),
    ("cascade init all --folder mine --insecure", "write settings for a device, a gateway and a cloud, to try out"),
    ("cascade check mine/edge.toml", "see whether they are right, and whether the models run here"),
    ("cascade why --last 20 --config mine/edge.toml", "when they run: what was answered, by whom, and why"),
)
DAEMONS = (
    ("edge-agent --config edge.toml", "a device"),
    ("fog-gateway --config fog.toml", "the gateway of a site"),
    ("cloud-service --config cloud.toml", "the top"),
)


def new_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cascade",
        usage="cascade [-h] [--version] COMMAND ...",
        description=f"{ABOUT}\n\n{_listed('start here', START_HERE)}",
        epilog="\n\n".join(
            [
                *(
                    _listed(title, [(name, room.ABOUT) for name, room in rooms.items()])
                    for title, rooms in GROUPS.items()
                ),
                _listed("what runs day and night", DAEMONS),
                _listed("exit codes", [(str(code), meaning) for code, meaning in MEANINGS.items()]),
                "`cascade COMMAND --help` says more of each, with examples.",
            ]
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"cascade {__version__}")
    commands = parser.add_subparsers(prog="cascade", metavar="COMMAND", help=argparse.SUPPRESS, required=True)
    for rooms in GROUPS.values():
        for name, room in rooms.items():
            _add(commands, name, room)
    return parser


def _add(commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, room: ModuleType) -> None:
    command = commands.add_parser(
        name,
        help=room.ABOUT,
        description=_sentence(room.ABOUT),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    room.add_arguments(command)
    command.epilog = "\n\n".join(text for text in (command.epilog, _listed("examples", room.EXAMPLES)) if text)
    command.set_defaults(run=room.run)


def _listed(title: str, lines: Sequence[tuple[str, str]]) -> str:
    """In two columns, as argparse shows options; what is too long for the first has the second below it."""
    width = min(max(len(left) for left, _ in lines), 44)
    shown = [
        f"  {left:{width}}  {right}" if len(left) <= width else f"  {left}\n  {'':{width}}  {right}"
        for left, right in lines
    ]
    return "\n".join([f"{title}:", *shown])


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
