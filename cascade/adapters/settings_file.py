"""Settings: a TOML file, read once at the start, into frozen structs. All its mistakes are reported at once.

Environment variables are not read: what a process does is in one file that can be copied, compared and reviewed.
Secrets are never in that file, only the paths of the files that hold them (`password_file`).
A relative path is relative to the settings file, not to wherever the process was started.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from cascade.adapters.settings_shape import Reader
from cascade.errors import SettingsError

MAX_SETTINGS_BYTES = 1 << 20
MAX_SECRET_BYTES = 64 * 1024
MAX_MISTAKES_SHOWN = 50
HEADS = {"device": "an edge agent", "gateway": "a fog gateway", "service": "the cloud service"}
"""The table that tells whose settings a file has."""

Settings = TypeVar("Settings")


def read_settings(path: Path | str, kind: type[Settings]) -> Settings:
    """The settings in this file, or `SettingsError` with everything that is wrong with it."""
    where = str(path)
    text = _text_of(Path(path), where)
    return settings_from(_document(text, where), kind, where, Path(path).absolute().parent)


def settings_from(document: Mapping[str, Any], kind: type[Settings], where: str, folder: Path) -> Settings:
    """The settings in a document that was parsed elsewhere; relative paths in it are relative to `folder`."""
    _refuse_another_tier(document, kind, where)
    reader = Reader(folder)
    settings = reader.read(document, kind)
    if reader.mistakes or not isinstance(settings, kind):
        raise SettingsError(where, _shortened(reader.mistakes))
    return settings


def _refuse_another_tier(document: Mapping[str, Any], kind: type[Any], where: str) -> None:
    """One mistake in place of the many that a file for somebody else would have."""
    known = {field.encode_name for field in msgspec.structs.fields(kind)}
    foreign = [name for name in HEADS if name in document and name not in known]
    if foreign and not any(name in document for name in HEADS if name in known):
        raise SettingsError(
            where, [f"is for {HEADS[foreign[0]]}: it has a table [{foreign[0]}], which has no place here"]
        )


def read_secret(path: Path) -> str:
    """What a `…_file` key points to, without the line end that editors leave behind."""
    raw = _bytes_of(path, str(path), MAX_SECRET_BYTES)
    try:
        return raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise SettingsError(str(path), ["found bytes that are no text, expected a secret in UTF-8"]) from None


def _text_of(path: Path, where: str) -> str:
    raw = _bytes_of(path, where, MAX_SETTINGS_BYTES)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SettingsError(where, [f"line {line}: found bytes that are no text, expected TOML in UTF-8"]) from None


def _bytes_of(path: Path, where: str, most: int) -> bytes:
    """Never blocks on a pipe, never reads more than `most`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        hint = (
            "; `cascade init` writes settings"
            if isinstance(error, FileNotFoundError) and most > MAX_SECRET_BYTES
            else ""
        )
        raise SettingsError(where, [f"cannot be opened: {reason}{hint}"]) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SettingsError(where, ["found something that is no plain file, expected a file"])
        with open(descriptor, "rb", closefd=False) as file:
            raw = file.read(most + 1)
    except OSError as error:
        raise SettingsError(where, [f"cannot be read: {error.strerror}"]) from None
    finally:
        os.close(descriptor)
    if len(raw) > most:
        raise SettingsError(where, [f"found a file of more than {most} bytes, expected a smaller one"])
    return raw


def _document(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(where, [f"is no TOML: {error}"]) from None
    except ValueError as error:
        # Python refuses to make a number of thousands of digits; that is no TOMLDecodeError.
        raise SettingsError(where, [f"found a value that can't be read: {error}"]) from None
    except RecursionError:
        raise SettingsError(where, ["found tables or arrays inside each other too deeply"]) from None


def _shortened(mistakes: list[str]) -> list[str]:
    if len(mistakes) <= MAX_MISTAKES_SHOWN:
        return mistakes
    return [*mistakes[:MAX_MISTAKES_SHOWN], f"and {len(mistakes) - MAX_MISTAKES_SHOWN} more"]
