// Images in tiles of equal size whose seams are cross-faded: the rule of
// keras_radn/inference/tiling.py, which says why, for images of three channels.

const ALIGNMENT = 32;

// Tiles along a side of `size` pixels: {size, tile, starts, fade}.
export function planAxis(size, tile, overlap) {
  const whole = Math.ceil(size / ALIGNMENT);
  const shared = overlap / ALIGNMENT;
  const largest = tile / ALIGNMENT;
  if (whole <= largest) {
    return { size, tile: whole * ALIGNMENT, starts: [0], fade: overlap };
  }
  const count = Math.ceil((whole - shared) / (largest - shared));
  const smallest = Math.ceil((whole + (count - 1) * shared) / count);
  const starts = Array.from(
    { length: count },
    (_, i) => Math.floor((i * (whole - smallest)) / (count - 1)) * ALIGNMENT,
  );
  return { size, tile: smallest * ALIGNMENT, starts, fade: overlap };
}

// How much a tile counts at each of its pixels: those of all tiles are 1 in sum.
export function weightsOf({ tile, starts, fade }, index) {
  const weights = new Float32Array(tile).fill(1);
  for (const left of [index - 1, index]) {
    if (left < 0 || left >= starts.length - 1) continue;
    const middle = (starts[left + 1] + starts[left] + tile) / 2 - starts[index];
    for (let i = 0; i < tile; i++) {
      const position = (i + 0.5 - middle) / Math.max(fade, 1);
      const limited = Math.min(Math.max(position, -0.5), 0.5);
      const rising = 0.5 + 0.5 * Math.sin(Math.PI * limited);
      weights[i] *= left < index ? rising : 1 - rising;
    }
  }
  return weights;
}

export function squareGrid(height, width, tile, overlap) {
  return {
    rows: planAxis(height, tile, overlap),
    columns: planAxis(width, tile, overlap),
  };
}

// Puts tiles together, row of tiles by row of tiles. `tileAt(y, x)` promises the
// tile whose first pixel is there, a Float32Array of its rows. Yields [y, band]:
// bands of whole rows, which follow each other and together are the image.
export async function* blendedRows({ rows, columns }, tileAt) {
  const rowLength = 3 * columns.size;
  let above = new Float32Array(0);
  for (const [i, top] of rows.starts.entries()) {
    const band = new Float32Array(rows.tile * rowLength);
    const rowWeights = weightsOf(rows, i);
    for (const [j, left] of columns.starts.entries()) {
      const tile = await tileAt(top, left);
      const columnWeights = weightsOf(columns, j);
      const covered = Math.min(columns.tile, columns.size - left);
      for (let y = 0; y < rows.tile; y++) {
        const from = 3 * y * columns.tile;
        const to = y * rowLength + 3 * left;
        for (let k = 0; k < 3 * covered; k++) {
          const weight = rowWeights[y] * columnWeights[Math.floor(k / 3)];
          band[to + k] += tile[from + k] * weight;
        }
      }
    }
    above.forEach((value, k) => (band[k] += value));
    const end = (rows.starts[i + 1] ?? rows.size) - top;
    yield [top, band.subarray(0, end * rowLength)];
    above = band.subarray(end * rowLength);
  }
}

// The pixels of a tile of an image {data, width, height} of RGBA bytes: RGB in
// [0, 1], mirrored about the last row and column where it reaches beyond them.
export function tilePixels(image, { rows, columns }, y, x) {
  const mirrored = (i, size) => (i < size ? i : 2 * (size - 1) - i);
  const pixels = new Float32Array(3 * rows.tile * columns.tile);
  let k = 0;
  for (let i = y; i < y + rows.tile; i++) {
    const row = mirrored(i, image.height) * image.width;
    for (let j = x; j < x + columns.tile; j++) {
      const from = 4 * (row + mirrored(j, image.width));
      for (let c = 0; c < 3; c++) pixels[k++] = image.data[from + c] / 255;
    }
  }
  return pixels;
}
