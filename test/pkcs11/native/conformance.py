"""Runs a table of PKCS#11 calls through a module and says what each returned.

stdin: {"module", "pin", "cases": [{"session": "ro"|"rw"|"none", "login": bool, "steps": [[call, args, ...]]}]}
stdout: one list for each case: [[return value, length or null, bytes as hex or null], ...] for each step.

Arguments: a number is a CK_ULONG; null is NULL; {"s": 1} the session; {"var": name} a handle made before; {"handle": name} room for
a new one; {"data": hex} pointer and length; {"out": n} a buffer of n bytes and its length; {"size": 1} NULL and room for a length;
{"mech": type}; {"template": [[type, "bool"|"ulong"|"hex", value]]} pointer and count; {"room": [type, n]} one attribute to be
read, and the count 1; {"found": n} room for n handles; {"token": 1} CK_TOKEN_INFO (its flags become the length).
"""
import ctypes
import json
import sys

ULONG = ctypes.c_ulong
CALLS = """Initialize Finalize GetInfo GetFunctionList GetSlotList GetSlotInfo GetTokenInfo GetMechanismList GetMechanismInfo InitToken
InitPIN SetPIN OpenSession CloseSession CloseAllSessions GetSessionInfo GetOperationState SetOperationState Login Logout CreateObject
CopyObject DestroyObject GetObjectSize GetAttributeValue SetAttributeValue FindObjectsInit FindObjects FindObjectsFinal EncryptInit
Encrypt EncryptUpdate EncryptFinal DecryptInit Decrypt DecryptUpdate DecryptFinal DigestInit Digest DigestUpdate DigestKey DigestFinal
SignInit Sign SignUpdate SignFinal SignRecoverInit SignRecover VerifyInit Verify VerifyUpdate VerifyFinal VerifyRecoverInit
VerifyRecover DigestEncryptUpdate DecryptDigestUpdate SignEncryptUpdate DecryptVerifyUpdate GenerateKey GenerateKeyPair WrapKey
UnwrapKey DeriveKey SeedRandom GenerateRandom GetFunctionStatus CancelFunction WaitForSlotEvent""".split()


class Attribute(ctypes.Structure):
    _fields_ = [("type", ULONG), ("value", ctypes.c_void_p), ("length", ULONG)]


class Mechanism(ctypes.Structure):
    _fields_ = [("mechanism", ULONG), ("parameter", ctypes.c_void_p), ("length", ULONG)]


class Functions(ctypes.Structure):
    _fields_ = [("version", ctypes.c_ubyte * 2)] + [(name, ctypes.c_void_p) for name in CALLS]


def load(path):
    library = ctypes.CDLL(path)
    functions = ctypes.POINTER(Functions)()
    library.C_GetFunctionList(ctypes.byref(functions))
    return lambda name, *args: ctypes.CFUNCTYPE(ULONG)(getattr(functions.contents, name[2:]))(*args)


def bytes_of(kind, value):
    if kind == "bool":
        return bytes([value])
    return value.to_bytes(8, sys.byteorder) if kind == "ulong" else bytes.fromhex(value)


def template(rows, kept):
    array = (Attribute * max(1, len(rows)))()
    for at, (kind, form, value) in enumerate(rows):
        data = bytes_of(form, value)
        memory = ctypes.create_string_buffer(data, max(1, len(data)))
        kept.append(memory)
        array[at] = Attribute(kind, ctypes.cast(memory, ctypes.c_void_p), len(data))
    return array


class Step:
    """One call: its C arguments, and where its output will be."""

    def __init__(self, session, names, saved):
        self.session, self.names, self.saved = session, names, saved
        self.kept, self.args, self.length, self.output, self.made, self.found = [], [], None, None, [], None

    def add(self, arg):
        if arg is None:
            return [ctypes.c_void_p(None)]
        if isinstance(arg, int):
            return [ULONG(arg)]
        (kind, value), = arg.items()
        if kind == "s":
            return [ULONG(self.session)]
        if kind == "var":
            return [ULONG(self.names.get(value, 0))]
        if kind == "handle":
            self.made.append((value, ULONG()))
            return [ctypes.byref(self.made[-1][1])]
        if kind in ("data", "last"):
            data = bytes.fromhex(value) if kind == "data" else self.saved.get(value, b"")
            memory = ctypes.create_string_buffer(data, max(1, len(data)))
            self.kept.append(memory)
            return [memory, ULONG(len(data))]
        if kind in ("out", "size"):
            self.length = ULONG(value if kind == "out" else 0)
            self.output = ctypes.create_string_buffer(max(1, value)) if kind == "out" else None
            return [self.output, ctypes.byref(self.length)]
        if kind == "mech":
            return [ctypes.byref(Mechanism(value, None, 0))]
        if kind == "template":
            return [template(value, self.kept), ULONG(len(value))]
        if kind == "room":
            self.output = ctypes.create_string_buffer(max(1, value[1]))
            self.room = (Attribute * 1)(Attribute(value[0], ctypes.cast(self.output, ctypes.c_void_p), value[1]))
            return [self.room, ULONG(1)]
        if kind == "found":
            self.length, self.found = ULONG(), (ULONG * value)()
            return [self.found, ULONG(value), ctypes.byref(self.length)]
        if kind == "token":
            self.token = ctypes.create_string_buffer(208)
            return [self.token]
        raise ValueError(kind)

    def answer(self, rv):
        if hasattr(self, "room"):
            length = self.room[0].length
            fits = rv == 0 and length <= len(self.output.raw)
            return [rv, None if length == 2**64 - 1 else length, self.output.raw[:length].hex() if fits else None]
        if hasattr(self, "token"):
            return [rv, int.from_bytes(self.token.raw[96:104], sys.byteorder), None]
        for name, handle in self.made if rv == 0 else []:
            self.names[name] = handle.value
        length = None if self.length is None else self.length.value
        given = rv == 0 and self.output is not None
        return [rv, length, self.output.raw[:length].hex() if given else None]


def run(call, slot, case, pin):
    saved, names, out = {}, {"slot": slot}, []
    session = ULONG(0)
    if case["session"] != "none":
        call("C_OpenSession", ULONG(slot), ULONG(6 if case["session"] == "rw" else 4), None, None, ctypes.byref(session))
        if case["login"]:
            call("C_Login", session, ULONG(1), ctypes.c_char_p(pin), ULONG(len(pin)))
    for name, args in case["steps"]:
        step = Step(session.value, names, saved)
        rv = call(name, *[one for arg in args for one in step.add(arg)])
        answer = step.answer(rv)
        if answer[2] is not None:
            saved["output"] = bytes.fromhex(answer[2])
        out.append(answer)
    return out


def main():
    task = json.load(sys.stdin)
    call = load(task["module"])
    answers = []
    for case in task["cases"]:
        call("C_Initialize", None)
        slots, count = (ULONG * 16)(), ULONG(16)
        call("C_GetSlotList", ctypes.c_ubyte(1), slots, ctypes.byref(count))
        answers.append(run(call, slots[0], case, task["pin"].encode()))
        call("C_Finalize", None)
    json.dump(answers, sys.stdout)


main()
