"""Reading patients, studies and organ states: spellings of reports with what they state, None where they state nothing."""

import pytest

from prompts.rules import extract

AGES_AND_SEXES = {
    "63 y/o male": (63.0, "male"),
    "63F with cough": (63.0, "female"),
    "aged 63": (63.0, None),
    "A woman in her 60s": (None, "female"),
    "13-year-old man": (13.0, "male"),
    "63-year old gentleman": (63.0, "male"),
    "A 6-month-old boy": (0.5, "male"),
    "45 year-old female": (45.0, "female"),
    "Age: 71 Sex: F": (71.0, "female"),
    "Age/Sex: 54/M": (54.0, "male"),
    "54/F": (54.0, "female"),
    "F/54 with pain": (54.0, "female"),
    "78yo M": (78.0, "male"),
    "78 yo woman": (78.0, "female"),
    "72 years of age, male": (72.0, "male"),
    "Mr. Smith, 66 years old": (66.0, "male"),
    "patients aged 40-60": (None, None),
    "over 65 years old": (None, None),
    "lady, 70, lung ca": (70.0, "female"),
    "58 y.o. F with RCC": (58.0, "female"),
    "This 80-year-old patient": (80.0, None),
    "She is 49.": (None, "female"),
    "Patient: 55 y, male": (55.0, "male"),
    "a 3-week-old infant": (0.06, None),
    "62-yr-old man": (62.0, "male"),
    "Mother died at age 50. 30-year-old man": (30.0, "male"),
    "67 year old Caucasian female": (67.0, "female"),
    "Gender: Male, Age 59 years": (59.0, "male"),
    "treated 5 years ago": (None, None),
    "M, 63": (63.0, "male"),
    "69-year-old patient, his wife reports pain": (69.0, None),
    "18F-FDG PET/CT": (None, None),
    "F-18 FDG PET/CT": (None, None),
    "Uptake of 18F\u2013FDG on PET/CT": (None, None),
    "[18F]-fluorodeoxyglucose PET of a man": (None, "male"),
    "Female patient of 34 years": (34.0, "female"),
    "A man of 68 years": (68.0, "male"),
    "(58 years, F)": (58.0, "female"),
    "Female/45 years": (45.0, "female"),
    "a 34\u2010year\u2010old man": (34.0, "male"),
    "a 34\u2013year\u2013old man": (34.0, "male"),
    "CT scan at the age of 12 years": (12.0, None),
    "a patient 5 years after the operation": (None, None),
    "a male 3 years later": (None, "male"),
    "18F with appendicitis": (18.0, "female"),
    "CT at 12M after surgery": (None, None),
    "CT and MR images of a cyst": (None, None),
    "Lesions of MS": (None, None),
    "Rotation time of 500 ms": (None, None),
    "The bundle of His": (None, None),
    "Ms Jones, CT of the chest": (None, "female"),
    "5 F catheter": (None, None),
    "T2 F": (None, None),
    "a 42 y male": (42.0, "male"),
    "pt is a 61 yr old f": (61.0, None),
    "an eighty-year-old woman": (80.0, "female"),
    "sixty three year old man": (63.0, "male"),
}

PHASES = {
    "CT abdomen in the portal venous phase": "portal_venous",
    "portal-venous phase CT": "portal_venous",
    "CT in the venous phase": "portal_venous",
    "late arterial phase CT": "arterial",
    "biphasic CT": None,
    "multiphase CT of the liver": None,
    "CT angiography with an embolus, pulmonary arteries enlarged": None,
    "CT angiogram of the aorta and the pulmonary arteries": "arterial",
    "HRCT compared with the CT angiogram of May": None,
    "Multidetector computed tomography angiography of the leg arteries": "arterial",
    "CT angiography of the leg": None,
    "Angio-tomography showing the celiac artery.": "arterial",
    "Computed tomography (CT) angiography of the thoracic aorta.": "arterial",
    "Noncontrast-enhanced CT.": "native",
    "CT abdomen without intravenous or oral contrast": "native",
    "Since there are no pre-contrast sections, enhancement cannot be judged.": None,
    "There is no enhancement in the arterial phase.": "arterial",
    "CT aortogram demonstrating a 5 cm aneurysm.": "arterial",
    "CT angiography, venous phase": "portal_venous",
    "CT without injection": "native",
    "Plain thoracic computed tomography": "native",
    "CT, portal vein phase": "portal_venous",
    "contrast-enhanced CT": None,
    "CT without contrast": "native",
    "CT with and without contrast": None,
    "images acquired 60 s after contrast injection": "portal_venous",
    "70 seconds after injection of contrast": "portal_venous",
    "35 s after injection": "arterial",
    "5 minutes after injection": "delayed",
    "arterial and portal venous phases": None,
    "non-contrast CT": "native",
    "unenhanced and contrast enhanced CT": None,
    "pre- and post-contrast": None,
    "Arterial-phase and delayed-phase CT": None,
    "TECHNIQUE: Helical CT after 100 ml iv contrast, portal venous phase": "portal_venous",
    "nephrographic phase": "portal_venous",
    "excretory phase": "delayed",
    "plain CT": "native",
    "CT pulmonary angiography": None,
    "CT angiography of the aorta": "arterial",
    "the hepatic and portal venous systems are open": None,
    "hyperenhancing in the arterial phase with washout in the portal venous phase": None,
    "without oral contrast": None,
    "No IV contrast was administered.": "native",
    "Oral contrast only, no intravenous contrast": "native",
    "triphasic liver CT": None,
    "late arterial and portal venous phase images": None,
    "delayed images at 5 min": "delayed",
    "Axial images were obtained without the administration of intravenous contrast": "native",
    "C+ CT": None,
    "corticomedullary and nephrographic phases": None,
    "dual-phase": None,
    "contrast enhanced CT in a portal venous phase": "portal_venous",
}

REGIONS = {
    "CT of the chest": "chest",
    "Thoracic CT": "chest",
    "CT chest, abdomen and pelvis": "torso",
    "CT C/A/P": None,
    "CT thorax/abdomen/pelvis": "torso",
    "abdominal CT": "abdomen",
    "CT scan of the abdomen and pelvis with contrast": "abdomen_pelvis",
    "CT ABDOMEN AND PELVIS WITHOUT CONTRAST": "abdomen_pelvis",
    "Chest and abdominal CT": "chest_abdomen",
    "CT of the head": None,
    "HRCT of the lungs": "chest",
    "abdominopelvic CT": "abdomen_pelvis",
    "contrast-enhanced CT of the upper abdomen": "abdomen",
    "CT of the thorax and abdomen": "chest_abdomen",
    "CT of the neck, chest, abdomen and pelvis": "torso",
    "PET/CT": None,
    "CT pelvis": None,
    "EXAM: CT CHEST WITH CONTRAST": "chest",
    "Computed tomography (CT) of the chest": "chest",
    "chest CT scan and abdominal CT scan": "chest_abdomen",
    "CT-scan of the abdomen": "abdomen",
    "abdominal pain, CT": None,
    "CT of the liver": None,
}

# text: organs that are absent, organs that are enlarged
ORGANS = {
    "The spleen is enlarged.": ((), ("spleen",)),
    "Cardiomegaly. Hepatosplenomegaly.": ((), ("heart", "liver", "spleen")),
    "Status post cholecystectomy.": (("gallbladder",), ()),
    "Surgically absent right kidney.": (("kidney_right",), ()),
    "s/p right nephrectomy": (("kidney_right",), ()),
    "Left lung pneumonectomy": (("lung_lower_lobe_left", "lung_upper_lobe_left"), ()),
    "Enlarged lymph nodes in the liver hilum.": ((), ()),
    "The liver is not enlarged.": ((), ()),
    "prostate is enlarged": ((), ("prostate",)),
    "The gallbladder has been removed.": (("gallbladder",), ()),
    "Right upper lobectomy": (("lung_upper_lobe_right",), ()),
    "Heart size is increased.": ((), ("heart",)),
    "The size of the liver is increased": ((), ("liver",)),
    "Gallbladder is operated.": (("gallbladder",), ()),
    "Planned nephrectomy": ((), ()),
    "No hepatomegaly": ((), ()),
    "Mild splenomegaly": ((), ("spleen",)),
    "post hysterectomy": (("uterus",), ()),
    "The uterus is surgically absent": (("uterus",), ()),
    "Prior left adrenalectomy": (("adrenal_gland_left",), ()),
    "enlarged thyroid": ((), ("thyroid_gland",)),
    "The right kidney is absent": (("kidney_right",), ()),
    "liver measures 18 cm and is enlarged": ((), ("liver",)),
    "Total gastrectomy": (("stomach",), ()),
    "Patient after splenectomy": (("spleen",), ()),
    "subtotal gastrectomy": ((), ()),
    "The patient underwent left nephrectomy": ((), ()),
    "Bilateral nephrectomy": (("kidney_left", "kidney_right"), ()),
    "Enlarged left adrenal gland": ((), ("adrenal_gland_left",)),
}


@pytest.mark.parametrize("text", AGES_AND_SEXES)
def test_age_and_sex(text):
    patient = extract(text).prompt.patient
    assert (patient.age_years, patient.sex) == AGES_AND_SEXES[text]


@pytest.mark.parametrize("text", PHASES)
def test_contrast_phase(text):
    assert extract(text).prompt.study.contrast_phase == PHASES[text]


@pytest.mark.parametrize("text", REGIONS)
def test_region(text):
    assert extract(text).prompt.study.region == REGIONS[text]


@pytest.mark.parametrize("text", ORGANS)
def test_absent_and_enlarged_organs(text):
    prompt = extract(text).prompt
    assert (prompt.absent_organs, prompt.enlarged_organs) == ORGANS[text]
