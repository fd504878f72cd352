"""Compares the schemas in src/interface/operations.rs with those of an installed PyTorch.

Usage: python schemas.py (in an environment with torch). Prints each difference; exits with 1 if there is one.
"""
import pathlib
import re
import sys

import torch

KINDS = {
    "Tensor": "t", "Tensor?": "T", "Tensor[]": "l", "int": "i", "SymInt": "i", "int?": "I", "float": "f", "bool": "b",
    "bool?": "B", "str": "s", "ScalarType": "d", "ScalarType?": "D",
}


def kind(text):
    """The letter of a type as schemas write it."""
    text = re.sub(r"\([a-z]!?\)", "", text)
    if re.fullmatch(r"(Sym)?[Ii]nt\[\d*\]", text):
        return "v"
    if re.fullmatch(r"(Sym)?[Ii]nt\[\d*\]\?", text):
        return "V"
    if re.fullmatch(r"bool\[\d*\]", text):
        return "m"
    return KINDS.get(text, "N" if text.endswith("?") else "?")


source = (pathlib.Path(__file__).parent / "../../src/interface/operations.rs").read_text()
rows = re.findall(r'c"aten::(\w+)" c"(\w*)" \("(\w*)"\) -> (\d);', source)
faults = 0
for name, overload, letters, results in rows:
    schema = str(getattr(getattr(torch.ops.aten, name), overload or "default")._schema)
    arguments, returned = re.fullmatch(r"[^(]*\((.*)\) -> (.*)", schema).groups()
    arguments = [a.split(" ")[0] for a in re.split(r", (?![^(]*\))", arguments) if a != "*"]
    found = "".join(kind(a) for a in arguments)
    fits = len(found) == len(letters) and all(
        a == b or (a == "N" and t.endswith("?")) for a, b, t in zip(letters, found, arguments))
    count = 0 if returned == "()" else returned.count("Tensor")
    if not fits or count != int(results):
        faults += 1
        print(f"{name}.{overload}: ({letters}) -> {results}, but torch {torch.__version__} has {schema}")
print(f"{len(rows)} operations, {faults} differences, torch {torch.__version__}")
sys.exit(faults > 0)
