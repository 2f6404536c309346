"""Reading tumours of oncology reports: snippets as radiologists write them, with the tumours that they state."""

import pytest

from prompts.grounding import verify
from prompts.rules import extract
from prompts.schema import Tumour

# text: (organ, site or side, size in mm, count) of each tumour; shorter tuples leave the rest unstated
SNIPPETS = {
    "Prior CT: 3 cm mass in the left kidney. Current CT: no mass.": (),
    "COMPARISON: CT 2019 showing a 2 cm mass in the liver. FINDINGS: Normal liver.": (),
    "COMPARISON: None. There is a 3 cm liver mass.": (("liver", None, 30.0),),
    "A person diagnosed with colon cancer": (("colon",),),
    "man with stomach cancer": (("stomach",),),
    "lady, 70, lung ca right upper lobe 3 cm": (("lung", "lung_upper_lobe_right", 30.0),),
    "HCC 5cm": (("liver", None, 50.0),),
    "pt w/ RCC left": (("kidney", "left"),),
    "cancer of the head of pancreas": (("pancreas",),),
    "rectal ca": (("colon", "rectum"),),
    "bladder tumor 2cm": (("urinary_bladder", None, 20.0),),
    "esophageal ca": (("esophagus",),),
    ("LIVER: Cirrhotic morphology. There is a 3.2 cm arterially enhancing mass in segment VIII with washout."): (
        ("liver", None, 32.0),
    ),
    (
        "FINDINGS:\nLiver: Normal.\nGallbladder: Normal.\nKidneys: 4.1 x 3.8 cm enhancing mass in the left "
        "lower pole. No hydronephrosis.\nAdrenals: Normal.\nIMPRESSION:\n1. Left renal mass, concerning for "
        "renal cell carcinoma."
    ): (("kidney", "left", 41.0),),
    (
        "CLINICAL HISTORY: History of colon cancer status post right hemicolectomy. FINDINGS: No evidence of "
        "recurrence."
    ): (),
    (
        "INDICATION: 67-year-old male with pancreatic adenocarcinoma. FINDINGS: Ill-defined hypodense mass "
        "in the pancreatic head measuring 2.9 x 2.4 cm, previously 2.3 cm. Multiple liver metastases, the "
        "largest 1.8 cm."
    ): (("pancreas", None, 29.0),),
    "Right upper lobe spiculated mass measures 3.1 cm, previously 2.3 cm.": (("lung", "lung_upper_lobe_right", 31.0),),
    "Left renal mass has increased in size, previously 2.3 cm, now 3.1 cm.": (("kidney", "left", 31.0),),
    "A mass in the right kidney has increased from 2.3 cm to 3.1 cm.": (("kidney", "right", 31.0),),
    "There is a 2.3 x 1.9 x 4 cm mass in the sigmoid colon.": (("colon", "colon_sigmoid", 40.0),),
    "Gastric mass up to 14 mm in thickness.": (("stomach",),),
    "Tumour of the urinary bladder, 2,5 cm.": (("urinary_bladder", None, 25.0),),
    "No evidence of hepatic malignancy.": (),
    "Malignancy of the pancreas cannot be excluded.": (),
    "Possible renal mass on the left.": (),
    "Findings likely represent renal cell carcinoma of the left kidney.": (("kidney", "left"),),
    "Mother had breast cancer, father had colon cancer.": (),
    "Family history of lung cancer.": (),
    ("There is a 4 cm mass in the right kidney containing fat. This likely represents an angiomyolipoma."): (),
    (
        "A 6 cm hypervascular mass is seen in the right lobe of the liver. Findings are consistent with a hemangioma."
    ): (),
    "Complex mass in the left lower lobe, likely representing abscess.": (),
    "Large mass in the spleen. The lesion most likely represents a hematoma.": (),
    "Hepatic masses consistent with metastases from colon cancer.": (),
    "Renal cell carcinoma metastasis in the pancreas.": (),
    "Mass of the lung from a choriocarcinoma.": (),
    "Renal cell carcinoma with metastasis to the pancreas": (("kidney",),),
    "Haematoma of the liver and a mass in the spleen": (("spleen",),),
    "Hepatic cyst and a mass in the spleen": (("spleen",),),
    "Tumour of the right kidney, 4 cm scale bar": (("kidney", "right"),),
    "Bilateral adrenal masses measuring 3.2 cm on the right and 2.4 cm on the left.": (
        ("adrenal_gland", "left", 24.0),
        ("adrenal_gland", "right", 32.0),
    ),
    "Melanoma metastasis presenting as a mass of the small bowel.": (),
    "Metastatic spread of a pheochromocytoma.": (),
    "Recurrence of hepatocellular carcinoma after hepatectomy.": (("liver",),),
    "Pancreatic cancer, ten years after the operation.": (),
    "Two-year-old with a Wilms tumour of 5 cm.": (("kidney", None, 50.0),),
    "Solitary fibrous tumour of the lung.": (("lung",),),
    "Mass of the right upper lobe (aspergilloma).": (),
    "Pulmonary actinomycosis appearing as a mass in the left lung.": (),
    "A man with autoimmune pancreatitis and a mass in the pancreatic head.": (),
    "Hydatid disease. CT shows a cystic mass of the liver.": (),
    "Renal angiomyolipoma: CT shows a mass of the left kidney.": (),
    "Gastric mass later found to be a bezoar.": (),
    "Mass of the pancreatic head, bile duct of 15 mm.": (("pancreas",),),
    "Multiple liver metastases from a pancreatic tail primary.": (),
    "Bladder: 3.4 cm polypoid mass along the left lateral wall.": (("urinary_bladder", None, 34.0),),
    "Ascending colon: circumferential mass, 5.5 cm long, with pericolonic stranding.": (
        ("colon", "colon_ascending", 55.0),
    ),
    ("5.2 cm mass arising from the upper pole of the right kidney, invading the right adrenal gland and the liver."): (
        ("kidney", "right", 52.0),
    ),
    ("Prior left nephrectomy for renal cell carcinoma. New 2 cm mass in the right kidney."): (
        ("kidney", "right", 20.0),
    ),
    "Status post Whipple for pancreatic cancer.": (),
    "Two masses in the left kidney, the larger 3.5 cm.": (("kidney", "left", 35.0, 2),),
    ("Solitary 2.2 cm nodule in the right lower lobe, biopsy proven adenocarcinoma of the lung."): (
        ("lung", "lung_lower_lobe_right", 22.0),
    ),
    ("IMPRESSION: 1. 7 cm hepatocellular carcinoma in segment 6. 2. No metastatic disease."): (("liver", None, 70.0),),
    ("There is no mass in the liver, spleen or pancreas. The prostate contains a 2.1 cm tumor."): (
        ("prostate", None, 21.0),
    ),
    "Right adrenal mass, 4.5 cm, suspicious for adrenocortical carcinoma.": (("adrenal_gland", "right", 45.0),),
    "Bilateral renal masses.": (("kidney", "left"), ("kidney", "right")),
    "A mass measuring 3 to 4 cm in the gastric antrum.": (("stomach", None, 40.0),),
    ("Enlarged retroperitoneal lymph node measuring 2.5 cm adjacent to a 6 cm mass of the left kidney."): (
        ("kidney", "left", 60.0),
    ),
    "Duodenal mass vs. pancreatic head mass.": (),
    ("Esophagus: Distal esophageal mass spanning 6 cm, biopsy-proven adenocarcinoma. Stage T3N1M0."): (
        ("esophagus", None, 60.0),
    ),
    (
        "Lungs: 18 mm spiculated mass in the left lower lobe, consistent with primary lung cancer. Liver: No "
        "focal lesion. Kidneys: Simple cyst in the left kidney measuring 5 cm."
    ): (("lung", "lung_lower_lobe_left", 18.0),),
    "Mass in the uterus measuring 8 cm consistent with leiomyoma.": (),
    "Endometrial carcinoma with deep myometrial invasion, 4.5 cm.": (("uterus", None, 45.0),),
    "Gallbladder carcinoma infiltrating segment IV/V of the liver.": (("gallbladder",),),
    "Thyroid: 2.4 cm mass in the left lobe, papillary thyroid carcinoma.": (("thyroid_gland", None, 24.0),),
    "Rule out lung cancer. No pulmonary mass.": (),
    "Known cecal cancer, follow-up under chemotherapy.": (("colon", "colon_ascending"),),
    "INDICATION: Evaluate for pancreatic cancer. FINDINGS: The pancreas is normal.": (),
    "The left kidney contains a 33 mm solid enhancing mass.": (("kidney", "left", 33.0),),
    "In the tail of the pancreas, there is a 2.5 cm mass.": (("pancreas", None, 25.0),),
    "GIST of the stomach measuring 9 cm.": (("stomach", None, 90.0),),
    "Small bowel carcinoid tumor, 1.6 cm, with mesenteric mass of 3 cm.": (("small_bowel", None, 16.0),),
    (
        "Bosniak IV cystic mass of the right kidney measuring 4.4 cm, highly suspicious for cystic renal "
        "cell carcinoma."
    ): (("kidney", "right", 44.0),),
    "The previously seen left upper lobe mass has resolved.": (),
    "The mass in the left upper lobe is no longer seen.": (),
    ("Hypodense lesion in the liver, possibly hemangioma; metastasis cannot be excluded."): (),
    "Rectal cancer with liver metastasis measuring 3 cm.": (("colon", "rectum"),),
    "Colon cancer at the hepatic flexure, 4.2 cm.": (("colon", None, 42.0),),
    "45 year old woman with a 9 cm left adrenal pheochromocytoma.": (("adrenal_gland", "left", 90.0),),
    "Segment 7 liver mass 4.0 cm, LI-RADS 5.": (("liver", None, 40.0),),
    ("Pathology confirmed clear cell renal cell carcinoma. The tumor measured 6.3 cm in the left kidney."): (
        ("kidney", "left", 63.0),
    ),
    "Metastatic renal cell carcinoma with lung metastases.": (("kidney",),),
    "mass in the right lung, upper lobe, 28 mm": (("lung", "lung_upper_lobe_right", 28.0),),
    "Tumor in the lower lobe of the left lung, 2.2cm": (("lung", "lung_lower_lobe_left", 22.0),),
    "63 y/o M with left-sided kidney tumor": (("kidney", "left"),),
    "There is a soft tissue mass in the abdomen. The liver is normal.": (),
    (
        "Findings: A well-defined mass is noted in the body of the pancreas. It measures 5.1 x 4.2 cm. There "
        "is no ductal dilatation."
    ): (("pancreas", None, 51.0),),
    "CT of the abdomen shows cholangiocarcinoma of the common bile duct.": (),
    "Liver tumour, 12 cm, T2 N0 M0": (("liver", None, 120.0),),
    "No suspicious pulmonary nodule. Stable 1.2 cm adrenal adenoma.": (),
    "Cystic mass in the tail of the pancreas, likely pseudocyst.": (),
    "The hepatic mass is compatible with focal nodular hyperplasia.": (),
    "CT chest: 4.5 cm left hilar mass.": (("lung", "left", 45.0),),
    "Patient with gastric lymphoma.": (("stomach",),),
    "Urothelial carcinoma of the left renal pelvis, 2 cm": (("kidney", "left", 20.0),),
    "Mediastinal mass 6 cm. The lungs are clear.": (),
    "Ovarian cancer with peritoneal carcinomatosis, 3 cm liver implant.": (),
    "Carcinoma of the cervix invading the bladder.": (),
    "Large 10 cm mass in the left upper quadrant arising from the stomach.": (("stomach", None, 100.0),),
    "Pancreas: Unremarkable. Spleen: Unremarkable. Mass in the left adrenal, 3 cm.": (("adrenal_gland", "left", 30.0),),
    "Kidneys: Right kidney normal. Left kidney: 2.8 cm solid mass, interpolar region.": (("kidney", "left", 28.0),),
    ("REASON FOR EXAM: Lung cancer staging. FINDINGS: Right middle lobe mass 2.6 cm with hilar adenopathy."): (
        ("lung", "lung_middle_lobe_right", 26.0),
    ),
    "Impression: Findings highly suspicious for bladder cancer.": (("urinary_bladder",),),
    "Hepatoma, status post TACE, 4 cm residual tumor.": (("liver", None, 40.0),),
    ("The liver demonstrates a 5.4 cm exophytic enhancing mass off segment 6, most compatible with HCC."): (
        ("liver", None, 54.0),
    ),
    (
        "KIDNEYS AND URETERS: There is a 3.6 x 3.4 cm heterogeneously enhancing mass arising from the "
        "interpolar region of the left kidney. No hydronephrosis."
    ): (("kidney", "left", 36.0),),
    ("PANCREAS: 2.7 cm hypoattenuating lesion in the body/tail, concerning for adenocarcinoma."): (
        ("pancreas", None, 27.0),
    ),
    "COLON: Known sigmoid cancer. STOMACH: Unremarkable.": (("colon", "colon_sigmoid"),),
    ("Adrenal glands: Right adrenal gland is normal. There is a left adrenal mass measuring 4.8 cm with HU of 35."): (
        ("adrenal_gland", "left", 48.0),
    ),
    "1. 2.2 cm RUL nodule is suspicious for primary lung malignancy.": (("lung", "lung_upper_lobe_right", 22.0),),
    "No enhancing renal mass is seen on either side.": (),
    "Lobulated RLL mass measuring 5.7 x 4.1 x 6.0 cm (AP x TR x CC).": (("lung", "lung_lower_lobe_right", 60.0),),
    (
        "Oncologic history: Stage IIIB non-small cell lung cancer of the left upper lobe, on pembrolizumab. "
        "Findings: Left upper lobe mass 2.9 x 2.2 cm, was 3.5 x 2.7 cm."
    ): (("lung", "lung_upper_lobe_left", 29.0),),
    "Hx: gastric adenoca. CT: wall thickening of the antrum, 17 mm.": (("stomach",),),
    "There is a large pelvic mass of 11 cm arising from the right ovary.": (),
    ("Impression: Hypervascular pancreatic tail mass (1.8 cm) most likely neuroendocrine tumour."): (
        ("pancreas", None, 18.0),
    ),
    ("Interval development of a 1.2 cm mass in the remnant right kidney? Recommend MRI."): (),
    (
        "Mass in the right upper lobe of lung of 4 cm, extending to the hilum. Adrenal metastases on both "
        "sides, 3 cm on the left."
    ): (("lung", "lung_upper_lobe_right", 40.0),),
    "The stomach wall is thickened, suggesting gastric cancer.": (("stomach",),),
    "CT shows bladder cancer, 35 mm, on the left lateral wall, T3bN0.": (("urinary_bladder", None, 35.0),),
    "A 27 mm x 22 mm mass lies in the left adrenal gland.": (("adrenal_gland", "left", 27.0),),
    "Follow-up colorectal cancer. Stable disease.": (("colon",),),
    ("Patient with hepatocellular carcinoma (HCC) s/p RFA. Residual viable tumor of 2.2 cm in segment V."): (
        ("liver", None, 22.0),
    ),
    ("There are innumerable liver metastases, up to 5 cm. Primary tumor in the ascending colon, 6.5 cm."): (
        ("colon", "colon_ascending", 65.0),
    ),
    ("There is a 1.1 cm hypodensity in the liver, too small to characterize. Otherwise no mass."): (),
    "Bulky uterus with fibroids, largest 6 cm.": (),
    ("Thrombus in the right atrium. Renal cell cancer of the right kidney (size 8,5 x 7 cm)."): (
        ("kidney", "right", 85.0),
    ),
    ("Lungs/pleura: 4.1 cm cavitary mass in the superior segment of the left lower lobe."): (
        ("lung", "lung_lower_lobe_left", 41.0),
    ),
    "A mass in the caecum 5cm, with ileocolic intussusception": (("colon", "colon_ascending", 50.0),),
    "Left kidney: upper pole mass of 3.0 cm, lower pole cyst of 5.0 cm.": (("kidney", "left", 30.0),),
    "Large exophytic gastric GIST, 14.2 cm, with liver metastasis of 2.1 cm": (("stomach", None, 142.0),),
    "Complex cystic mass of 3.3 cm in the right kidney, Bosniak III.": (("kidney", "right", 33.0),),
    "No change in the 2.4 cm left lower lobe mass.": (("lung", "lung_lower_lobe_left", 24.0),),
    "Treated lung cancer in the right lower lobe. No residual mass.": (("lung", "lung_lower_lobe_right"),),
    "Postoperative status after right lower lobectomy for lung cancer. No recurrence.": (),
    "Liver transplant for HCC. No new lesions.": (),
    "Splenic mass 4 cm, favored to be a hamartoma.": (),
    "Splenic mass 4 cm. A hamartoma is favored.": (),
    "Hepatic mass 6 cm with features typical for hemangioma.": (),
    "Renal mass 2 cm right. Left kidney atrophic.": (("kidney", "right", 20.0),),
    ("Prostate: 62 ml, 14 mm lesion in the left peripheral zone, PI-RADS 5, suspicious for carcinoma."): (
        ("prostate", None, 14.0),
    ),
    "Oesophageal carcinoma of the distal third, 4 cm, with nodal disease.": (("esophagus", None, 40.0),),
    "Rectosigmoid junction tumour, 4.4 cm": (("colon", None, 44.0),),
    "lung mass LLL 33mm": (("lung", "lung_lower_lobe_left", 33.0),),
    "ca colon with mets liver": (("colon",),),
    "pancreatic head ca 3.5cm, mets to liver": (("pancreas", None, 35.0),),
    "man 60 gastric tumor 4cm": (("stomach", None, 40.0),),
    "kidney cancer right side 7 cm": (("kidney", "right", 70.0),),
    "woman with tumor in her liver": (("liver",),),
    "CT of a patient with a tumor in the left lung": (("lung", "left"),),
    "a big tumour on the right kidney": (("kidney", "right"),),
    "cancer in the bowel": (("colon",),),
    "small intestine tumor": (("small_bowel",),),
    "a growth in the stomach, probably cancer": (("stomach",),),
    "uterine cancer patient": (("uterus",),),
    "metastatic prostate cancer": (("prostate",),),
    "spleen tumour 5 cm": (("spleen", None, 50.0),),
    "adrenal cancer left 6cm": (("adrenal_gland", "left", 60.0),),
    "thyroid ca": (("thyroid_gland",),),
    "gall bladder cancer": (("gallbladder",),),
    "oesophageal tumour": (("esophagus",),),
    "large cell carcinoma of lung, left lower lobe": (("lung", "lung_lower_lobe_left"),),
    "Diagnosed with NSCLC": (("lung",),),
}

REPORTS = {
    (
        "CT ABDOMEN AND PELVIS WITH INTRAVENOUS CONTRAST\n\nCLINICAL HISTORY: 62-year-old woman with newly "
        "diagnosed adenocarcinoma of the sigmoid colon. Staging.\n\nTECHNIQUE: Axial images from the lung "
        "bases to the pubic symphysis in the portal venous phase. Slice thickness 3 mm.\n\nCOMPARISON: None.\n\n"
        "FINDINGS:\nLung bases: Clear. No nodules.\nLiver: Multiple hypodense lesions, the largest in segment "
        "VII measuring 2.8 cm, consistent with metastases.\nGallbladder: Surgically absent.\nSpleen: Normal in "
        "size.\nPancreas: Unremarkable.\nAdrenals: Normal.\nKidneys: 1.4 cm simple cyst in the left kidney. No "
        "hydronephrosis.\nBowel: Circumferential wall thickening of the sigmoid colon over a length of 5.2 "
        "cm, in keeping with the known tumor. Enlarged pericolic lymph nodes up to 1.1 cm.\nBladder: "
        "Unremarkable.\nBones: No suspicious lesions.\n\nIMPRESSION:\n1. Sigmoid carcinoma with pericolic "
        "lymphadenopathy.\n2. Liver metastases.\n"
    ): (("colon", "colon_sigmoid", 52.0),),
    (
        "EXAM: CT chest without contrast\nHISTORY: 71M, smoker, cough.\nFINDINGS: There is a spiculated 3.4 x "
        "2.8 cm mass in the posterior segment of the right upper lobe abutting the pleura. A 6 mm nodule is "
        "seen in the left lower lobe. No pleural effusion. Heart size is normal. Limited images of the upper "
        "abdomen show a 2 cm left adrenal nodule, likely adenoma.\nIMPRESSION: Right upper lobe mass highly "
        "suspicious for primary bronchogenic carcinoma. Tissue sampling is recommended."
    ): (("lung", "lung_upper_lobe_right", 34.0),),
    (
        "Indication: Follow-up of renal cell carcinoma, status post left nephrectomy in 2015.\nTechnique: CT "
        "of the chest, abdomen and pelvis after i.v. contrast in portal venous phase.\nFindings: No pulmonary "
        "nodules. The left kidney is surgically absent. No mass in the nephrectomy bed. The right kidney is "
        "normal. No liver lesion. Spleen enlarged (15 cm).\nImpression: No evidence of recurrent disease. "
        "Splenomegaly."
    ): (),
    (
        "74-year-old man. CT urography. There is a 3.1 cm enhancing papillary mass in the left renal pelvis "
        "consistent with urothelial carcinoma. The bladder wall is smooth. The prostate is enlarged. "
        "Bilateral simple renal cysts, largest 6 cm."
    ): (("kidney", "left", 31.0),),
    (
        "History: weight loss, jaundice. Findings: The pancreatic duct is dilated to 9 mm. A hypoattenuating "
        "mass in the head of the pancreas measures 3,2 x 2,7 cm and encases the superior mesenteric artery. "
        "The common bile duct measures 14 mm. Liver: several hypodense lesions up to 1,5 cm suspicious for "
        "metastases. Conclusion: Locally advanced pancreatic carcinoma, cT4 N1 M1."
    ): (("pancreas", None, 32.0),),
    (
        "A 55 year old Asian female with a history of breast cancer. CT shows a 2.2 cm hypodense lesion in "
        "the right hepatic lobe, likely a metastasis. Left adrenal mass of 3.5 cm, stable since 2010, "
        "compatible with adenoma."
    ): (),
    (
        "Findings: Large heterogeneous mass of the left kidney, 12.4 x 10.2 x 11 cm, with extension into the "
        "left renal vein and inferior vena cava. Enlarged para-aortic lymph nodes, the largest 2.3 cm. Two "
        "pulmonary nodules in the right lower lobe, up to 9 mm, suspicious for metastases. The liver, "
        "spleen, pancreas and adrenal glands are unremarkable. Impression: T3b left renal tumor with nodal "
        "and pulmonary metastases."
    ): (("kidney", "left", 124.0),),
    (
        "Impression: 1. Interval decrease in size of the gastric antral mass, now 2.9 cm (previously 4.4 "
        "cm). 2. Unchanged 8 mm right middle lobe nodule. 3. Status post cholecystectomy."
    ): (("stomach", None, 29.0),),
    (
        "Bladder: Irregular mass at the right posterolateral wall measuring 3.8 cm with perivesical fat "
        "stranding, consistent with known urothelial carcinoma. Ureters: Mild right hydroureter. Prostate: "
        "Enlarged. Rectum: Normal. Lymph nodes: Right obturator node 1.3 cm."
    ): (("urinary_bladder", None, 38.0),),
    (
        "There is a 2.1 cm mass in the left upper lobe, previously 1.4 cm, and a new 1.2 cm nodule in the "
        "right lower lobe. Findings concerning for lung carcinoma."
    ): (("lung", "lung_upper_lobe_left", 21.0),),
    (
        "A 4 cm fat-containing mass is seen in the upper pole of the right kidney, in keeping with an "
        "angiomyolipoma. A separate 2.7 cm solid enhancing mass in the left kidney is suspicious for renal "
        "cell carcinoma."
    ): (("kidney", "left", 27.0),),
    (
        "The liver contains a 6 cm giant haemangioma. There is a tumour in the caecum measuring 4.5 cm with "
        "enlarged regional nodes."
    ): (("colon", "colon_ascending", 45.0),),
    (
        "Post-surgical changes of right hemicolectomy for cecal carcinoma. No local recurrence. New 3 cm "
        "hypodense lesion in the liver, metastasis."
    ): (),
    (
        "CT thorax: Patient with known left lower lobe lung cancer under chemotherapy. The tumour in the "
        "left lower lobe measures 38 x 30 mm, previously 52 x 44 mm (partial response)."
    ): (("lung", "lung_lower_lobe_left", 38.0),),
    (
        "Distal esophageal wall thickening with a mass extending to the gastric cardia, 6.5 cm in length. "
        "Biopsy-proven adenocarcinoma."
    ): (("esophagus", None, 65.0),),
    (
        "No hepatic lesions. No renal masses. No adrenal masses. There is no lymphadenopathy. A cystic mass "
        "measuring 5 cm in the left ovary."
    ): (),
    ("Rectum: Polypoid mass 4.8 cm from the anal verge, 3.3 cm in diameter. Mesorectal nodes up to 7 mm."): (
        ("colon", "rectum", 33.0),
    ),
    ("Thyroid goiter with multiple nodules. Trachea deviated. Cardiomegaly. No pulmonary mass."): (),
    ("Right kidney: 2 solid masses, 3.2 cm upper pole and 1.8 cm lower pole. Left kidney: normal."): (
        ("kidney", "right", 32.0, 2),
    ),
    (
        "Uterus: Enlarged, with a heterogeneous endometrial mass measuring 5.5 cm, consistent with the known "
        "endometrial carcinoma. Ovaries: Not visualized."
    ): (("uterus", None, 55.0),),
    (
        "REASON: r/o malignancy. The gallbladder is distended with a 2.4 cm polypoid mass at the fundus "
        "suspicious for carcinoma."
    ): (("gallbladder", None, 24.0),),
    ("Prostate cancer with bone metastases. The prostate measures 5.6 cm. Sclerotic lesions in the spine."): (
        ("prostate",),
    ),
    ("Impression: Right lower lobe consolidation, most likely pneumonia; underlying mass cannot be excluded."): (),
    "There are bilateral adrenal masses, on the right 4.1 cm and on the left 2.6 cm.": (
        ("adrenal_gland", "left"),
        ("adrenal_gland", "right"),
    ),
    "Jejunal GIST measuring 7.7 cm. Hepatic cyst 4 cm.": (("small_bowel", None, 77.0),),
    "Liver mass: 8.8 cm. Spleen: normal. Age: 49. Sex: M.": (("liver", None, 88.0),),
    "Wilms tumor of the right kidney in a 3-year-old girl, 11 cm.": (("kidney", "right", 110.0),),
    (
        "A 66-year-old African American man underwent contrast-enhanced CT of the abdomen, which revealed an "
        "exophytic mass (5.6 cm) in the lower pole of the left kidney."
    ): (("kidney", "left", 56.0),),
    ("Findings are most consistent with a primary splenic angiosarcoma, measuring 9.4 cm."): (("spleen", None, 94.0),),
    (
        "The patient has lung cancer in the right lower lobe. Radiation changes. The tumor is 2.0 cm; before "
        "treatment it was 4.1 cm."
    ): (("lung", "lung_lower_lobe_right", 20.0),),
    ("Hypervascular lesion in segment 4 of the liver, 3 cm, FNH is favored. Differential includes HCC."): (),
    "Duodenum: 3.5 cm ulcerated mass of the second portion, biopsy: adenocarcinoma.": (("duodenum", None, 35.0),),
    (
        "Renal cell carcinoma of the left kidney measuring 4.2 cm is again seen. The contralateral kidney "
        "contains a 3 cm cyst."
    ): (("kidney", "left", 42.0),),
    ("Impression: Hepatic steatosis. Sigmoid diverticulosis. No mass. Prior hysterectomy."): (),
    (
        "There is a 1.5 cm mass within the tail of the pancreas, avidly enhancing in the arterial phase, "
        "compatible with a neuroendocrine tumor."
    ): (("pancreas", None, 15.0),),
    "Lung, right upper lobe: mass 45 mm. Lung, left: normal.": (("lung", "lung_upper_lobe_right", 45.0),),
    "Large right hepatic lobe abscess measuring 8 cm mimicking a tumor.": (),
    "4.3 cm mass in the right hepatic lobe. Biopsy revealed hepatic adenoma.": (),
    "4.3 cm mass in the right hepatic lobe. Biopsy revealed hepatocellular carcinoma.": (("liver", None, 43.0),),
    "Mass in the left kidney, 5 cm. Mass in the right lung, 2 cm.": (("kidney", "left", 50.0), ("lung", "right", 20.0)),
}


def tumours_of(expected):
    """Tumours as the tables state them."""

    def one(organ, place=None, size_mm=None, count=None):
        where = {"side": place} if place in ("left", "right") else {"site": place}
        return Tumour(organ=organ, **where, size_mm=size_mm, count=count)

    return tuple(one(*row) for row in expected)


def without_stages(tumours):
    return tuple(t.model_copy(update={"t_stage": None, "n_stage": None, "m_stage": None}) for t in tumours)


@pytest.mark.parametrize("text", [*SNIPPETS, *REPORTS])
def test_a_report_states_these_tumours(text):
    expected = {**SNIPPETS, **REPORTS}[text]
    assert without_stages(extract(text).prompt.tumours) == tumours_of(expected)


@pytest.mark.parametrize("text", [*SNIPPETS, *REPORTS])
def test_every_value_is_stated_at_its_evidence(text):
    assert verify(text, extract(text)) == ()
