"""Messages of `nnunet federated` as records of Flower, and back to files. Their content is checked by the program."""

import subprocess
from pathlib import Path

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

FACTS, TENSORS = "message.json", "tensors.safetensors"


def packed(folder: Path | None, **facts: str) -> RecordDict:
    """The message in a folder; tensors go as an array, which Flower sends in pieces."""
    config = ConfigRecord(dict(facts))
    records = RecordDict({"facts": config})
    if folder is not None:
        config[FACTS] = (folder / FACTS).read_bytes()
        if (folder / TENSORS).exists():
            data = (folder / TENSORS).read_bytes()
            records["tensors"] = ArrayRecord({TENSORS: Array("uint8", (len(data),), "safetensors", data)})
    return records


def unpacked(records: RecordDict, folder: Path) -> bool:
    """Writes the message as a folder, under its name once it is whole; False if the records have none."""
    config = records.config_records["facts"]
    if FACTS not in config:
        return False
    new = folder.with_name(f".{folder.name}.new")
    new.mkdir(parents=True, exist_ok=True)
    if "tensors" in records.array_records:
        (new / TENSORS).write_bytes(records.array_records["tensors"][TENSORS].data)
    (new / FACTS).write_bytes(config[FACTS])
    new.rename(folder)
    return True


def run(program: str, *words: object) -> None:
    """Runs the program; its last lines are in the error if it fails."""
    done = subprocess.run([program, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{program} {words[0]} {words[1]}: {done.stderr.strip()[-2000:]}")
