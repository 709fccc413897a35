"""The model as every peer here runs it: one session, one thread. Imports nothing but onnxruntime and numpy."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnxruntime

SIDE = 28
PATH = "CASCADE_BENCH_MODEL"
"""The environment's name for the model file."""


def new_session() -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(os.environ[PATH], options, providers=["CPUExecutionProvider"])


def image_of(raw: bytes) -> Any:
    return np.frombuffer(raw, np.float32).reshape(1, SIDE, SIDE)
