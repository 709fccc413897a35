"""The settings file: what is right becomes structs, and what is wrong is told, all at once."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta

from cascade.adapters.settings_file import MAX_MISTAKES_SHOWN, MAX_SETTINGS_BYTES, read_secret, read_settings
from cascade.adapters.settings_file import settings_from as _settings_from
from cascade.adapters.settings_tables import ExistingFile, ExistingFolder, Port, Table
from cascade.errors import SettingsError


class Round(Table, frozen=True, kw_only=True, tag_field="kind", tag="round"):
    radius_mm: Annotated[float, Meta(gt=0)]


class Square(Table, frozen=True, kw_only=True, tag_field="kind", tag="square"):
    side_mm: Annotated[float, Meta(gt=0)]


class Hole(Table, frozen=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=8)]
    deadline_ms: Annotated[int, Meta(ge=1, le=1000)] = 100
    shape: Round | Square | None = None
    like: Annotated[str, Meta(extra={"names": "holes"})] = ""


class Link(Table, frozen=True, kw_only=True):
    port: Port = 1883
    key_file: ExistingFile | None = None
    least_s: float = 1.0
    most_s: float = 2.0

    def mistakes(self) -> list[str]:
        return [] if self.least_s <= self.most_s else ["most_s: expected least_s or more"]


class Board(Table, frozen=True, kw_only=True):
    title: str
    folder: ExistingFolder | None = None
    log_path: Path = Path("/var/log/board")
    level: Literal["low", "high"] = "low"
    wet: bool = False
    threads: int | Literal["auto"] = "auto"
    link: Link = Link()
    holes: tuple[Hole, ...] = ()
    weights: dict[str, Annotated[int, Meta(ge=0)]] = {}  # noqa: RUF012

    def mistakes(self) -> list[str]:
        return ["title: is taken"] if self.title == "taken" else []


def read(text: str | bytes, folder: Path) -> Board:
    path = folder / "board.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_settings(path, Board)


def mistakes(text: str | bytes, folder: Path) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        read(text, folder)
    return caught.value.mistakes


def test_what_is_not_in_the_file_has_its_default(tmp_path: Path) -> None:
    assert read('title = "a"', tmp_path) == Board(title="a")


def test_everything_in_the_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    text = """
        title = "a"
        folder = "."
        log_path = "log/x"
        level = "high"
        wet = true
        threads = 3
        weights = { a = 1, "b c" = 2 }
        [link]
        port = 8883
        key_file = "secret"
        [[holes]]
        name = "one"
        shape = { kind = "round", radius_mm = 2 }
        [[holes]]
        name = "two"
        deadline_ms = 5
        like = "one"
    """
    assert read(text, tmp_path) == Board(
        title="a",
        folder=tmp_path,
        log_path=tmp_path / "log/x",
        level="high",
        wet=True,
        threads=3,
        link=Link(port=8883, key_file=tmp_path / "secret"),
        holes=(Hole(name="one", shape=Round(radius_mm=2.0)), Hole(name="two", deadline_ms=5, like="one")),
        weights={"a": 1, "b c": 2},
    )


def test_all_mistakes_are_told_at_once_with_their_full_keys(tmp_path: Path) -> None:
    text = """
        level = "medium"
        [link]
        port = 70000
        [[holes]]
        name = "one"
        like = "one"
        [[holes]]
        name = "two"
        like = "two"
        deadline_ms = "soon"
    """
    assert mistakes(text, tmp_path) == (
        "title: is missing, expected text",
        'level: found "medium", expected one of "high", "low"',
        "link.port: found 70000, expected a whole number from 1 to 65535",
        'holes[1].deadline_ms: found "soon", expected a whole number from 1 to 1000',
    )


def test_the_error_counts_and_lists_its_mistakes(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"board\.toml: 2 mistakes\n  - title: .*\n  - wet: "):
        read("wet = 1", tmp_path)


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("titel = 'b'", "titel: is unknown; did you mean title?"),
        ("link.prot = 1", "link.prot: is unknown; did you mean port?"),
        (
            "qqq = 'secret'",
            "qqq: is unknown; known here: folder, holes, level, link, log_path, threads, title, weights, wet",
        ),
        (
            '"a b" = 1',
            '"a b": is unknown; known here: folder, holes, level, link, log_path, threads, title, weights, wet',
        ),
        ("wet = 1", "wet: found 1, expected true or false"),
        ("link = 4", "link: found 4, expected a table"),
        ("link = []", "link: found an array of 0, expected a table"),
        ("holes = {}", "holes: found a table, expected an array"),
        ("link.port = true", "link.port: found true, expected a whole number from 1 to 65535"),
        ("link.port = 1.0", "link.port: found 1.0, expected a whole number from 1 to 65535"),
        ("link.least_s = nan", "link.least_s: found nan, expected a number"),
        ("link.least_s = -inf", "link.least_s: found -inf, expected a number"),
        ("link.least_s = 1979-05-27", "link.least_s: found the date or time 1979-05-27, expected a number"),
        ("link.key_file = 'none.pem'", "link.key_file: found no file at "),
        ("link.key_file = '.'", "link.key_file: found no file at "),
        ("link.key_file = ''", 'link.key_file: found "", expected the path of a file'),
        ("folder = 'board.toml'", "folder: found no folder at "),
        ("threads = 'many'", 'threads: found "many", expected a whole number or "auto"'),
        ("weights.a = -1", "weights.a: found -1, expected a whole number, at least 0"),
        ("holes = [{name = ''}]", 'holes[0].name: found "", expected text of 1 to 8 characters'),
        ("holes = [{name = 'a'}, {name = 'a'}]", 'holes[1].name: found "a", which holes[0] has already'),
        (
            "holes = [{name = 'a', like = 'b'}]",
            'holes[0].like: found "b", expected the name of one of [[holes]]; known: a',
        ),
        ("holes = [{name = 'a', shape = {}}]", 'holes[0].shape.kind: is missing, expected one of "round", "square"'),
        (
            "holes = [{name = 'a', shape = {kind = 'oval'}}]",
            'holes[0].shape.kind: found "oval", expected one of "round", "square"',
        ),
        (
            "holes = [{name = 'a', shape = {kind = 'round', side_mm = 1}}]",
            "holes[0].shape.side_mm: is unknown; known here: kind, radius_mm",
        ),
        ("link = {least_s = 3, most_s = 2}", "link.most_s: expected least_s or more"),
    ],
)
def test_a_mistake_says_what_was_found_and_what_was_expected(line: str, mistake: str, tmp_path: Path) -> None:
    assert mistakes(f"title = 'a'\n{line}", tmp_path)[0].startswith(mistake)


def test_a_value_under_an_unknown_key_is_not_shown_because_it_may_be_a_secret(tmp_path: Path) -> None:
    assert "hunter2" not in str(mistakes("title = 'a'\nlink.password = 'hunter2'", tmp_path))


def test_what_concerns_several_tables_is_asked_when_each_is_right(tmp_path: Path) -> None:
    assert mistakes("title = 'taken'", tmp_path) == ("title: is taken",)


def test_thousands_of_mistakes_are_cut_short(tmp_path: Path) -> None:
    text = "title = 'a'\nholes = [" + "1, " * 5000 + "]"
    assert len(told := mistakes(text, tmp_path)) == MAX_MISTAKES_SHOWN + 1
    assert told[-1] == f"and {5000 - MAX_MISTAKES_SHOWN} more"


def test_a_syntax_error_is_told_with_its_line(tmp_path: Path) -> None:
    assert "line 3" in mistakes("title = 'a'\n\nwet = = 1", tmp_path)[0]


def test_bytes_that_are_no_text_are_told_with_their_line(tmp_path: Path) -> None:
    assert mistakes(b"title = 'a'\nlevel = '\xff'", tmp_path)[0].startswith("line 2: ")


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert read(b"\xef\xbb\xbftitle = 'a'", tmp_path).title == "a"


def test_a_giant_file_is_not_read(tmp_path: Path) -> None:
    assert "more than" in mistakes(b"#" * (MAX_SETTINGS_BYTES + 1), tmp_path)[0]


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a." * 3000 + "b = 1", "a = " + "9" * 5000, "a = 1e999999"])
def test_a_hostile_document_is_refused_and_nothing_worse(text: str, tmp_path: Path) -> None:
    assert mistakes(text, tmp_path)


def test_a_file_that_is_not_there_is_a_settings_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        read_settings(tmp_path / "none.toml", Board)


@pytest.mark.parametrize("path", ["/dev/zero", ".", "a\0b"])
def test_what_is_no_plain_file_is_a_settings_error(path: str) -> None:
    with pytest.raises(SettingsError):
        read_settings(path, Board)


@pytest.mark.timeout(5)
def test_a_pipe_in_place_of_the_file_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingsError, match="no plain file"):
        read_settings(tmp_path / "pipe", Board)


def test_a_secret_is_read_without_the_end_of_its_line(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(" pass word\n")
    assert read_secret(tmp_path / "password") == " pass word"


def test_a_secret_that_is_no_text_is_a_settings_error(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="no text"):
        read_secret(tmp_path / "password")


_keys = st.sampled_from(["name", "deadline_ms", "shape", "kind", "port", "key_file", "least_s", "like"]) | st.text(
    max_size=5
)
values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.datetimes() | st.dates() | st.times(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=12,
)
documents = st.dictionaries(st.sampled_from(list(Board.__struct_fields__)) | st.text(max_size=5), values, max_size=6)


@given(documents)
@settings(max_examples=150, deadline=None)
def test_any_document_gives_settings_or_a_settings_error(document: dict[str, Any]) -> None:
    try:
        assert isinstance(_settings_from(document, Board, "here", Path("/nowhere")), Board)
    except SettingsError as error:
        assert error.mistakes  # noqa: PT017


@given(st.binary(max_size=200) | st.text(alphabet="abtile_ =.'\"[]{}\n#-:0179,\\", max_size=80).map(str.encode))
@settings(max_examples=150, deadline=None)
def test_any_bytes_give_settings_or_a_settings_error(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.toml"
        path.write_bytes(raw)
        try:
            assert isinstance(read_settings(path, Board), Board)
        except SettingsError as error:
            assert error.mistakes  # noqa: PT017
