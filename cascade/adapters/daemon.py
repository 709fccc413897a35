"""What the three daemons share: the command line, the log, signals, and exit codes that a supervisor can read."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from cascade import __version__
from cascade.adapters.settings_file import read_settings
from cascade.adapters.settings_tables import LogTable
from cascade.errors import CascadeError, IllegalTransition, SettingsError

STOPPED, FAILED, WRONG_SETTINGS = 0, 1, 2


class Loggable(Protocol):
    """Settings of a daemon."""

    @property
    def log(self) -> LogTable: ...


Settings = TypeVar("Settings", bound=Loggable)
Serve = Callable[[Settings, asyncio.Event, str], Awaitable[None]]
"""Serves until the event is set. The text is where the settings are from, for errors about them."""


def run_daemon(name: str, about: str, kind: type[Settings], serve: Serve[Settings]) -> int:
    """Read the settings, serve until SIGTERM or Ctrl-C. The exit code: 0 stopped, 1 failed, 2 wrong settings."""
    parser = argparse.ArgumentParser(prog=name, description=about)
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="the settings, a TOML file")
    parser.add_argument("--check", action="store_true", help="only read the settings, and say what is wrong with them")
    parser.add_argument("--version", action="version", version=f"{name} {__version__}")
    wanted = parser.parse_args()
    try:
        settings = read_settings(wanted.config, kind)
        if wanted.check:
            return STOPPED
        set_up_log(settings.log)
        asyncio.run(_until_told(settings, str(wanted.config), serve))
    except SettingsError as error:
        return _complain(name, error, WRONG_SETTINGS)
    except IllegalTransition:
        raise  # A bug of ours: the traceback is what helps.
    except CascadeError as error:
        return _complain(name, error, FAILED)
    return STOPPED


async def _until_told(settings: Settings, where: str, serve: Serve[Settings]) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    await serve(settings, told, where)


def _complain(name: str, error: CascadeError, code: int) -> int:
    sys.stderr.write(f"{name}: {error}\n")
    return code


class JsonLines(logging.Formatter):
    """One object per line."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "where": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(said).decode()


def set_up_log(table: LogTable) -> None:
    """To standard error: standard output is for answers."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if table.format == "json" else text)
    logging.basicConfig(level=table.level.upper(), handlers=[handler], force=True)
