"""The engine's database: which containers there are, under which names.

Interface: Store(path): add, rename, update, remove, find, all.  SQLite keeps what must be unique unique (two engines, a thousand starts);
a row is the moment from which a container exists, and its removal the moment from which it does not.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import msgspec

from minidocker.engine.record import ContainerRecord
from minidocker.errors import ContainerNotFound, NameInUse, SpecError
from minidocker.runtime import lock

_SCHEMA = """
CREATE TABLE IF NOT EXISTS containers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    record BLOB NOT NULL
) WITHOUT ROWID
"""
BUSY_TIMEOUT = 30.0  # seconds to wait for another process's transaction


class Store:
    """One connection, shared by this process's threads; opened when first used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def _execute(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[str, str, bytes]]:
        with self._lock:
            if self._connection is None:
                self._connection = self._open()
            return self._connection.execute(statement, values).fetchall()

    def _open(self) -> sqlite3.Connection:
        """Under a lock of our own: to change a new file to WAL, SQLite needs it alone, and does not wait until it has."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
        held = lock.take(f"{self.path}.lock", wait=True)
        try:
            connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")  # a crash of the machine may lose the last row, never the file
            connection.execute(_SCHEMA)
        finally:
            os.close(held)
        return connection

    def add(self, record: ContainerRecord) -> None:
        """From now on the container exists. NameInUse: another has its name."""
        try:
            self._execute("INSERT INTO containers VALUES (?, ?, ?)", (record.id, record.name, msgspec.json.encode(record)))
        except sqlite3.IntegrityError:
            raise self._taken(record.name) from None

    def _taken(self, name: str) -> NameInUse:
        holder = self._execute("SELECT id, name, record FROM containers WHERE name = ?", (name,))
        by = f' by container "{holder[0][0][:12]}"' if holder else ""
        hint = "remove or rename that container, or choose another name"
        return NameInUse(f'The container name "/{name}" is already in use{by}.', hint=hint)

    def check_name(self, name: str) -> None:
        """NameInUse if *name* is taken now: a quick answer before any work; `add` is what decides."""
        if self._execute("SELECT id, name, record FROM containers WHERE name = ?", (name,)):
            raise self._taken(name)

    def rename(self, record: ContainerRecord, new_name: str) -> ContainerRecord:
        """The record under its new name. NameInUse: another has it. ContainerNotFound: it was removed."""
        renamed = msgspec.structs.replace(record, name=new_name)
        change = "UPDATE containers SET name = ?, record = ? WHERE id = ? RETURNING id, name, record"
        try:
            changed = self._execute(change, (new_name, msgspec.json.encode(renamed), record.id))
        except sqlite3.IntegrityError:
            raise self._taken(new_name) from None
        if not changed:
            raise ContainerNotFound(f"No such container: {record.name}")
        return renamed

    def update(self, record: ContainerRecord) -> None:
        """Replace the record of a container, whose name stays. ContainerNotFound: it was removed."""
        change = "UPDATE containers SET record = ? WHERE id = ? AND name = ? RETURNING id, name, record"
        if not self._execute(change, (msgspec.json.encode(record), record.id, record.name)):
            raise ContainerNotFound(f"No such container: {record.name}")

    def has(self, container_id: str) -> bool:
        return bool(self._execute("SELECT id, name, record FROM containers WHERE id = ?", (container_id,)))

    def remove(self, container_id: str) -> None:
        """From now on the container does not exist."""
        self._execute("DELETE FROM containers WHERE id = ?", (container_id,))

    def find(self, name: str) -> ContainerRecord:
        """By exact id, name, or the beginning of an id, in this order as Docker. ContainerNotFound; SpecError: several begin so."""
        rows = self._execute("SELECT id, name, record FROM containers WHERE id = ?1 OR name = ?1", (name.removeprefix("/"),))
        if not rows and name and all(letter in "0123456789abcdef" for letter in name):
            rows = self._execute("SELECT id, name, record FROM containers WHERE id >= ? AND id < ? LIMIT 2", (name, name + "g"))
            if len(rows) > 1:
                raise SpecError(f"Multiple IDs found with provided prefix: {name}", hint="give more of the id")
        if not rows:
            raise ContainerNotFound(f"No such container: {name}", hint="`minidocker ps -a` lists all containers")
        return msgspec.json.decode(rows[0][2], type=ContainerRecord)

    def all(self) -> list[ContainerRecord]:
        """Every container, newest first."""
        rows = self._execute("SELECT id, name, record FROM containers")
        records = [msgspec.json.decode(record, type=ContainerRecord) for _, _, record in rows]
        return sorted(records, key=lambda record: record.created, reverse=True)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
