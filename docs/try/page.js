import {
  $,
  clear,
  complain,
  go,
  number,
  offer,
  say,
  whenChosen,
} from "./viewer.js";

// Each has 4 bytes in RGBA: 200 MB, of which the browser holds a few copies.
const MEGAPIXELS = 50;

let worker = null;
let photograph = null; // that is worked on: answers to others are void

function endWorker() {
  worker?.terminate();
  worker = null;
}

function reset() {
  if (photograph) endWorker(); // a tile cannot be stopped in any other way
  photograph = null;
  for (const image of [$("before"), $("after")]) {
    URL.revokeObjectURL(image.src);
    image.removeAttribute("src");
  }
  $("download").removeAttribute("href");
  $("summary").textContent = "";
  clear();
}

async function get(path) {
  const response = await fetch(path).catch(() => null);
  if (!response?.ok) {
    throw new Error(`${path} could not be loaded; please reload this page.`);
  }
  return response;
}

// Shows the photograph, of which browsers then read no more than the size.
async function showBefore(file) {
  const image = $("before");
  image.src = URL.createObjectURL(file);
  const loaded = await new Promise((resolve) => {
    image.onload = () => resolve(true);
    image.onerror = () => resolve(false);
  });
  if (!loaded) {
    throw new Error(
      file.size
        ? `${file.name}: this is not an image that this browser can read.`
        : `${file.name}: this file is empty.`,
    );
  }
  const { naturalWidth: width, naturalHeight: height } = image;
  if (width * height > MEGAPIXELS * 1e6) {
    throw new Error(
      `${file.name}: ${width}x${height} are ` +
        `${Math.round((width * height) / 1e6)} megapixels; up to ` +
        `${MEGAPIXELS} can be deblurred on this page. ` +
        "`keras-radn deblur` has no such limit.",
    );
  }
}

// What the worker makes of the file; `progress(done, total)` after each tile.
function deblur(file, progress) {
  worker ??= new Worker("worker.js", { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onerror = () =>
      reject(
        new Error(
          "This page could not be started; please reload it, in a browser of " +
            "2023 or newer.",
        ),
      );
    worker.onmessage = ({ data }) => {
      if (data.error) reject(new Error(data.error));
      else if (data.blob) resolve(data);
      else progress(data.done, data.total);
    };
    worker.postMessage({ file });
  });
}

async function start(file) {
  reset();
  complain();
  const mine = (photograph = file);
  say("Loading the network…");
  go("working");
  try {
    await showBefore(file);
    if (photograph !== mine) return;
    const begin = performance.now();
    const result = await deblur(file, (done, total) => {
      if (photograph !== mine) return;
      say("Deblurring…", total > 1 ? done / total : undefined);
    });
    if (photograph !== mine) return;
    const source = URL.createObjectURL(result.blob);
    $("after").src = source;
    await $("after").decode();
    if (photograph !== mine) return;
    photograph = null;
    offer(source, file);
    const seconds = number.format((performance.now() - begin) / 1000);
    $("summary").textContent =
      `${result.width}x${result.height} pixels, deblurred in ${seconds} s.`;
    go("done");
  } catch (error) {
    if (photograph !== mine) return;
    reset(); // the next one gets a new worker, whatever this one met
    complain(error.message);
  }
}

$("another").addEventListener("click", () => {
  complain();
  reset();
});
$("cancel").addEventListener("click", reset);
whenChosen(start, get);

$("limits").textContent =
  "JPEG, PNG, WebP and what else your browser can show, up to " +
  `${MEGAPIXELS} megapixels.`;
