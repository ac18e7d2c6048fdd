"""Verifies a prescription with jwcrypto, without any code of Curtain.

Reads prescription.jws and payload.json in the folder that is named, writes leaf.pem and
intermediates.pem beside them, for openssl.
"""

import base64
import json
import pathlib
import sys

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from jwcrypto import jwk, jws

folder = pathlib.Path(sys.argv[1])
token = (folder / "prescription.jws").read_text("ascii")
payload = (folder / "payload.json").read_bytes()

first = token.split(".")[0]
header = json.loads(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
chain = [x509.load_der_x509_certificate(base64.b64decode(der)) for der in header["x5c"]]
pems = [certificate.public_bytes(Encoding.PEM) for certificate in chain]
(folder / "leaf.pem").write_bytes(pems[0])
(folder / "intermediates.pem").write_bytes(b"".join(pems[1:]))
key = jwk.JWK.from_pyca(chain[0].public_key())


def verify(text):
    signed = jws.JWS()
    signed.allowed_algs = ["EdDSA"]
    signed.deserialize(text, key)
    return signed.payload


assert header["alg"] == "EdDSA" and header["typ"] == "rx+jws" and header["cty"] == "fhir+json"
assert verify(token) == payload, "the payload differs"
bundle = json.loads(payload)
assert bundle["resourceType"] == "Bundle" and bundle["type"] == "document"
assert json.dumps(bundle, separators=(",", ":"), ensure_ascii=False).encode() == payload, (
    "not minified"
)

middle = len(token) // 2
altered = token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]
try:
    verify(altered)
except jws.InvalidJWSSignature:
    pass
else:
    sys.exit("interop: jwcrypto accepts an altered prescription")
print("interop: jwcrypto verifies the signature over the FHIR document, and refuses an altered one")
