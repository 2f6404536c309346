"""Lesions that a text describes first and calls a tumour later, and those that it does not."""

import pytest

from prompts.grounding import verify
from prompts.rules import extract

# text: (organ, site or side, size in mm) of each tumour
TEXTS = {
    "A 3.2 cm hypervascular lesion in segment VIII of the liver. Biopsy confirmed hepatocellular carcinoma.": (
        ("liver", "liver", 32.0),
    ),
    "A 5-cm enhancing lesion in the tail of the pancreas. Histology revealed a neuroendocrine tumour.": (
        ("pancreas", "pancreas", 50.0),
    ),
    "CT chest: spiculated lesion, 22 mm, left upper lobe. PET avid. Adenocarcinoma on CT-guided biopsy.": (
        ("lung", "lung_upper_lobe_left", 22.0),
    ),
    "A thick-walled cavity in the right upper lobe; pathologic diagnosis: squamous cell carcinoma.": (
        ("lung", "lung_upper_lobe_right", None),
    ),
    "A cavitating lesion of the right upper lobe. This was the primary malignant lesion in this patient.": (
        ("lung", "lung_upper_lobe_right", None),
    ),
    "The bladder shows a 4 cm polypoid lesion; findings are suspicious for urothelial carcinoma.": (
        ("urinary_bladder", "urinary_bladder", 40.0),
    ),
    "Filling defect in the left renal pelvis, suggestive of transitional cell carcinoma.": (
        ("kidney", "kidney_left", None),
    ),
    "FINDINGS: Kidneys: A solid lesion of the left kidney measures 3.7 cm. IMPRESSION: Left renal lesion consistent with RCC.": (
        ("kidney", "kidney_left", 37.0),
    ),
    "There is a lesion in the left adrenal gland. It measures 4 cm. Pathology: pheochromocytoma.": (
        ("adrenal_gland", "adrenal_gland_left", 40.0),
    ),
    "A hypervascular 21 mm nodule in the terminal ileum, ileal carcinoid tumour.": (
        ("small_bowel", "small_bowel", 21.0),
    ),
    "Pulmonary adenocarcinoma presenting as a ground glass nodule (1.2 cm) in the right upper lobe.": (
        ("lung", "lung_upper_lobe_right", 12.0),
    ),
    "The uterine cavity holds a tumour of 7 cm; endometrial carcinoma was confirmed by curettage.": (
        ("uterus", "uterus", 70.0),
    ),
    "Known lung cancer. The right upper lobe primary now measures 41 x 30 mm.": (
        ("lung", "lung_upper_lobe_right", 41.0),
    ),
    # no verdict, a verdict on something else, several lesions, or none of one place
    "A 3 cm lesion in the liver. The patient has a carcinoma of the breast.": (),
    "A 3 cm lesion in the liver. Biopsy showed metastatic adenocarcinoma.": (),
    "Multiple hepatic lesions. Biopsy showed adenocarcinoma.": (),
    "A 2 cm lesion in the liver and a 3 cm lesion in the spleen. Biopsy showed sarcoma.": (),
    "A 2 cm lesion in the spleen, likely a cyst. Histology showed sarcoma.": (),
    "A 2 cm lesion in the spleen. Histology was negative for carcinoma.": (),
    "Lung ca on follow-up. A nodule of 5 mm in the right lower lobe.": (("lung", None, None),),
    "A nodule of 5 mm in the right lower lobe. Lung ca on follow-up.": (("lung", None, None),),
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_lesion_is_the_tumour_that_the_text_calls_it_later(text):
    tumours = extract(text).prompt.tumours
    assert [(t.organ, t.site, t.size_mm) for t in tumours] == list(TEXTS[text])
    assert verify(text, extract(text)) == ()
