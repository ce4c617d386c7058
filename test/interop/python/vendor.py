"""What a vendor writes in Python: keys, Statements and verified answers, from the contract's comments alone."""

import base64
import hashlib
import os
import time

import grpc
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from google.protobuf import descriptor_pool, message_factory
from grpc_status import rpc_status

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
ORDER_8_Y = 2707385501144840649318225287225658788936804267575313519463743609750303402022
SMALL_ORDER_Y = {0, 1, P - 1, ORDER_8_Y, P - ORDER_8_Y}

pool = descriptor_pool.Default()


def message(name):
    """The class of a message, which the generated code has registered."""
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def encode(value):
    return value.SerializeToString(deterministic=True)


def key_id(public_key):
    """RFC 7638: the members in lexicographic order, no spaces."""
    jwk = '{"crv":"Ed25519","kty":"OKP","x":"%s"}' % base64url(public_key)
    return base64url(hashlib.sha256(jwk.encode()).digest())


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def is_good_key(public_key):
    """True if the key is 32 bytes, canonical, on the curve and not of small order."""
    if len(public_key) != 32:
        return False
    y = y_of(public_key)
    if y >= P or y in SMALL_ORDER_Y:
        return False
    # x² = (y² - 1) / (d·y² + 1) must be a square (RFC 8032, section 5.1.3).
    d = -121665 * pow(121666, P - 2, P)
    square = (y * y - 1) * pow(d * y * y + 1, P - 2, P) % P
    return pow(square, (P - 1) // 2, P) in (0, 1)


def verify(public_key, data, signature):
    """The one verification rule: the form is checked here, the cofactorless equation by OpenSSL."""
    if len(signature) != 64 or not is_good_key(public_key):
        return False
    r, s = y_of(signature[:32]), int.from_bytes(signature[32:], "little")
    if s >= L or r >= P or r in SMALL_ORDER_Y:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except InvalidSignature:
        return False
    return True


def y_of(point):
    return int.from_bytes(point, "little") & (2**255 - 1)


class Key:
    def __init__(self, seed=None):
        self.private = Ed25519PrivateKey.from_private_bytes(seed or os.urandom(32))
        self.public = self.private.public_key().public_bytes_raw()
        self.id = key_id(self.public)


def signing_input(statement):
    of = message("omi.statement.v1.SigningInput")
    return encode(of(version=statement.version, type=statement.type, data=statement.data))


def statement_id(statement):
    return hashlib.sha256(signing_input(statement)).digest()


def sign(key, audience, value):
    """Signs a message now; its header is filled in."""
    value.header.audience = audience
    value.header.timestamp = int(time.time())
    value.header.nonce = os.urandom(16)
    value.header.signer = key.id
    statement = message("omi.statement.v1.Statement")(
        version="1.0", type=value.DESCRIPTOR.full_name, data=encode(value)
    )
    statement.signature = key.private.sign(signing_input(statement))
    return statement


def open_answer(statement, name, public_key):
    """The message in an answer, verified with the key that its signer must have."""
    assert statement.type == name, statement.type
    assert verify(public_key, signing_input(statement), statement.signature), f"{name} does not verify"
    value = message(name).FromString(statement.data)
    assert value.header.signer == key_id(public_key)
    return value


class Refused(Exception):
    """A call was refused; `reason` is the name of the Reason."""

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


class Client:
    """Calls RPCs over gRPC."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)

    def call(self, service, method, request):
        output = pool.FindServiceByName(service).methods_by_name[method].output_type
        rpc = self.channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda value: value.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(output).FromString,
        )
        try:
            return rpc(request, timeout=30)
        except grpc.RpcError as error:
            raise Refused(reason_of(error)) from error


def reason_of(error):
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else []:
        found = message("omi.error.v1.ErrorDetail")()
        if detail.Unpack(found):
            return pool.FindEnumTypeByName("omi.error.v1.Reason").values_by_number[found.reason].name
    return f"none, {error.code().name}: {error.details()}"
