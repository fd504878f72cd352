"""A site: runs one step of the federation and answers with its message. Only what the program writes as the answer leaves.

--node-config: site, dataset and settings, as agreed; program, key, raw, preprocessed, results and threads where they are
not the defaults.
"""

import tempfile
import tomllib
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from nnunet_flower.carrier import packed, run, unpacked

app = ClientApp()

STEPS = ("fingerprint", "plan", "round", "validate")


@app.train()
def step(message: Message, context: Context) -> Message:
    """The step that the server asks for; one that is unknown, or fails, is answered with an error."""
    node = context.node_config
    asked = message.content.config_records["facts"]["step"]
    if asked not in STEPS:
        raise ValueError(f"unknown step {asked!r}")
    program = str(node.get("program", "nnunet"))
    common = []
    for name in ("raw", "preprocessed", "results", "threads"):
        if name in node:
            common += [f"--{name}", node[name]]
    with tempfile.TemporaryDirectory() as temporary:
        given, answer = Path(temporary) / "in", Path(temporary) / "out"
        source = given if unpacked(message.content, given) else node["settings"]
        own = ["--site", node["site"], "-d", node["dataset"], "--settings", node["settings"]]
        own += ["--key", node["key"]] if "key" in node else []
        run(program, "federated", asked, source, answer, *own, *common)
        if asked == "plan":
            settings = tomllib.loads(Path(str(node["settings"])).read_text())
            plans, configuration = settings.get("plans", "nnUNetPlans"), settings.get("configuration", "3d_fullres")
            run(program, "preprocess", "-d", node["dataset"], "-plans_name", plans, "-c", configuration, *common)
        return Message(packed(answer, site=str(node["site"])), reply_to=message)
