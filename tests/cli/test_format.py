"""Templates and tables: what Docker prints, and no crash on what anybody may type."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidocker.cli.format import Table, Template, align, go_json, go_text
from minidocker.errors import SpecError

DATA = {
    "Name": "/web",
    "State": {"Status": "running", "Running": True, "Pid": 42, "Health": None},
    "Args": ["-c", "sleep 9"],
    "Config": {"Labels": {"a.b": "1", "role": "db"}, "Env": []},
    "Mounts": [{"Source": "/srv"}],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Name}}", "/web"),
        ("name={{ .Name }} pid={{.State.Pid}}", "name=/web pid=42"),
        ("{{.State.Running}}|{{.State.Health}}|{{.Args}}", "true|<nil>|[-c sleep 9]"),
        ("{{.Config.Labels}}|{{.Config.Env}}", "map[a.b:1 role:db]|[]"),
        ("{{json .Args}}", '["-c","sleep 9"]'),
        ("{{.Args | json}}", '["-c","sleep 9"]'),
        ("{{json .State.Running}} {{json .State.Health}}", "true null"),
        ('{{index .Config.Labels "a.b"}}|{{index .Config.Labels "nope"}}', "1|"),
        ("{{index .Args 1}}", "sleep 9"),
        ('{{index .Config "Labels" "role"}}', "db"),
        ("{{(index .Mounts 0).Source}}", "/srv"),
        ('{{join .Args ","}}', "-c,sleep 9"),
        ("{{.Name | upper | lower}}", "/web"),
        ("{{len .Args}}", "2"),
        ("{{println .Name}}", "/web\n"),
        ('{{"a}}b"}}', "a}}b"),
        ('{{`a"b`}} {{-7}} {{true}} {{nil}}', 'a"b -7 true <nil>'),
        ("a  {{- .State.Pid -}}  b", "a42b"),
        ("{{/* nothing */}}x", "x"),
        ("plain\\n", "plain\\n"),
        ("", ""),
    ],
)
def test_template_prints_as_docker(template: str, text: str) -> None:
    assert Template(template).render(DATA) == text


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{.Name", "unclosed action"),
        ("{{range .Args}}x{{end}}", "{{range}} is not supported"),
        ("{{if .State}}x{{end}}", "{{if}} is not supported"),
        ("{{$x := 1}}", "unexpected '$x := 1'"),
        ("{{}}", "missing value"),
        ("{{.Nope}}", 'no field "Nope"'),
        ("{{.Name.First}}", 'no field "First"'),
        ("{{nope .Name}}", 'function "nope" not defined'),
        ("{{json}}", "wrong number of arguments"),
        ("{{index .Args 7}}", "cannot index"),
        ("{{index .Name 0}}", "cannot index"),
        ('{{join .Name ","}}', "join needs a list"),
        ("{{len 3}}", "len of 3"),
        ("{{.Name .Args}}", "wrong number of arguments"),
        ("{{(.Name}}", "unclosed left paren"),
        ("{{.Name)}}", "unexpected ')'"),
        ('{{"\\x"}}', "invalid string"),
    ],
)
def test_template_errors_say_what_is_wrong(template: str, why: str) -> None:
    with pytest.raises(SpecError) as caught:
        Template(template).render(DATA)
    assert why in caught.value.message


def test_unknown_field_hint_names_the_fields() -> None:
    with pytest.raises(SpecError) as caught:
        Template("{{.State.Foo}}").render(DATA)
    assert caught.value.hint == "fields here: Status, Running, Pid, Health"


@given(st.text(alphabet='{}.ABjson index|()"`-/* \n\\range0', max_size=40))
@settings(deadline=None)
def test_any_template_renders_or_is_refused(text: str) -> None:
    try:
        Template(text).render({"A": "x", "B": ["y", {"A": 1}]})
    except SpecError as error:
        assert error.message


@given(st.text().filter(lambda text: "{{" not in text))
def test_text_without_actions_is_kept(text: str) -> None:
    assert Template(text).render({}) == text


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_json_action_can_be_read_back(value: object) -> None:
    assert json.loads(Template("{{json .Value}}").render({"Value": value})) == value
    assert isinstance(go_text(value), str)


@given(st.text(alphabet=st.characters(exclude_characters="{}", exclude_categories=["Cs"])), st.text(alphabet="abc "))
def test_fields_stand_where_they_are_named(before: str, value: str) -> None:
    assert Template(before + "{{.A}}" + before).render({"A": value}) == before + value + before


HEADERS = {"ID": "CONTAINER ID", "Image": "IMAGE", "Names": "NAMES", "Labels": "LABELS"}
ROWS = [{"ID": "d328a6daf938", "Image": "busybox", "Names": "xx", "Labels": "", "Label": lambda name: f"<{name}>"}]


def test_plain_table_is_aligned_as_docker_aligns_it() -> None:
    table = Table(HEADERS, ["ID", "Image", "Names"])
    assert table.render(ROWS) == "CONTAINER ID   IMAGE     NAMES\nd328a6daf938   busybox   xx\n"
    assert table.render([]) == "CONTAINER ID   IMAGE     NAMES\n"
    assert table.render(ROWS, "table") == table.render(ROWS)


def test_table_template_has_headers_and_escapes() -> None:
    table = Table(HEADERS, ["ID"])
    assert table.render(ROWS, r"table {{.Names}}\t{{.Image}}") == "NAMES     IMAGE\nxx        busybox\n"
    assert table.render(ROWS, 'table {{.Names}}\\t{{.Label "role"}}') == "NAMES     role\nxx        <role>\n"
    assert table.render(ROWS, "table {{.Names}} {{.Image}} x") == "NAMES IMAGE x\nxx busybox x\n"


def test_bare_template_and_json_give_a_line_for_each_row() -> None:
    table = Table(HEADERS, ["ID"])
    assert table.render(ROWS * 2, r"{{.ID}}\t{{.Image}}") == "d328a6daf938\tbusybox\n" * 2
    assert table.render(ROWS, "json") == '{"ID":"d328a6daf938","Image":"busybox","Labels":"","Names":"xx"}\n'
    assert table.render(ROWS, "{{json .}}") == table.render(ROWS, "json").replace('"Labels":"","Names":"xx"', '"Names":"xx","Labels":""')
    assert table.render([], "json") == table.render([], "{{.ID}}") == ""


@given(st.lists(st.lists(st.text(alphabet="abé "), min_size=2, max_size=2), min_size=1, max_size=5))
def test_aligned_cells_start_in_the_same_column(lines: list[list[str]]) -> None:
    columns = {len(line) - len(second) for line, (_, second) in zip(align(lines).split("\n"), lines, strict=False)}
    assert len(columns) == 1
    assert columns.pop() >= 10


def test_go_json_has_no_blanks_and_keeps_letters() -> None:
    assert go_json({"a": ["é", "<none>"]}) == '{"a":["é","<none>"]}'
