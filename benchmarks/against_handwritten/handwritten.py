"""A cascade as one would write it in a day, to compare with: paho, JSON with base64, a thread pool, unary gRPC.

    python -m benchmarks.against_handwritten.handwritten cloud MODEL PORT
    python -m benchmarks.against_handwritten.handwritten gateway MODEL BROKER_PORT CLOUD_PORT [nodelay]

One model call per question, nothing kept, nothing measured, no deadlines: it does less than what it is compared with.
"""

from __future__ import annotations

import base64
import json
import socket
import sys
import threading
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
import numpy as np
import onnxruntime
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.models import SIDE, TENSOR, THRESHOLD

METHOD = "/Handwritten/Predict"
WORKERS = 16
SUBSCRIBED = "subscribed"
"""What its gateway prints when it can be asked."""


class Model:
    def __init__(self, path: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def predict(self, image: Any) -> tuple[int, float]:
        scores = self._session.run(None, {TENSOR: image[None]})[0][0]
        best = int(scores.argmax())
        return best, float(scores[best])


def form(nodelay: bool) -> str:
    """The first part of its topics: so that both forms can run beside each other."""
    return "nodelay" if nodelay else "plain"


def mqtt(name: str, nodelay: bool) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, f"{name}-{form(nodelay)}", protocol=paho.MQTTv5)
    client.max_inflight_messages_set(1000)
    if nodelay:
        client.on_socket_open = no_delay
    return client


def no_delay(client: paho.Client, userdata: Any, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Device:
    """The edge's part: ask from any thread."""

    def __init__(
        self, model: str, broker_port: int, nodelay: bool, name: str = "device", client: paho.Client | None = None
    ) -> None:
        """`client`: one that is driven from outside, on a loop of its own; otherwise it gets a thread, as paho does."""
        self._model = Model(model)
        self._waiting: dict[int, Callable[[int], None]] = {}
        self._count = 0
        self._lock = threading.Lock()
        self._ask_topic = f"{form(nodelay)}/ask/{name}"
        self._client = client or mqtt(f"handwritten-{name}", nodelay)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", broker_port)
        self._client.subscribe(f"{form(nodelay)}/answer/{name}", qos=1)
        if client is None:
            self._client.loop_start()

    def ask(self, image: Any) -> int:
        future: futures.Future[int] = futures.Future()
        self.ask_then(image, future.set_result)
        return future.result(timeout=30)

    def ask_then(self, image: Any, done: Callable[[int], None]) -> None:
        best, confidence = self._model.predict(image)
        if confidence >= THRESHOLD:
            done(best)
            return
        with self._lock:
            self._count += 1
            number = self._count
            self._waiting[number] = done
        data = base64.b64encode(image.tobytes()).decode()
        self._client.publish(self._ask_topic, json.dumps({"id": number, "data": data}), qos=1)

    def _on_message(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        answer = json.loads(message.payload)
        self._waiting.pop(answer["id"])(int(answer["label"]))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def gateway(model_path: str, broker_port: int, cloud_port: int, nodelay: bool) -> None:
    model, pool = Model(model_path), futures.ThreadPoolExecutor(WORKERS)
    predict = grpc.insecure_channel(f"127.0.0.1:{cloud_port}").unary_unary(METHOD)
    client = mqtt("handwritten-gateway", nodelay)

    def handle(topic: str, payload: bytes) -> None:
        question = json.loads(payload)
        image = np.frombuffer(base64.b64decode(question["data"]), np.float32).reshape(SIDE, SIDE)
        best, confidence = model.predict(image)
        if confidence < THRESHOLD:
            best = json.loads(predict(image.tobytes(), timeout=30))["label"]
        answer = json.dumps({"id": question["id"], "label": best})
        client.publish(f"{form(nodelay)}/answer/{topic.rpartition('/')[2]}", answer, qos=1)

    def on_message(client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        pool.submit(handle, message.topic, bytes(message.payload))

    client.on_message = on_message
    client.on_subscribe = lambda *_: print(SUBSCRIBED, flush=True)
    client.connect("127.0.0.1", broker_port)
    client.subscribe(f"{form(nodelay)}/ask/+", qos=1)
    client.loop_forever()


def cloud(model_path: str, port: int) -> None:
    model = Model(model_path)

    def predict(data: bytes, context: object) -> bytes:
        best, _ = model.predict(np.frombuffer(data, np.float32).reshape(SIDE, SIDE))
        return json.dumps({"label": best}).encode()

    handler = grpc.method_handlers_generic_handler(
        "Handwritten", {"Predict": grpc.unary_unary_rpc_method_handler(predict)}
    )
    server = grpc.server(futures.ThreadPoolExecutor(WORKERS), (handler,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    if sys.argv[1] == "cloud":
        cloud(sys.argv[2], int(sys.argv[3]))
    else:
        gateway(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), "nodelay" in sys.argv)
