/** The map itself, drawn by MapLibre GL JS (the global `maplibregl`). */
import { arrowHead, cluster, image } from "./symbols.js";

/** More items than this are drawn as clusters, which keeps the map fluid. */
const CLUSTERED_FROM = 5000;
const CLUSTER = "cluster-";
const DARK = matchMedia("(prefers-color-scheme: dark)");
const BASEMAP_MS = 8000;

const collection = (features) => ({ type: "FeatureCollection", features });
const backgroundColour = () => (DARK.matches ? "#23262b" : "#eceff1");
const arrowColour = () => (DARK.matches ? "#e4e4ea" : "#3c3c46");

/** Return the style of the basemap; a plain background where there is none, or it is not reached. */
async function styleOf(basemap) {
  const plain = {
    version: 8,
    sources: {},
    layers: [
      { id: "plain", type: "background", paint: { "background-color": backgroundColour() } },
    ],
  };
  if (!basemap) return plain;
  try {
    const answer = await fetch(basemap, { signal: AbortSignal.timeout(BASEMAP_MS) });
    if (!answer.ok) return plain;
    await answer.json();
    return basemap;
  } catch {
    return plain;
  }
}

export class View {
  /** Draw all items; `onPick` gets the items at a place that was clicked, `label` names the map. */
  static async open(data, { container, onPick, onMove, label }) {
    const map = new maplibregl.Map({
      container,
      style: await styleOf(data.basemap),
      bounds: data.bounds() ?? [-180, -80, 180, 80],
      fitBoundsOptions: { padding: 40, maxZoom: 17 },
      maxZoom: 22,
      attributionControl: false,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      fadeDuration: 0,
    });
    map.touchZoomRotate.disableRotation();
    map.keyboard.disableRotation();
    map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "top-right");
    map.addControl(new maplibregl.ScaleControl({ maxWidth: 120 }), "bottom-left");
    if (data.basemap) map.addControl(new maplibregl.AttributionControl(), "top-left");
    map.getCanvas().setAttribute("aria-label", label);
    await new Promise((resolve) => map.once("load", resolve));
    return new View(map, data, { onPick, onMove });
  }

  constructor(map, data, { onPick, onMove }) {
    this.map = map;
    this.data = data;
    for (const group of data.groups) map.addImage(group.key, ...image(group));
    map.addImage("arrow", ...arrowHead("#3c3c46"));
    map.on("styleimagemissing", ({ id }) => {
      if (id.startsWith(CLUSTER)) map.addImage(id, ...cluster(id.slice(CLUSTER.length)));
    });
    this.#addLayers();
    this.#listen(onPick, onMove);
  }

  #addLayers() {
    const { map, data } = this;
    const empty = collection([]);
    map.addSource("arrows", { type: "geojson", data: empty });
    map.addSource("selected", { type: "geojson", data: empty });
    map.addSource("items", {
      type: "geojson",
      data: empty,
      buffer: 32,
      maxzoom: 16,
      cluster: data.size > CLUSTERED_FROM,
      clusterMaxZoom: 15,
      clusterRadius: 46,
    });
    const always = { "icon-allow-overlap": true, "icon-ignore-placement": true };
    const size = ["interpolate", ["linear"], ["zoom"], 10, 0.45, 14, 0.62, 17, 0.95];
    map.addLayer({
      id: "arrows",
      type: "line",
      source: "arrows",
      filter: ["==", ["geometry-type"], "LineString"],
      paint: { "line-color": arrowColour(), "line-width": 2 },
    });
    map.addLayer({
      id: "heads",
      type: "symbol",
      source: "arrows",
      minzoom: 15,
      filter: ["==", ["geometry-type"], "Point"],
      layout: {
        "icon-image": "arrow",
        "icon-size": 0.7,
        "icon-anchor": "top",
        "icon-offset": [0, 17],
        "icon-rotate": ["get", "bearing"],
        "icon-rotation-alignment": "map",
        ...always,
      },
    });
    map.addLayer({
      id: "items",
      type: "symbol",
      source: "items",
      filter: ["!", ["has", "point_count"]],
      layout: { "icon-image": ["get", "group"], "icon-size": size, ...always },
    });
    map.addLayer({
      id: "clusters",
      type: "symbol",
      source: "items",
      filter: ["has", "point_count"],
      layout: {
        "icon-image": ["concat", CLUSTER, ["to-string", ["get", "point_count_abbreviated"]]],
        ...always,
      },
    });
    map.addLayer({
      id: "selected",
      type: "circle",
      source: "selected",
      paint: {
        "circle-radius": 16,
        "circle-opacity": 0,
        "circle-stroke-color": ["case", ["get", "before"], "#d55e00", "#0b57a4"],
        "circle-stroke-width": 4,
      },
    });
  }

  #listen(onPick, onMove) {
    const { map } = this;
    const layers = ["items", "clusters", "heads"];
    map.on("click", ({ point }) => {
      const box = [[point.x - 4, point.y - 4], [point.x + 4, point.y + 4]];
      const found = map.queryRenderedFeatures(box, { layers });
      const group = found.find((feature) => feature.layer.id === "clusters");
      if (group) {
        this.#open(group);
        return;
      }
      const items = [...new Set(found.map((feature) => feature.properties.item))];
      if (items.length) onPick(items);
    });
    for (const layer of layers) {
      map.on("mouseenter", layer, () => { map.getCanvas().style.cursor = "pointer"; });
      map.on("mouseleave", layer, () => { map.getCanvas().style.cursor = ""; });
    }
    map.on("mousemove", ({ lngLat }) => onMove(lngLat));
    map.on("move", () => onMove(map.getCenter()));
    onMove(map.getCenter());
    DARK.addEventListener("change", () => {
      if (map.getLayer("plain")) {
        map.setPaintProperty("plain", "background-color", backgroundColour());
      }
      map.setPaintProperty("arrows", "line-color", arrowColour());
    });
  }

  async #open(feature) {
    const zoom = await this.map.getSource("items").getClusterExpansionZoom(
      feature.properties.cluster_id,
    );
    this.map.easeTo({ center: feature.geometry.coordinates, zoom });
  }

  /** Show these items alone. */
  show(items) {
    const { data, map } = this;
    const point = (row, properties) => ({
      type: "Feature",
      properties,
      geometry: { type: "Point", coordinates: data.position(row) },
    });
    // The last one is drawn on top: the groups at the beginning of the legend are.
    const points = items.toReversed().map((item) =>
      point(data.row(item), { item, group: data.group(item).key }));
    map.getSource("items").setData(collection(points));
    const arrows = items
      .filter((item) => data.group(item).key === "moved")
      .flatMap((item) => {
        const from = data.position(data.items.before[item]);
        const to = data.position(data.items.after[item]);
        const line = { type: "LineString", coordinates: [from, to] };
        return [
          { type: "Feature", properties: { item }, geometry: line },
          point(data.items.after[item], { item, bearing: bearing(from, to) }),
        ];
      });
    map.getSource("arrows").setData(collection(arrows));
  }

  /** Ring an item, where it is and where it was; null rings nothing. */
  select(item, { move = false } = {}) {
    const { data, map } = this;
    const { before, after } = data.items;
    const rows = item === null ? [] : [[before[item], true], [after[item], false]];
    const rings = rows
      .filter(([row]) => row !== null)
      .map(([row, isBefore]) => ({
        type: "Feature",
        properties: { before: isBefore },
        geometry: { type: "Point", coordinates: data.position(row) },
      }));
    map.getSource("selected").setData(collection(rings));
    if (item === null || !move) return;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const center = data.position(data.row(item));
    map[still ? "jumpTo" : "easeTo"]({ center, zoom: Math.max(map.getZoom(), 17) });
  }
}

/** Return the direction from one place to another on the map, in degrees from north. */
function bearing(from, to) {
  const [a, b] = [from, to].map((place) => maplibregl.MercatorCoordinate.fromLngLat(place));
  return (Math.atan2(b.x - a.x, a.y - b.y) * 180) / Math.PI;
}
