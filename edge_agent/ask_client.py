"""The other end of the ask socket, for Python programs: the standard library and numpy, nothing else of this project.

answer = ask("/run/cascade/ask.sock", "cam", {"image": image})
print(answer["label"])
"""

from __future__ import annotations

import json
import socket
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class AskRefused(Exception):
    """The agent said `error`: `kind` is its word for why."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


def ask(
    path: str | Path,
    stream: str,
    arrays: Mapping[str, Array],
    *,
    deadline_ms: float | None = None,
    priority: int | None = None,
    timeout_s: float = 30.0,
    final: bool = False,
) -> dict[str, Any]:
    """Ask one question and return its first answer; `final`: wait for the one that is not provisional.

    Raises `AskRefused`, `TimeoutError`, or `OSError` where no agent listens.
    """
    with AskClient(path, timeout_s=timeout_s) as client:
        client.submit(stream, arrays, deadline_ms=deadline_ms, priority=priority)
        while True:
            answer = client.next_answer()
            if not (final and answer["provisional"]):
                return answer


class AskClient:
    """One connection: questions go out, answers come back in any order. For one thread."""

    def __init__(self, path: str | Path, *, name: str = "", acks: bool = False, timeout_s: float = 30.0) -> None:
        """With a `name`, what was answered while this program was away comes first; `acks` announces `ack`."""
        self._timeout_s = timeout_s
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._answers: deque[dict[str, Any]] = deque()
        self._buffer = bytearray()
        try:
            self._socket.settimeout(timeout_s)
            self._socket.connect(str(path))
            if name:
                self._send({"client": name, "acks": acks})
        except OSError:
            self._socket.close()
            raise

    def submit(
        self,
        stream: str,
        arrays: Mapping[str, Array],
        *,
        tag: str = "",
        deadline_ms: float | None = None,
        priority: int | None = None,
    ) -> str:
        """Ask, and return the question's id when the agent has accepted it."""
        bodies = [np.ascontiguousarray(array, array.dtype.newbyteorder("<")) for array in arrays.values()]
        tensors = [
            {"name": name, "dtype": array.dtype.name, "shape": list(array.shape)} for name, array in arrays.items()
        ]
        line = {"stream": stream, "tensors": tensors, "bytes": sum(body.nbytes for body in bodies)}
        more = {"id": tag or None, "deadline_ms": deadline_ms, "priority": priority}
        self._send(
            line | {key: value for key, value in more.items() if value is not None},
            *(body.tobytes() for body in bodies),
        )
        while "accepted" not in (said := self._read()):
            self._answers.append(said)
        return str(said["accepted"])

    def next_answer(self) -> dict[str, Any]:
        """The next answer of any question of this connection: see `provisional`, `correction`, `id` and `tag` in it."""
        return self._answers.popleft() if self._answers else self._read()

    def why(self, question_id: str = "", *, last: int = 20) -> dict[str, Any]:
        """What was given to this question, or to the last so many: `answers`, and how many the agent has `kept`."""
        self._send({"why": question_id} if question_id else {"why_last": last})
        while "why" not in (said := self._read()):
            self._answers.append(said)
        told: dict[str, Any] = said["why"]
        return told

    def feedback(self, question_id: str, label: str | float | list[float]) -> bool | None:
        """What was true of a question: whether its answer was right. None: no such answer is kept."""
        self._send({"feedback": question_id, "label": label})
        while "feedback" not in (said := self._read()):
            self._answers.append(said)
        right: bool | None = said["right"]
        return right

    def health(self) -> dict[str, Any]:
        """How the agent is, and how far its thresholds can be trusted: docs/careful.md."""
        self._send({"health": True})
        while "health" not in (said := self._read()):
            self._answers.append(said)
        told: dict[str, Any] = said["health"]
        return told

    def ack(self, question_id: str) -> None:
        """This answer was acted on; it need not come again."""
        self._send({"ack": question_id})

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> AskClient:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _send(self, line: Mapping[str, Any], *bodies: bytes) -> None:
        self._socket.sendall(b"".join([json.dumps(line).encode(), b"\n", *bodies]))

    def _read(self) -> dict[str, Any]:
        ends_at = time.monotonic() + self._timeout_s
        while (end := self._buffer.find(b"\n")) < 0:
            left_s = ends_at - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"no line within {self._timeout_s:g} s")
            self._socket.settimeout(left_s)
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionResetError("the agent closed the connection")
            self._buffer += data
        said: dict[str, Any] = json.loads(self._buffer[:end])
        del self._buffer[: end + 1]
        if "error" in said:
            raise AskRefused(said["error"], said.get("detail", ""))
        return said
