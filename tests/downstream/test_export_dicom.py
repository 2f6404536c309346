"""DICOM: what GDCM and highdicom read is what was stored; identifiers, marks and codes as the standard has them."""

import re

import numpy as np
import pytest
import SimpleITK

from downstream.dicom_codes import KEYWORDS, lesion_segment, segments
from downstream.dicom_series import uid
from downstream.export_dicom import export_dicom
from manifests.case import Lesion
from manifests.errors import InvalidValueError, LocationError
from manifests.schemes import paint, scheme, scheme_names

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")


@pytest.fixture
def exported(box_dataset, tmp_path):
    dataset = box_dataset(3)
    return dataset, export_dicom(dataset, tmp_path / "out", "kits", 2)


def test_the_series_has_the_voxels_and_the_geometry_of_the_case(exported):
    dataset, summary = exported
    for record in dataset.accepted():
        arrays = dataset.read(record.case_id)
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(summary.folder / record.case_id / "ct")))
        image = reader.Execute()
        assert np.array_equal(SimpleITK.GetArrayFromImage(image), arrays.ct)
        assert image.GetSpacing() == pytest.approx(arrays.grid.spacing_mm_zyx[::-1], rel=1e-9)
        assert image.GetOrigin() == pytest.approx(arrays.grid.origin_mm_xyz, abs=1e-9)
        assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)


def test_segmentations_have_the_voxels_and_the_geometry_of_the_case(exported):
    dataset, summary = exported
    for record in dataset.accepted():
        arrays = dataset.read(record.case_id)
        label = paint(arrays.anatomy, arrays.lesions, record.lesions, scheme("kits"))
        expected = {"labels.dcm": label, "lesions.dcm": arrays.lesions}
        for name in [*expected][: 1 + bool(record.lesions)]:
            volume = highdicom.seg.segread(summary.folder / record.case_id / name).get_volume(combine_segments=True)
            affine = volume.affine[:, [2, 1, 0, 3]]  # highdicom counts slices, rows, columns
            placed = np.zeros_like(label)
            offset = np.linalg.solve(arrays.grid.affine_lps, volume.affine[:, 3])[:3][::-1].round().astype(int)
            steps = np.sign(np.diag(affine)[:3][::-1]).astype(int)
            assert np.allclose(np.abs(np.diag(affine)[:3]), arrays.grid.spacing_mm_zyx[::-1])
            index = [o + s * np.arange(n) for o, s, n in zip(offset, steps, volume.array.shape, strict=True)]
            placed[np.ix_(*index)] = volume.array
            assert np.array_equal(placed, expected[name])


def test_every_object_is_marked_and_belongs_together(exported):
    dataset, summary = exported
    identifiers = []
    for record in dataset.accepted():
        folder = summary.folder / record.case_id
        objects = [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]
        images = [entry for entry in objects if entry.Modality == "CT"]
        masks = [entry for entry in objects if entry.Modality == "SEG"]
        assert (len(images), len(masks)) == (22, 1 + bool(record.lesions))
        for entry in objects:
            assert entry.SyntheticData == "YES"
            assert entry.ImageType[0] == "DERIVED"
            texts = (entry.PatientName, entry.PatientID, entry.StudyDescription, entry.SeriesDescription)
            assert all("SYNTHETIC" in str(text) for text in texts)
            for shared in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID"):
                assert entry[shared].value == images[0][shared].value
            assert entry.SOPInstanceUID.is_valid
        assert all(image.BurnedInAnnotation == "NO" for image in images)
        assert (images[0].RescaleIntercept, images[0].RescaleSlope, images[0].RescaleType) == (-1024, 1, "HU")
        assert images[0].PatientSex == "M"
        assert images[0].ImageComments.startswith("SYNTHETIC computed tomography")
        assert images[0].ImageComments.endswith(record.prompt_text)
        assert images[0].PatientAge == "061Y"
        referenced = masks[0].ReferencedSeriesSequence[0]
        assert referenced.SeriesInstanceUID == images[0].SeriesInstanceUID
        identifiers += [entry.SOPInstanceUID for entry in objects]
    assert len(set(identifiers)) == len(identifiers)


def test_segments_carry_codes_and_instances_can_be_tracked(exported):
    dataset, summary = exported
    record = next(record for record in dataset.accepted() if record.lesions)
    labels = pydicom.dcmread(summary.folder / record.case_id / "labels.dcm")
    kidney, tumour, cyst = labels.SegmentSequence
    assert kidney.SegmentedPropertyTypeCodeSequence[0].CodeValue == "64033007"
    assert tumour.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Neoplasm"
    assert tumour.AnatomicRegionSequence[0].CodeValue == "64033007"
    assert cyst.SegmentLabel == "cyst"
    (lesion,) = pydicom.dcmread(summary.folder / record.case_id / "lesions.dcm").SegmentSequence
    side = lesion.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert side.CodeMeaning == "Left"
    assert lesion.TrackingUID == uid(record.case_id, "lesion/1")


def test_equal_datasets_give_equal_files(exported, tmp_path):
    dataset, summary = exported
    again = export_dicom(dataset, tmp_path / "again", "kits", 1)
    files = sorted(path.relative_to(summary.folder) for path in summary.folder.rglob("*.dcm"))
    assert files
    assert all((summary.folder / file).read_bytes() == (again.folder / file).read_bytes() for file in files)
    kept = export_dicom(dataset, tmp_path / "again", "kits")
    assert (kept.written, kept.kept) == (0, 3)


def test_another_scheme_gives_other_segmentations_of_the_same_images(exported, tmp_path):
    """No label of the second scheme is in the case: its segments are there without a frame that shows them."""
    dataset, summary = exported
    other = export_dicom(dataset, tmp_path / "lungs", "msd-lung")
    case = dataset.accepted()[0].case_id
    for name, equal in (("ct/0001.dcm", True), ("lesions.dcm", True), ("labels.dcm", False)):
        files = [pydicom.dcmread(entry.folder / case / name) for entry in (summary, other)]
        assert (files[0].SOPInstanceUID == files[1].SOPInstanceUID) is equal
    labels = files[1]
    assert [segment.SegmentLabel for segment in labels.SegmentSequence] == ["cancer"]
    assert not labels.pixel_array.any()


def test_bad_input_is_refused_before_anything_is_written(box_dataset, tmp_path):
    with pytest.raises(InvalidValueError, match="no accepted case"):
        export_dicom(box_dataset(0, "none"), tmp_path / "out", "kits")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    with pytest.raises(LocationError, match="no export of ours"):
        export_dicom(box_dataset(1), tmp_path / "out", "kits")


@pytest.mark.parametrize("name", scheme_names())
def test_the_segments_of_every_scheme_are_coded(name):
    made = segments(scheme(name))
    assert [segment.number for segment in made] == list(range(1, len(made) + 1))
    assert {segment.label: segment.value for segment in made} | {"background": 0} == dict(scheme(name).labels)
    for segment in made:
        for code in (segment.property_type, segment.category):
            assert 0 < len(code.value) <= 16
            assert 0 < len(code.meaning) <= 64
    assert sum(segment.keyword is not None for segment in made) >= 0.85 * len(made)


def test_every_keyword_is_a_concept_of_snomed():
    from pydicom.sr.codedict import codes

    assert all(getattr(codes.SCT, keyword).scheme_designator == "SCT" for keyword in KEYWORDS.values())


def test_sides_and_kinds():
    by_label = {segment.label: segment for segment in segments(scheme("torso24"))}
    assert (by_label["kidney_left"].keyword, by_label["kidney_left"].side) == ("Kidney", "left")
    assert (by_label["lung_right"].keyword, by_label["lung_right"].side) == ("Lung", "right")
    assert by_label["vertebrae"].side is None
    cyst = Lesion(id=4, organ="liver", site="liver", kind="cyst", size_mm=9, volume_ml=1, center_mm_xyz=(0, 0, 0))
    assert lesion_segment(1, cyst).keyword == "Cyst"
    assert lesion_segment(1, cyst).regions == ("Liver",)


def test_identifiers_are_valid_unique_and_reproducible():
    found = {uid(case, role) for case in ("c1", "c2") for role in ("study", "ct", "ct/1", "ct/2")}
    assert len(found) == 8
    assert all(re.fullmatch(r"2\.25\.[1-9][0-9]{0,38}", value) and len(value) <= 64 for value in found)
    assert uid("c1", "study") == uid("c1", "study")
