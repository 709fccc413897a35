"""The ears of Silero VAD, that was trained to tell speech from everything else, in many languages and rooms.

It was made to be asked each 32 ms and to remember in between. A word is all there at once, so its frames become one
graph: convolutions on all of them together, and one LSTM along them. What its memory holds, as a mean and a maximum
over the word, says much about the word, though nobody ever told it of words.

Of its two networks this is the one for 8 kHz. Each clip is made as loud as the next before.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx
from clips import RATE
from graph import SOUND, Array, Graph
from listener import Ears
from onnx import numpy_helper

FILE = Path("silero-vad/silero_vad.onnx")
NEW, CONTEXT = 256, 32
"""Numbers of a frame: those that no frame had before, and the last ones of the frame before it."""
FRAMES = RATE // NEW
STRIDES = (1, 2, 2, 1)
QUIETEST = 1e-4
"""What is not even that loud stays as it is."""


def speech_ears(data: Path) -> Ears | None:
    """None where the file is not there."""
    if not (data / FILE).exists():
        return None
    weights = read_weights(data / FILE)
    return Ears(FILE, partial(_hear, weights), 2 * _memory(weights), FRAMES * _multiply_adds(weights))


def read_weights(path: Path) -> dict[str, Array]:
    """By the names that its makers gave them. It is one `If`: 16 kHz, or else 8."""
    (either,) = (node for node in onnx.load(path).graph.node if node.op_type == "If")
    (branch,) = (each.g for each in either.attribute if each.name == "else_branch")
    constants = (node for node in branch.node if node.op_type == "Constant")
    return {node.output[0].rsplit("__")[-1]: numpy_helper.to_array(node.attribute[0].t) for node in constants}


def _hear(weights: dict[str, Array], graph: Graph) -> str:
    sound = graph.fed(SOUND, (RATE,))
    loudest = graph.add("ReduceMax", graph.add("Abs", sound), axes=[1], keepdims=1)
    levelled = graph.add("Div", sound, graph.add("Max", loudest, graph.weight(QUIETEST)))
    states = remembered(weights, graph, levelled)
    return graph.add(
        "Concat", *(graph.add(kind, states, axes=[1], keepdims=0) for kind in ("ReduceMean", "ReduceMax")), axis=1
    )


def remembered(weights: dict[str, Array], graph: Graph, sound: str) -> str:
    """Its state after each frame (batch, frames, memory), as if it were asked one after the other."""
    last = _strengths(weights["stft.forward_basis_buffer"], graph, _frames(graph, sound))
    for number, stride in enumerate(STRIDES):
        kernel, bias = (weights[f"encoder.{number}.reparam_conv.{each}"] for each in ("weight", "bias"))
        last = graph.add("Conv", last, graph.weight(kernel), graph.weight(bias), strides=[stride], pads=[1, 1])
        last = graph.add("Relu", last)
    memory = _memory(weights)
    along = graph.add("Transpose", graph.add("Reshape", last, graph.weight([-1, FRAMES, memory])), perm=[1, 0, 2])
    kernels = [graph.weight(_gates(weights[f"decoder.rnn.weight_{each}"])[None]) for each in ("ih", "hh")]
    bias = np.concatenate([_gates(weights[f"decoder.rnn.bias_{each}"]) for each in ("ih", "hh")])
    states = graph.add("LSTM", along, *kernels, graph.weight(bias[None]), hidden_size=memory)
    return graph.add("Transpose", graph.add("Squeeze", states, graph.weight([1])), perm=[1, 0, 2])


def _frames(graph: Graph, sound: str) -> str:
    """(batch · frames, 1, numbers), each with its context before it, and mirrored at its end."""
    whole = graph.part(sound, axis=1, begin=0, end=FRAMES * NEW)
    new = graph.add("Reshape", whole, graph.weight([-1, FRAMES, NEW]))
    ends = graph.part(graph.part(new, axis=1, begin=0, end=FRAMES - 1), axis=2, begin=NEW - CONTEXT, end=NEW)
    before = graph.add("Pad", ends, graph.weight([0, 1, 0, 0, 0, 0]))
    frames = graph.add("Concat", before, new, axis=2)
    each = graph.add("Reshape", frames, graph.weight([-1, 1, CONTEXT + NEW]))
    return graph.add("Pad", each, graph.weight([0, 0, 0, 0, 0, CONTEXT]), mode="reflect")


def _strengths(waves: Array, graph: Graph, frames: str) -> str:
    """Of frequencies: a Fourier transform, as a convolution with cosines and sines."""
    both = graph.add("Conv", frames, graph.weight(waves), strides=[waves.shape[2] // 2])
    half = len(waves) // 2
    squares = [graph.add("Mul", each, each) for each in (graph.part(both, 1, at, at + half) for at in (0, half))]
    return graph.add("Sqrt", graph.add("Add", *squares))


def _gates(stacked: Array) -> Array:
    """In, forget, cell, out becomes in, out, forget, cell: PyTorch's order and ONNX's."""
    enter, forget, cell, out = np.split(stacked, 4)
    return np.concatenate([enter, out, forget, cell])


def _memory(weights: dict[str, Array]) -> int:
    return int(weights["decoder.rnn.weight_hh"].shape[1])


def _multiply_adds(weights: dict[str, Array]) -> int:
    """Of one frame."""
    waves = weights["stft.forward_basis_buffer"]
    wide = (NEW + 2 * CONTEXT - waves.shape[2]) // (waves.shape[2] // 2) + 1
    total = wide * waves.size
    for number, stride in enumerate(STRIDES):
        wide = (wide - 1) // stride + 1
        total += wide * weights[f"encoder.{number}.reparam_conv.weight"].size
    return total + sum(weights[f"decoder.rnn.weight_{each}"].size for each in ("ih", "hh"))
