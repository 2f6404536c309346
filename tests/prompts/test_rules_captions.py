"""Captions in the words of case reports, and masses that turn out to be something else, read by the rules."""

import pytest

from prompts.rules import extract

CAPTIONS = {
    "Abdominal CT demonstrating a hypodense lesion in the pancreatic head (arrow), histologically proven adenocarcinoma.": "pancreas",
    "CT showing pancreatic head mass with dilated common bile duct and pancreatic duct (double duct sign).": "pancreas",
    "Axial CECT: heterogeneously enhancing mass arising from body and tail of pancreas.": "pancreas",
    "Coronal CT image showing large heterogeneous left renal tumor with extension into the IVC.": "kidney",
    "Computed tomography of the abdomen. A 7.3 x 6.5 cm solid enhancing mass was found in the upper pole of the left kidney.": "kidney",
    "Contrast CT: exophytic lesion of right kidney suggestive of RCC.": "kidney",
    "CT scan showing multiple hypervascular liver tumors.": "liver",
    "Triphasic CT demonstrating HCC in segment VIII with washout.": "liver",
    "A huge mass occupying the right hepatic lobe on CT.": "liver",
    "CT of the abdomen revealing an exophytic gastric mass, consistent with GIST.": "stomach",
    "Thickening of the gastric antrum suspicious for malignancy.": "stomach",
    "CT abdomen showing an obstructing sigmoid tumour with proximal dilatation.": "colon",
    "Circumferential wall thickening of the caecum consistent with carcinoma.": "colon",
    "Apple-core lesion of the descending colon, adenocarcinoma on biopsy.": "colon",
    "CT chest: spiculated mass of the right upper lobe with pleural retraction.": "lung",
    "Chest CT showing a cavitary lung mass in the left lower lobe.": "lung",
    "Thoracic CT scan showed a tumor in the left upper lobe invading the chest wall (Pancoast tumor).": "lung",
    "Endobronchial mass in the left main bronchus.": "lung",
    "CT showing right hilar mass with mediastinal lymphadenopathy.": "lung",
    "Pelvic CT showing a large polypoid mass within the bladder lumen.": "urinary_bladder",
    "CT urogram: filling defect in the bladder compatible with urothelial carcinoma.": "urinary_bladder",
    "Computed tomography revealed a left adrenal tumor 5 cm in diameter.": "adrenal_gland",
    "Right suprarenal mass, pheochromocytoma confirmed at surgery.": "adrenal_gland",
    "Splenic mass with heterogeneous enhancement on CT.": "spleen",
    "Mass in the jejunum with intussusception.": "small_bowel",
    "CT showing ileal carcinoid tumor with mesenteric stranding.": "small_bowel",
    "Large duodenal GIST on coronal CT.": "duodenum",
    "Chest CT demonstrates mid esophageal mass compressing the trachea.": "esophagus",
    "CT shows a mass replacing the gallbladder with invasion of the liver.": "gallbladder",
    "CT neck and chest: large right thyroid mass with tracheal deviation.": "thyroid_gland",
    "CT pelvis: irregular enlarged prostate with carcinoma invading the bladder base.": "prostate",
    "CT showing a huge uterine mass, leiomyosarcoma.": "uterus",
    "CT of pelvis shows rectal mass with perirectal fat stranding.": "colon",
    "Insulinoma of the pancreatic tail in the arterial phase.": "pancreas",
    "The primary tumor in the right lower lobe measured 4 cm.": "lung",
    "Wilms tumor of the left kidney in a 3-year-old girl.": "kidney",
    "CT image of a patient with hepatocellular carcinoma.": "liver",
    "Solid pseudopapillary tumor of the pancreas on CT.": "pancreas",
    "Right-sided lung cancer with atelectasis.": "lung",
    "CT showing a complex mass (asterisk) at the lower pole of right kidney.": "kidney",
    "Gastric cancer with linitis plastica appearance.": "stomach",
    "Left lung mass (black arrow) abutting the aorta.": "lung",
    "Intrahepatic cholangiocarcinoma in the left lobe.": "liver",
    "A large tumor of the ascending colon was detected.": "colon",
    "CT showing enlarged mediastinal lymph nodes, no lung mass.": None,
    "Liver metastases in a patient with breast cancer.": None,
    "Ovarian mass displacing the bladder and the sigmoid colon.": None,
    "Hematoma in the right kidney after biopsy.": None,
    "Pulmonary metastases from renal cell carcinoma.": None,
    "Mesenteric mass adjacent to the pancreas.": None,
    "Retroperitoneal sarcoma displacing the left kidney.": None,
    "Pulmonary embolism in the right main pulmonary artery.": None,
    "Large pancreatic pseudocyst compressing the stomach.": None,
}

TURNS = {
    "A mass of 28x22 mm in size in the right upper lobe and metastases in each lung.": [
        ("lung_upper_lobe_right", 28.0)
    ],
    "A mass that was measured about 4 cm at the hilum of the left kidney.": [("kidney_left", 40.0)],
    "Bilateral masses of about 5 cm in diameter in both adrenal glands.": [
        ("adrenal_gland_left", 50.0),
        ("adrenal_gland_right", 50.0),
    ],
    "Multiple metastatic lung tumors.": [],
    "A hypodense mass in the spleen. Daughter cysts are seen within the lesion.": [],
    "A large mass is seen in the liver. Impression: mass found to be a hydatid cyst in the right lobe of the liver.": [],
    "Mass lesion in the lower lobe of the right lung, atelectasis.": [("lung_lower_lobe_right", None)],
    "Node biopsy in a treated case of renal cell carcinoma.": [],
    "80 x 60 mm mass in the left adrenal surgical space.": [],
    "The antibody is highly associated with small cell lung carcinoma.": [],
    "Esophageal Ca, esophagectomy and stent in follow-up.": [],
    "Operated lung ca, left lower lobectomized.": [],
    "A 20-mm mass at S10 of the left lung.": [("lung_lower_lobe_left", 20.0)],
    "Mass lesion in relation to the tail of the pancreas.": [("pancreas", None)],
}


@pytest.mark.parametrize("text", CAPTIONS)
def test_a_caption_states_this_organ(text: str) -> None:
    assert {tumour.organ for tumour in extract(text).prompt.tumours} == ({CAPTIONS[text]} - {None})


@pytest.mark.parametrize("text", TURNS)
def test_a_mass_is_what_the_text_makes_of_it(text: str) -> None:
    assert [(tumour.site, tumour.size_mm) for tumour in extract(text).prompt.tumours] == TURNS[text]


def test_the_side_of_a_hilum_is_the_side_of_its_lung() -> None:
    (tumour,) = extract("CT of the chest: a lung mass with irregular margins at the left hilum.").prompt.tumours
    assert (tumour.organ, tumour.side) == ("lung", "left")


@pytest.mark.parametrize("text", ["Right nephrectomized.", "The right kidney was not observed: right nephrectomised."])
def test_operated_organs_are_absent(text: str) -> None:
    assert extract(text).prompt.absent_organs == ("kidney_right",)


def test_an_age_after_a_comma_is_read() -> None:
    assert extract("HX: ,70y/o man referred.").prompt.patient.age_years == 70.0
