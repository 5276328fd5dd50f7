// Colours of genres on the page: the hues of the lights, with a lightness that stands out from a light or dark ground.

const dark = matchMedia("(prefers-color-scheme: dark)");
// OKLab lightness. Colours of lights lie between the first two; their order is kept, so that no two become equal.
const LIGHTS = [0.4, 0.97];
const ON_LIGHT = [0.4, 0.69];
const ON_DARK = [0.585, 0.88];
const known = new Map();

/** A colour of the lights (#rrggbb) as it is drawn in the present colour scheme. */
export function drawn(hex) {
  const key = (dark.matches ? "d" : "l") + hex;
  if (!known.has(key)) known.set(key, adapted(hex, dark.matches ? ON_DARK : ON_LIGHT));
  return known.get(key);
}

/** Whether the colour scheme is dark. */
export const isDark = () => dark.matches;

/** Call a function whenever the colour scheme changes. */
export function onScheme(changed) {
  dark.addEventListener("change", changed);
}

/** Red, green and blue of #rrggbb, 0 to 255. */
function rgb(hex) {
  return [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));
}

/** A colour for a label without one: a hue computed from its name. */
export function fromName(label) {
  let hash = 7;
  for (const letter of label) hash = (31 * hash + letter.codePointAt(0)) % 360;
  const angle = (hash / 180) * Math.PI;
  return hexOf(inGamut(0.7, 0.13 * Math.cos(angle), 0.13 * Math.sin(angle)));
}

function adapted(hex, [low, high]) {
  const [light, a, b] = toLab(rgb(hex).map(linear));
  const place = Math.min(1, Math.max(0, (light - LIGHTS[0]) / (LIGHTS[1] - LIGHTS[0])));
  return hexOf(inGamut(low + place * (high - low), a, b));
}

// Less chroma until the colour exists in sRGB.
function inGamut(light, a, b) {
  for (let chroma = 1; ; chroma -= 0.04) {
    const found = fromLab([light, a * chroma, b * chroma]);
    if (chroma <= 0 || found.every((each) => each > -0.001 && each < 1.001)) return found;
  }
}

function hexOf(channels) {
  const bytes = channels.map((each) => Math.round(255 * encoded(Math.min(1, Math.max(0, each)))));
  return `#${bytes.map((each) => each.toString(16).padStart(2, "0")).join("")}`;
}

function linear(byte) {
  const share = byte / 255;
  return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
}

function encoded(share) {
  return share <= 0.0031308 ? 12.92 * share : 1.055 * share ** (1 / 2.4) - 0.055;
}

// OKLab by Björn Ottosson.
function toLab([r, g, b]) {
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

function fromLab([light, a, b]) {
  const l = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (light - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
}
