/** The symbols of groups: a shape in a colour with a letter, as SVG and as images of the map. */

const SIZE = 24;

const polygon = (corners, turn = 0, radius = 10.5, inner = radius) =>
  `M${Array.from({ length: corners }, (_, corner) => {
    const angle = (2 * Math.PI * corner) / corners - Math.PI / 2 + turn;
    const far = corner % 2 ? inner : radius;
    return `${(12 + far * Math.cos(angle)).toFixed(2)} ${(12 + far * Math.sin(angle)).toFixed(2)}`;
  }).join("L")}Z`;

const PATHS = {
  circle: "M12 2.5a9.5 9.5 0 1 0 0 19a9.5 9.5 0 1 0 0-19Z",
  square: "M3.5 3.5h17v17h-17Z",
  diamond: "M12 .8L23.2 12L12 23.2L.8 12Z",
  triangle: "M12 .8L23.4 21.5H.6Z",
  pentagon: polygon(5, 0, 11),
  hexagon: polygon(6),
  octagon: polygon(8, Math.PI / 8),
  star: polygon(16, 0, 11.4, 8.6),
  cross: "M7.5 1.5h9v6h6v9h-6v6h-9v-6h-6v-9h6Z",
};

const ARROW = "M4 21L12 3L20 21L12 16Z";

/** Return a dark or a light colour, whichever has more contrast with a colour. */
export function inkOn(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const part = parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#111111" : "#ffffff";
}

/** Return a group's symbol as an SVG element. */
export function symbol(group) {
  const node = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const svg = node("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, class: "symbol", "aria-hidden": "true" });
  const edge = { stroke: "#ffffff", "stroke-width": 1.5 };
  svg.append(node("path", { d: PATHS[group.shape], fill: group.colour, ...edge }));
  const letter = node("text", {
    x: 12, y: 16.5, "text-anchor": "middle", "font-size": 12.5, "font-weight": 700,
    "font-family": "system-ui, sans-serif", fill: inkOn(group.colour),
  });
  letter.textContent = group.letter;
  svg.append(letter);
  return svg;
}

function drawn(size, draw) {
  const ratio = 2;
  const canvas = new OffscreenCanvas(size * ratio, size * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  draw(pen);
  return [pen.getImageData(0, 0, canvas.width, canvas.height), { pixelRatio: ratio }];
}

function write(pen, text, { size, colour, x, y }) {
  pen.font = `700 ${size}px system-ui, sans-serif`;
  pen.textAlign = "center";
  pen.textBaseline = "alphabetic";
  pen.fillStyle = colour;
  pen.fillText(text, x, y);
}

/** Return a group's symbol as an image of the map. */
export function image(group) {
  return drawn(SIZE, (pen) => {
    const path = new Path2D(PATHS[group.shape]);
    pen.lineWidth = 3;
    pen.strokeStyle = "#ffffff";
    pen.stroke(path);
    pen.fillStyle = group.colour;
    pen.fill(path);
    write(pen, group.letter, { size: 12.5, colour: inkOn(group.colour), x: 12, y: 16.5 });
  });
}

/** Return the head of an arrow that points north. */
export function arrowHead(colour) {
  return drawn(SIZE, (pen) => {
    const path = new Path2D(ARROW);
    pen.lineWidth = 3;
    pen.strokeStyle = "#ffffff";
    pen.stroke(path);
    pen.fillStyle = colour;
    pen.fill(path);
  });
}

/** Return the symbol of a cluster with its number of items. */
export function cluster(text) {
  const size = 30 + 4 * Math.max(0, text.length - 2);
  return drawn(size, (pen) => {
    pen.beginPath();
    pen.arc(size / 2, size / 2, size / 2 - 2, 0, 2 * Math.PI);
    pen.fillStyle = "#3c3c46";
    pen.fill();
    pen.lineWidth = 2.5;
    pen.strokeStyle = "#ffffff";
    pen.stroke();
    write(pen, text, { size: 12, colour: "#ffffff", x: size / 2, y: size / 2 + 4 });
  });
}
