// Shows the page's volumes with NiiVue; the picture below it stays where that cannot be done.
const place = document.getElementById("viewer");
const canvas = place.querySelector("canvas");
const buttons = [...document.querySelectorAll("#viewer-choice button")];

const bytesOf = (id) => {
  const text = document.getElementById(id).textContent.trim();
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(unpacked).arrayBuffer();
};

const started = async () => {
  const view = new globalThis.Niivue({
    backColor: [0, 0, 0, 1],
    crosshairColor: [0.44, 0.74, 0.84, 0.9],
    crosshairWidth: 0.4,
    dragAndDropEnabled: false,
    fontColor: [0.75, 0.8, 0.84, 1],
    isRadiologicalConvention: true,
    loadingText: "",
    logLevel: "error",
    multiplanarLayout: 2, // a grid of two by two
    multiplanarShowRender: 1, // always
    sagittalNoseLeft: true,
    scrollRequiresFocus: true, // the wheel scrolls the page until the view is clicked
  });
  await view.attachToCanvas(canvas);
  view.setSliceType(view.sliceTypeMultiplanar);
  return view;
};

const show = async (view, button) => {
  const content = await bytesOf(button.value);
  while (view.volumes.length) view.removeVolumeByIndex(0);
  await view.loadFromArrayBuffer(content, "brain.nii");
  Object.assign(view.volumes[0], { cal_min: 0, cal_max: 1 });
  view.setScale(1.35);
  view.updateGLVolume();
  for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
  canvas.setAttribute("aria-label", `${button.textContent}, in three sections and in 3D`);
};

if (globalThis.Niivue && document.createElement("canvas").getContext("webgl2")) {
  const view = await started();
  let last = show(view, buttons[0]);
  for (const button of buttons) {
    button.addEventListener("click", () => { last = last.then(() => show(view, button)); });
  }
  await last;
  document.documentElement.classList.add("has-view");
}
