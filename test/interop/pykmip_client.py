"""PyKMIP as an outside client of the KMIP plane.

usage: pykmip_client.py HOST PORT CA CERT KEY OTHER_CERT OTHER_KEY VERSION

Prints one JSON object for each step: {"step": ..., "ok": true} or {"step": ..., "ok": false, "error": ...}. OTHER_* is a client of another tenant.
"""
import json
import os
import sys
import warnings

warnings.simplefilter("ignore")
from kmip.core import enums, objects as core_objects  # noqa: E402
from kmip.core.factories.attributes import AttributeFactory  # noqa: E402
from kmip.pie import exceptions, objects  # noqa: E402
from kmip.pie.client import ProxyKmipClient  # noqa: E402

host, port, ca, cert, key, other_cert, other_key, version = sys.argv[1:9]
VERSIONS = {
    "1.0": enums.KMIPVersion.KMIP_1_0,
    "1.1": enums.KMIPVersion.KMIP_1_1,
    "1.2": enums.KMIPVersion.KMIP_1_2,
    "1.3": enums.KMIPVersion.KMIP_1_3,
    "1.4": enums.KMIPVersion.KMIP_1_4,
    "2.0": enums.KMIPVersion.KMIP_2_0,
}
MASK = enums.CryptographicUsageMask
AES = enums.CryptographicAlgorithm.AES
RSA = enums.CryptographicAlgorithm.RSA
has_cryptography = version >= "1.2"


def connect(certificate, private_key):
    return ProxyKmipClient(
        hostname=host, port=int(port), cert=certificate, key=private_key, ca=ca,
        ssl_version="PROTOCOL_SSLv23", config_file=os.devnull, kmip_version=VERSIONS[version])


def equal(got, wanted, what):
    if got != wanted:
        raise AssertionError("%s: %r, not %r" % (what, got, wanted))


def refused(reasons, call):
    try:
        call()
    except exceptions.KmipOperationFailure as failure:
        if failure.reason not in reasons:
            raise AssertionError("Result Reason: %r, not one of %r" % (failure.reason, reasons))
        return
    raise AssertionError("not refused")


def state_of(client, uid):
    _, attributes = client.get_attributes(uid, ["State"])
    return attributes[0].attribute_value.value


def name_filter(value):
    return AttributeFactory().create_attribute(
        enums.AttributeType.NAME,
        core_objects_name(value))


def core_objects_name(value):
    from kmip.core import attributes
    return attributes.Name.create(value, enums.NameType.UNINTERPRETED_TEXT_STRING)


STEPS = []


def step(function):
    STEPS.append((function.__name__, function))
    return function


shared = {}
label = "pykmip-%s-%s" % (version, os.urandom(4).hex())


@step
def create(client):
    shared["key"] = client.create(
        AES, 256, name=label, cryptographic_usage_mask=[MASK.ENCRYPT, MASK.DECRYPT])


@step
def register(client):
    material = os.urandom(16)
    uid = client.register(objects.SymmetricKey(AES, 128, material, masks=[MASK.ENCRYPT], name=label + "-registered"))
    got = client.get(uid)
    equal(got.value, material, "registered material")
    equal(got.cryptographic_length, 128, "length")
    client.destroy(uid)


@step
def register_secret_and_opaque(client):
    for made in (
            objects.SecretData(b"a secret", enums.SecretDataType.PASSWORD, masks=[MASK.VERIFY]),
            objects.OpaqueObject(b"opaque bytes", enums.OpaqueDataType.NONE)):
        uid = client.register(made)
        equal(client.get(uid).value, made.value, "value of %s" % type(made).__name__)
        client.destroy(uid)


@step
def locate(client):
    equal(client.locate(attributes=[name_filter(label)]), [shared["key"]], "Locate by name")
    equal(client.locate(attributes=[name_filter(label + "-nobody")]), [], "Locate of nothing")


@step
def get(client):
    got = client.get(shared["key"])
    equal(got.cryptographic_algorithm, AES, "algorithm")
    equal(got.cryptographic_length, 256, "length")
    equal(len(got.value), 32, "material")


@step
def get_attributes(client):
    uid, attributes = client.get_attributes(
        shared["key"], ["Cryptographic Algorithm", "Cryptographic Length", "State", "Name"])
    equal(uid, shared["key"], "Unique Identifier")
    values = {one.attribute_name.value: one.attribute_value for one in attributes}
    equal(values["Cryptographic Length"].value, 256, "Cryptographic Length")
    equal(values["State"].value, enums.State.PRE_ACTIVE, "State")
    names = client.get_attribute_list(shared["key"])
    for wanted in ("State", "Name", "Unique Identifier", "Cryptographic Usage Mask", "Initial Date"):
        if wanted not in names:
            raise AssertionError("%s is not in %r" % (wanted, names))


@step
def modify_attributes(client):
    if version >= "2.0":
        from kmip.core import primitives
        client.set_attribute(shared["key"], attribute_name="Sensitive", attribute_value=False)
        return
    if version < "1.0":
        return
    changed = AttributeFactory().create_attribute(
        enums.AttributeType.NAME, core_objects_name(label + "-changed"), index=0)
    client.modify_attribute(shared["key"], attribute=changed)
    equal(client.locate(attributes=[name_filter(label + "-changed")]), [shared["key"]], "Locate by the new name")
    client.delete_attribute(shared["key"], attribute_name="Name", attribute_index=0)
    equal(client.locate(attributes=[name_filter(label + "-changed")]), [], "Locate by the deleted name")


@step
def activate(client):
    client.activate(shared["key"])
    equal(state_of(client, shared["key"]), enums.State.ACTIVE, "State")
    refused([enums.ResultReason.PERMISSION_DENIED if version < "2.0" else enums.ResultReason.WRONG_KEY_LIFECYCLE_STATE],
            lambda: client.activate(shared["key"]))


@step
def encrypt_and_decrypt(client):
    if not has_cryptography:
        return
    plain = os.urandom(1000)
    for mode, padding, iv in (
            (enums.BlockCipherMode.CBC, enums.PaddingMethod.PKCS5, os.urandom(16)),
            (enums.BlockCipherMode.CTR, None, os.urandom(16))):
        parameters = {"cryptographic_algorithm": AES, "block_cipher_mode": mode}
        if padding is not None:
            parameters["padding_method"] = padding
        answer = client.encrypt(plain, uid=shared["key"], cryptographic_parameters=parameters, iv_counter_nonce=iv)
        sealed = answer[0]
        if sealed == plain:
            raise AssertionError("not encrypted")
        opened = client.decrypt(sealed, uid=shared["key"], cryptographic_parameters=parameters, iv_counter_nonce=iv)
        equal(opened, plain, "decrypted with %s" % mode)


@step
def sign_and_verify(client):
    public, private = client.create_key_pair(
        RSA, 2048, public_name=label + "-public", public_usage_mask=[MASK.VERIFY],
        private_name=label + "-private", private_usage_mask=[MASK.SIGN])
    shared["pair"] = (public, private)
    got = client.get(public)
    equal(got.cryptographic_length, 2048, "length")
    equal(type(got).__name__, "PublicKey", "object type")
    if not has_cryptography:
        return
    client.activate(private)
    client.activate(public)
    parameters = {
        "cryptographic_algorithm": RSA,
        "padding_method": enums.PaddingMethod.PSS,
        "hashing_algorithm": enums.HashingAlgorithm.SHA_256,
    }
    signature = client.sign(b"a message", uid=private, cryptographic_parameters=parameters)
    valid = client.signature_verify(b"a message", signature, uid=public, cryptographic_parameters=parameters)
    equal(valid, enums.ValidityIndicator.VALID, "Validity Indicator")
    invalid = client.signature_verify(b"another message", signature, uid=public, cryptographic_parameters=parameters)
    equal(invalid, enums.ValidityIndicator.INVALID, "Validity Indicator of another message")


@step
def mac(client):
    if not has_cryptography:
        return
    import hashlib
    import hmac
    material = os.urandom(32)
    uid = client.register(objects.SymmetricKey(
        enums.CryptographicAlgorithm.HMAC_SHA256, 256, material, masks=[MASK.MAC_GENERATE, MASK.MAC_VERIFY]))
    client.activate(uid)
    _, tag = client.mac(b"some data", uid=uid, algorithm=enums.CryptographicAlgorithm.HMAC_SHA256)
    equal(tag, hmac.new(material, b"some data", hashlib.sha256).digest(), "MAC")
    client.revoke(enums.RevocationReasonCode.CESSATION_OF_OPERATION, uid)
    client.destroy(uid)


@step
def derive(client):
    material = os.urandom(32)
    base = client.register(objects.SymmetricKey(AES, 256, material, masks=[MASK.DERIVE_KEY]))
    client.activate(base)
    import hashlib
    import hmac
    derived = client.derive_key(
        enums.ObjectType.SYMMETRIC_KEY, [base], enums.DerivationMethod.HMAC,
        {"cryptographic_parameters": {"hashing_algorithm": enums.HashingAlgorithm.SHA_256},
         "derivation_data": b"label"},
        cryptographic_length=256, cryptographic_algorithm=AES,
        cryptographic_usage_mask=[MASK.ENCRYPT])
    got = client.get(derived)
    equal(len(got.value), 32, "derived material")
    if got.value == material:
        raise AssertionError("derived the base key")
    again = client.derive_key(
        enums.ObjectType.SYMMETRIC_KEY, [base], enums.DerivationMethod.HMAC,
        {"cryptographic_parameters": {"hashing_algorithm": enums.HashingAlgorithm.SHA_256},
         "derivation_data": b"label"},
        cryptographic_length=256, cryptographic_algorithm=AES,
        cryptographic_usage_mask=[MASK.ENCRYPT])
    equal(client.get(again).value, got.value, "the same derivation")
    for uid in (derived, again):
        client.destroy(uid)
    client.revoke(enums.RevocationReasonCode.CESSATION_OF_OPERATION, base)
    client.destroy(base)


@step
def rekey(client):
    old = client.create(AES, 128, name=label + "-rekey", cryptographic_usage_mask=[MASK.ENCRYPT])
    client.activate(old)
    new = client.rekey(uid=old)
    if new == old:
        raise AssertionError("the same identifier")
    equal(state_of(client, old), enums.State.ACTIVE, "State of the old key")
    equal(client.locate(attributes=[name_filter(label + "-rekey")]), [new], "the name moves")
    for uid in (old, new):
        try:
            client.revoke(enums.RevocationReasonCode.CESSATION_OF_OPERATION, uid)
        except exceptions.KmipOperationFailure:
            pass
        client.destroy(uid)


@step
def across_tenants(client):
    with connect(other_cert, other_key) as other:
        for call in (
                lambda: other.get(shared["key"]),
                lambda: other.get_attributes(shared["key"], ["State"]),
                lambda: other.activate(shared["key"]),
                lambda: other.revoke(enums.RevocationReasonCode.KEY_COMPROMISE, shared["key"]),
                lambda: other.destroy(shared["key"])):
            refused([enums.ResultReason.ITEM_NOT_FOUND, enums.ResultReason.OBJECT_NOT_FOUND], call)
        if shared["key"] in other.locate():
            raise AssertionError("Locate shows another tenant's key")
    equal(state_of(client, shared["key"]), enums.State.ACTIVE, "State afterwards")


@step
def revoke_and_destroy(client):
    client.revoke(enums.RevocationReasonCode.CESSATION_OF_OPERATION, shared["key"], revocation_message="done")
    equal(state_of(client, shared["key"]), enums.State.DEACTIVATED, "State")
    client.destroy(shared["key"])
    for uid in shared.get("pair", ()):
        try:
            client.revoke(enums.RevocationReasonCode.CESSATION_OF_OPERATION, uid)
        except exceptions.KmipOperationFailure:
            pass
        client.destroy(uid)
    refused_reasons = []
    try:
        client.get(shared["key"])
    except exceptions.KmipOperationFailure as failure:
        refused_reasons.append(failure.reason)
    if not refused_reasons:
        raise AssertionError("a destroyed key was given")


with connect(cert, key) as client:
    for name, function in STEPS:
        try:
            function(client)
            print(json.dumps({"step": name, "ok": True}))
        except Exception as error:  # every failure of a step is a result
            print(json.dumps({"step": name, "ok": False, "error": "%s: %s" % (type(error).__name__, error)}))
        sys.stdout.flush()
