"""Wordings of captions and translated reports: where a mass lies, its side and size, what it is called, phases, organs."""

import pytest

from prompts.extract import audited
from prompts.rules import extract

# text: (organ, site or side, size in mm) of each tumour
TUMOURS = {
    "A mass arising exophytically from the mid-pole of left kidney.": (("kidney", "left", None),),
    "A solid renal neoplasm measuring 4.1 cm in anteroposterior diameter on the right.": (("kidney", "right", 41.0),),
    "Renal mass, with mild hydronephrosis on the left.": (("kidney", None, None),),
    "RCC presenting as a huge right flank mass.": (("kidney", "right", None),),
    "Adrenal mass with left pleural effusion.": (("adrenal_gland", None, None),),
    "The tumor, which was 55 mm in size, was located in the pancreatic tail.": (("pancreas", "pancreas", 55.0),),
    "In the left lung, there is a mass measuring 150 mm (128 mm in the previous examination) extending out of the chest wall.": (
        ("lung", "left", 150.0),
    ),
    "Mass in the spleen, 4.2 x 3.9 cm in axial dimensions and 5.1 cm in craniocaudal length.": (
        ("spleen", "spleen", 51.0),
    ),
    "Apple core lesion of the descending colon, adenocarcinoma, bowel dilated up to 7 cm.": (
        ("colon", "colon_descending", None),
    ),
    "Mediastinal lymph nodes and main tumor of S1 + 2 segments.": (("lung", "lung_upper_lobe_left", None),),
    "Tumour of the apex of the left lung.": (("lung", "lung_upper_lobe_left", None),),
    "Malignant stricture of the ascending segment of the colon.": (("colon", "colon_ascending", None),),
    "Liver metastases from pancreatic cancer. The pancreatic primary in the tail measures 3 cm.": (
        ("pancreas", "pancreas", 30.0),
    ),
    "Two-centimeter mass in the left kidney.": (("kidney", "left", None),),
    "A cystic mass with a 2 cm mural nodule in the pancreatic tail.": (("pancreas", "pancreas", None),),
    "Mass of the left kidney, which on biopsy was an angiomyolipoma.": (),
    "Hepatic mass. Serology confirmed hydatid disease.": (),
    "Large cystic mass of the spleen. Diagnosis: epidermoid cyst.": (),
    "Uterine mass, fibroid, 10 cm.": (),
    "Small bowel mass due to Crohn's disease.": (),
    "Phlegmonous mass of the pancreatic head in acute pancreatitis.": (),
    "Hilar cholangiocarcinoma (Klatskin tumor) with dilated ducts in both liver lobes.": (),
}
PHASES = {
    "CT abdomen (plain)": "native",
    "Plain helical CT of the abdomen.": "native",
    "The study was performed without IVCM.": "native",
    "Noncontrast CT of the chest. A postcontrast MRI is required.": "native",
    "Portal venous phase CT shows washout of the tumour.": "portal_venous",
    "HCC with arterial enhancement and washout in the portal venous phase.": None,
    "Avid arterial phase enhancement of the lesion.": "arterial",
    "Delayed CT scan shows a leak.": "delayed",
    "Thoracic CT angiography showing a type B dissection.": "arterial",
    "Computed tomography (CT) pulmonary angiogram.": None,
    "Plain and contrast CT abdomen.": None,
}
# text: absent organs, enlarged organs
ORGANS = {
    "The right kidney was not observed in the sections (operated).": (("kidney_right",), ()),
    "The lesion in the liver was not observed (operated).": ((), ()),
    "Left nephrectomy for renal cell carcinoma.": (("kidney_left",), ()),
    "Uterus and both ovaries were not observed (TAH+BSO).": (("uterus",), ()),
    "Enlarged liver and spleen.": ((), ("liver", "spleen")),
    "Enlarged liver and kidney stone.": ((), ("liver",)),
    "Markedly enlarged heterogeneous liver.": ((), ("liver",)),
    "The dimensions of the right lobe of the thyroid gland have increased.": ((), ("thyroid_gland",)),
    "The dimensions of the mass in the liver have increased.": ((), ()),
}


def _by_side(text):
    return any(place in ("left", "right") for _, place, _ in TUMOURS[text])


def _read(text):
    return audited(text, extract(text)).prompt


@pytest.mark.parametrize("text", TUMOURS)
def test_the_tumours_of_a_sentence(text):
    found = [(t.organ, t.side if t.side and _by_side(text) else t.site, t.size_mm) for t in _read(text).tumours]
    assert found == list(TUMOURS[text])


@pytest.mark.parametrize("text", PHASES)
def test_the_phase_of_a_sentence(text):
    assert _read(text).study.contrast_phase == PHASES[text]


@pytest.mark.parametrize("text", ORGANS)
def test_absent_and_enlarged_organs_of_a_sentence(text):
    prompt = _read(text)
    assert (prompt.absent_organs, prompt.enlarged_organs) == ORGANS[text]
