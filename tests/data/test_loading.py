"""Files become data sets, and what is wrong with a file is said with its place."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.data import Dataset, loading, read_csv, read_npy, read_npz
from tests.conftest import each

TABLE = """height,width,kind,price
1.5,2,cat,0.5
-3e2,4,dog,1
.25,-6,cat,2.5
"""


@pytest.fixture
def table(tmp_path):
    def write(text: str | bytes):
        path = tmp_path / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


# Tables


def test_text_becomes_classes_in_sorted_order(table):
    data = read_csv(table(TABLE), "kind", ["width", "height"])
    assert data.x.dtype == np.float64 and data.x.flags.c_contiguous
    assert data.x.tolist() == [[2, 1.5], [4, -300], [-6, 0.25]]
    assert data.y.tolist() == [0, 1, 0] and data.y.dtype == np.int64
    assert data.class_names == ("cat", "dog") and data.feature_names == ("width", "height")
    assert not data.held_out


def test_other_numbers_become_a_regression_target(table):
    data = read_csv(table(TABLE), "price", features=("height",))
    assert data.y.tolist() == [[0.5], [1], [2.5]] and data.class_names is None


def test_whole_numbers_are_labels_as_they_stand(table):
    data = read_csv(table("a,y\n1,3\n2,0\n"), "y")
    assert data.y.tolist() == [3, 0] and data.class_names is None and data.classes == 4
    assert data.feature_names == ("a",)


def test_long_whole_numbers_are_labels_none_of_which_are_merged(table):
    largest = 2**63 - 1
    data = read_csv(table(f"a,y\n1,{largest}\n2,{largest - 1}\n3,+{largest}\n4,0\n"), "y")
    assert data.y.tolist() == [largest, largest - 1, largest, 0] and data.class_names is None


@pytest.mark.parametrize("largest", [2**63, 2**64 + 1, 10**5000], ids=["2**63", "2**64", "10**5000"])
def test_whole_numbers_beyond_labels_are_named_classes(table, largest):
    large = "1" + "0" * 5000 if largest == 10**5000 else str(largest)
    other = large[:-1] + ("1" if large[-1] != "1" else "2")
    data = read_csv(table(f"a,y\n1,{large}\n2,{other}\n3,{large}\n4,7\n"), "y")
    assert [data.class_names[label] for label in data.y] == [large, other, large, "7"]


@pytest.mark.parametrize(
    ("text", "column", "called"),
    [
        (",a,y\n0,1,0\n1,2,1\n", "1 of 3", ""),  # as pandas writes a table
        ("a,y,\n1,0,\n2,1,\n", "3 of 3", ""),  # with a delimiter at the end of each line
        ("a, ,y,\n1,5,0,6\n", "2 of 4", ""),
        ("Unnamed: 0,a,y\n0,1,0\n1,2,1\n", "1 of 3", ", called 'Unnamed: 0'"),  # read by pandas and written again
    ],
)
def test_a_column_without_a_name_is_refused_with_the_reason(table, text, column, called):
    path = table(text)
    match = (
        f"^{re.escape(str(path))} has no name for column {column}{called}, which most often is a row number that "
        r"pandas wrote; write the file with to_csv\(path, index=False\), .* or choose columns with features=\[...\]$"
    )
    with pytest.raises(ValueError, match=match):
        read_csv(path, "y")
    assert read_csv(path, "y", features=["a"]).feature_names == ("a",)


def test_a_column_without_a_name_cannot_be_chosen(table):
    path = table(",a,y\n0,1,0\n1,2,1\n")
    for target, features in (("y", ["", "a"]), ("", ["a"])):
        with pytest.raises(ValueError, match="has no name for column 1 of 3"):
            read_csv(path, target, features)


def test_negative_whole_numbers_are_named_classes(table):
    data = read_csv(table("y,a\n-1,1\n+1,2\n"), "y")
    assert [data.class_names[label] for label in data.y] == ["-1", "+1"]


def test_the_task_can_be_said(table):
    path = table("a,y\n1,300000\n2,250000\n3,1e5\n")
    assert read_csv(path, "y").y.tolist() == [[3e5], [2.5e5], [1e5]]
    assert read_csv(table("a,y\n1,30\n2,25\n"), "y", task="regression").y.tolist() == [[30], [25]]
    data = read_csv(table("a,y\n1,0.5\n2,1.5\n"), "y", task="classification")
    assert data.y.tolist() == [0, 1] and data.class_names == ("0.5", "1.5")


def test_quotes_blank_lines_spaces_byte_order_mark_and_windows_line_ends(table):
    text = '\ufeff"a, m",b ,y\r\n 1 ,"2","x ""q"", z"\r\n\r\n3, 4,ü\r\n'
    data = read_csv(table(text), "y")
    assert data.feature_names == ("a, m", "b")
    assert data.x.tolist() == [[1, 2], [3, 4]] and data.class_names == ('x "q", z', "ü")


@pytest.mark.parametrize("wrong", [",", ";", "\t", "|", " "])
@pytest.mark.parametrize("right", [",", ";", "\t", "|"])
@pytest.mark.parametrize("content", ["a,b,y\n1,2,0\n", "a,b,y\n1.5,2,0\n\n2.5,3\n", "a,y\n1 | 2; 3\t4 5,0\n"])
def test_another_delimiter_than_that_of_the_file_is_told(table, content, right, wrong):
    if wrong == right:
        return
    with pytest.raises(ValueError) as caught:
        read_csv(table(content.replace(",", right)), "y", delimiter=wrong)
    header = content.partition("\n")[0].replace(",", right)
    expected = f"one column, {header!r}, with delimiter={wrong!r}; did you mean delimiter={right!r}?"
    assert str(caught.value).endswith(expected)


@pytest.mark.parametrize("content", ['"a";"y"\n1;0\n', 'a\n"1";"0"\n'])
def test_another_delimiter_between_quoted_fields_is_told(table, content):
    with pytest.raises(ValueError, match="is not a table of UTF-8 text with ',' between fields"):
        read_csv(table(content), "y")


def test_a_usual_delimiter_may_be_part_of_a_name(table):
    assert read_csv(table("a;b,y\n1,0\n2,1\n"), "y").feature_names == ("a;b",)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters(table, delimiter):
    data = read_csv(table(TABLE.replace(",", delimiter)), "kind", ["width"], delimiter)
    assert data.x.tolist() == [[2], [4], [-6]]


@given(st.lists(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 3), min_size=1, max_size=20))
def test_every_float_comes_back_exactly(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    path.write_text("a,b,y\n" + "".join(",".join(map(repr, row)) + "\n" for row in rows))
    data = read_csv(path, "y")
    np.testing.assert_array_equal(np.hstack([data.x, data.y]), np.array(rows))


@pytest.mark.parametrize("missing", ["", " ", "NA", "nan", "NaN", "?", "N/A", "NULL", "null", "None", "<NA>", "#N/A"])
def test_missing_values_are_located(table, missing):
    path = table(f"a,b,y\n1,2,0\n{missing},2,1\n\n1,2,{missing}\n")
    match = (
        rf"^{re.escape(str(path))} has 2 entries missing: line 3, column 'a'; line 5, column 'y'; "
        "fill them in or remove the rows$"
    )
    with pytest.raises(ValueError, match=match):
        read_csv(path, "y")
    assert len(read_csv(table(f"a,b,y\n1,{missing},0\n"), "y", ["a"])) == 1  # columns that are not read may have gaps


def test_only_the_first_of_many_places_are_shown(table):
    path = table("a,y\n" + "?,0\n" * 40)
    with pytest.raises(ValueError, match="has 40 entries missing: line 2, .*; line 6, column 'a'; ...; fill them in"):
        read_csv(path, "y")
    path = table("a,y\n" + "x,0\n" * 6)
    with pytest.raises(
        ValueError, match="has 6 entries not finite numbers: 'x' in line 2, .* line 6, column 'a'; ...; "
    ):
        read_csv(path, "y")


@pytest.mark.parametrize("text", ["abc", "1,5", "inf", "-Infinity", "1e999", "1_000", "0x10", "12 %"])
def test_features_that_are_not_numbers_are_shown(table, text):
    path = table(f'a,b,y\n1,2,0\n3,"{text}",1\n')
    match = rf"has 1 entry not finite numbers: '{re.escape(text)}' in line 3, column 'b'; choose numeric columns"
    with pytest.raises(ValueError, match=match):
        read_csv(path, "y")
    with pytest.raises(ValueError, match="in line 3, column 'b'"):
        read_csv(path, "b", ["a"], task="regression")


# Fields that the two ways to read a table might take for different numbers, or for none.
FIELDS = [
    "1",
    "-2.5",
    "+3e-2",
    ".5",
    "7.",
    " 8 ",
    "1e999",
    "inf",
    "nan",
    "",
    "NA",
    "?",
    "1_0",
    "0x1",
    "\u0661",
    "a",
    "1 2",
]
FIELDS += ['"1"', '"a,b"', 'a"b', "#1", "1\t", "\x0b1", "2\x85", "1d3", "1e", "--1"]


@given(
    st.lists(st.sampled_from(FIELDS), min_size=0, max_size=2),
    st.integers(0, 7),
    st.sampled_from(["a,y", "a,y,b", "y,a", "a,,y", "a,a,y", "y", "", " a ,y", "a,y,Unnamed: 2"]),
    st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\r\n\r\n", "\r\r"]),
    st.sampled_from([None, "regression", "classification"]),
    st.sampled_from([None, ["a"]]),
)
def test_a_plain_table_is_read_as_any_other(tmp_path_factory, odd, place, header, end, task, features):
    """Numbers, with one or two odd fields somewhere; a field more at the end makes a row too long."""
    columns = header.count(",") + 1
    fields = [str(k) for k in range(3 * columns)]
    fields[place : place + len(odd)] = odd
    rows = [fields[i : i + columns] for i in range(0, len(fields), columns)]
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    path.write_bytes(end.join([header, *(",".join(row) for row in rows)]).encode())

    assert_read_as_any_other(path, features, task)


@each(
    "text", ["1,2\n\n3,x", "1,2\r\n\r\n3,x", "1,2\r\r3,x", "1,2\n3,x", "#1,x", "nan,1", "1e999,1", "1,NA", "1,", "1,x,"]
)
def test_what_is_wrong_with_a_plain_table_has_its_place(table, text):
    assert "line" in assert_read_as_any_other(table(f"a,y\n{text}\n"), None, "regression")


def assert_read_as_any_other(path, features, task):
    """What `read_csv` makes of a table is what it makes of one that only the slow parser takes."""

    def outcome():
        try:
            data = read_csv(path, "y", features, task=task)
            return data.x.tolist(), data.y.tolist(), data.feature_names, data.class_names
        except ValueError as error:
            return str(error)

    found = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "_plain", lambda *arguments: None)
        assert found == outcome()
    return found


def test_tables_of_numbers_are_read_by_the_fast_parser(table, monkeypatch):
    monkeypatch.setattr(loading, "_table", lambda *arguments: pytest.fail("slow"))
    for text in (TABLE, TABLE.replace("\n", "\r\n"), "\ufeff" + TABLE):
        assert read_csv(table(text), "kind", ["width"]).x.tolist() == [[2], [4], [-6]]
        assert read_csv(table(text), "price", ["height", "width"]).y.tolist() == [[0.5], [1], [2.5]]


def test_the_line_is_that_of_the_file_also_after_a_quoted_line_break(table):
    with pytest.raises(ValueError, match="'x' in line 4, column 'a'"):
        read_csv(table('a,y\n1,"two\nlines"\nx,one\n'), "y")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "has nothing in it; expected a header of column names and at least one row$"),
        ("\n\n", "has nothing in it"),
        ("a,y\n", "has only a header in it"),
        ("a,y,a\n1,2,3\n", "has 2 columns named 'a'; expected names that differ$"),
        ("a,y\n1,2\n1\n", "has a row of length 1 in line 3; expected 2, as in the header$"),
        ("a,y\n1,2,3\n", "has a row of length 3 in line 2; expected 2, as in the header$"),
        ('a,y\n1,"2\n', "is not a table of UTF-8 text .*unexpected end of data"),
        (b"a,y\n1,\xff\n", "is not a table of UTF-8 text .*can't decode byte 0xff"),
        ("y\n1\n", "has no column but the target 'y'; expected at least one feature$"),
    ],
)
def test_files_that_are_no_table_are_refused(table, text, match):
    path = table(text)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))} {match}"):
        read_csv(path, "y")


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"target": "kinds"}, ValueError, "^target got 'kinds'; expected one of .*; did you mean 'kind'[?]$"),
        ({"features": ["with"]}, ValueError, "^features got 'with'; expected one of .*; did you mean 'width'[?]$"),
        ({"features": ["kind"]}, ValueError, "^features got 'kind', which is the target; expected other columns$"),
        ({"features": ["width", "width"]}, ValueError, "^feature_names got 'width' more than once"),
        ({"features": "width"}, TypeError, "^features got 'width'; expected a list of column names$"),
        ({"features": []}, ValueError, "has no column but the target"),
        ({"features": 3}, TypeError, "^features got 3; expected a list of column names$"),
        ({"delimiter": ",,"}, ValueError, "^delimiter got ',,'; expected one character, such as"),
        ({"delimiter": 3}, ValueError, "^delimiter got 3; expected one character, such as"),
        ({"delimiter": "\n"}, ValueError, r"^delimiter got '\\n'; expected"),
        ({"task": "ranking"}, ValueError, "^task got 'ranking'; expected one of 'classification', 'regression'$"),
    ],
)
def test_arguments_are_checked(table, options, error, match):
    with pytest.raises(error, match=match):
        read_csv(table(TABLE), **{"target": "kind", "features": ["width"], **options})


def test_features_are_read_without_a_target(table):
    assert loading.read_features(table(TABLE), ["price", "width"]).tolist() == [[0.5, 2], [1, 4], [2.5, -6]]
    assert loading.read_features(table('a,b\n1,"2"\n\n3,4\n')).tolist() == [[1, 2], [3, 4]]
    with pytest.raises(ValueError, match="features got 'c'; expected one of 'a', 'b'"):
        loading.read_features(table("a,b\n1,2\n"), ["c"])
    with pytest.raises(ValueError, match="has 1 entry missing: line 3, column 'b'"):
        loading.read_features(table("a,b\n1,2\n1,\n"))


def test_a_missing_file_is_an_os_error(tmp_path):
    for read in (lambda path: read_csv(path, "y"), read_npz, lambda path: read_npy(path, path)):
        with pytest.raises(FileNotFoundError, match="absent"):
            read(tmp_path / "absent")


# Arrays

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.array([0, 2, 1, 0])


def save(folder, x=X, y=Y, **more):
    np.savez(folder / "data.npz", x=x, y=y, **more)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    return folder / "data.npz", folder / "x.npy", folder / "y.npy"


def test_arrays_come_back(tmp_path):
    npz, x_path, y_path = save(tmp_path, extra=np.ones(3), feature_names=list("abc"), class_names=list("pqr"))
    for data in (read_npz(npz), read_npy(x_path, str(y_path))):
        assert isinstance(data, Dataset) and data.x.dtype == np.float32
        np.testing.assert_array_equal(data.x, X)
        np.testing.assert_array_equal(data.y, Y)
    assert read_npz(npz).feature_names == ("a", "b", "c") and read_npz(npz).class_names == ("p", "q", "r")
    np.savez(tmp_path / "other.npz", images=X, targets=X[:, :2])
    assert read_npz(tmp_path / "other.npz", "images", y="targets").y.shape == (4, 2)


def test_an_array_that_is_not_there_is_named(tmp_path):
    path = save(tmp_path)[0]
    with pytest.raises(ValueError, match="^x got 'images'; expected one of 'x', 'y'$"):
        read_npz(path, x="images")
    with pytest.raises(ValueError, match="^y got 'Y'; expected one of 'x', 'y'$"):
        read_npz(path, y="Y")


def test_nan_is_located(tmp_path):
    x = X.copy()
    x[1, 2] = x[3, 0] = np.nan
    npz, x_path, y_path = save(tmp_path, x)
    with pytest.raises(ValueError, match=r"data.npz has 2 entries missing \(NaN\): row 1, column 2; row 3, column 0; "):
        read_npz(npz)
    with pytest.raises(ValueError, match=r"x.npy has 2 entries missing \(NaN\): row 1, column 2; row 3, column 0; "):
        read_npy(x_path, y_path)
    with pytest.raises(ValueError, match=r"row 1, column 'c'; row 3, column 'a'; "):
        read_npz(save(tmp_path, x, feature_names=list("abc"))[0])
    with pytest.raises(ValueError, match=r"y.npy has 1 entry missing \(NaN\): index 1; fill"):
        read_npy(*save(tmp_path, X, np.array([0, np.nan, 1, 2]))[1:])
    with pytest.raises(ValueError, match=r"has 12 entries missing .*row 1, column 1; ...; fill"):
        read_npz(save(tmp_path, X * np.nan)[0])


def test_arrays_that_a_dataset_cannot_hold_are_refused_with_the_path(tmp_path):
    npz, x_path, y_path = save(tmp_path, X.astype(np.uint8))
    with pytest.raises(TypeError, match=r"data.npz: x got dtype uint8; expected float32 or float64 \(for pixels"):
        read_npz(npz)
    with pytest.raises(TypeError, match=r"x.npy and .*y.npy: x got dtype uint8"):
        read_npy(x_path, y_path)
    with pytest.raises(ValueError, match=r"data.npz: y got shape \(3,\); expected \(4,\)"):
        read_npz(save(tmp_path, y=Y[:3])[0])


def test_truncated_files_are_refused(tmp_path):
    paths = save(tmp_path)
    contents = [path.read_bytes() for path in paths]
    for length in range(0, 150, 7):
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content[: len(content) - 1 - length])
        with pytest.raises(ValueError, match="data.npz is not an npz file, or it is damaged"):
            read_npz(paths[0])
        with pytest.raises(ValueError, match="x.npy is not an npy file, or it is damaged"):
            read_npy(*paths[1:])


def test_other_kinds_of_files_are_refused(tmp_path):
    npz, x_path, y_path = save(tmp_path)
    with pytest.raises(ValueError, match="x.npy is not an npz file"):
        read_npz(x_path)
    with pytest.raises(ValueError, match="data.npz is not an npy file"):
        read_npy(npz, y_path)
    with pytest.raises(ValueError, match="y.npy is not an npy file, or it is damaged .Object arrays cannot be loaded"):
        read_npy(*save(tmp_path, y=np.array([{}, {}, {}, {}]))[1:])
    with pytest.raises(
        ValueError, match="data.npz is not an npz file, or it is damaged .Object arrays cannot be loaded"
    ):
        read_npz(npz)
