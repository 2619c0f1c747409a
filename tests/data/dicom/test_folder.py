"""Folders, labels and prepared sets: what is found, what is refused, and that nobody is named."""

import csv
import re
import subprocess

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLSLossless

from envoi.data import load_table
from envoi.data.dicom import DicomReading, scan_dicom
from envoi.data.dicom.labels import hidden_by, read_labels
from envoi.data.dicom.pseudonyms import Pseudonyms
from envoi.data.dicom.set import write_dicom_set
from envoi.data.prepared import Pictures
from envoi.errors import DataError, SettingsError, StorageError
from envoi.types import ImageSpec
from tests.data.dicom.files import RADIOGRAPH, SECRET, dicom, item, without_extra

GREY = np.full((8, 8), 100, np.uint8)


@pytest.fixture
def put(tmp_path):
    """Writes files of a folder, by name."""

    def put(**files):
        for name, file in files.items():
            path = tmp_path / "images" / SECRET / f"{name}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            file.save_as(path, enforce_file_format=True)
        return tmp_path / "images"

    return put


@pytest.fixture
def labels(tmp_path):
    """Reads a table that is made of its lines."""

    def labels(*lines, header="SOPInstanceUID,label", **options):
        path = tmp_path / "labels.csv"
        path.write_text("\n".join([header, *lines]) + "\n")
        return read_labels(path, **options)

    return labels


def refused(*arguments, error=DataError, **options):
    with pytest.raises(error) as caught:
        scan_dicom(*arguments, **options)
    for secret in (SECRET, "17", "A1", "1.2.3"):
        assert secret not in str(caught.value)
    return str(caught.value)


class TestLabels:
    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("SOPInstanceUID", "1.5"),
            ("SeriesInstanceUID", "1.2.3.4"),
            ("StudyInstanceUID", "1.2.3"),
            ("AccessionNumber", "A1"),
        ],
    )
    def test_any_of_four_names_finds_an_image(self, key, value, put, labels):
        found = scan_dicom(
            put(a=dicom(GREY, uid="1.5")), labels(f"{value},x", header=f"{key},label")
        )
        assert [(row.label, row.frame, row.patient) for row in found.rows] == [("x", 0, 0)]

    def test_pseudonymous_files_are_found_by_a_table_that_is_not(self, put, labels):
        made = Pseudonyms(bytes(32))
        file = dicom(GREY, uid=made.uid("1.5"), AccessionNumber=made.accession("A1"))
        folder, hidden = put(a=file), hidden_by(made)
        for line, header in (("1.5,x", "SOPInstanceUID,label"), ("A1,x", "AccessionNumber,label")):
            table = labels(line, header=header, hidden=hidden)
            assert len(scan_dicom(folder, table).rows) == 1

    @pytest.mark.parametrize("header", ["name,label", "SOPInstanceUID,StudyInstanceUID,label"])
    def test_one_column_names_images(self, header, labels):
        with pytest.raises(DataError, match="expected one column that names images"):
            labels(",".join("x" * (1 + header.count(","))), header=header)

    @pytest.mark.parametrize("header", ["SOPInstanceUID,class", "SOPInstanceUID,label,label"])
    def test_a_missing_column_of_labels_is_told_with_the_option_that_names_one(
        self, header, labels
    ):
        with pytest.raises(DataError, match="expected one column called 'label'") as caught:
            labels("1.5,x", header=header)
        assert "--label-column NAME" in str(caught.value)
        assert "--column" not in str(caught.value)

    def test_a_column_of_another_name_is_read(self, put, labels):
        table = labels("1.5,x,9", header="SOPInstanceUID,class,patient_id", label="class")
        assert table.rows["1.5"].label == "x"  # and no advice on patients, whom files tell

    @pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs")])
    def test_other_separators_are_told_as_such(self, separator, name, labels):
        header = f"SOPInstanceUID{separator}label"
        with pytest.raises(DataError, match=f"commas between them, found {name}. Save the table"):
            labels(f"1.5{separator}x", header=header)

    def test_a_name_stands_once(self, labels):
        with pytest.raises(DataError, match="found one also in line 2"):
            labels("1.5,x", "1.5,y")

    def test_a_line_without_files_is_refused(self, put, labels):
        message = refused(put(a=dicom(GREY, uid="1.5")), labels("1.5,x", "1.7,y"))
        assert "labels, line 3: expected files of what each line names, found none" in message

    def test_lines_without_files_are_told_together(self, put, labels):
        lines = [f"1.{n},y" for n in range(30, 80)]
        message = refused(put(a=dicom(GREY, uid="1.5")), labels("1.5,x", *lines))
        assert "labels, lines 3, 4, 5, 6, 7 and 45 more: expected files of what each" in message

    def test_lines_without_files_are_passed_over_by_permission(self, put, labels):
        folder = put(a=dicom(GREY, uid="1.5"))
        found = scan_dicom(folder, labels("1.5,x", "1.7,y", "1.8,y"), allow_missing=True)
        assert (len(found.rows), found.missing) == (1, 2)

    def test_no_permission_makes_a_set_of_nothing(self, put, labels):
        folder = put(a=dicom(GREY, uid="1.5"))
        assert "labels, line 2" in refused(folder, labels("1.7,y"), allow_missing=True)

    @pytest.mark.parametrize("key", [None, Pseudonyms(bytes(32))])
    @pytest.mark.parametrize(("listed", "borne"), [("123", "00123"), ("00123", "123")])
    def test_zeros_that_a_spreadsheet_took_away_are_told(self, key, listed, borne, put, labels):
        number = key.accession(borne) if key else borne
        folder = put(a=dicom(GREY, uid="1.5", AccessionNumber=number))
        table = labels(f"{listed},x", header="AccessionNumber,label", hidden=key and hidden_by(key))
        message = refused(folder, table)
        assert "labels, line 2: expected files of what each line names, found some whose" in message
        assert "other zeros at its beginning. Write the numbers as the files have them" in message
        assert listed not in message
        other = labels("124,x", header="AccessionNumber,label", hidden=key and hidden_by(key))
        assert "zeros" not in refused(folder, other)

    def test_a_key_that_is_another_is_told_as_such(self, put, labels):
        key, other = Pseudonyms(bytes(32)), Pseudonyms(bytes([1]) * 32)
        folder = put(a=dicom(GREY, uid=key.uid("1.5")))
        message = refused(folder, labels("1.5,x", hidden=hidden_by(other)))
        assert "--pseudonyms: the one given is another key" in message
        message = refused(folder, labels("1.5,x", "1.7,y", hidden=hidden_by(key)))
        assert "labels, line 3" in message
        assert "key" not in message
        assert "give their key" in refused(folder, labels("1.5,x"))

    def test_files_without_a_line_are_counted(self, put, labels):
        folder = put(a=dicom(GREY, uid="1.5"), b=dicom(GREY, uid="1.6"))
        (folder / "notes.txt").write_text("")
        found = scan_dicom(folder, labels("1.5,x"))
        assert (len(found.rows), found.unlabelled, found.others) == (1, 1, 1)


class TestPatients:
    def test_a_number_and_its_issuer_tell_patients_apart(self, put, labels):
        folder = put(
            a=dicom(GREY, uid="1.1", PatientID="17", IssuerOfPatientID="one"),
            b=dicom(GREY, uid="1.2", PatientID="18"),
            c=dicom(GREY, uid="1.3", PatientID="17 ", IssuerOfPatientID=" one"),
            d=dicom(GREY, uid="1.4", PatientID="17", IssuerOfPatientID="other"),
        )
        found = scan_dicom(folder, labels(*(f"1.{n},x" for n in range(1, 5))))
        assert [row.patient for row in found.rows] == [0, 1, 0, 2]

    @pytest.mark.parametrize(
        ("issuers", "places"),
        [
            (("", SECRET, ""), "1 and 2"),
            ((SECRET, "", SECRET), "1 and 2"),
            ((SECRET, "x", ""), "1 and 3"),
        ],
    )
    def test_a_number_with_and_without_an_issuer_is_refused(self, issuers, places, put, labels):
        files = {
            f"f{n}": dicom(GREY, uid=f"1.{n}", IssuerOfPatientID=issuer)
            for n, issuer in enumerate(issuers)
        }
        message = refused(put(**files), labels(*(f"1.{n},x" for n in range(3))))
        assert "one person under a patient's number, found a number with an issuer in" in message
        assert f"files {places} in name order: expected one person" in message
        assert message.count("name order") == 1

    def test_a_file_of_nobody_is_refused(self, put, labels):
        assert "expected a patient's number" in refused(
            put(a=dicom(GREY, uid="1.1", PatientID="")), labels("1.1,x")
        )

    @pytest.mark.parametrize(
        "values",
        [
            {"PatientBirthDate": ("19500101", "19600101")},
            {"PatientSex": ("F", "M")},
            {"PatientName": (SECRET, f"{SECRET}^Max")},
        ],
    )
    def test_two_people_under_one_number_are_refused(self, values, put, labels):
        ((keyword, (first, second)),) = values.items()
        folder = put(
            a=dicom(GREY, uid="1.1", **{keyword: first}),
            b=dicom(GREY, uid="1.2", **{keyword: second}),
            c=dicom(GREY, uid="1.3", PatientName=""),
        )
        table = labels("1.1,x", "1.2,x", "1.3,x")
        message = refused(folder, table)
        assert "files 1 and 2 in name order: expected one person under a patient's nu" in message
        assert message.count("file") == 1
        assert "--allow-shared-ids" in message
        found = scan_dicom(folder, table, allow_shared_ids=True)
        assert [row.patient for row in found.rows] == [0, 0, 0]

    @pytest.mark.parametrize(
        "other",
        [
            {"PatientName": f"{SECRET.upper()}^^"},
            {"PatientName": f" {SECRET}="},
            {"PatientName": "", "PatientSex": ""},
            {"PatientSex": "F "},
        ],
    )
    def test_one_person_who_is_written_in_two_ways_is_one(self, other, put, labels):
        folder = put(a=dicom(GREY, uid="1.1", PatientSex="F"), b=dicom(GREY, uid="1.2", **other))
        found = scan_dicom(folder, labels("1.1,x", "1.2,x"))
        assert [row.patient for row in found.rows] == [0, 0]

    def test_issuers_make_no_difference_if_that_is_permitted(self, put, labels):
        folder = put(
            a=dicom(GREY, uid="1.1"),
            b=dicom(GREY, uid="1.2", IssuerOfPatientID="north"),
            c=dicom(GREY, uid="1.3", IssuerOfPatientID="south"),
        )
        table = labels("1.1,x", "1.2,x", "1.3,x")
        assert "--allow-shared-ids" in refused(folder, table)
        found = scan_dicom(folder, table, allow_shared_ids=True)
        assert [row.patient for row in found.rows] == [0, 0, 0]

    @pytest.mark.parametrize("key", ["AccessionNumber", "StudyInstanceUID", "SeriesInstanceUID"])
    def test_a_line_that_names_two_patients_is_refused(self, key, put, labels):
        folder = put(
            a=dicom(GREY, uid="1.1", PatientID="17"),
            b=dicom(GREY, uid="1.2", PatientID="17"),
            c=dicom(GREY, uid="1.3", PatientID="18"),
            d=dicom(GREY, uid="1.4", PatientID="18"),
        )
        value = {"AccessionNumber": "A1", "StudyInstanceUID": "1.2.3"}.get(key, "1.2.3.4")
        message = refused(folder, labels(f"{value},x", header=f"{key},label"))
        assert (
            "labels, line 2; DICOM folder, files 1 and 3 in name order: expected one patient "
            "under what a line names, found 2. Name the images by another UID" in message
        )
        assert len(message.splitlines()) == 1
        table = labels(*(f"1.{number},x" for number in range(1, 5)))
        assert [row.patient for row in scan_dicom(folder, table).rows] == [0, 0, 1, 1]


class TestHeaders:
    @pytest.mark.parametrize(
        ("values", "expected", "permission"),
        [
            ({"BurnedInAnnotation": "YES"}, "without annotations", {"allow_burned_in": True}),
            ({"Modality": "US"}, "BurnedInAnnotation NO", {"allow_burned_in": True}),
            ({"Modality": "ES"}, "BurnedInAnnotation NO", {"allow_burned_in": True}),
            (
                {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.1"},
                "BurnedInAnnotation NO",
                {"allow_burned_in": True},
            ),
            (
                {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
                "BurnedInAnnotation NO",
                {"allow_burned_in": True},
            ),
            (
                {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.2"},
                "BurnedInAnnotation NO",
                {"allow_burned_in": True},
            ),
            (
                {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.6", "Modality": "SM"},
                "BurnedInAnnotation NO",
                {"allow_burned_in": True},
            ),
            (
                {"SpecimenLabelInImage": "YES", "BurnedInAnnotation": "NO"},
                "without annotations",
                {"allow_burned_in": True},
            ),
            (
                {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "IDENTITY"},
                "found IDENTITY with MONOCHROME1",
                {"polarity": "photometric"},
            ),
            ({"PatientOrientation": ["R", "F"]}, "lies as it is read", {"orientation": "stored"}),
        ],
    )
    def test_what_needs_a_permission_has_one(self, values, expected, permission, put, labels):
        folder, table = put(a=dicom(GREY, uid="1.1", **values)), labels("1.1,x")
        assert expected in refused(folder, table)
        found = scan_dicom(folder, table, DicomReading(**permission))
        assert len(found.rows) == 1
        assert found.annotated == ("allow_burned_in" in permission)

    def test_a_missing_window_is_told_by_the_header(self, put, labels):
        deep = dicom(GREY.astype(np.uint16), uid="1.1", BitsStored=12)
        folder, table = put(a=deep), labels("1.1,x")
        assert "one window or VOI table in the file, found none" in refused(folder, table)
        for window in ("stored", "content", "40,400"):
            assert scan_dicom(folder, table, DicomReading(window=window)).rows

    def test_a_window_is_looked_for_in_each_frame_that_is_taken(self, put, labels):
        windows = [item(WindowCenter="40", WindowWidth=width) for width in ("400", "400", "0")]
        groups = [item(FrameVOILUTSequence=[window]) for window in windows]
        file = dicom(np.stack([GREY] * 3), uid="1.1", PerFrameFunctionalGroupsSequence=groups)
        folder, table = put(a=file), labels("1.1,x")
        assert scan_dicom(folder, table, DicomReading(frames="middle")).rows
        assert "a window that makes no sense" in refused(folder, table, DicomReading(frames="all"))

    def test_a_missing_decoder_is_told_by_the_header(self, put, labels, monkeypatch):
        without_extra(monkeypatch, JPEGLSLossless)
        file = dicom(GREY, uid="1.1")
        file.PixelData, file["PixelData"].VR = encapsulate([bytes(10)]), "OB"
        file["PixelData"].is_undefined_length = True
        file.file_meta.TransferSyntaxUID = JPEGLSLossless
        message = refused(put(a=file), labels("1.1,x"))
        assert "found the transfer syntax JPEG-LS Lossless" in message
        assert "pip install '.[decoders]', or export without compression." in message
        file.file_meta.TransferSyntaxUID = "1.2.3.9"
        message = refused(put(a=file), labels("1.1,x"))
        assert "found an unknown transfer syntax. Export without compression." in message

    def test_ultrasound_that_says_it_is_clean_is_taken(self, put, labels):
        folder = put(a=dicom(GREY, uid="1.1", Modality="US", BurnedInAnnotation="NO"))
        assert scan_dicom(folder, labels("1.1,x")).annotated == 0

    @pytest.mark.parametrize("kind", ["77.1.4", "77.1.5.1", "77.1.5.4", "77.1.7"])
    def test_photographs_are_no_captures_of_a_screen(self, kind, put, labels):
        uid = f"1.2.840.10008.5.1.4.1.1.{kind}"
        folder = put(a=dicom(GREY, uid="1.1", SOPClassUID=uid, Modality="XC"))
        assert scan_dicom(folder, labels("1.1,x")).annotated == 0

    def test_files_without_pixels_and_of_odd_kinds_are_refused(self, put, labels):
        kind = "1.2.840.10008.5.1.4.1.1.88.11"
        report = dicom(GREY, uid="1.1", SOPClassUID=kind, Rows=None, Columns=None, PixelData=None)
        odd = dicom(GREY, uid="1.2", PhotometricInterpretation="CMYK")
        message = refused(put(a=report, b=odd), labels("1.1,x", "1.2,x"))
        assert "expected an image, found no pixels" in message
        assert "expected grey, palette, RGB or YBR pixels" in message

    def test_an_image_is_there_once_and_both_places_are_told(self, put, labels):
        folder = put(a=dicom(GREY, uid="1.1"), b=dicom(GREY, uid="1.1"))
        message = refused(folder, labels("1.1,x"))
        assert "files 1 and 2 in name order: expected each image once" in message

    def test_files_are_counted_as_a_user_counts_them(self, put, labels):
        wrong = dicom(GREY, uid="1.1", PhotometricInterpretation="CMYK")
        folder = put(ä=wrong, B=dicom(GREY, uid="1.2"))
        (folder / SECRET / "DICOMDIR").write_bytes(b"")
        (folder / SECRET / ".hidden").write_text("")
        (folder / f"{SECRET}-notes.txt").write_text("")
        (folder / "link").symlink_to(folder / SECRET)
        message = refused(folder, labels("1.1,x", "1.2,x"))
        (number,) = re.findall(r"DICOM folder, file (\d+) in name order", message)
        count = f"find '{folder}/' -not -type d | LC_ALL=C sort | sed -n {number}p"
        told = subprocess.run(["sh", "-c", count], capture_output=True, check=True, text=True)
        assert told.stdout.endswith(f"{SECRET}/ä.dcm\n")

    @pytest.mark.parametrize(("frames", "wanted"), [("middle", [1]), ("all", [0, 1, 2])])
    def test_several_frames_are_a_choice(self, frames, wanted, put, labels):
        folder, table = put(a=dicom(np.stack([GREY] * 3), uid="1.1")), labels("1.1,x")
        assert "expected one frame, found 3" in refused(folder, table)
        found = scan_dicom(folder, table, DicomReading(frames=frames))
        assert [row.frame for row in found.rows] == wanted

    def test_each_frame_that_is_taken_lies_as_it_is_read(self, put, labels):
        cosines = (["1", "0", "0", "0", "1", "0"], ["-1", "0", "0", "0", "1", "0"])
        groups = [
            item(PlaneOrientationSequence=[item(ImageOrientationPatient=cosines[way])])
            for way in (0, 0, 1, 1)
        ]
        file = dicom(np.stack([GREY] * 4), uid="1.1", PerFrameFunctionalGroupsSequence=groups)
        folder, table = put(a=file), labels("1.1,x")
        message = refused(folder, table, DicomReading(frames="all"))
        assert "expected an image that lies as it is read, found rows to R and columns" in message
        assert message.count("rows to") == 1
        assert "rows to R" in refused(folder, table, DicomReading(frames="middle"))
        for turned in ("standard", "stored"):
            reading = DicomReading(frames="all", orientation=turned)
            assert len(scan_dicom(folder, table, reading).rows) == 4

    def test_frames_of_which_nothing_is_told_lie_as_the_file_says(self, put, labels):
        file = dicom(np.stack([GREY] * 3), uid="1.1", PatientOrientation=["R", "F"])
        assert "rows to R" in refused(put(a=file), labels("1.1,x"), DicomReading(frames="all"))

    def test_damaged_files_are_refused_and_others_passed_over(self, put, labels, tmp_path):
        folder = put(a=dicom(GREY, uid="1.1"))
        (folder / "notes.txt").write_text("no image")
        (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
        (folder / ".hidden.dcm").write_bytes(b"")
        assert len(scan_dicom(folder, labels("1.1,x")).rows) == 1
        (folder / f"{SECRET}.dcm").write_bytes(b"no DICOM")
        assert "expected a whole DICOM file" in refused(folder, labels("1.1,x"))

    def test_an_image_without_pixels_is_told_as_such(self, put, labels):
        folder = put(a=dicom(GREY, uid="1.1", PixelData=None))
        message = refused(folder, labels("1.1,x"))
        assert "file 1 in name order: expected a whole DICOM file, found one with no pix" in message
        assert "damaged" not in message

    @pytest.mark.parametrize("kind", [RADIOGRAPH, "1.3.12.2.1107.5.9.9"])
    def test_a_header_that_is_cut_off_is_told_wherever_that_is(self, kind, put, labels):
        folder = put(a=dicom(GREY, uid="1.1"), b=dicom(GREY, uid="1.2", SOPClassUID=kind))
        (path,) = folder.rglob("b.dcm")
        content, table = path.read_bytes(), labels("1.1,x")
        assert scan_dicom(folder, table).unlabelled == 1
        path = path.rename(path.with_suffix(""))
        pixels = content.index(b"\xe0\x7f\x10\x00")
        # A file of a vendor's own kind may be a report, until it tells how many rows it has.
        end = pixels if kind == RADIOGRAPH else content.index(b"\x20\x00\x0e\x00")
        for length in range(132, end + 8):
            path.write_bytes(content[:length])
            assert "file 2 in name order: expected a whole DICOM" in refused(folder, table)

    def test_a_report_that_no_line_names_is_passed_over(self, put, labels):
        for kind in ("1.2.840.10008.5.1.4.1.1.88.11", "1.3.12.2.1107.5.9.1"):
            report = dicom(GREY, uid="1.2", SOPClassUID=kind, PixelData=None, Rows=None)
            folder = put(a=dicom(GREY, uid="1.1"), b=report)
            assert scan_dicom(folder, labels("1.1,x")).unlabelled == 1

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            (".", "expected DICOM files, found none"),
            ("missing", "expected a folder of DICOM files, found no such folder"),
            ("labels.csv", "expected a folder of DICOM files, found a file"),
        ],
    )
    def test_a_folder_without_files_is_refused(self, name, told, tmp_path, labels):
        assert told in refused(tmp_path / name, labels("1.1,x"), error=StorageError)


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": "bright"},
        {"window": "1,0"},
        {"window": "nan,5"},
        {"window": "5,inf"},
        {"frames": "2"},
        {"orientation": "up"},
        {"polarity": "x"},
    ],
)
def test_settings_are_checked(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        DicomReading(**wrong)


class TestPrepared:
    def prepare(self, tmp_path, put, labels, name="set", pictures=None, reading=None, count=3):
        files = {
            f"f{n}": dicom(GREY + n, uid=f"1.{n}", PatientID=f"{SECRET}{n // 2}")
            for n in range(count)
        }
        lines = [f"1.{n},{'xy'[n % 2]},train" for n in range(count)]
        reading = reading or DicomReading()
        table = labels(*lines, header="SOPInstanceUID,label,split")
        folder = tmp_path / "images"
        found = scan_dicom(folder if folder.exists() else put(**files), table, reading)
        out = tmp_path / name
        return out, write_dicom_set(out, found, reading, pictures or Pictures())

    def test_a_set_is_read_as_any_table(self, tmp_path, put, labels):
        out, count = self.prepare(tmp_path, put, labels, pictures=Pictures(size_px=8))
        with (out / "labels.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert count == len(rows) == 3
        assert [row["label"] for row in rows] == ["x", "y", "x"]
        assert [row["patient"] for row in rows] == ["0", "0", "1"]
        assert rows[0]["split"] == "train"
        with Image.open(out / rows[1]["path"]) as picture:
            assert (np.asarray(picture) == 101).all()
        for file in out.rglob("*"):
            if file.is_file():
                for secret in (SECRET, "1.2.3", "A1"):
                    assert secret.encode() not in file.read_bytes()
        with pytest.raises(DataError, match="part test"):  # there is none, and it says so
            load_table(out / "labels.csv", spec=ImageSpec.of(1, 8))

    def test_pictures_are_cropped_and_coloured_as_asked(self, tmp_path, put, labels):
        wanted = Pictures(size_px=4, channels=3)
        out, _ = self.prepare(tmp_path, put, labels, pictures=wanted)
        with Image.open(out / "images" / "0000001.png") as picture:
            assert (picture.size, picture.mode) == ((4, 4), "RGB")

    def test_an_interrupted_set_goes_on_and_another_is_left_alone(
        self, tmp_path, put, labels, monkeypatch
    ):
        import envoi.data.dicom.set as module

        seen, real = [], module.frame_picture

        def stopped(file, *rest):
            seen.append(1)
            if len(seen) == 3:
                raise KeyboardInterrupt
            return real(file, *rest)

        monkeypatch.setattr(module, "frame_picture", stopped)
        with pytest.raises(KeyboardInterrupt):
            self.prepare(tmp_path, put, labels)
        assert not (tmp_path / "set" / "labels.csv").exists()
        with pytest.raises(StorageError, match="an unfinished set of other settings"):
            self.prepare(tmp_path, put, labels, pictures=Pictures(size_px=4))
        self.prepare(tmp_path, put, labels)
        assert len(seen) == 4  # two before, the interrupted one, and that one again
        with pytest.raises(StorageError, match="a finished set"):
            self.prepare(tmp_path, put, labels)
        other = tmp_path / "other"
        other.mkdir()
        (other / "file").touch()
        with pytest.raises(StorageError, match="other files"):
            self.prepare(tmp_path, put, labels, name="other")

    def test_an_unfinished_set_never_gets_the_pictures_of_other_files(self, tmp_path, put, labels):
        made = {f"1.{n}": dicom(GREY + n, uid=f"1.{n}", PatientID=f"{n}") for n in range(4)}
        cut = dicom(GREY, uid="1.3")
        cut.PixelData = bytes(10)
        table = labels(*(f"1.{n},{'wxyz'[n]}" for n in range(4)))
        folder = put(b=made["1.1"], c=made["1.2"], d=cut, e=made["1.0"])
        with pytest.raises(DataError, match="expected whole pixels"):
            self.write(tmp_path, folder, table)
        (path,) = folder.rglob("d.dcm")
        path.unlink()
        put(a=made["1.3"])
        with pytest.raises(StorageError, match="set of other files or labels, or of files that"):
            self.write(tmp_path, folder, table)
        path.with_stem("a").rename(path)  # in its place, and whole now
        with pytest.raises(StorageError, match="set of other files or labels, or of files that"):
            self.write(tmp_path, folder, table)

    def test_a_file_that_changed_meanwhile_is_noticed(self, tmp_path, put, labels):
        cut = dicom(GREY, uid="1.2")
        cut.PixelData = bytes(10)
        folder, table = put(a=dicom(GREY, uid="1.1"), b=cut), labels("1.1,x", "1.2,y")
        with pytest.raises(DataError, match="expected whole pixels"):
            self.write(tmp_path, folder, table)
        put(a=dicom(GREY + 1, uid="1.1"), b=dicom(GREY, uid="1.2"))
        with pytest.raises(StorageError, match="or of files that have changed"):
            self.write(tmp_path, folder, table)

    def test_frames_that_are_taken_are_part_of_what_was_asked_for(self, tmp_path, put, labels):
        folder = put(a=dicom(np.stack([GREY, GREY]), uid="1.1"), b=dicom(GREY, uid="1.2"))
        found = scan_dicom(folder, labels("1.1,x", "1.2,y"), DicomReading(frames="all"))
        assert len({(row.origin, row.frame) for row in found.rows}) == 3
        assert "1.1" not in repr([row.origin for row in found.rows])

    def write(self, tmp_path, folder, table):
        return write_dicom_set(
            tmp_path / "set", scan_dicom(folder, table), DicomReading(), Pictures()
        )

    def test_pixels_that_cannot_be_shown_leave_no_table(self, tmp_path, put, labels):
        good = dicom(GREY, uid="1.1")
        half = dicom(GREY, uid="1.2", RescaleSlope="1")
        found = scan_dicom(put(a=good, b=half), labels("1.1,x", "1.2,x"))
        with pytest.raises(DataError, match="both numbers of a rescale"):
            write_dicom_set(tmp_path / "set", found, DicomReading(), Pictures())
        assert not (tmp_path / "set" / "labels.csv").exists()

    def test_grey_and_colour_do_not_mix(self, tmp_path, put, labels):
        colour = dicom(np.stack([GREY] * 3, axis=-1), uid="1.2")
        found = scan_dicom(put(a=dicom(GREY, uid="1.1"), b=colour), labels("1.1,x", "1.2,y"))
        message = "file 2 in name order: expected grey or colour pictures, found both; colour in 1"
        with pytest.raises(DataError, match=message):
            write_dicom_set(tmp_path / "set", found, DicomReading(), Pictures())
        assert not (tmp_path / "set").exists()
        write_dicom_set(tmp_path / "grey", found, DicomReading(), Pictures(channels=1))

    @pytest.mark.parametrize("wrong", [{"size_px": 0}, {"channels": 2}, {"fit": "exact"}])
    def test_choices_are_checked(self, wrong):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            Pictures(**wrong)
