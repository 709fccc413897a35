"""Errors, named by whose fault they are: the name says who has to mend something."""

from __future__ import annotations

from collections.abc import Sequence


class CascadeError(Exception):
    """What every error of this project derives from, so that an application can catch them as one."""


class PeerError(CascadeError):
    """What a peer sent is wrong: too large, unreadable, not theirs to say. It is refused, and nobody else is disturbed.

    `kind` is one of a small closed set of words: it becomes a metric label, so it never carries what the peer wrote.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


class BadInput(CascadeError):
    """The input of one question does not fit the model: an error of whoever asked, never an easy question."""


class BundleRejected(CascadeError):
    """A bundle or release on disk is not what its manifest says, or does not fit this machine."""


class ModelRejected(BundleRejected):
    """A model file that this machine will not load: not a model, too large, an operator that is not allowed, …"""


class UpdateRejected(CascadeError):
    """An update that may not be believed, or does not fit this device."""


class LinkError(CascadeError):
    """A link is down, or was closed under us. Expected, retried, never fatal."""


class StorageError(CascadeError):
    """A disk is full, read-only or failing. The work goes on in memory, and says that it is not durable."""


class SettingsError(CascadeError):
    """Every mistake of a settings file at once, each with its key and what was expected."""

    def __init__(self, where: str, mistakes: Sequence[str]) -> None:
        self.where = where
        self.mistakes = tuple(mistakes)
        counted = "1 mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        super().__init__("\n".join([f"{where}: {counted}", *(f"  - {mistake}" for mistake in self.mistakes)]))


class NotKept(CascadeError):
    """An answer that somebody asks about is not kept any more, or never was here."""


class MissingDependency(CascadeError):
    """Something optional is asked for and not installed; the message names the extra that brings it."""


def how_to_install(extra: str) -> str:
    """What brings an extra. From the repository: no package registry has this package."""
    return f"pip install '.[{extra}]' in the folder of this repository"


class IllegalTransition(CascadeError):
    """An event that the table of a machine does not know in this state: a bug of ours. Never caught."""
