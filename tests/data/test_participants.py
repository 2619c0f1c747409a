"""The table of participants: BIDS spellings, and all that is wrong with it at once."""

import pytest

from envoi.data.participants import read_participants, write_participants
from envoi.errors import DataError, StorageError

SECRET = "MustermannErika1964"


@pytest.fixture
def read(tmp_path):
    def read(*lines, first="participant_id\tage\tsex"):
        (tmp_path / "participants.tsv").write_text("\n".join([first, *lines]) + "\n")
        return read_participants(tmp_path)

    return read


@pytest.fixture
def refusal(read, tmp_path):
    def refusal(*lines, **options):
        with pytest.raises(DataError) as caught:
            read(*lines, **options)
        assert SECRET not in str(caught.value)
        assert str(tmp_path) not in str(caught.value)
        return str(caught.value)

    return refusal


@pytest.mark.parametrize("column", ["sex", "gender"])
@pytest.mark.parametrize(
    ("text", "sex"),
    [
        *((text, "female") for text in ("f", "F", "female", "FEMALE", "Female")),
        *((text, "male") for text in ("m", "M", "male", "MALE")),
        *((text, None) for text in ("n/a", "N/A", "", "o", "Other")),
    ],
)
def test_every_spelling_of_bids_is_read(read, column, text, sex):
    (row,) = read(f"sub-01\t{text}\t30.5", first=f"participant_id\t{column}\tage").values()
    assert (row.sex, row.age_years, row.line) == (sex, 30.5, 2)


def test_sex_counts_where_gender_is_there_too(read):
    rows = read("sub-01\t30\tm\tf", first="participant_id\tage\tgender\tsex")
    assert rows["sub-01"].sex == "female"


def test_columns_are_found_in_any_case(read):
    rows = read("30	F	sub-01", first="Age	Sex	Participant_ID")
    assert (rows["sub-01"].age_years, rows["sub-01"].sex) == (30, "female")


@pytest.mark.parametrize("column", ["age", "sex", "participant_id"])
def test_a_column_that_is_there_twice_is_refused(refusal, column):
    first = f"participant_id	age	sex	{column.upper()}"
    told = refusal(f"{SECRET}	30	f	40", first=first)
    assert f"expected one column {column}, found 2." in told


def test_a_row_of_more_cells_than_columns_is_refused(refusal):
    told = refusal("sub-01	30	f", f"sub-02	30	{SECRET}	f")
    assert "participants.tsv, line 3: expected a cell for each column, found more of them" in told


def test_an_empty_cell_at_the_end_of_a_row_does_no_harm(read):
    assert read("sub-01\t30\tf\t")["sub-01"].sex == "female"


def test_commas_in_place_of_tabs_are_told(refusal):
    told = refusal(f"{SECRET},30,f", first="participant_id,age,sex")
    assert "expected columns called participant_id and age, found commas in place of tabs." in told


def test_neither_age_nor_sex_need_be_known(read):
    assert read("sub-01\tn/a", first="participant_id\tage")["sub-01"].age_years is None
    assert read("sub-01\t", first="participant_id\tage")["sub-01"].sex is None


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path):
    (tmp_path / "participants.tsv").write_bytes(b"\xef\xbb\xbfparticipant_id\tage\r\nsub-1\t4\r\n")
    assert read_participants(tmp_path)["sub-1"].age_years == 4


def test_a_quote_is_a_sign_like_any_other(read):
    rows = read('sub-01\t30\tf\t"', "sub-02\t40\tm\t", first="participant_id\tage\tsex\tnote")
    assert list(rows) == ["sub-01", "sub-02"]


@pytest.mark.parametrize("age", ["-1", "121", "89+", "thirty", "nan", "inf", "30,5"])
def test_an_age_that_is_none_is_refused_and_not_told(refusal, age):
    assert refusal(f"sub-01\t{age}\tf") == (
        "participants.tsv, line 2: expected an age from 0 to 120 years, or n/a, "
        "found another value. Write the age as a number with a point."
    )


def test_a_sex_that_is_none_is_refused(refusal):
    told = refusal(f"sub-01\t30\t{SECRET}")
    assert "expected a sex among f, m, female, male, other and n/a, found another value" in told


def test_ids_are_those_of_bids_and_stand_once(refusal):
    told = refusal(f"{SECRET}_1\t30\tf", "\t31\tm", f"{SECRET}\t32\tf", f"{SECRET}\t33\tf")
    assert "broken lines" not in told
    assert (
        "participants.tsv, lines 2 and 3: expected a participant_id without "
        "'_', found one with '_' or none. Name it as BIDS does, such as sub-01." in told
    )
    assert "line 5: expected each participant_id once, found that of line 4" in told


def test_all_rows_that_are_wrong_are_told_at_once(refusal):
    assert len(refusal("sub-01\told\tf", "sub-02\t3\tx", "sub_3\t4\tm").splitlines()) == 3


def test_a_table_without_its_columns_is_refused(refusal):
    told = refusal("sub-01\t30", first="name\tyears")
    assert "expected columns called participant_id and age, found 2 others" in told
    assert "columns called age, found 1 other." in refusal(first="participant_id\tyears")


def test_a_table_that_is_none_is_refused(refusal):
    assert "expected a table, found broken lines" in refusal(f"sub-01\t30\t{'f' * 200_000}")


def test_a_missing_table_is_told(tmp_path):
    with pytest.raises(StorageError) as caught:
        read_participants(tmp_path)
    assert str(caught.value).startswith("participants.tsv: expected a table of participants, found")
    assert "columns participant_id and age beside the scans" in str(caught.value)


def test_what_is_written_is_read_back(tmp_path):
    persons = {"sub-01": (30.5, "female"), "sub-02": (None, None)}
    write_participants(tmp_path, persons, {"note": ["a", "b"]})
    text = (tmp_path / "participants.tsv").read_text()
    assert text == (
        "participant_id\tage\tsex\tnote\nsub-01\t30.5\tfemale\ta\nsub-02\tn/a\tn/a\tb\n"
    )
    rows = read_participants(tmp_path)
    assert [(row.age_years, row.sex) for row in rows.values()] == [(30.5, "female"), (None, None)]
