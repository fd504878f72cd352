"""The server: asks sites for the steps of the federation, and runs `nnunet federated merge` and `aggregate` on the answers.

Messages are kept in `folder`; a run that is started again goes on after the last one. A site that fails or is later than
`wait_minutes` is left out of a round and asked again in the next one.
"""

import logging
import time
import tomllib
from pathlib import Path

from flwr.app import Context, Message, MessageType
from flwr.serverapp import Grid, ServerApp

from nnunet_flower.carrier import packed, run, unpacked

app = ServerApp()
log = logging.getLogger("flwr")


@app.main()
def main(grid: Grid, context: Context) -> None:
    Server(grid, context.run_config).run()


class Server:
    def __init__(self, grid: Grid, config):
        self.grid, self.program = grid, str(config["program"])
        self.settings = tomllib.loads(Path(str(config["settings"])).read_text())
        self.folder = Path(str(config["folder"]))
        self.key = ["--key", config["key"]] if config["key"] else []
        self.sites: list[str] = self.settings["sites"]
        self.site_of_node: dict[int, str] = {}

    def run(self) -> None:
        form = self.settings.get("fingerprint", "exact")
        message = None
        if form in ("exact", "local"):
            message = self.step("fingerprint", "size", message)
        if form != "local":
            message = self.step("fingerprint", "fingerprint", message)
        message = self.step("plan", "plan", message)
        for number in range(self.settings["rounds"] + 1):
            enough = len(self.sites) if number == 0 else self.settings.get("min_sites", len(self.sites))
            message = self.step("round", f"round_{number:03}", message, enough)
        self.step("validate", "validation", message, enough=1)

    def step(self, step: str, name: str, message: Path | None, enough: int | None = None) -> Path:
        """The server's message after a step of all sites."""
        answers, merged = self.folder / name, self.folder / f"{name}_merged"
        if merged.exists():
            return merged
        answers.mkdir(parents=True, exist_ok=True)
        enough = len(self.sites) if enough is None else enough
        minutes = 0 if enough == len(self.sites) else self.settings.get("wait_minutes", 0)
        while True:
            self.ask(step, name, message, time.monotonic() + 60 * minutes if minutes else None)
            missing = [site for site in self.sites if not (answers / site).exists()]
            if len(self.sites) - len(missing) >= enough:
                break
            log.warning("%s: waiting for %s", name, ", ".join(missing))
            time.sleep(5)
        run(self.program, "federated", "aggregate" if step == "round" else "merge", answers, merged, *self.key)
        log.info("%s: %d sites%s", name, len(self.sites) - len(missing), f", without {missing}" if missing else "")
        return merged

    def ask(self, step: str, name: str, message: Path | None, deadline: float | None) -> None:
        """Asks all nodes that have not answered, and keeps their answers."""
        answers = self.folder / name
        while not (nodes := [node for node in self.grid.get_node_ids() if not self.has_answered(node, answers)]):
            if all((answers / site).exists() for site in self.sites) or (deadline and time.monotonic() > deadline):
                return
            time.sleep(2)
        content = packed(message, step=step)
        asked = [Message(content, dst_node_id=node, message_type=MessageType.TRAIN) for node in nodes]
        timeout = max(1.0, deadline - time.monotonic()) if deadline else None
        for reply in self.grid.send_and_receive(asked, timeout=timeout):
            node = reply.metadata.src_node_id
            if reply.has_error():
                log.warning("%s: node %s (%s): %s", name, node, self.site_of_node.get(node), reply.error.reason)
                continue
            site = str(reply.content.config_records["facts"]["site"])
            # A name that is not in the settings is no folder here, and a node keeps its name.
            if site not in self.sites or self.site_of_node.setdefault(node, site) != site:
                log.warning("%s: node %s calls itself %r, refused", name, node, site)
            elif not (answers / site).exists():
                unpacked(reply.content, answers / site)

    def has_answered(self, node: int, answers: Path) -> bool:
        site = self.site_of_node.get(node)
        return site is not None and (answers / site).exists()
