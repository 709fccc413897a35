"""Whatever a model file is, looking at it ends in `ModelRejected` with the file and the reason, or in a yes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from cascade.adapters.backends import engine
from cascade.adapters.backends.backend import EngineSettings
from cascade.errors import ModelRejected

Inspect = Callable[..., tuple[Path, ...]]
ALL = ["m.onnx", "m.tflite", "m.json"]


def rejected(inspect: Inspect, name: str, model: object, why: str, **settings: Any) -> None:
    with pytest.raises(ModelRejected, match=why) as caught:
        inspect(name, model, EngineSettings(**settings))
    assert str(caught.value).startswith(f"{name}: ")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", ALL)
def test_an_empty_file_is_rejected(inspect: Inspect, name: str) -> None:
    rejected(inspect, name, b"", "empty")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "raw", [b"\0" * 100, b"\xff" * 5000, b"hello", b"<html>Not found</html>" * 9, np.random.default_rng(1).bytes(9999)]
)
def test_bytes_that_are_no_model_are_rejected(inspect: Inspect, name: str, raw: bytes) -> None:
    rejected(inspect, name, raw, "not a")


@pytest.mark.parametrize("name", ALL)
def test_a_model_for_another_engine_is_rejected(inspect: Inspect, files: ModuleType, name: str) -> None:
    models = {
        "m.onnx": files.linear_onnx().SerializeToString(),
        "m.tflite": files.linear_tflite(),
        "m.json": files.script(),
    }
    for other, model in models.items():
        if other != name:
            rejected(inspect, name, model, "not a")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("what", ["folder", "pipe", "nothing", "link in a circle"])
def test_what_is_no_regular_file_is_rejected_without_waiting_for_it(tmp_path: Path, name: str, what: str) -> None:
    path = tmp_path / name
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "link in a circle":
        path.symlink_to(path)
    with pytest.raises(ModelRejected, match=f"^{name}: "):
        engine({"onnx": "onnx", "tflite": "tflite", "json": "scripted"}[path.suffix[1:]]).inspect(
            path, EngineSettings()
        )


def test_a_tflite_file_cut_anywhere_is_rejected_or_whole(inspect: Inspect, files: ModuleType) -> None:
    whole = files.linear_tflite()
    for length in range(1, len(whole) - 8):
        rejected(inspect, "m.tflite", whole[:length], "not a readable .tflite model")


def test_an_onnx_file_cut_inside_its_graph_is_rejected(inspect: Inspect, files: ModuleType) -> None:
    whole = files.linear_onnx().SerializeToString()
    graph_ends = whole.rindex(b"batch") + 5
    for length in range(1, graph_ends):
        rejected(inspect, "m.onnx", whole[:length], "not a readable ONNX model")


# --- operators of ONNX ---


def test_standard_operators_and_those_of_the_quantiser_are_allowed(inspect: Inspect, files: ModuleType) -> None:
    inspect("m.onnx", files.one_node("Relu"))
    inspect("m.onnx", files.one_node("Relu", "ai.onnx"))
    inspect("m.onnx", files.one_node("QLinearAdd", "com.microsoft"))
    inspect("m.onnx", files.one_node("Normalizer", "ai.onnx.ml"))


@pytest.mark.parametrize(
    ("operator", "domain"),
    [("Steal", "evil"), ("EPContext", "com.microsoft"), ("Steal", "com.microsoft"), ("Relu", "AI.ONNX"), ("Relu", " ")],
)
def test_an_operator_from_elsewhere_is_rejected_by_name(
    inspect: Inspect, files: ModuleType, operator: str, domain: str
) -> None:
    rejected(inspect, "m.onnx", files.one_node(operator, domain), f"operator {domain}::{operator} is not allowed")


def test_an_operator_hidden_in_a_branch_is_found(inspect: Inspect, files: ModuleType) -> None:
    evil = helper.make_graph([helper.make_node("Steal", ["x"], ["y"], domain="evil")], "b", [], [files.value("y", [1])])
    node = helper.make_node("If", ["c"], ["y"], then_branch=evil, else_branch=evil)
    inputs = [files.value("x", [1]), files.value("c", [], TensorProto.BOOL)]
    rejected(inspect, "m.onnx", files.onnx_model([node], inputs, [files.value("y", [1])]), "evil::Steal")


def function(files: ModuleType, name: str, calls: list[tuple[str, str]], domain: str = "own") -> Any:
    names = ["x", *(f"v{i}" for i in range(len(calls) - 1)), "y"]
    nodes = [
        helper.make_node(operator, [names[i]], [names[i + 1]], domain=where)
        for i, (where, operator) in enumerate(calls)
    ]
    return helper.make_function(domain, name, ["x"], ["y"], nodes, [helper.make_opsetid("", 17)])


def calling(files: ModuleType, functions: list[Any], name: str, domain: str = "own") -> Any:
    node = helper.make_node(name, ["x"], ["y"], domain=domain)
    return files.onnx_model([node], [files.value("x", [1])], [files.value("y", [1])], (), [domain], functions)


def test_a_function_of_the_models_own_counts_as_what_it_is_made_of(inspect: Inspect, files: ModuleType) -> None:
    inspect("m.onnx", calling(files, [function(files, "Twice", [("", "Relu"), ("", "Relu")])], "Twice"))
    rejected(inspect, "m.onnx", calling(files, [function(files, "F", [("evil", "Steal")])], "F"), "evil::Steal")


def test_a_second_function_of_the_same_name_hides_nothing(inspect: Inspect, files: ModuleType) -> None:
    functions = [function(files, "F", [("evil", "Steal")]), function(files, "F", [("", "Relu")])]
    rejected(inspect, "m.onnx", calling(files, functions, "F"), "evil::Steal")


def test_the_default_of_a_functions_attribute_is_read_as_well(inspect: Inspect, files: ModuleType) -> None:
    outside = files.external_onnx("/etc/passwd").graph.initializer[0]
    own = function(files, "F", [("", "Relu")])
    own.attribute_proto.append(helper.make_attribute("a", outside))
    rejected(inspect, "m.onnx", calling(files, [own], "F"), "outside the model's folder")


def test_a_function_that_takes_the_name_of_a_known_operator_is_judged_as_that(
    inspect: Inspect, files: ModuleType
) -> None:
    own = function(files, "EPContext", [("", "Relu")], "com.microsoft")
    rejected(inspect, "m.onnx", calling(files, [own], "EPContext", "com.microsoft"), "EPContext is not allowed")


def test_a_function_that_calls_itself_is_rejected(inspect: Inspect, files: ModuleType) -> None:
    circle = [function(files, "F", [("own", "G")]), function(files, "G", [("own", "F")])]
    rejected(inspect, "m.onnx", calling(files, circle, "F"), "calls itself")


def test_functions_that_double_at_every_level_are_counted_not_written_out(inspect: Inspect, files: ModuleType) -> None:
    levels = [function(files, "F0", [("", "Relu"), ("", "Relu")])]
    levels += [function(files, f"F{i}", [("own", f"F{i - 1}")] * 2) for i in range(1, 30)]
    rejected(inspect, "m.onnx", calling(files, levels, "F29"), "1073741824 nodes once its functions are written out")


# --- nesting and sizes ---


def test_graphs_in_graphs_are_allowed(inspect: Inspect, files: ModuleType) -> None:
    inspect("m.onnx", files.nested_onnx(10))


def nested_bytes(levels: int) -> bytes:
    """An attribute in a node in a graph in an attribute, as bare bytes: too deep for any library to write."""

    def field(number: int, content: bytes) -> bytes:
        size, length = b"", len(content)
        while length > 0x7F:
            size, length = size + bytes([length & 0x7F | 0x80]), length >> 7
        return bytes([number << 3 | 2]) + size + bytes([length]) + content

    graph = b""
    for _ in range(levels):
        graph = field(1, field(5, field(6, graph)))
    return b"\x08\x0a" + field(7, graph)


@pytest.mark.parametrize("levels", [40, 2000])
def test_absurd_nesting_is_rejected_and_does_not_exhaust_the_stack(inspect: Inspect, levels: int) -> None:
    rejected(inspect, "m.onnx", nested_bytes(levels), "graphs inside graphs")


def test_a_training_graph_is_rejected(inspect: Inspect, files: ModuleType) -> None:
    model = files.linear_onnx()
    model.training_info.add().algorithm.CopyFrom(model.graph)
    rejected(inspect, "m.onnx", model, "training graph")


@pytest.mark.parametrize("shape", [[1 << 40], [1 << 20, 1 << 20], [2**63 - 1] * 8], ids=str)
def test_a_giant_declared_tensor_is_rejected(inspect: Inspect, files: ModuleType, shape: list[int]) -> None:
    model = files.linear_onnx()
    model.graph.initializer[0].dims[:] = shape
    rejected(inspect, "m.onnx", model, "declares a tensor of")


@pytest.mark.parametrize("shape", [[2**31 - 1, 4], [2**31 - 1] * 6, [-5]], ids=str)
def test_a_giant_or_negative_tensor_in_a_tflite_file_is_rejected(
    inspect: Inspect, files: ModuleType, shape: list[int]
) -> None:
    model = files.unpacked(files.linear_tflite())
    model.subgraphs[0].tensors[1].shape = shape
    rejected(inspect, "m.tflite", files.packed(model), "a tensor of")


# --- what a model may refer to outside its file ---


def test_weights_in_a_file_beside_the_model_are_listed(tmp_path: Path, inspect: Inspect, files: ModuleType) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 100 + files.WEIGHTS.tobytes())
    assert inspect("m.onnx", files.external_onnx("w.bin", 100)) == (tmp_path / "m.onnx", tmp_path / "w.bin")
    model = engine("onnx").load(tmp_path / "m.onnx", EngineSettings())
    x = np.ones((2, 4), np.float32)
    np.testing.assert_allclose(model.run({"x": x})["y"], files.linear(x), atol=1e-6)


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../w.bin", "a/../../w.bin", "", "*/_ORT_MEM_ADDR_/*", "w\0.bin", "none.bin", "."]
)
def test_weights_outside_the_models_folder_are_rejected(
    tmp_path: Path, inspect: Inspect, files: ModuleType, location: str
) -> None:
    (tmp_path.parent / "w.bin").write_bytes(files.WEIGHTS.tobytes())
    rejected(inspect, "m.onnx", files.external_onnx(location), "tensor 'w'")


def test_a_link_that_leads_out_of_the_folder_is_rejected(tmp_path: Path, inspect: Inspect, files: ModuleType) -> None:
    (tmp_path / "secret").symlink_to("/etc/passwd")
    (tmp_path / "elsewhere").symlink_to("/etc")
    rejected(inspect, "m.onnx", files.external_onnx("secret"), "a link to outside")
    rejected(inspect, "m.onnx", files.external_onnx("elsewhere/passwd"), "a link to outside")
    (tmp_path / "circle").symlink_to("circle")
    rejected(inspect, "m.onnx", files.external_onnx("circle"), "tensor 'w'")


@pytest.mark.parametrize(("offset", "length"), [(1, None), (0, 49), (-1, 10), (0, -1), (2**62, 48), (49, None)])
def test_weights_past_the_end_of_their_file_are_rejected(
    tmp_path: Path, inspect: Inspect, files: ModuleType, offset: int, length: int | None
) -> None:
    (tmp_path / "w.bin").write_bytes(files.WEIGHTS.tobytes())
    if (offset, length) == (1, None):
        inspect("m.onnx", files.external_onnx("w.bin", 0, None))
        return
    rejected(inspect, "m.onnx", files.external_onnx("w.bin", offset, length), "past its 48 bytes")


def test_external_weights_count_towards_the_size(tmp_path: Path, inspect: Inspect, files: ModuleType) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 5000)
    rejected(inspect, "m.onnx", files.external_onnx("w.bin"), "with its external data", max_model_bytes=5000)


# --- .tflite ---


@pytest.mark.parametrize("name", ["Steal", "FlexReadFile", ""])
def test_a_custom_operator_is_rejected_by_name(inspect: Inspect, files: ModuleType, name: str) -> None:
    model = files.unpacked(files.linear_tflite(custom="x"))
    model.operatorCodes[0].customCode = name
    rejected(inspect, "m.tflite", files.packed(model), f"custom operator '{name}' is not allowed")


def test_the_detectors_own_custom_operator_is_allowed(inspect: Inspect, files: ModuleType) -> None:
    inspect("m.tflite", files.linear_tflite(custom="TFLite_Detection_PostProcess"))


def test_weights_of_a_tflite_file_in_other_files_are_rejected(inspect: Inspect, files: ModuleType) -> None:
    model = files.unpacked(files.linear_tflite())
    model.externalBuffers = [files.schema.ExternalBufferT()]
    rejected(inspect, "m.tflite", files.packed(model), "weights in files outside it")
    model = files.unpacked(files.linear_tflite())
    model.subgraphs[0].tensors[1].externalBuffer = 7
    rejected(inspect, "m.tflite", files.packed(model), "in another file")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda model: setattr(model, "version", 2), "version 3"),
        (lambda model: setattr(model, "subgraphs", []), "no graph"),
        (lambda model: setattr(model.subgraphs[0].tensors[0], "buffer", 99), "in no buffer"),
        (lambda model: setattr(model.subgraphs[0].operators[0], "opcodeIndex", 5), "not in the list"),
        (lambda model: setattr(model.subgraphs[0].operators[0], "inputs", [0, 77, 2]), "an operator's input"),
        (lambda model: setattr(model.subgraphs[0].operators[0], "outputs", [-7]), "an operator's output"),
        (lambda model: setattr(model.subgraphs[0], "inputs", [1000]), "an input that is no tensor"),
        (lambda model: setattr(model.subgraphs[0], "outputs", [1000]), "an output that is no tensor"),
    ],
)
def test_a_tflite_file_that_points_at_what_it_has_not_is_rejected(
    inspect: Inspect, files: ModuleType, change: Callable[[Any], None], why: str
) -> None:
    model = files.unpacked(files.linear_tflite())
    change(model)
    rejected(inspect, "m.tflite", files.packed(model), why)


# --- what loading rejects, and scripts ---


def test_an_input_of_texts_is_rejected_when_loaded(tmp_path: Path, files: ModuleType) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    texts = [files.value(name, [1], TensorProto.STRING) for name in "xy"]
    path = files.write(tmp_path / "m.onnx", files.onnx_model([node], texts[:1], texts[1:]))
    with pytest.raises(ModelRejected, match=r"m.onnx: x is a tensor\(string\); supported are"):
        engine("onnx").load(path, EngineSettings())


def test_shapes_that_do_not_fit_each_other_are_rejected_when_loaded(tmp_path: Path, files: ModuleType) -> None:
    weights = [numpy_helper.from_array(np.ones((7, 9), np.float32), "w")]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = files.onnx_model([node], [files.value("x", [1, 4])], [files.value("y", [1, 9])], weights)
    with pytest.raises(ModelRejected, match="onnxruntime does not load it"):
        engine("onnx").load(files.write(tmp_path / "m.onnx", model), EngineSettings())


@pytest.mark.parametrize(
    "script",
    [
        {"at": 2},
        {"script": "fixed"},
        {"script": "fixed", "values": {"y": [1, 2]}},
        {"script": "table"},
        {"script": "table", "rows": [[1, 2]]},
        {"script": "table", "rows": [[1, 2, 3]], "at": 4},
        {"script": "dance"},
        {"inputs": {}},
        {"inputs": {"x": [0]}},
        {"inputs": {"x": [1 << 30]}},
        {"typo": 1},
        {"fail_every": -1},
    ],
    ids=str,
)
def test_a_script_with_a_mistake_is_rejected(inspect: Inspect, files: ModuleType, script: dict[str, Any]) -> None:
    rejected(inspect, "m.json", files.script(**script), "m.json: ")
