// Slices and windows of the report. Without this script, the page shows its pictures in the lung window.
"use strict";

const WHEEL_PIXELS = 40;
const PAGE = 5;

// The voxels as they were packed (see HuBlock): zlib, low and high bytes apart, zigzag differences.
async function unpack(block) {
  const bytes = Uint8Array.from(atob(block.values), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  const values = new Uint16Array(packed.length / 2);
  for (let i = 0, value = 0; i < values.length; i++) {
    const code = packed[i] | (packed[values.length + i] << 8);
    value += (code >>> 1) ^ -(code & 1);
    values[i] = value;
  }
  return { shape: block.shape, lower: block.lower, step: block.step, values };
}

// Grey value 0..255 of each packed value.
function lookUp(block, [low, high]) {
  const table = new Uint8ClampedArray(1 << 16);
  return table.map((_, value) => (255 * (block.lower + block.step * value - low)) / (high - low));
}

function draw(viewer) {
  const { stack, block, canvas, slice, pixels } = viewer;
  const stride = [1, block.shape[0], block.shape[0] * block.shape[1]];
  const [width, height] = [block.shape[stack.right], block.shape[stack.down]];
  const native = new OffscreenCanvas(width, height);
  const context = native.getContext("2d");
  const image = context.createImageData(width, height);
  for (let y = 0, to = 0; y < height; y++) {
    const row = stack.flipped ? height - 1 - y : y;
    let from = slice.at * stride[stack.normal] + row * stride[stack.down];
    for (let x = 0; x < width; x++, from += stride[stack.right], to += 4) {
      image.data[to] = image.data[to + 1] = image.data[to + 2] = viewer.table[block.values[from]];
      image.data[to + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
  const picture = canvas.getContext("2d");
  const scale = canvas.width / pixels;
  picture.fillRect(0, 0, canvas.width, canvas.height);
  picture.imageSmoothingQuality = "high";
  picture.drawImage(native, ...stack.place.map((value) => value * scale));
  if (viewer.occlusion && document.getElementById("occlusion").checked) drawOcclusion(viewer);
}

// The cubes of the occlusion map that the slice cuts: red where the probability falls, blue where it rises.
function drawOcclusion(viewer) {
  const { stack, slice, pixels, occlusion } = viewer;
  const { edges, change, scale } = occlusion;
  const count = edges.map((edge) => edge.length - 1);
  const stride = [count[1] * count[2], count[2], 1];
  const [left, top, width, height] = stack.place;
  const [columns, rows] = [viewer.block.shape[stack.right], viewer.block.shape[stack.down]];
  const layer = edges[stack.normal].findLastIndex((edge) => edge <= slice.at);
  if (layer < 0 || layer >= count[stack.normal]) return;
  const picture = viewer.canvas.getContext("2d");
  const enlarged = viewer.canvas.width / pixels;
  const across = edges[stack.right].map((edge) => (left + (edge / columns) * width) * enlarged);
  const along = edges[stack.down].map((edge) => (top + ((stack.flipped ? rows - edge : edge) / rows) * height) * enlarged);
  for (let i = 0; i < count[stack.right]; i++) {
    for (let j = 0; j < count[stack.down]; j++) {
      const value = change[layer * stride[stack.normal] + i * stride[stack.right] + j * stride[stack.down]];
      picture.fillStyle = `rgb(${value < 0 ? "255 40 30" : "40 90 255"} / ${Math.min(0.65 * Math.abs(value) / scale, 0.65)})`;
      picture.fillRect(across[i], along[j], across[i + 1] - across[i], along[j + 1] - along[j]);
    }
  }
}

function show(viewer, index) {
  const { stack, figure } = viewer;
  viewer.index = Math.min(Math.max(index, 0), stack.slices.length - 1);
  viewer.slice = stack.slices[viewer.index];
  draw(viewer);
  ["first", "second", "third"].forEach((name, i) => {
    figure.querySelector(`path.${name}`)?.setAttribute("d", viewer.slice.outlines[i] ?? "");
  });
  viewer.canvas.setAttribute("aria-label", `${figure.dataset.title}, ${viewer.slice.label}`);
  figure.querySelector("output").textContent = viewer.slice.label;
  const slider = figure.querySelector("input");
  if (slider) {
    slider.value = viewer.index;
    slider.setAttribute("aria-valuetext", viewer.slice.label);
  }
}

function listen(viewer) {
  const picture = viewer.figure.querySelector(".picture");
  const slider = viewer.figure.querySelector("input");
  const last = viewer.stack.slices.length - 1;
  slider.max = last;
  slider.hidden = false;
  slider.addEventListener("input", () => show(viewer, Number(slider.value)));
  picture.tabIndex = 0;
  picture.setAttribute("role", "group");
  picture.setAttribute("aria-label", `${viewer.figure.dataset.title}: mouse wheel, arrow keys or Page Up and Page Down scroll`);
  // The slider too: its own Arrow Down would go up.
  viewer.figure.addEventListener("keydown", (event) => {
    const to = {
      ArrowUp: viewer.index - 1, ArrowLeft: viewer.index - 1, ArrowDown: viewer.index + 1, ArrowRight: viewer.index + 1,
      PageUp: viewer.index - PAGE, PageDown: viewer.index + PAGE, Home: 0, End: last,
    }[event.key];
    if (to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    show(viewer, to);
  });
  // A touchpad sends many small steps, a mouse one large step per notch: one slice per 40 pixels and never two per event.
  let travelled = 0;
  picture.addEventListener("wheel", (event) => {
    const atEnd = viewer.index === (event.deltaY > 0 ? last : 0);
    // At the last slice the page scrolls on, or a reader whose pointer is on a picture could not leave it.
    if (event.ctrlKey || !event.deltaY || atEnd) return;
    event.preventDefault();
    travelled += event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : event.deltaY * WHEEL_PIXELS;
    if (Math.abs(travelled) < WHEEL_PIXELS) return;
    show(viewer, viewer.index + Math.sign(travelled));
    travelled = 0;
  }, { passive: false });
}

async function start() {
  // Too old a browser keeps the pictures it has.
  if (!("DecompressionStream" in window) || !("OffscreenCanvas" in window)) return;
  const viewers = [];
  const chosen = () => JSON.parse(document.querySelector("input[name=window]:checked").value);
  for (const article of document.querySelectorAll("article")) {
    const { blocks, stacks, occlusion } = JSON.parse(article.querySelector("script").textContent);
    const unpacked = { overview: await unpack(blocks.overview), nodule: await unpack(blocks.nodule) };
    for (const figure of article.querySelectorAll("figure")) {
      const name = figure.dataset.stack;
      const block = unpacked[name === "overview" ? name : "nodule"];
      const [canvas, image] = [figure.querySelector("canvas"), figure.querySelector("img")];
      const pixels = figure.querySelector("svg").viewBox.baseVal.width;
      const viewer = { figure, canvas, block, pixels, stack: stacks[name], table: lookUp(block, chosen()) };
      viewer.occlusion = name === "overview" ? null : occlusion;
      show(viewer, viewer.stack.start);
      if (viewer.stack.slices.length > 1) listen(viewer);
      canvas.hidden = false;
      image.hidden = true;
      viewers.push(viewer);
    }
  }
  const windows = document.querySelector("fieldset");
  windows.hidden = false;
  windows.addEventListener("change", () => {
    for (const viewer of viewers) {
      viewer.table = lookUp(viewer.block, chosen());
      draw(viewer);
    }
  });
  const occlusion = document.getElementById("occlusion");
  if (!occlusion) return;
  occlusion.closest("label").hidden = false;
  occlusion.addEventListener("change", () => viewers.forEach(draw));
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() === "m" && !event.ctrlKey && !event.altKey && !event.metaKey) occlusion.click();
  });
}

start();
