"""Reading what others wrote: tables, report texts and FHIR bundles, as rows or as rejects with a reason."""

from prompts.sources.reports import (
    Record,
    Reject,
    Report,
    Table,
    lookup,
    read_reports,
    read_table,
    report_hash,
    write_rejects,
)

__all__ = [
    "Record",
    "Reject",
    "Report",
    "Table",
    "lookup",
    "read_reports",
    "read_table",
    "report_hash",
    "write_rejects",
]
