"""Whose a scan is: scans of one patient must not be trained and tested on."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from ctsr.errors import UserError
from ctsr.imaging.formats.recognise import format_of

OWN = "case"
"""Value of `data.*.patient` that makes each case a patient of its own."""

_NOBODY = re.compile(r"anon(ym(ous|i[sz]ed?)?)?|unknown|none|n/?a|removed|[0\W_]*", re.IGNORECASE)
"""What stands in place of a removed PatientID, and would make one patient of all."""

_PSEUDONYM = re.compile(r"id-[0-9a-f]{16}")
_BIDS = re.compile(r"sub-[0-9A-Za-z]+")


class Patient(NamedTuple):
    """Whose a case is.

    Attributes:
        patient: A name.
        of_header: Whether it was read out of a scan's header, rather than given by the user, with words or with the
            names of files and folders.
    """

    patient: str
    of_header: bool


def patient_of(path: Path, name: str, top: str, rule: str | None, key: str) -> Patient:
    """The patient of a case.

    By the user's rule, or else by the first that there is: the PatientID of DICOM, `sub-XX` (BIDS) in the case's name,
    the folder below the root that the case lies in. A file by itself is a patient of its own.

    Args:
        path: The scan.
        name: The case's.
        top: The folder directly below the root that the case lies in, or again the case's name.
        rule: Regular expression on the case's name whose first group is the patient; "case"; None.
        key: The key that gives the rule, for errors.

    Raises:
        UserError: The rule is no regular expression, or does not match the name.
    """
    if rule == OWN:
        return Patient(name, False)
    if rule is not None:
        return Patient(_by_rule(name, rule, key), False)
    if format_of(path) == "dicom":
        from ctsr.imaging.formats.dicom import series  # here, as the readers' libraries everywhere

        told = series.patient_of(path)
        if told is not None and not _NOBODY.fullmatch(told):
            return Patient(told, True)
    bids = next(filter(None, map(_BIDS.match, (top, name, path.name))), None)
    return Patient(bids[0] if bids else top, False)


def pseudonym(patient: str) -> str:
    """Tells a patient from others in files that are passed on, without naming them; its own pseudonym."""
    if _PSEUDONYM.fullmatch(patient):
        return patient
    return f"id-{hashlib.sha256(patient.encode()).hexdigest()[:16]}"


def _by_rule(name: str, rule: str, key: str) -> str:
    try:
        match = re.search(rule, name)
    except re.error as error:
        raise UserError(f"{key}={rule} is no regular expression: {error}") from error
    found = match and (match[1] if match.re.groups else match[0])
    if not found:
        raise UserError(
            f"{key}={rule} tells no patient of case {name}: its first group must match a part of every name"
        )
    return found
