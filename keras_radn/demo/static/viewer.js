// What the demo and the page without a server share: choosing a photograph, and
// before and after under a slider.

export const $ = (id) => document.getElementById(id);
export const number = new Intl.NumberFormat("en", {
  maximumSignificantDigits: 2,
});

export function complain(sentence) {
  $("problem").textContent = sentence ?? "";
  $("problem").hidden = !sentence;
}

export function say(sentence, part) {
  $("step").textContent = sentence;
  if (part === undefined) $("progress").removeAttribute("value");
  else $("progress").value = part;
}

const FIRST = { empty: "choose", working: "cancel", done: "slider" };

// To the view "empty", "working" or "done". Where the keyboard was may be hidden
// then.
export function go(view) {
  document.body.dataset.view = view;
  if (!document.activeElement.getClientRects().length) $(FIRST[view]).focus();
}

export function clear() {
  $("before").removeAttribute("src");
  $("file").value = "";
  go("empty");
}

export function offer(source, file) {
  const stem = file.name.replace(/\.[^.]*$/, "") || "picture";
  $("download").href = source;
  $("download").download = `${stem}.deblurred.png`;
}

// Calls `start` with each photograph that is chosen, dropped or pasted, or with
// the example, which `get` fetches.
export function whenChosen(start, get) {
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    if ($("file").files.length) start($("file").files[0]);
  });
  $("example").addEventListener("click", async () => {
    try {
      const blob = await (await get("example.jpg")).blob();
      start(new File([blob], "example.jpg", { type: blob.type }));
    } catch (error) {
      complain(error.message);
    }
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("over");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    if (event.dataTransfer.files.length) start(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) start(event.clipboardData.files[0]);
  });
}

$("slider").addEventListener("input", () => {
  $("frame").style.setProperty("--split", `${$("slider").value}%`);
});
$("zoom").addEventListener("change", () => {
  document.body.classList.toggle("actual", $("zoom").checked);
  const stage = $("stage"); // to the middle, where the slider's line is
  stage.scrollLeft = (stage.scrollWidth - stage.clientWidth) / 2;
  stage.scrollTop = (stage.scrollHeight - stage.clientHeight) / 2;
});
