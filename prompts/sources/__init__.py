"""Reading what others wrote: tables, report texts and FHIR bundles, as rows or as rejects with a reason."""

from prompts.sources.reports import (
    Record,
    Reject,
    Report,
    Stated,
    Table,
    lookup,
    read_reports,
    read_table,
    report_hash,
    write_rejects,
)
from prompts.sources.sections import SECTION_NAMES, Section, split_sections

__all__ = [
    "SECTION_NAMES",
    "Record",
    "Reject",
    "Report",
    "Section",
    "Stated",
    "Table",
    "lookup",
    "read_reports",
    "read_table",
    "report_hash",
    "split_sections",
    "write_rejects",
]
