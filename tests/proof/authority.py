"""A time-stamping authority of our own (RFC 3161), with a certificate chain, written out in ASN.1."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """Signs tokens for any time, as no honest authority would."""

    def __init__(self, title: str = "Test TSA") -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        root_key = rsa.generate_private_key(65537, 2048)
        start, end = datetime(2020, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)

        def builder(subject: str, key: rsa.RSAPrivateKey) -> x509.CertificateBuilder:
            return (
                x509.CertificateBuilder()
                .subject_name(name(subject))
                .issuer_name(name(f"{title} root"))
                .public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(start)
                .not_valid_after(end)
            )

        own = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())
        self.root = (
            builder(f"{title} root", root_key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(own, critical=False)
            .sign(root_key, hashes.SHA256())
        )
        usage = x509.KeyUsage(True, True, False, False, False, False, False, False, False)
        stamping = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
        self.certificate = (
            builder(title, self.key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(stamping, critical=True)
            .add_extension(issuer, critical=False)
            .sign(root_key, hashes.SHA256())
        )

    def stamp(self, message: bytes, moment: datetime) -> bytes:
        """Return the response that stamps a message with a time."""
        sha256 = algos.DigestAlgorithm({"algorithm": "sha256"})
        imprint = {"hash_algorithm": sha256, "hashed_message": hashlib.sha256(message).digest()}
        info = tsp.TSTInfo(
            {
                "version": "v1",
                "policy": "1.2.3.4.1",
                "message_imprint": tsp.MessageImprint(imprint),
                "serial_number": 7,
                "gen_time": core.GeneralizedTime(moment),
                "tsa": asn1_x509.GeneralName("directory_name", self._parsed.subject),
            }
        ).dump()
        signed = self._signed(info, sha256)
        content = cms.ContentInfo({"content_type": "signed_data", "content": signed})
        status = tsp.PKIStatusInfo({"status": "granted"})
        return tsp.TimeStampResp({"status": status, "time_stamp_token": content}).dump()

    @property
    def _parsed(self) -> asn1_x509.Certificate:
        return asn1_x509.Certificate.load(self.certificate.public_bytes(Encoding.DER))

    def _signed(self, info: bytes, sha256: algos.DigestAlgorithm) -> cms.SignedData:
        parsed, der = self._parsed, self.certificate.public_bytes(Encoding.DER)
        certificate = tsp.ESSCertIDv2({"cert_hash": hashlib.sha256(der).digest()})
        attributes = cms.CMSAttributes(
            [
                cms.CMSAttribute({"type": "content_type", "values": ["tst_info"]}),
                cms.CMSAttribute({"type": "message_digest", "values": [hashlib.sha256(info).digest()]}),
                cms.CMSAttribute(
                    {
                        "type": "signing_certificate_v2",
                        "values": [tsp.SigningCertificateV2({"certs": [certificate]})],
                    }
                ),
            ]
        )
        signature = self.key.sign(attributes.dump(), padding.PKCS1v15(), hashes.SHA256())
        who = cms.IssuerAndSerialNumber({"issuer": parsed.issuer, "serial_number": parsed.serial_number})
        signer = cms.SignerInfo(
            {
                "version": "v1",
                "sid": cms.SignerIdentifier({"issuer_and_serial_number": who}),
                "digest_algorithm": sha256,
                "signed_attrs": attributes,
                "signature_algorithm": cms.SignedDigestAlgorithm({"algorithm": "sha256_rsa"}),
                "signature": signature,
            }
        )
        content = cms.EncapsulatedContentInfo(
            {"content_type": "tst_info", "content": core.ParsableOctetString(info)}
        )
        return cms.SignedData(
            {
                "version": "v3",
                "digest_algorithms": [sha256],
                "encap_content_info": content,
                "certificates": [parsed],
                "signer_infos": [signer],
            }
        )
