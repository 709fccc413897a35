"""How `cascade` ends: numbers that scripts can go by. They are promised, and docs/commands.md lists them."""

from __future__ import annotations

from cascade.adapters import daemon
from cascade.adapters.daemon import STOPPED, WRONG_SETTINGS

DONE = STOPPED
FAILED = daemon.FAILED
WRONG = WRONG_SETTINGS
NOT_FOUND = 3
INTERRUPTED = 130

MEANINGS = {
    DONE: "done; what was checked is right",
    FAILED: "failed: the message says what, and how to mend it",
    WRONG: "wrong use or wrong settings: nothing was begun",
    NOT_FOUND: "nothing is known of what was asked for (`cascade why`)",
    INTERRUPTED: "interrupted by Ctrl-C, SIGTERM or a closed terminal; what was started has ended",
}
