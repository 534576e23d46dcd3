// Deblurs one photograph after another: gets {file}, answers with {done, total}
// after each tile, then with {blob, width, height}, or with {error}.

import * as ort from "./ort.wasm.bundle.min.mjs";
import { blendedRows, squareGrid, tilePixels } from "./tiling.js";

// As `keras_radn.deblur(..., tile=512)`: larger tiles are not faster, for the time of
// the attention grows with the square of their pixels, and need more memory.
const TILE = 512;
const OVERLAP = 96;

// Pages share memory between threads only where they are isolated.
ort.env.wasm.numThreads = crossOriginIsolated
  ? Math.min(navigator.hardwareConcurrency, 8)
  : 1;

let network;

// For a `catch`: what the reader of the page is told.
function told(sentence) {
  return (error) => {
    console.error(error);
    throw new Error(sentence);
  };
}

async function decode(file) {
  const bitmap = await createImageBitmap(file); // upright, in sRGB
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { canvas, context, image: context.getImageData(0, 0, width, height) };
}

// As the network gives gray a hue, its mean is taken there.
function isGray({ data }) {
  for (let k = 0; k < data.length; k += 4) {
    if (data[k] !== data[k + 1] || data[k] !== data[k + 2]) return false;
  }
  return true;
}

function averageChannels(pixels) {
  for (let k = 0; k < pixels.length; k += 3) {
    pixels.fill((pixels[k] + pixels[k + 1] + pixels[k + 2]) / 3, k, k + 3);
  }
}

async function deblur(session, image, progress) {
  const { width, height, data } = image;
  const grid = squareGrid(height, width, TILE, OVERLAP);
  const total = grid.rows.starts.length * grid.columns.starts.length;
  if (total === 1) {
    grid.rows.tile = height; // the network pads a whole image by itself
    grid.columns.tile = width;
  }
  const shape = [1, grid.rows.tile, grid.columns.tile, 3];
  const gray = isGray(image);
  let done = 0;
  progress(done, total);

  async function tileAt(y, x) {
    const pixels = tilePixels(image, grid, y, x);
    const images = new ort.Tensor("float32", pixels, shape);
    const { deblurred } = await session.run({ images });
    if (gray) averageChannels(deblurred.data);
    progress(++done, total);
    return deblurred.data;
  }

  const sharp = new ImageData(width, height);
  for await (const [top, band] of blendedRows(grid, tileAt)) {
    let k = 4 * top * width;
    for (let i = 0; i < band.length; i += 3, k += 4) {
      for (let c = 0; c < 3; c++) sharp.data[k + c] = 255 * band[i + c];
      sharp.data[k + 3] = data[k + 3];
    }
  }
  return sharp;
}

onmessage = async ({ data: { file } }) => {
  try {
    const { canvas, context, image } = await decode(file).catch(
      told(`${file.name}: this is damaged, or too large for this browser.`),
    );
    network ??= ort.InferenceSession.create("lite.onnx");
    const session = await network.catch(
      told("The network could not be loaded; please try again."),
    );
    const tooLarge = told(
      `${file.name}: this browser's memory is too small for it.`,
    );
    const sharp = await deblur(session, image, (done, total) =>
      postMessage({ done, total }),
    ).catch(tooLarge);
    context.putImageData(sharp, 0, 0);
    const blob = await canvas
      .convertToBlob({ type: "image/png" })
      .catch(tooLarge);
    postMessage({ blob, width: image.width, height: image.height });
  } catch (error) {
    postMessage({ error: error.message });
  }
};
