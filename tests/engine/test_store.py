"""The database of names: what is unique stays so, whoever writes at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from minidocker.engine.record import ContainerRecord
from minidocker.engine.store import Store
from minidocker.errors import ContainerNotFound, NameInUse, SpecError


def record(number: int, name: str = "") -> ContainerRecord:
    created = f"2025-01-01T00:00:{number % 60:02d}Z"
    return ContainerRecord(id=f"{number:064x}", name=name or f"c{number}", created=created, image="i", image_id="x")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(tmp_path / "deep" / "engine.db")
    assert not (tmp_path / "deep").exists()  # making one touches nothing
    yield found
    found.close()


def test_add_find_and_remove(store: Store) -> None:
    one = record(0xABC, "one")
    store.add(one)
    assert store.find("one") == store.find("/one") == store.find(one.id) == one and store.has(one.id)
    store.remove(one.id)
    store.remove(one.id)  # gone is fine
    assert not store.has(one.id) and store.all() == []
    with pytest.raises(ContainerNotFound, match="No such container: one"):
        store.find("one")


def test_the_beginning_of_an_id(store: Store) -> None:
    ids = ["ab" + "0" * 62, "abc" + "0" * 61, "abf" + "f" * 61, "b" * 64]
    for number, one in enumerate(ids):
        store.add(ContainerRecord(id=one, name=f"c{number}", created="", image="", image_id=""))
    assert [store.find(prefix).id for prefix in ("abc", "abf", "b", "ab0")] == [ids[1], ids[2], ids[3], ids[0]]
    for prefix in ("a", "ab"):
        with pytest.raises(SpecError, match="Multiple IDs"):
            store.find(prefix)
    for odd in ("", "%", "ab%", "a_", "ABC", "'; DROP TABLE containers; --", "é"):
        with pytest.raises(ContainerNotFound):
            store.find(odd)


def test_a_name_goes_before_the_beginning_of_an_id(store: Store) -> None:
    store.add(ContainerRecord(id="abc" + "0" * 61, name="other", created="", image="", image_id=""))
    store.add(ContainerRecord(id="f" * 64, name="abc", created="", image="", image_id=""))
    assert store.find("abc").id == "f" * 64


def test_a_name_belongs_to_one(store: Store) -> None:
    store.add(record(1, "one"))
    for attempt in (lambda: store.add(record(2, "one")), lambda: store.check_name("one")):
        with pytest.raises(NameInUse, match='"/one" is already in use by container "000000000000"') as caught:
            attempt()
        assert caught.value.hint
    store.add(record(2, "two"))
    with pytest.raises(NameInUse):
        store.rename(record(2, "two"), "one")
    renamed = store.rename(record(2, "two"), "three")
    assert renamed.name == "three" and store.find("three") == renamed and store.find(renamed.id) == renamed
    store.check_name("two")
    with pytest.raises(ContainerNotFound):
        store.rename(record(3), "four")


def test_newest_first(store: Store) -> None:
    for number in (3, 1, 2):
        store.add(record(number))
    assert [one.name for one in store.all()] == ["c3", "c2", "c1"]


def test_many_threads_and_two_connections(tmp_path: Path) -> None:
    stores = [Store(tmp_path / "engine.db") for _ in range(2)]
    wins: list[int] = []

    def work(first: int) -> None:
        for number in range(20):
            stores[first % 2].add(record(first * 100 + number))
            try:
                stores[number % 2].add(record(1 << 20 | first * 100 + number, f"wanted{number}"))
                wins.append(number)
            except NameInUse:
                continue

    threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == list(range(20)) and len(stores[0].all()) == len(stores[1].all()) == 180
    for store in stores:
        store.close()
        store.close()


def test_it_opens_again_after_close(store: Store) -> None:
    store.add(record(1))
    store.close()
    assert [one.name for one in store.all()] == ["c1"]
