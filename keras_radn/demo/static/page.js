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

// What is on the right side of the slider, and how it is explained.
const VIEWS = {
  deblurred: { tag: "Deblurred" },
  offsets: {
    tag: "Offsets",
    text:
      "How much wider (red) or narrower (blue) than an ordinary convolution " +
      "the deformable kernels sample the picture horizontally: x-offset of " +
      "their last minus first column, in the second module.",
    unit: "px",
  },
  attention: {
    tag: "Attention",
    text:
      "How much the self-attention adds to the features of each place from " +
      "places elsewhere in the picture.",
    unit: "",
  },
};
const POLL_MILLISECONDS = 250;

let limits = { megabytes: Infinity };
let file = null; // the photograph that is shown
let job = null; // {id, maps}; another one makes answers to this one void

class Refused extends Error {}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Refused(
      "The server does not answer; is `keras-radn demo` still running?",
    );
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({}));
  throw new Refused(
    answer.error ?? `The server answered with ${response.status}.`,
  );
}

function giveUp() {
  if (job?.id && !job.over) {
    fetch(`api/pictures/${job.id}`, { method: "DELETE", keepalive: true }).catch(
      () => {},
    );
  }
  job = null;
}

function reset() {
  giveUp();
  file = null;
  clear();
}

async function start(chosen) {
  giveUp();
  complain();
  if (chosen.size > limits.megabytes * 1e6) {
    complain(
      `${chosen.name} has ${number.format(chosen.size / 1e6)} MB; ` +
        `up to ${limits.megabytes} MB can be sent.`,
    );
    if (!file) go("empty");
    return;
  }
  if (chosen !== file) {
    // Not all that can be deblurred can be shown: then it comes later.
    const url = URL.createObjectURL(chosen);
    $("before").onerror = () => $("before").removeAttribute("src");
    $("before").onload = () => URL.revokeObjectURL(url);
    $("before").src = url;
  }
  file = chosen;
  $("after").removeAttribute("src");
  $("download").removeAttribute("href");
  for (const radio of document.querySelectorAll("[name=view]")) {
    radio.disabled = radio.value !== "deblurred";
    radio.checked = !radio.disabled;
  }
  $("legend").hidden = true;
  delete document.body.dataset.map;
  say("Sending…");
  go("working");
  const mine = (job = { maps: {} });
  try {
    const query = new URLSearchParams({
      name: file.name,
      ensemble: $("ensemble").checked,
      multi_scale: $("multi-scale").checked,
    });
    const answer = await ask(`api/pictures?${query}`, {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream" },
      body: file,
    });
    mine.id = (await answer.json()).id;
    if (job !== mine) {
      fetch(`api/pictures/${mine.id}`, { method: "DELETE" }).catch(() => {});
      return;
    }
    await follow(mine);
  } catch (error) {
    if (job !== mine) return;
    if (!(error instanceof Refused)) console.error(error);
    complain(error.message);
    mine.over = true;
    if (!$("after").hasAttribute("src")) reset();
  }
}

async function follow(mine) {
  for (;;) {
    const status = await (await ask(`api/pictures/${mine.id}`)).json();
    if (job !== mine) return;
    mine.maps = status.maps;
    const ready = ["inspecting", "done"].includes(status.state);
    if (ready && !mine.shown) {
      mine.shown = true;
      await show();
    }
    for (const name of Object.keys(mine.maps)) {
      document.querySelector(`[value=${name}]`).disabled = false;
    }
    mine.over = ["done", "failed", "cancelled"].includes(status.state);
    if (status.state === "failed") throw new Refused(status.error);
    if (mine.over) return;
    if (status.state === "queued") {
      say(
        status.ahead > 0
          ? `Waiting for ${status.ahead} other picture${status.ahead > 1 ? "s" : ""}…`
          : "Waiting…",
      );
    } else if (status.total > 1) {
      say("Deblurring…", status.done / status.total);
    } else {
      say("Deblurring…");
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
  }
}

const result = (name) => `api/pictures/${job.id}/${name}.png`;

async function load(image, source) {
  const mine = job;
  const loaded = new Image();
  loaded.src = source;
  await loaded.decode();
  if (job === mine) image.src = source;
}

async function show() {
  // The server's: upright and of the same colors as the other one.
  await Promise.all([
    load($("before"), result("before")),
    load($("after"), result("deblurred")),
  ]);
  offer(result("deblurred"), file);
  go("done");
}

async function turnTo(name) {
  const { tag, text, unit } = VIEWS[name];
  const map = job.maps[name];
  await load($("after"), result(name));
  $("tag").textContent = tag;
  $("after").alt = tag;
  $("legend").hidden = !map;
  if (!map) {
    delete document.body.dataset.map;
    return;
  }
  document.body.dataset.map = name;
  const { naturalWidth, naturalHeight } = $("before");
  const reduced =
    map.width === naturalWidth && map.height === naturalHeight
      ? ""
      : ` Of the picture reduced to ${map.width}×${map.height}.`;
  $("legend-text").textContent = text + reduced;
  $("low").textContent = number.format(map.low);
  $("high").textContent = number.format(map.high);
  $("unit").textContent = unit;
  $("gradient").style.background =
    `linear-gradient(to right, ${map.colors.join(", ")})`;
}

for (const name of ["ensemble", "multi-scale"]) {
  $(name).addEventListener("change", () => file && start(file));
}
for (const radio of document.querySelectorAll("[name=view]")) {
  radio.addEventListener("change", () => turnTo(radio.value));
}

$("another").addEventListener("click", () => {
  complain();
  reset();
});
$("cancel").addEventListener("click", reset);
whenChosen(start, ask);
addEventListener("pagehide", giveUp);

try {
  limits = await (await ask("api/limits")).json();
  const where = limits.local
    ? "Pictures stay on this computer."
    : "Pictures go to this server, which keeps the last few of them.";
  $("limits").textContent =
    `JPEG, PNG, WebP, TIFF and others, up to ${limits.megapixels} megapixels ` +
    `and ${limits.megabytes} MB. ${where}`;
} catch (error) {
  complain(error.message);
}
