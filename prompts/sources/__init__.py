"""Reading what others wrote: tables, report texts and FHIR, as rows or as rejects with a reason."""

from prompts.sources.records import Record, Reject, Table, lookup, plain, write_rejects
from prompts.sources.report import Report, Stated, report_hash
from prompts.sources.reports import read_reports
from prompts.sources.sections import SECTION_NAMES, Section, split_sections
from prompts.sources.tables import read_table

__all__ = [
    "SECTION_NAMES",
    "Record",
    "Reject",
    "Report",
    "Section",
    "Stated",
    "Table",
    "lookup",
    "plain",
    "read_reports",
    "read_table",
    "report_hash",
    "split_sections",
    "write_rejects",
]
