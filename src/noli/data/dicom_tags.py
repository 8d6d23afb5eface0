"""``--metadata strip`` for DICOM: which tags go, and the UIDs that replace those of instances.

A subset of the basic profile of PS3.15 and NOT de-identification: burned-in text, faces in volumes, file
names and whatever a vendor hides in standard tags stay. The new UIDs come from the old ones without a key, so
that the files of a study still belong together; who holds the old UIDs can recognise them.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

# Emptied, because files must have them:
_EMPTIED = frozenset([
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
])  # fmt: skip
# Removed: whole groups (patient, trial, procedure, visit, icons, encrypted, results, curves, overlays,
# signatures), whole kinds of value (names, dates, times, free text, addresses, unknown), all private
# tags, scheduling (0040,0xxx .. 8xxx), and by name.
_GROUPS = frozenset(
    [0x10, 0x12, 0x32, 0x38, 0x88, 0x400, 0x4008, 0xFFFA, *range(0x5000, 0x5020), *range(0x6000, 0x6020)]
)
_KINDS = frozenset(["PN", "DA", "DT", "TM", "LT", "ST", "UT", "AE", "UR", "UN"])
_NAMES = frozenset([
    "InstitutionName", "InstitutionCodeSequence", "InstitutionalDepartmentName", "StationName",
    "StudyDescription", "SeriesDescription", "ProtocolName", "AdmittingDiagnosesDescription",
    "AdmittingDiagnosesCodeSequence", "DeviceSerialNumber", "DetectorID", "PlateID", "CassetteID", "GantryID",
    "ReferencedPatientSequence", "ReferringPhysicianIdentificationSequence", "OperatorIdentificationSequence",
    "PerformingPhysicianIdentificationSequence", "PhysiciansOfRecordIdentificationSequence",
    "PhysiciansReadingStudyIdentificationSequence", "IssuerOfAccessionNumberSequence",
    "ReferencedPerformedProcedureStepSequence", "ContributingEquipmentSequence", "UserContentLabel",
    "RequestingService", "TimezoneOffsetFromUTC",
])  # fmt: skip
_STANDARD_UID = "1.2.840.10008."


def strip(file: Dataset) -> None:
    """Remove or empty what the lists name, at every level, and replace the UIDs of instances."""
    for tag in list(file.keys()):
        element = file[tag]
        if element.keyword in _EMPTIED:
            element.value = ""
        elif _identifies(element):
            del file[tag]
        elif element.VR == "SQ":
            for item in element.value:
                strip(item)
        elif element.VR == "UI" and element.value:
            several = [element.value] if isinstance(element.value, str) else element.value
            element.value = [replaced(one) for one in several]


def _identifies(element: DataElement) -> bool:
    group, number = element.tag.group, element.tag.element
    scheduling = group == 0x40 and number < 0x9000
    kind = group in _GROUPS or element.VR in _KINDS or element.keyword in _NAMES
    return bool(kind or scheduling or element.tag.is_private)


def replaced(identity: str) -> str:
    """Return another UID for that of an instance; those of the standard stay."""
    return identity if identity.startswith(_STANDARD_UID) else new_uid(identity.encode())


def new_uid(content: bytes) -> str:
    """Return the UID that belongs to a content, always the same."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, 'noli ' + hashlib.sha256(content).hexdigest()).int}"
