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
    "RequestingService", "TimezoneOffsetFromUTC", "ContentLabel", "ContentDescription", "RTPlanLabel",
    "RTPlanName", "StructureSetLabel", "StructureSetName", "DocumentTitle", "SecondaryCaptureDeviceID",
])  # fmt: skip
# At every level: an icon is a small unprotected copy, signatures no longer hold, offset tables belong to
# compressed pixels.
_NEVER_KEPT = frozenset([
    "IconImageSequence", "DigitalSignaturesSequence", "MACParametersSequence", "DataSetTrailingPadding",
    "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
])  # fmt: skip
_SAID = ("IconImageSequence", "DigitalSignaturesSequence")
_BINARY = frozenset(["OB", "OW", "OF", "OD", "OL", "OV", "UN"])
_LONG = 400  # bytes: a preview or the pixels once more
_STANDARD_UID = "1.2.840.10008."


def without_copies(file: Dataset, *, inner: bool = False) -> tuple[str, ...]:
    """Remove what can be a copy of the pixels, and what no longer holds; return what a user should know of.

    Args:
        file: Changed in place.
        inner: It is an item of a sequence, whose own pixels go, too.
    """
    found: dict[str, None] = {}
    for tag in list(file.keys()):
        element = file[tag]
        private = element.tag.is_private and element.VR in _BINARY and len(element.value or b"") >= _LONG
        if element.keyword in _NEVER_KEPT or private or (inner and element.keyword == "PixelData"):
            del file[tag]
            if private or element.keyword in _SAID:
                found["long private binary data" if private else element.keyword] = None
        elif element.VR == "SQ":
            for item in element.value:
                found |= dict.fromkeys(without_copies(item, inner=True))
    return tuple(found)


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
