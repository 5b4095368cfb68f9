import csv
import io
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from textualize.datasets import Listing, manifest
from textualize.datasets.tables import class_names, read_table
from textualize.errors import TextualizeError


def table(tmp_path, data, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_table(path)


@pytest.mark.parametrize(
    "delimiter, suffix, said",
    [
        (",", "csv", None), ("\t", "tsv", None),
        (";", "csv", "';'"), ("\t", "csv", "a tab"), (",", "tsv", "','"),
    ],
)  # fmt: skip
def test_the_delimiter_is_found_and_told_when_odd(tmp_path, delimiter, suffix, said):
    text = delimiter.join(["id", "video"]) + "\n" + delimiter.join(["a", "a, b;c.mp4"]) + "\n"
    if delimiter in ",;":
        text = text.replace("a, b;c.mp4", '"a, b;c.mp4"')
    found = table(tmp_path, text, f"t.{suffix}")
    assert found.rows[0].values == {"id": "a", "video": "a, b;c.mp4"}
    assert (said is None) == (not found.notes)
    assert said is None or said in found.notes[0]


def test_bom_quotes_blank_lines_and_line_numbers(tmp_path):
    text = '\ufeffid,transcript\r\n\r\na,"He said ""no"",\r\ntwice"\r\n,\r\nb,"1"   \r\n'
    rows = table(tmp_path, text).rows
    assert [r.values["id"] for r in rows] == ["a", "b"]
    assert rows[0].values["transcript"] == 'He said "no",\r\ntwice'
    assert rows[1].values["transcript"] == "1"
    assert [r.place for r in rows] == ["t.csv:3", "t.csv:6"]


def test_the_byte_that_is_not_utf8_is_named_with_its_line(tmp_path):
    with pytest.raises(TextualizeError, match=r"t.csv:3 is not UTF-8: byte 0xe4 at position 12"):
        table(tmp_path, b"id,video\na,\n\xe4,b\n")


@pytest.mark.parametrize(
    "text, line, said",
    [
        ("id,video\na,b,c\nd,e\n", 2, "3 cells, the header has 2"),
        ("id,video,label\na,b\nd,e,f\n", 2, "2 cells, the header has 3"),
        ('id,video\nd,e\na,"b\nc,f\n', 3, "never closed"),
        ('id,video\nd,e\na,"b', 3, "never closed"),
    ],
)
def test_a_damaged_row_says_so_and_the_others_are_read(tmp_path, text, line, said):
    rows = table(tmp_path, text).rows
    bad = [r for r in rows if r.problem]
    assert [r.place for r in bad] == [f"t.csv:{line}"] and said in bad[0].problem
    assert [r.values["id"] for r in rows if not r.problem] == ["d"]


def test_a_header_over_two_lines_is_one_name(tmp_path):
    assert table(tmp_path, '"Video\n ID",x\na,b\n').columns == ("Video ID", "x")


def test_blank_surplus_cells_are_no_damage(tmp_path):
    (row,) = table(tmp_path, "id,video\na,b,, \n").rows
    assert not row.problem and row.values == {"id": "a", "video": "b"}


@pytest.mark.parametrize(
    "text, said",
    [("", "is empty"), ("id,id\na,b\n", "'id' is there twice"), ("id\n", "no rows")],
)
def test_a_useless_header_is_one_line(tmp_path, text, said):
    with pytest.raises(TextualizeError, match=said):
        table(tmp_path, text)


def test_jsonl_keeps_values_and_tells_damaged_lines(tmp_path):
    lines = ['{"id": "a", "start": 1.5, "x": null}', "[1]", "{", '{"id": "b\u2028c"}', "[" * 9999]
    found = table(tmp_path, "\n".join(lines), "t.jsonl")
    assert found.columns == ("id", "start", "x")
    assert [bool(r.problem) for r in found.rows] == [False, True, True, False, True]
    assert found.rows[0].values == {"id": "a", "start": 1.5, "x": None}
    assert found.rows[3].values["id"] == "b\u2028c"
    assert "t.jsonl:3" == found.rows[2].place and "not JSON" in found.rows[2].problem


def test_parquet_rows_are_those_of_the_csv(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"id": ["a", "b"], "video": ["a.mp4", "b.mp4"], "start": [None, 1.5]}
    parquet.write_table(arrow.table(columns), tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("id,video,start\na,a.mp4,\nb,b.mp4,1.5\n")
    assert manifest.load(tmp_path / "t.parquet").clips == manifest.load(tmp_path / "t.csv").clips
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(TextualizeError, match="bad.parquet is not Parquet"):
        read_table(tmp_path / "bad.parquet")


def test_class_names_come_from_features_that_are_well_formed():
    assert class_names({"y": {"_type": "ClassLabel", "names": [1, "b"]}}) == {"y": ["1", "b"]}
    assert class_names(["y"]) == class_names(None) == class_names({"y": 3}) == {}


CELLS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\0"), max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6), st.sampled_from(",;\t"))
def test_what_the_csv_module_writes_is_read_back(tmp_path_factory, rows, delimiter):
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter)
    writer.writerows([("transcript", "group"), *rows])
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_text(stream.getvalue(), "utf-8", newline="")
    wanted = [tuple(cell.strip() for cell in row) for row in rows if "".join(row).strip()]
    if wanted:
        read = [tuple(v or "" for v in r.values.values()) for r in read_table(path).rows]
        assert read == wanted


HEADERS = st.sampled_from(
    [b"", b"id,video\n", b"transcript;label\n", b"video,start,end,label,context\n", b"\xef\xbb\xbf"]
)
LINES = st.sampled_from(
    [
        b'{"transcript": 1e999, "label": 1}\n', b'{"video": "a", "start": true}\n', b'"\n',
        b'{"video": {"a": []}, "end": NaN}\n', b"a,1,2,0.5,[\n", b"b,2,1:00,x,[1]\n", b"\r\r\n",
        b'{"transcript": "a", "context": [{"text": 3}]}\n', b",,,\n",
        b'{"id": "\\ud800", "video": "\\u0000"}\n',
    ]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    HEADERS,
    st.lists(st.one_of(LINES, st.binary(max_size=40), st.text(max_size=20).map(str.encode))),
    st.sampled_from([".csv", ".tsv", ".jsonl"]),
)
@example(b"", [b"[" * 100_000], ".jsonl")
@example(b"", [b'{"transcript": ' + b"9" * 5000 + b"}"], ".jsonl")
@example(b"", [json.dumps({"transcript": 10**400, "start": 10**400}).encode()], ".jsonl")
@example(b"transcript,x\n", [b'a,"' + b"x" * 200_000], ".csv")
def test_any_bytes_give_a_listing_or_one_error(tmp_path_factory, header, lines, suffix):
    path = tmp_path_factory.mktemp("fuzz") / f"t{suffix}"
    path.write_bytes(header + b"".join(lines))
    try:
        listing = manifest.load(path)
    except TextualizeError as error:
        assert "\n" not in str(error)
        return
    assert isinstance(listing, Listing) and listing.clips
    assert len({c.id for c in listing.clips}) == len(listing.clips)
