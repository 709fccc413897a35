"""What Prometheus and a watchdog are served, and what a rude client gets."""

from __future__ import annotations

import json
import math
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cascade import metrics
from cascade.adapters.prometheus import MAX_CONNECTIONS, Exporter, text_page
from cascade.errors import LinkError, SettingsError
from cascade.inference.effects import RecordAudit, RecordDecision, Reply, RunStage
from cascade.inference.events import Asked, LadderInstalled, Predicted, Sent, Ticked
from cascade.messages import Answer, ClassScores, Decision, Energy, Outcome, Question, Verdict
from cascade.metrics import EXPRESSIONS, FEEDBACK, Reading
from cascade.release.ladder import Ladder
from cascade.tally import Tally


def question(id_: str) -> Question:
    return Question(
        id=id_, device="barn.mic1", stream="kitchen", sequence=1, task="word", release="r1", payload=(), ms_left=500.0
    )


def busy(tally: Tally, start: int = 0, count: int = 10) -> Tally:
    """Half of the questions climb; audits agree on three of four, labels on four of five; each costs a joule and 100
    bytes."""
    tally.observe(LadderInstalled(Ladder(task="word", release="r1")), [], 0.0)
    for i in range(start, start + count):
        asked = question(f"q{i}")
        answer = Answer(
            id=asked.id, device=asked.device, digest=b"", stream="kitchen", sequence=1, task="word", release="r1",
            outcome=Outcome.ANSWERED, reason="sure", tier="edge",
        )  # fmt: skip
        verdict = Verdict.CLIMB if i % 2 else Verdict.ANSWER
        decision = RecordDecision(
            asked, Decision(verdict, "unsure" if i % 2 else "sure", 0.8, 0.9), "small", 'say "a\\b"'
        )
        tally.observe(Asked(asked, "here"), [RunStage(i, "word", "r1", "small", (asked,))], 0.0)
        tally.observe(Predicted(i, (ClassScores((1.0,)),), 3.0, 1.0, Energy.ESTIMATED), [decision], 0.0)
        tally.observe(Sent("above", 100, (asked.key,)), [Reply("here", answer)], 0.02)
        tally.observe(Ticked(), [RecordAudit("word", "answer", 0.5, None if i % 5 == 0 else i % 4 > 0)], 0.0)
        tally.count(FEEDBACK, ("word", "edge", "no" if i % 5 == 0 else "yes"))
    return tally


@contextmanager
def served(*tallies: Tally, idle_s=lambda: 0.0, **more) -> Iterator[Exporter]:
    exporter = Exporter([tally.snapshot for tally in tallies], idle_s, port=0, **{"fresh_for_s": 0.0, **more})
    exporter.open()
    try:
        yield exporter
    finally:
        exporter.close()


def asked(exporter: Exporter, path: str, method: str = "GET") -> tuple[int, str]:
    with closing(HTTPConnection("127.0.0.1", exporter.port, timeout=5)) as connection:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()


def test_the_page_says_what_the_tally_says():
    with served(busy(Tally("edge"))) as exporter:
        status, page = asked(exporter, "/metrics")
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    link = (("direction", "sent"), ("link", "above"), ("tier", "edge"))
    latency = (("by", "edge"), ("given", "final"), ("task", "word"), ("tier", "edge"))
    assert status == 200
    assert samples["cascade_link_bytes_total", *link] == 1000
    assert samples["cascade_answer_latency_seconds_count", *latency] == 10
    assert samples["cascade_answer_latency_seconds_sum", *latency] == pytest.approx(0.2)
    assert samples["cascade_answer_latency_seconds_bucket", latency[0], latency[1], ("le", "0.01"), *latency[2:]] == 0
    assert samples["cascade_answer_latency_seconds_bucket", latency[0], latency[1], ("le", "+Inf"), *latency[2:]] == 10


def test_labels_come_back_as_they_were_whatever_is_in_them():
    said = 'a"b\\c\nd\\n{e="f"}, ü'
    page = text_page([Reading(metrics.LINK_LOSSES, ("edge", said), 1.0, device=said)]).decode()
    (family,) = text_string_to_metric_families(page)
    assert family.samples[0].labels == {"tier": "edge", "reason": said, "device": said}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, 0.1 + 0.2, 3])
def test_numbers_come_back_as_they_were(value):
    page = text_page([Reading(metrics.SPOOL_BYTES, ("edge",), value)]).decode()
    (family,) = text_string_to_metric_families(page)
    assert family.samples[0].value == pytest.approx(value, rel=0, abs=0, nan_ok=True)


def test_a_row_of_several_hops_is_one_family_and_a_series_stands_in_it_once():
    page = text_page(
        [*busy(Tally("edge")).snapshot(), *busy(Tally("fog")).snapshot(), *Tally("edge").snapshot()]
    ).decode()
    assert page.count("# TYPE cascade_open_questions ") == 1
    series = [line.rsplit(" ", 1)[0] for line in page.splitlines() if not line.startswith("#")]
    assert len(series) == len(set(series))


def test_the_process_says_what_it_takes():
    with served(Tally("edge")) as exporter:
        _, page = asked(exporter, "/metrics")
    assert "process_resident_memory_bytes " in page
    assert "process_cpu_seconds_total " in page


@pytest.mark.parametrize(("idle_s", "status"), [(0.0, 200), (9.9, 200), (10.1, 503), (math.inf, 503), (math.nan, 503)])
def test_health_is_progress_and_nothing_else(idle_s, status):
    with served(Tally("edge"), idle_s=lambda: idle_s, stalled_after_s=10.0) as exporter:
        assert asked(exporter, "/healthz")[0] == status


def test_a_health_that_can_not_be_known_is_no_health():
    with served(Tally("edge"), idle_s=lambda: 1 / 0) as exporter:
        assert asked(exporter, "/healthz")[0] == 503
        assert asked(exporter, "/metrics")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_nothing_but_get_is_answered(method):
    with served(Tally("edge")) as exporter:
        assert asked(exporter, "/metrics", method)[0] == 405


@pytest.mark.parametrize(("path", "status"), [("/", 404), ("/metrics/../etc/passwd", 404), ("/metrics?name=x", 200)])
def test_there_are_two_pages(path, status):
    with served(Tally("edge")) as exporter:
        assert asked(exporter, path)[0] == status


def test_it_is_served_where_it_was_configured_and_nowhere_else():
    with served(Tally("edge")) as exporter, closing(socket.socket()) as other:
        other.settimeout(1)
        assert other.connect_ex(("127.0.0.2", exporter.port)) != 0


def test_a_taken_port_is_said():
    with served(Tally("edge")) as exporter:
        second = Exporter([], lambda: 0.0, port=exporter.port)
        with pytest.raises(LinkError, match=str(exporter.port)):
            second.open()


def test_a_port_that_is_none_is_said():
    with pytest.raises(SettingsError, match="port: 70000"):
        Exporter([], lambda: 0.0, port=70000)


def test_closing_twice_or_without_opening_is_harmless():
    with served(Tally("edge")) as exporter:
        exporter.close()
    Exporter([], lambda: 0.0).close()


def test_a_port_is_free_again_after_closing():
    with served(Tally("edge")) as exporter:
        port = exporter.port
        held = socket.create_connection(("127.0.0.1", port))
    with closing(held):
        again = Exporter([], lambda: 0.0, port=port)
        again.open()
        again.close()


@pytest.mark.parametrize("rubbish", [b"\r\n\r\n", b"\x16\x03\x01" * 100 + b"\r\n\r\n", b"GET\r\n\r\n", b"A" * 20_000])
def test_rubbish_is_no_request_and_harms_no_other(rubbish):
    with served(Tally("edge")) as exporter:
        with closing(socket.create_connection(("127.0.0.1", exporter.port), timeout=5)) as rude:
            rude.sendall(rubbish)
            try:
                assert b" 200 " not in rude.recv(4096)
            except ConnectionResetError:
                rubbish = b""
        assert asked(exporter, "/healthz")[0] == 200


def test_slow_clients_hold_a_few_places_and_none_for_long(monkeypatch):
    monkeypatch.setattr("cascade.adapters.prometheus.REQUEST_S", 0.3)
    with served(Tally("edge")) as exporter:
        slow = [socket.create_connection(("127.0.0.1", exporter.port), timeout=5) for _ in range(MAX_CONNECTIONS + 5)]
        for client in slow:
            client.sendall(b"GET /metrics")
        gone = [_is_closed(client) for client in slow]
        assert all(gone)
        assert asked(exporter, "/metrics")[0] == 200


def _is_closed(client: socket.socket) -> bool:
    with closing(client):
        try:
            return client.recv(100) == b""
        except ConnectionResetError:
            return True


def test_a_page_is_made_once_for_those_who_ask_at_once():
    tally = Tally("edge")
    made = []
    exporter = Exporter([lambda: made.append(1) or tally.snapshot()], lambda: 0.0, fresh_for_s=60.0)
    assert exporter.page() == exporter.page()
    assert len(made) == 1


def test_pages_are_whole_while_the_hop_counts():
    tally = Tally("edge")
    with served(tally) as exporter:
        for start in range(0, 3000, 100):
            busy(tally, start, 100)
            families = list(text_string_to_metric_families(exporter.page().decode()))
            assert families
    counted = {sample.name: sample.value for family in families for sample in family.samples}
    assert counted["cascade_energy_joules_total"] == 3000


@pytest.mark.needs_services
def test_promtool_finds_nothing_to_say_of_the_page():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian's package `prometheus`)")
    page = text_page([*busy(Tally("edge")).snapshot(), *Tally("fog").snapshot()])
    checked = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, timeout=30, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


@contextmanager
def prometheus(tmp_path, target: int) -> Iterator[str]:
    """A real one that scrapes twice a second. Its address."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed (Debian's package `prometheus`)")
    config = {
        "global": {"scrape_interval": "500ms"},
        "scrape_configs": [{"job_name": "hop", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    process = subprocess.Popen(
        [program, "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"http://{address}"
    finally:
        process.kill()
        process.wait()


def queried(server: str, promql: str) -> list[dict]:
    url = f"{server}/api/v1/query?{urllib.parse.urlencode({'query': promql})}"
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return json.load(response)["data"]["result"]
    except (urllib.error.URLError, ConnectionError):
        return []


def until(answered, within_s: float = 30.0):
    ends = time.monotonic() + within_s
    while time.monotonic() < ends:
        found = answered()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {within_s} s")


@pytest.mark.needs_services
@pytest.mark.slow
def test_a_real_prometheus_computes_each_expression_and_gets_them_right(tmp_path):
    tally = busy(Tally("edge"), 0, 20)
    with served(tally) as exporter, prometheus(tmp_path, exporter.port) as server:
        until(lambda: queried(server, 'cascade_audits_total{job="hop"}'))
        busy(tally, 20, 100)
        until(lambda: queried(server, "sum(cascade_audits_total) == 120 and sum(cascade_questions_total) == 120"))
        found = {each.name: until(lambda each=each: queried(server, each.promql)) for each in EXPRESSIONS}
    values = {name: float(result[0]["value"][1]) for name, result in found.items()}
    assert values["escalation rate"] == pytest.approx(0.5)
    assert values["agreement with the hop above"] == pytest.approx(0.75)
    assert values["coverage of the audits"] == pytest.approx(0.8)
    assert values["accuracy"] == pytest.approx(0.8)
    assert values["bytes up per question"] == pytest.approx(100)
    assert values["joules per question"] == pytest.approx(1.0)
    assert 0.01 < values["answer latency, 99 of 100"] <= 0.025
