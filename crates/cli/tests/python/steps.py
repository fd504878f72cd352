"""What the scripts of this folder have in common: steps that are printed, and the first that fails ends a script with status 1."""
import subprocess
import sys


def check(holds, text):
    print("ok  " if holds else "FAIL", text, flush=True)
    if not holds:
        sys.exit(1)


def run(*words):
    print("+", *words, flush=True)
    subprocess.run([str(word) for word in words], check=True)
