"""Reads the test vectors as a receiver in Python would."""

import hashlib
import json
import re
from pathlib import Path

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from vendor import encode, is_good_key, key_id, message, pool, signing_input, verify

MAX_DATA = 65536
# Consumers of events take the signed bytes as they are: encoding these messages gives other bytes.
NOT_RE_ENCODED = {"event_not_canonical", "event_with_unknown_field"}


def check_vectors(folder):
    """Checks all vectors; the number of them."""
    folder = Path(folder)
    cases = [(f"wycheproof {case['case']}", case) for case in load(folder / "ed25519/wycheproof.json")["cases"]]
    for name, vector in cases:
        public_key, data, signature = (bytes.fromhex(vector[of]) for of in ("public_key", "message", "signature"))
        expect(name, verify(public_key, data, signature), vector["valid"])
    count = len(cases)
    for kind, check in CHECKS.items():
        for path in sorted((folder / kind).glob("*.json")):
            check(path.stem, load(path))
            count += 1
    return count


def valid_signature(name, vector):
    expect(name, verify(*signed(vector)), True)


def invalid_signature(name, vector):
    expect(name, is_good_key(bytes.fromhex(vector["public_key"])), vector["step"] != "key")
    expect(name, verify(*signed(vector)), False)


def signed(vector):
    return [bytes.fromhex(vector[of]) for of in ("public_key", "message", "signature")]


def valid_encoding(name, vector):
    data = bytes.fromhex(vector["data"])
    expect(name, encode(json_format.ParseDict(vector["message"], message(vector["type"])())), data)
    expect(name, encode(message(vector["type"]).FromString(data)), data)


def invalid_encoding(name, vector):
    expect(name, form_problem(vector["type"], bytes.fromhex(vector["data"])), vector["reason"])


def valid_statement(name, vector):
    statement = statement_of(vector)
    value = json_format.ParseDict(vector["message"], message(vector["type"])())
    expect(name, encode(value) == statement.data, name not in NOT_RE_ENCODED)
    expect(name, signing_input(statement).hex(), vector["signing_input"])
    expect(name, hashlib.sha256(signing_input(statement)).hexdigest(), vector["statement_id"])
    expect(name, problem_of(statement, vector["type"], bytes.fromhex(vector["public_key"]), canonical=False), None)


def invalid_statement(name, vector):
    problem = problem_of(statement_of(vector), vector["expected_type"], bytes.fromhex(vector["public_key"]))
    expect(name, problem, vector["reason"])


def statement_of(vector):
    return message("omi.statement.v1.Statement")(
        version=vector["version"],
        type=vector["type"],
        data=bytes.fromhex(vector["data"]),
        signature=bytes.fromhex(vector["signature"]),
    )


def problem_of(statement, expected_type, public_key, canonical=True):
    """The Reason to refuse a Statement, or None. `canonical`: as who accepts a request is bound to."""
    problem = envelope_problem(statement, expected_type)
    if problem is not None:
        return problem
    value_class = message(expected_type)
    if canonical:
        problem = form_problem(expected_type, statement.data) or bounds_problem(value_class.FromString(statement.data))
        if problem is not None:
            return problem
    if not verify(public_key, signing_input(statement), statement.signature):
        return "SIGNATURE_INVALID"
    if value_class.FromString(statement.data).header.signer != key_id(public_key):
        return "SIGNER_UNKNOWN"
    return None


def envelope_problem(statement, expected_type):
    if statement.version != "1.0":
        return "VERSION_UNSUPPORTED"
    if statement.type != expected_type:
        return "TYPE_MISMATCH"
    if not 1 <= len(statement.data) <= MAX_DATA or len(statement.signature) != 64:
        return "FIELD_INVALID"
    return None


def form_problem(name, data):
    try:
        value = message(name).FromString(data)
    except DecodeError:
        return "MALFORMED"
    known = message(name).FromString(data)
    known.DiscardUnknownFields()
    if encode(known) != encode(value):
        return "UNKNOWN_FIELD"
    return None if encode(value) == data else "NOT_CANONICAL"


def bounds_problem(value):
    """The first breach of the bounds in the contract's options, at any depth, or None."""
    options = pool.FindExtensionByName
    bounds_option, carries_option = options("omi.options.v1.bounds"), options("omi.options.v1.carries")
    for field in value.DESCRIPTOR.fields:
        bounds = field.GetOptions().Extensions[bounds_option]
        items = list(getattr(value, field.name)) if field.is_repeated else present(value, field)
        if (bounds.required and not items) or (bounds.max_items and len(items) > bounds.max_items):
            return "FIELD_INVALID"
        for item in items:
            problem = item_problem(item, field, bounds, field.GetOptions().Extensions[carries_option])
            if problem is not None:
                return problem
        if field.message_type is not None and field.message_type.name == "Parameter":
            names = [item.name for item in items]
            if names != sorted(set(names), key=lambda each: each.encode()):
                return "FIELD_INVALID"
    return None


def present(value, field):
    if field.message_type is not None:
        return [getattr(value, field.name)] if value.HasField(field.name) else []
    item = getattr(value, field.name)
    return [item] if item else []


def item_problem(item, field, bounds, carries):
    if field.message_type is not None:
        if carries:
            problem = envelope_problem(item, carries) or form_problem(carries, item.data)
            return problem or bounds_problem(message(carries).FromString(item.data))
        return bounds_problem(item)
    if field.enum_type is not None:
        return None if item in field.enum_type.values_by_number else "FIELD_INVALID"
    form = pool.FindEnumTypeByName("omi.options.v1.Format").values_by_number[bounds.format].name
    if form == "FORMAT_PUBLIC_KEY":
        return None if is_good_key(item) else "KEY_INVALID"
    if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
        length = len(item if isinstance(item, bytes) else item.encode())
        good = length >= bounds.min_length and (not bounds.max_length or length <= bounds.max_length)
        good = good and (not bounds.constant or item == bounds.constant)
        good = good and (isinstance(item, bytes) or re.fullmatch(PATTERNS[form], item) is not None)
    else:
        good = item >= bounds.min and (not bounds.max or item <= bounds.max)
    return None if good else "FIELD_INVALID"


LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
DOMAIN = rf"({LABEL}\.)+(?!\d+$){LABEL}"
NAME = "[a-z][a-z0-9]*([_-][a-z0-9]+)*"
PATTERNS = {
    "FORMAT_UNSPECIFIED": "[^\x00-\x08\x0b-\x1f\x7f-\x9f]*",
    "FORMAT_DOMAIN": DOMAIN,
    "FORMAT_APP_ID": rf"(?!\d)({LABEL}\.){{2,}}{NAME}\.{NAME}\.[0-9a-f]{{6}}",
    "FORMAT_NAMESPACE": NAME,
    "FORMAT_NAME": NAME,
    "FORMAT_URL": rf"https://{DOMAIN.replace('$', '(?=[:/]|$)')}(?!:443\b)(:\d+)?(?!.*/\.\.?(/|$))(/[^?#\s]*)?",
    "FORMAT_KEY_ID": "[A-Za-z0-9_-]{43}",
}

CHECKS = {
    "ed25519/valid": valid_signature,
    "ed25519/invalid": invalid_signature,
    "canonical/valid": valid_encoding,
    "canonical/invalid": invalid_encoding,
    "statement/valid": valid_statement,
    "statement/invalid": invalid_statement,
}


def load(path):
    return json.loads(path.read_text())


def expect(name, found, wanted):
    if found != wanted:
        raise AssertionError(f"{name}: {found!r}, not {wanted!r}")
