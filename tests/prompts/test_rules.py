"""Reading free English: short sentences with the prompt they state, and the real tables and reports."""

from dataclasses import replace

import pytest

from prompts.mapping import apply_mapping, load_mapping
from prompts.rules import extract
from prompts.schema import Patient, Prompt, Study, Tumour
from prompts.sources import read_reports, read_table

SENTENCES = {
    "": Prompt(),
    "A person diagnosed with colon cancer": Prompt(tumours=(Tumour(organ="colon"),)),
    "58 yo F with 4.2 x 3.1 cm left upper lobe mass.": Prompt(
        patient=Patient(age_years=58, sex="female"),
        tumours=(Tumour(organ="lung", site="lung_upper_lobe_left", size_mm=42),),
    ),
    "63M. 5 cm right renal mass, pT1b N0 M0. Portal venous phase CT abdomen.": Prompt(
        patient=Patient(age_years=63, sex="male"),
        study=Study(contrast_phase="portal_venous", region="abdomen"),
        tumours=(Tumour(organ="kidney", side="right", size_mm=50, t_stage="T1b", n_stage="N0", m_stage="M0"),),
    ),
    "Status post left nephrectomy. Splenomegaly.": Prompt(absent_organs=("kidney_left",), enlarged_organs=("spleen",)),
    "Partial left nephrectomy; no splenomegaly, the spleen is not enlarged.": Prompt(),
    "No liver mass. The gallbladder is surgically absent.": Prompt(absent_organs=("gallbladder",)),
    "No mass was seen in the pancreas, but there is a 2 cm tumour in the duodenum.": Prompt(
        tumours=(Tumour(organ="duodenum", size_mm=20),)
    ),
    "Two hepatic tumours, the largest 2-3 cm, in a 70-year-old Black or African American man": Prompt(
        patient=Patient(age_years=70, sex="male", race="black"),
        tumours=(Tumour(organ="liver", count=2, size_mm=30),),
    ),
    "Metastatic colon cancer with liver metastases": Prompt(tumours=(Tumour(organ="colon"),)),
    "Liver metastases from rectal carcinoma": Prompt(),
    "Liver metastases in a patient with rectal carcinoma": Prompt(tumours=(Tumour(organ="colon", site="rectum"),)),
    "Adenocarcinoma of the sigmoid colon invading the bladder": Prompt(
        tumours=(Tumour(organ="colon", site="colon_sigmoid"),)
    ),
    "Masses in both adrenal glands, evaluated in favor of metastasis": Prompt(),
    "There is a 3 cm mass in the left lobe of the liver": Prompt(tumours=(Tumour(organ="liver", size_mm=30),)),
    "A mass in the left kidney. It measures 4,5 cm. The largest of the metastases measures 9 cm.": Prompt(
        tumours=(Tumour(organ="kidney", side="left", size_mm=45),)
    ),
    "Mass in the pancreas 3 cm from the duodenum": Prompt(tumours=(Tumour(organ="pancreas"),)),
    "Kidney cancer on the left": Prompt(tumours=(Tumour(organ="kidney", side="left"),)),
    "History of prostate cancer s/p prostatectomy": Prompt(absent_organs=("prostate",)),
    "Breast cancer": Prompt(),
    "Female patient, prostate cancer": Prompt(patient=Patient(sex="female")),
    "A white matter lesion and black stool": Prompt(),
    "Axial CT of the chest and abdomen without intravenous contrast, T12 vertebra normal": Prompt(
        study=Study(contrast_phase="native", region="chest_abdomen")
    ),
    "Right upper lobe tumor; tumor in the upper lobe of the left lung": Prompt(
        tumours=(
            Tumour(organ="lung", site="lung_upper_lobe_right"),
            Tumour(organ="lung", site="lung_upper_lobe_left"),
        )
    ),
    "Height: 1.75 m, weight 154 lb.": Prompt(patient=Patient(height_cm=175, weight_kg=69.9)),
}


@pytest.mark.parametrize("text", SENTENCES)
def test_a_sentence_states_this_prompt(text):
    assert extract(text).prompt == SENTENCES[text]


@pytest.mark.parametrize("noun", ["colon", "lung", "liver", "kidney", "pancreas", "stomach", "prostate", "bladder"])
@pytest.mark.parametrize(
    "form",
    [
        "{} cancer",
        "A patient with a tumour of the {}.",
        "CT shows a {} mass",
        "Carcinoma in the {} was found",
        "{} neoplasm?",
    ],
)
def test_short_forms_name_the_organ_or_leave_it_open(noun, form):
    organs = [tumour.organ for tumour in extract(form.format(noun)).prompt.tumours]
    assert organs == ([] if form.endswith("?") else [{"bladder": "urinary_bladder"}.get(noun, noun)])


@pytest.mark.real
def test_all_kits19_patients_are_read(real_data):
    mapped = apply_mapping(load_mapping("kits19"), read_table(real_data / "tables" / "kits19_clinical.json"))
    assert (len(mapped.prompts), len(mapped.rejects)) == (210, 0)
    assert all(len(prompt.tumours) == 1 and prompt.tumours[0].size_mm for _, prompt in mapped.prompts)
    assert sum(prompt.patient.sex == "female" for _, prompt in mapped.prompts) == 87


@pytest.mark.real
def test_tcga_rows_are_prompts_or_rejects(real_data):
    table = read_table(real_data / "tables" / "tcga_cdr_torso.csv")
    assert len(table.records) == 8216
    part = replace(table, records=table.records[::8])
    mapped = apply_mapping(load_mapping("gdc-clinical"), part)
    assert len(mapped.prompts) + len(mapped.rejects) == 1027
    assert len(mapped.prompts) == 698
    assert all("vocabulary" in reject.reason or "has no organ" in reject.reason for reject in mapped.rejects)


@pytest.mark.real
def test_real_reports_are_read_without_an_error(real_data):
    reports, _ = read_reports(real_data / "texts" / "roco_ct_captions_ccby.csv")
    for report in reports[:200]:
        found = extract(report.text)
        assert all(report.text[item.start : item.end].strip() for item in found.evidence)
