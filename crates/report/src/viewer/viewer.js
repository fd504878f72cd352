"use strict";
(() => {
  const element = (name) => document.getElementById(`viewer-${name}`);
  const [pick, open, canvas, status] = ["case", "open", "canvas", "status"].map(element);
  const cases = JSON.parse(element("data").textContent);
  const layers = ["reference", "prediction"].map(element);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  const stage = canvas.parentElement;
  let viewer;

  const weigh = () => viewer.volumes.forEach((volume, at) => {
    const layer = layers.find((box) => box.name === volume.name);
    if (layer) viewer.setOpacity(at, layer.checked ? 0.5 : 0);
  });

  const show = async () => {
    const chosen = cases[Number(pick.value)];
    status.textContent = "Loading…";
    stage.hidden = false;
    try {
      if (!viewer) {
        viewer = new niivue.Niivue({ logLevel: "silent", loadingText: "", crosshairWidth: 0.4, backColor: [0, 0, 0, 1] });
        await viewer.attachToCanvas(canvas);
        viewer.setSliceType(viewer.sliceTypeMultiplanar);
      }
      for (const volume of [...viewer.volumes]) viewer.removeVolume(volume);
      for (const part of chosen.volumes) {
        const volume = await niivue.NVImage.new(bytes(part.data), part.file, part.colormap, part.opacity);
        volume.name = part.role;
        viewer.addVolume(volume);
      }
      weigh();
      status.textContent = `${chosen.name}. Drag to move the planes; scroll for the next slice.`;
      canvas.setAttribute("aria-label", `Planes of ${chosen.name}`);
      canvas.dataset.drawn = chosen.name;
    } catch (error) {
      status.textContent = `This browser cannot draw volumes: ${error.message || error}`;
    }
  };

  cases.forEach((one, number) => pick.add(new Option(one.name, number)));
  pick.addEventListener("change", show);
  open.addEventListener("click", show);
  layers.forEach((box) => box.addEventListener("change", () => viewer && weigh()));
})();
