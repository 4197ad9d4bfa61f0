// Types of the page's content, for the type checker alone; the fields of iaat/report/report_content.py, image_content.py.
// Lengths are in the unit of their `norm`, see `units` in text.js.

type Series = (number | null)[];

interface Finding { name: string; evidence: string; advice: string; serious: boolean; weak_attack: boolean }

interface EvaluationRow {
  run: number; checkpoint: string; weights: string | null; suite: string; verdict: string; findings: Finding[]; n: number;
  clean: number; attacks: Record<string, number>; interval95: Record<string, [number, number]>; gap: number | null;
  seconds: number; worst_case: string; radius: string; norm: string;
}

interface RunPart {
  name: string; folder: string; method: string; seed: number; epochs: number; hardware: Record<string, string>;
  forwards: number | null; backwards: number | null; seconds: number | null; curves: Record<string, Series>;
  quantiles: Record<string, Series>; modules: string[]; of_objects: boolean; norm: string; given_radii: boolean;
  softens_by_radius: boolean; weighs_classes: boolean; evaluated_at: [string, string] | null;
}

interface MeanAccuracy { mean: number; interval95: [number, number]; sd: number | null }

interface Difference { mean: number; interval: [number, number]; holds: boolean; by: string }

interface Pooled {
  recipe: number; suite: string; checkpoint: string; weights: string | null; n: number; evaluations: number[];
  clean: MeanAccuracy; attacks: Record<string, MeanAccuracy>; gap: number | null; worst_case: string;
  against: number | null; clean_against: Difference | null; robust_against: Difference | null; natural_against: Difference | null;
  on_frontier: boolean;
}

interface RecipePart {
  name: string; title: string; method: string; uniform: boolean; series: number; runs: number[]; forwards: number | null;
  backwards: number | null; seconds: number | null;
}

interface Answer { question: string; outcome: string; sentence: string; detail: string; command: string | null }

interface NextStep { sentence: string; command: string }

interface Opening { focus: number; against: number | null; answers: Answer[]; steps: NextStep[] }

interface ClassAccuracy {
  label: number; n: number; clean: number; clean_interval: [number, number]; robust: number;
  robust_interval: [number, number];
}

interface ClassResults { recipe: number; seeds: number; classes: ClassAccuracy[]; confusion: [number, number, number][] }

/** Thumbnails of one size on sheets, see iaat/report/thumbnails.py. */
interface Sprites { sheets: string[]; width: number; height: number; columns: number; rows: number }

interface AttackedImages extends Sprites {
  run: number; checkpoint: string; chosen: string; left_out: number[];
  index: number[]; label: number[]; clean: number[]; adversarial: number[];
  attack: string[]; norm: string[]; no_pictures: string | null;
}

interface UnderAttack { suite: string; worst_case: string; results: ClassResults[]; images: AttackedImages | null }

interface Accuracies {
  run: number; checkpoint: string; radius: number[]; accuracy: number[]; expected: number; weights: string | null;
  suite: string; n: number; norm: string;
}

interface Corruptions {
  run: number; checkpoint: string; accuracy: Record<string, number[]>; weights: string | null; suite: string; n: number;
  source: string; severities: number[];
}

interface MeasuredNorms {
  index?: number[]; radius: number[]; smallest: Series; searched: number; norm: string; correlation: number | null; n: number;
}

interface Radii {
  run: number; epochs: number[]; edges: number[]; counts: number[][]; by_class: (Record<string, number> | null)[];
  norms: MeasuredNorms | null;
}

interface Stability { first: number; second: number; correlation: number; n: number }

interface Reading { prediction: number; classes: number[]; probabilities: number[]; label: number; confused: number }

interface Attempt {
  target: number | null; radius: number; size: number; succeeded: boolean; reading: Reading; image: null;
  perturbation: null; factor: number;
}

interface Neighbour { index: number; label: number; distance: number; image: null }

interface SampleDetail {
  index: number; label: number; confused: number; frames: Attempt[]; own_at: number | null; uniform_at: number;
  smallest: number | null; searched: number; strip: Attempt[]; space: "penultimate" | "input";
  near_own: Neighbour[]; near_confused: Neighbour[]; norm: string;
}

/** A detail with its pictures, see iaat/report/detail_pictures.py. */
interface DrawnDetail extends SampleDetail { image: string | null; sheet: string | null; columns: number }

interface Neighbours extends Sprites { of: number[]; own: number[][]; other: number[][]; index: number[] }

interface Gallery extends Sprites {
  run: number; total: number; chosen: string; pictured: number;
  index: number[]; label: number[]; prediction: number[]; radius: number[]; path: string[]; rank: number[]; kind: ("label" | "ambiguous" | "")[]; suggested: number[]; notes: string[]; neighbours: Neighbours | null;
  details: Record<string, DrawnDetail>; no_pictures: string | null; compute: string; compute_more: string;
  extra_from: number | null; relabel: string;
}

interface Reasons {
  templates: string[]; template: string; epoch: string; count: string; other: string; mine: string; theirs: string;
}

interface Wall {
  run: number; n: number; epochs: number[]; left_out: number; bits: 8 | 16; step: number; radii: string[];
  index: string; label: string; prediction: string; kind: string; reasons: Reasons | null; norm: string;
}

interface SurfacePart {
  index: number; label: number; image: string | null; offsets: number[]; losses: Record<string, number[][]>;
  predictions: Record<string, number[][]>; radius: number; norm: string;
}

interface ReportContent {
  title: string; made: string; classes: string[]; runs: RunPart[]; evaluations: EvaluationRow[];
  differences: [string, string[]][]; curves: Accuracies[]; corruptions: Corruptions[]; radii: Radii[];
  stability: Stability[]; gallery: Gallery | null; wall: Wall | null; surfaces: SurfacePart[]; notes: string[];
  dataset: string; recipes: RecipePart[]; pooled: Pooled[]; opening: Opening | null; under_attack: UnderAttack | null;
  overrides: string[];
}

/** What one chart shows: `alt` is a sentence that says the same, `data` and `layout` are Plotly's. */
interface Chart {
  title: string; alt: string; data: object[]; layout?: Record<string, any>; height?: number; columns: string[];
  rows: (string | number | null)[][];
}

/** The element that Plotly draws in. */
interface PlotElement extends HTMLElement { layout?: { autosize: boolean }; on(event: string, listener: (event: any) => void): void }

/** What is chosen on the page: filters, order, page, epoch, run of the radii, and the image that is open. Its text is
 * in the page's address. A `label` may be several, with commas; `at` is the epoch of the radii from `low` to `high`,
 * and null for the last. */
interface Chosen {
  label: string; prediction: string; outcome: string; kind: string; low: number | null; high: number | null;
  at: number | null; sort: string; page: number; run: number | null; epoch: number | null; image: number | null;
}

declare const Plotly: any;
