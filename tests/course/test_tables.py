"""Source, Table and Comparison: what a cell shows, and the twin that tests compare."""

from __future__ import annotations

import html
import inspect
import os
import re

import pytest

from minidocker.course.child import Child
from minidocker.course.tables import Comparison, Source, Table
from minidocker.linux import namespaces


def text_of(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", markup))


@pytest.mark.parametrize("thing", [namespaces.unshare, Table, namespaces])
def test_source_shows_the_whole_text_and_where_it_stands(thing):
    shown = Source(thing)
    assert inspect.getsource(thing).rstrip() in text_of(shown._repr_html_())
    assert shown.module.replace(".", "/") + ".py" in text_of(shown._repr_html_())


def test_the_twin_of_source_is_its_name():
    assert repr(Source(namespaces.unshare)) == "source of minidocker.linux.namespaces.unshare"
    assert repr(Source(Table._repr_html_)) == "source of minidocker.course.tables.Table._repr_html_"
    assert repr(Source(namespaces)) == "source of minidocker.linux.namespaces"


def test_a_table_is_aligned_as_text_and_escaped_as_html():
    table = Table(["who", "sees"], [["host", 12], ["<b>", "left & right"]])
    assert repr(table) == "who   sees\nhost  12\n<b>   left & right"
    assert "<td" in table._repr_html_()
    assert "&lt;b&gt;" in table._repr_html_()


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="as many cells"):
        Table(["a", "b"], [["1"]])


def test_a_process_compared_with_itself_is_the_same_in_everything():
    assert {row[1] for row in Comparison(os.getpid()).rows} == {"same"}


def test_what_a_child_changed_is_different_and_nothing_else():
    child = Child()
    try:
        child.run(
            """
            import os
            from minidocker.linux import capabilities, mounts, namespaces, syscalls
            namespaces.unshare("uts", "mnt", "net")
            mounts.make_private("/", recursive=True)
            syscalls.mount("tmpfs", "/mnt", "tmpfs")
            capabilities.set_to(capabilities.mask(["CAP_CHOWN", "CAP_KILL"]))
            """.replace("\n            ", "\n")
        )
        rows = {what: (compared, there) for what, compared, there in Comparison(child.pid).rows}
    finally:
        child.end()
    different = {what: there for what, (compared, there) in rows.items() if compared == "different"}
    assert different == {
        "uts namespace": "",
        "mnt namespace": "",
        "net namespace": "",
        "mount points": "",
        "network links": "lo",
        "capabilities": "2 in effect",
    }
