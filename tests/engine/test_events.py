"""The log of events: written by many processes, read and followed by others, renamed when it has grown."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidocker.engine.docker_json_limits import event as as_json
from minidocker.engine.engine import Engine
from minidocker.engine.events import Event, Events, matches, parse
from minidocker.errors import SpecError
from minidocker.runtime import events as log

SOON = 30.0  # seconds that an event may take on a busy machine


@pytest.fixture
def run(tmp_path: Path) -> Iterator[str]:
    yield str(tmp_path)


def names(events: Events) -> list[str]:
    return [event.attributes["name"] for event in events]


def write_many(run: str, who: str, count: int) -> None:
    for number in range(count):
        log.write(run, "start", who, {"name": f"{who}{number}", "padding": "x" * 200})


def test_what_was_and_what_comes(run: str) -> None:
    log.write(run, "create", "a", {"name": "one"})
    between = time.time()
    with Events(run, until=time.time() + SOON) as new, Events(run, since=between, until=time.time() + SOON) as late:
        log.write(run, "start", "a", {"name": "two"})
        assert next(new) == next(late)
        threading.Timer(0.2, log.write, (run, "die", "a", {"name": "three"})).start()
        assert next(new).action == "die", "it waits"
    assert names(Events(run, follow=False)) == ["one", "two", "three"]
    assert names(Events(run, since=between, follow=False)) == ["two", "three"]
    assert names(Events(run, since=0, until=between)) == ["one"]
    assert names(Events(run, until=time.time() + 0.1)) == [], "the end comes by itself"


def test_filters(run: str) -> None:
    log.write(run, "create", "abcdef", {"name": "web", "image": "busybox:latest", "role": "db"})
    log.write(run, "exec_create: sh", "abcdef", {"name": "web", "image": "busybox:latest", "role": "db"})
    for filters, count in (
        ({"container": ["web"]}, 2),
        ({"container": ["abc"]}, 2),
        ({"container": ["x", "abcdef"]}, 2),
        ({"event": ["exec_create"]}, 1),
        ({"event": ["create"], "image": ["busybox"]}, 1),
        ({"label": ["role"]}, 2),
        ({"label": ["role=x"]}, 0),
        ({"type": ["network"]}, 0),
    ):
        assert len(list(Events(run, follow=False, filters=filters))) == count, filters
    with pytest.raises(SpecError, match="invalid filter 'colour'") as caught:
        Events(run, filters={"colour": ["red"]})
    assert caught.value.hint


def test_several_writers_and_followers_through_renames(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is lost, doubled or mixed, though the log is renamed under their hands."""
    monkeypatch.setattr(log, "LARGE", 70_000)
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=write_many, args=(run, who, 100)) for who in "abcd"]
    with Events(run, until=time.time() + SOON) as one, Events(run, until=time.time() + SOON) as other:
        for writer in writers:
            writer.start()
        heard = [next(one).attributes["name"] for _ in range(400)]
        for writer in writers:
            writer.join()
        assert sorted(heard) == sorted(f"{who}{number}" for who in "abcd" for number in range(100))
        for who in "abcd":
            assert [name for name in heard if name.startswith(who)] == [f"{who}{number}" for number in range(100)]
        assert next(other).attributes["name"]
    assert Path(f"{log.log_path(run)}.1").stat().st_size > 70_000


def test_a_broken_line_is_passed_over(run: str) -> None:
    log.write(run, "create", "a", {"name": "one"})
    with open(log.log_path(run), "ab") as file:
        file.write(b'{"time": 1, "ty\n[]\n\n{"time": "x"}\n')
    log.write(run, "die", "a", {"name": "two"})
    assert names(Events(run, follow=False)) == ["one", "two"]


@given(st.binary(max_size=100))
def test_any_line_is_an_event_or_nothing(line: bytes) -> None:
    assert len(parse(line)) <= 1


def test_docker_form() -> None:
    told = as_json(Event(1_795_509_000_000_000_001, "container", "die", "abc", {"image": "busybox", "name": "web", "exitCode": "3"}))
    assert (told["Type"], told["Action"], told["Actor"]["ID"], told["from"]) == ("container", "die", "abc", "busybox")
    assert (told["time"], told["timeNano"], told["status"], told["id"]) == (1_795_509_000, 1_795_509_000_000_000_001, "die", "abc")
    assert matches(Event(1, "container", "die", "abc", {}), {})


def test_a_life(engine: Engine) -> None:
    container = engine.containers.create("busybox", ["sleep", "1000"], name="old", labels={"role": "db"})
    container.start()
    container.rename("new")
    container.exec_run(["sh", "-c", "exit 4"])
    container.stop(0)
    container.remove()
    told = list(engine.events(follow=False))
    assert [event.action for event in told] == [
        "create", "start", "rename", "exec_create: sh -c exit 4", "exec_start: sh -c exit 4", "exec_die", "kill", "kill", "die",
        "stop", "destroy",
    ]  # fmt: skip
    by_action = {event.action: event.attributes for event in told}
    assert by_action["create"] == {"role": "db", "image": "busybox", "name": "old"}
    assert by_action["rename"]["oldName"] == "/old"
    assert by_action["die"] == {"role": "db", "image": "busybox", "name": "new", "exitCode": "137"}, "the monitor has heard of the new name"
    assert by_action["exec_die"]["exitCode"] == "4" and by_action["exec_die"]["execID"]
    assert {event.id for event in told} == {container.id}
